#!/usr/bin/env bash
# M3 monthly, 1,428 series, 18 steps: OWA by the shared scorer and CPU seconds of the whole process.
#   docs/benchmarks/m3_monthly.sh [MODEL…]        (default: theta auto)
# Needs the shared data and scorers (SHARED, default ../shared beside the repository) and a Python with polars
# (PYTHON, default python3). Builds the release binary when it is not there.
set -euo pipefail
cd "$(dirname "$0")/../.."
SHARED=${SHARED:-../shared} PYTHON=${PYTHON:-python3} OUT=$(mktemp -d)
[ -x target/release/tradewind ] || cargo build --release --locked
"$PYTHON" - "$SHARED" "$OUT" <<'PY'
import sys, polars as pl
shared, out = sys.argv[1:]
ids = pl.read_parquet(f'{shared}/data/m3/meta.parquet').filter(pl.col('period') == 'monthly')['unique_id'].to_list()
train = pl.read_parquet(f'{shared}/data/m3/train.parquet').filter(pl.col('unique_id').is_in(ids))
train.rename({'t': 'ds'}).write_parquet(f'{out}/train.parquet')
PY
for model in "${@:-theta auto}"; do for m in $model; do
  /usr/bin/env time -f "$m: %U s user, %S s system, %e s wall, %M KiB" \
    target/release/tradewind --quiet forecast --input "$OUT/train.parquet" --freq 1 --horizon 18 --model "$m" \
    -p season_length=12 --level 80,95 --output "$OUT/$m.parquet"
  "$PYTHON" - "$SHARED" "$OUT" "$m" <<'PY'
import sys, json, polars as pl
shared, out, model = sys.argv[1:]
sys.path.insert(0, f'{shared}/peers')
import forecast_score as fs
f = pl.read_parquet(f'{out}/{model}.parquet')
score = fs.score('m3_monthly', f.select('unique_id', t='ds', y_hat='mean'), f'{shared}/data')
_, truth = fs.load('m3_monthly', f'{shared}/data')
j = truth.join(f.with_columns(k=pl.col('ds').cast(pl.Int32)), on=['unique_id', 'k'])
for lo, hi, name in (('q10', 'q90', 'coverage80'), ('q2.5', 'q97.5', 'coverage95')):
    score[name] = round(float(((j['y'] >= j[lo]) & (j['y'] <= j[hi])).mean()), 4)
print(model, json.dumps(score))
PY
done; done
