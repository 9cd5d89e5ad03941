#!/usr/bin/env bash
# Product trends on the M5 slice at its four cutoffs, by the shared scorer; the test windows are only scored.
#   docs/benchmarks/m5_trends.sh
# Needs the shared data and scorers (SHARED, default ../shared) and a Python with polars and scikit-learn (PYTHON).
set -euo pipefail
cd "$(dirname "$0")/../.."
SHARED=${SHARED:-../shared} PYTHON=${PYTHON:-python3} OUT=$(mktemp -d)
[ -x target/release/tradewind ] || cargo build --release --locked
/usr/bin/env time -f "%U s user, %S s system, %e s wall, %M KiB" \
  target/release/tradewind --quiet trends --input "$SHARED/data/m5_foods3_tx3/sales.parquet" --freq D --horizon 28 \
  --region US --as-of 2016-01-31,2016-02-28,2016-03-27,2016-04-24 --output "$OUT/trends.parquet" >/dev/null
"$PYTHON" "$SHARED/peers/trend_score.py" "$OUT/trends.parquet"
"$PYTHON" - "$SHARED" "$OUT" <<'PY'
# Calibration of each direction: ten bins of equal count, mean distance between said and happened, and the widest one.
import sys, datetime as dt, numpy as np, polars as pl
shared, out = sys.argv[1:]
sys.path.insert(0, f'{shared}/peers')
import trend_score as ts
ids, Y, d0 = ts.load(); f = pl.read_parquet(f'{out}/trends.parquet').with_columns(pl.col('cutoff').cast(pl.Date))
P, L = [], []
for t in ts.CUTS:
    y, keep = ts.label(Y, t)
    j = pl.DataFrame({'unique_id': ids}).join(f.filter(pl.col('cutoff') == d0 + dt.timedelta(days=t - 1)), on='unique_id', how='left', maintain_order='left')
    P.append(j.select('p_falling', 'p_steady', 'p_rising').to_numpy()[keep]); L.append(y[keep])
P, L = np.vstack(P), np.concatenate(L)
for k, name in enumerate(('falling', 'steady', 'rising')):
    o = np.argsort(P[:, k], kind='stable'); bins = np.array_split(o, 10)
    gaps = [abs(P[b, k].mean() - (L[b] == k).mean()) for b in bins]
    print(f'calibration {name}: mean {np.mean(gaps):.4f}, widest {np.max(gaps):.4f}')
PY
