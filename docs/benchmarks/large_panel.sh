#!/usr/bin/env bash
# 30,490 series of about 1,900 days (the M5 slice again and again, each time with other noise) forecast by the mean of
# AutoETS, Theta and the seasonal naive method, 28 days with 80 % intervals: time and peak memory of the command, killed
# in the middle once (KILL_AFTER seconds, default 120) and taken up again.
#   docs/benchmarks/large_panel.sh [SERIES [THREADS]]     (default: 30490 2)
# WHOLE=1 also runs it in one go and compares the bytes.
# Needs the shared data (SHARED, default ../shared), a Python with polars and numpy (PYTHON), GNU time, and the command
# (TRADEWIND, default target/release/tradewind, built when it is not there).
set -euo pipefail
cd "$(dirname "$0")/../.."
export SHARED=${SHARED:-../shared} N=${1:-30490} OUT=${OUT:-$(mktemp -d)}
threads=${2:-2} tradewind=${TRADEWIND:-${CARGO_TARGET_DIR:-target}/release/tradewind}
[ -x "$tradewind" ] || cargo build --release --locked --quiet
panel=$OUT/panel-$N.parquet
[ -f "$panel" ] || "${PYTHON:-python3}" - "$panel" <<'PY'
import os, sys
import numpy as np, polars as pl
import pyarrow.parquet as pq
n, slice_ = int(os.environ['N']), pl.read_parquet(f"{os.environ['SHARED']}/data/m5_foods3_tx3/sales.parquet").sort('unique_id', 'ds')
ids, days = slice_['unique_id'].unique(maintain_order=True).to_list(), slice_['ds'].unique().sort()
y = slice_['y'].to_numpy().reshape(len(ids), -1).astype(float) if len(slice_) == len(ids) * len(days) else None
if y is None:
    whole = pl.DataFrame({'unique_id': ids}).join(pl.DataFrame({'ds': days}), how='cross')
    y = whole.join(slice_, on=['unique_id', 'ds'], how='left')['y'].fill_null(0).to_numpy().reshape(len(ids), -1).astype(float)
# The last 28 days are the test window of the slice: left out.
days, y = days[:-28], y[:, :-28]
rng, writer, rows = np.random.default_rng(5), None, 0
for copy in range(-(-n // len(ids))):
    level = np.exp(rng.normal(0, 0.3, (len(ids), 1)))
    values = rng.poisson(y * level * np.exp(rng.normal(0, 0.1, y.shape)))
    for at in range(0, len(ids), 100):
        names = [f'{copy:02}_{u}' for u in ids[at:at + 100]][:max(0, n - copy * len(ids) - at)]
        if not names:
            break
        block = values[at:at + len(names)]
        table = pl.DataFrame({'unique_id': np.repeat(names, len(days)), 'ds': np.tile(days.to_numpy(), len(names)), 'y': block.ravel().astype(np.int32)})
        table = table.with_columns(pl.col('ds').cast(pl.Date)).to_arrow()
        writer = writer or pq.ParquetWriter(sys.argv[1] + '.tmp', table.schema, compression='zstd')
        writer.write_table(table)
        rows += len(table)
writer.close()
os.rename(sys.argv[1] + '.tmp', sys.argv[1])
print(f'{n} series, {rows} rows, {os.path.getsize(sys.argv[1])} bytes')
PY
forecast=("$tradewind" forecast --input "$panel" --freq D --horizon 28 --model combination -p methods=ets,theta,seasonal_naive
  -p season_length=7 --level 80 --threads "$threads")
measured() { /usr/bin/time -f '%e s wall, %U s user, %M KiB peak' "${forecast[@]}" --output "$OUT/$1.parquet"; }
echo "killed after ${KILL_AFTER:=120} s"
timeout --signal=KILL "$KILL_AFTER" "${forecast[@]}" --output "$OUT/resumed.parquet" || true
ls "$OUT/resumed.parquet.parts" 2>/dev/null | wc -l
echo 'taken up again'; measured resumed
if [ -n "${WHOLE:-}" ]; then
  echo 'in one go'; measured whole
  cmp "$OUT/whole.parquet" "$OUT/resumed.parquet" && echo 'the same bytes'
fi
