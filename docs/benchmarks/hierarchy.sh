#!/usr/bin/env bash
# Reconciliation: time on generated hierarchies of 10,000 and 100,000 nodes (nested and crossed; 28 steps ahead, 200
# residuals), and the error by level on weekly sales of Walmart's shops and departments, the last 8 weeks before
# August 2012 held out.
#   docs/benchmarks/hierarchy.sh [MODEL…]
# MODEL: methods of the base forecasts (default theta). The second part needs the shared data (SHARED, default ../shared
# beside the repository) and a Python with polars (PYTHON, default python3), and is skipped without them.
set -euo pipefail
cd "$(dirname "$0")/../.."
SHARED=${SHARED:-../shared} PYTHON=${PYTHON:-python3} OUT=$(mktemp -d)
trap 'rm -rf "$OUT"' EXIT
[ $# -gt 0 ] || set -- theta
cargo build --release --locked --quiet --workspace --example hierarchy_bench
bench=${CARGO_TARGET_DIR:-target}/release/examples/hierarchy_bench
"$bench" 10000
"$bench" 100000
[ -d "$SHARED/data/walmart_weekly" ] || { echo "walmart_weekly is not there; accuracy skipped" >&2; exit 0; }
"$PYTHON" - "$SHARED" "$OUT" <<'PY'
import sys, datetime as dt, polars as pl
shared, out = sys.argv[1:]
f = pl.read_parquet(f'{shared}/data/walmart_weekly/sales.parquet').with_columns(pl.col('ds').cast(pl.Date))
f = f.filter(pl.col('ds') < dt.date(2012, 8, 3)).sort('unique_id', 'ds')
n = f['ds'].n_unique()
with open(f'{out}/walmart.tsv', 'w') as to:
    to.write('store,dept\n')
    for (uid, store, dept), g in f.group_by('unique_id', 'store', 'dept', maintain_order=True):
        if len(g) == n:
            to.write(f"{uid}\t{store},{dept}\t{','.join(map(repr, g['y'].to_list()))}\n")
PY
for model in "$@"; do
  echo "$model"
  "$bench" "$OUT/walmart.tsv" store,dept 8 "$model"
done
