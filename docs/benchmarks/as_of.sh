#!/usr/bin/env bash
# Point-in-time join of 1,000,000 labels against 10,000,000 rows of 100,000 products, from Parquet to Parquet, within
# the memory setting of the shop: the latest value, then five features over windows. Beside it polars' join_asof, sorting
# included, on the same files for the latest value; both must answer the same. Then the online store of the same rows:
# seconds to materialise, microseconds a read.
#   docs/benchmarks/as_of.sh [ROWS [LABELS [PRODUCTS]]]
# MEMORY_MIB (default 1024) is storage.memory_mib. BENCH names a built program, else it is built. Needs a Python with polars (PYTHON, default python3).
set -euo pipefail
cd "$(dirname "$0")/../.."
ROWS=${1:-10000000} LABELS=${2:-1000000} PRODUCTS=${3:-100000} OUT=$(mktemp -d)
export OUT POLARS_MAX_THREADS=2
trap 'rm -rf "$OUT"' EXIT
if [ -z "${BENCH:-}" ]; then
  cargo build --release --locked --quiet --workspace --example as_of_bench
  BENCH=${CARGO_TARGET_DIR:-target}/release/examples/as_of_bench
fi
"$BENCH" make "$OUT" "$ROWS" "$LABELS" "$PRODUCTS"
printf '[run]\nthreads = 2\n[storage]\nmemory_mib = %s\n' "${MEMORY_MIB:-1024}" > "$OUT/shop/tradewind.toml"
echo "load before: $(cut -d' ' -f1-3 /proc/loadavg)"
for which in latest windows; do
  /usr/bin/env time -f "  %e s wall, %U s user, %S s system, %M KiB" "$BENCH" join "$OUT" "$which" "$OUT/$which.parquet"
done
cat > "$OUT/peer.py" <<'PY'
import os, time
import polars as pl
out = os.environ['OUT']
start = time.perf_counter()
labels = pl.read_parquet(f'{out}/labels.parquet').with_row_index('place')
rows = pl.read_parquet(f'{out}/shop/warehouse/events/*.parquet', columns=['product_id', 'ds', 'value'])
# Of rows of one time the largest value counts, as in the view.
rows = rows.sort('ds', 'value')
joined = labels.sort('ds').join_asof(rows, on='ds', by='product_id', strategy='backward').sort('place').drop('place')
joined.write_parquet(f'{out}/peer.parquet')
print(f'polars {pl.__version__} latest: {len(joined)} labels in {time.perf_counter() - start:.2f} s')
PY
/usr/bin/env time -f "  %e s wall, %U s user, %S s system, %M KiB" "${PYTHON:-python3}" "$OUT/peer.py"
"${PYTHON:-python3}" - <<'PY'
import os
import polars as pl
out = os.environ['OUT']
ours, peer = pl.read_parquet(f'{out}/latest.parquet'), pl.read_parquet(f'{out}/peer.parquet')
same = ours['events__value'].eq_missing(peer['value'])
print(f'equal answers: {same.sum()} of {len(same)}; without a row: {peer["value"].null_count()}')
assert same.all() and ours['target'].equals(peer['target'])
PY
/usr/bin/env time -f "  %e s wall, %M KiB" "$BENCH" online "$OUT" 100000
echo "load after: $(cut -d' ' -f1-3 /proc/loadavg)"
