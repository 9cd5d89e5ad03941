#!/usr/bin/env bash
# Scenario paths on the M5 slice, 28 days from cutoffs before its test window: how often what was sold in 28 days lies
# within the central 80 % of the paths' sums, beside steps that are independent and steps that move as one (the same
# quantiles at every step, put together otherwise).
#   docs/benchmarks/scenarios.sh [MODEL…]        (default: theta global)
# Needs the shared data (SHARED, default ../shared), a Python with polars and numpy (PYTHON), and the command (TRADEWIND,
# default target/release/tradewind, built when it is not there).
set -euo pipefail
cd "$(dirname "$0")/../.."
export SHARED=${SHARED:-../shared} OUT=$(mktemp -d)
tradewind=${TRADEWIND:-${CARGO_TARGET_DIR:-target}/release/tradewind}
trap 'rm -rf "$OUT"' EXIT
[ -x "$tradewind" ] || cargo build --release --locked --quiet
for model in "${@:-theta global}"; do for m in $model; do
for cutoff in 2016-02-28 2016-03-27; do
  rm -f "$OUT"/*.parquet
  "$tradewind" --quiet forecast --input "$SHARED/data/m5_foods3_tx3/sales.parquet" --freq D --as-of $cutoff --horizon 28 --model "$m" \
    --scenarios "$OUT/paths.parquet" --paths 200 --output "$OUT/f.parquet"
  M=$m CUTOFF=$cutoff "${PYTHON:-python3}" - <<'PY'
import os, datetime as dt, numpy as np, polars as pl
out, cutoff = os.environ['OUT'], dt.date.fromisoformat(os.environ['CUTOFF'])
paths = pl.read_parquet(f'{out}/paths.parquet').sort('unique_id', 'path', 'ds')
ids = paths['unique_id'].unique(maintain_order=True).to_list()
y = paths['y'].to_numpy().reshape(len(ids), 200, 28)
sales = pl.read_parquet(f"{os.environ['SHARED']}/data/m5_foods3_tx3/sales.parquet").with_columns(pl.col('ds').cast(pl.Date))
after = sales.filter((pl.col('ds') > cutoff) & (pl.col('ds') <= cutoff + dt.timedelta(days=28)))
total = dict(after.group_by('unique_id').agg(pl.col('y').sum()).iter_rows())
truth = np.array([total[u] for u in ids], float)
rng = np.random.default_rng(1)
alone = np.stack([rng.permuted(y, axis=1)])[0]
together = np.sort(y, axis=1)
def held(paths):
    low, high = np.quantile(paths.sum(2), [0.1, 0.9], axis=1)
    return f'{100 * np.mean((truth >= low) & (truth <= high)):.1f} %, width {np.mean(high - low):.1f}'
# With the middle of the sums moved to the truth's middle the shape alone is judged: the level is the model's doing.
def shape(paths):
    sums = paths.sum(2)
    ratio = np.median(truth.sum() / sums.mean(1).sum())
    low, high = np.quantile(sums * ratio, [0.1, 0.9], axis=1)
    return f'{100 * np.mean((truth >= low) & (truth <= high)):.1f} %'
print(f"{os.environ['M']} {cutoff}: paths {held(y)} (level taken out {shape(y)}); independent steps {held(alone)}; as one {held(together)}")
PY
done; done; done
