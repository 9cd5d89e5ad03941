#!/usr/bin/env bash
# One model for all series on the M5 slice (28 days, WRMSSE2) and Walmart's weekly departments (13 weeks, WAPE, MASE),
# by the shared scorer, with the coverage of its own 80 and 95 % intervals and CPU seconds of the whole process (reading
# the panel included). PEERS=1 runs mlforecast with LightGBM beside it. HELD=1 scores windows cut off the training part
# instead, where design is chosen; HELD="28 84" the windows of M5 that begin so many days before its end, TASKS=m5sub that task alone.
#   docs/benchmarks/panel.sh [MODEL [PARAMS]]     (default: global '{"calendar":"US"}')
# Needs the shared data and scorers (SHARED, default ../shared) and a Python with polars and pandas (PYTHON); for the
# peers also mlforecast and lightgbm.
set -euo pipefail
cd "$(dirname "$0")/../.."
export SHARED=${SHARED:-../shared} OUT=$(mktemp -d) HELD=${HELD:-}
trap 'rm -rf "$OUT"' EXIT
[ -n "${BENCH:-}" ] || cargo build --release --locked --quiet --workspace --example panel_bench
export BENCH=${BENCH:-${CARGO_TARGET_DIR:-target}/release/examples/panel_bench}
"${PYTHON:-python3}" - "${1:-global}" "${2:-{\"calendar\":\"US\"\}}" <<'PY'
import json, os, resource, subprocess, sys
import numpy as np, polars as pl
shared, out, bench = os.environ['SHARED'], os.environ['OUT'], os.environ['BENCH']
model, params = sys.argv[1:3]
data = f'{shared}/data'
sys.path.insert(0, f'{shared}/peers')
import forecast_score as fs

def write(task, train):
    history, first = fs.by_id(train), dict(train.group_by('unique_id').agg(pl.col('k').min()).iter_rows())
    ids = sorted(history)
    if task == 'm5sub':
        calendar = pl.read_parquet(f'{data}/m5_foods3_tx3/calendar.parquet').sort('ds')
        days, snap = calendar['ds'].to_list(), calendar['snap_TX'].to_list()
        series, columns = [], []
        for u in ids:
            y = history[u]; sold = int(np.argmax(y > 0)); at = days.index(first[u]) + sold
            series.append((u, str(days[at]), y[sold:].tolist())); columns.append(snap[at:at + len(y) - sold + 29])
        panel = dict(freq='D', series=series, columns=[('snap', columns)])
    else:
        features = pl.read_parquet(f'{data}/walmart_weekly/features.parquet').sort('store', 'ds')
        kinds = dict(pl.read_parquet(f'{data}/walmart_weekly/stores.parquet').select('store', 'type').iter_rows())
        names = [c for c in features.columns if c.startswith('MarkDown')] + ['is_holiday']
        stores = {s[0]: t for s, t in features.group_by('store')}
        columns = {c: [] for c in names}
        for u in ids:
            t = stores[int(u.split('_')[0])].filter(pl.col('ds') >= first[u])[:len(history[u]) + 14]
            for c in names:
                columns[c].append(t[c].cast(pl.Float64).fill_null(0).to_list())
        groups = [('store', [u.split('_')[0] for u in ids]), ('department', [u.split('_')[1] for u in ids]),
                  ('type', [kinds[int(u.split('_')[0])] for u in ids])]
        panel = dict(freq='W', series=[(u, str(first[u]), history[u].tolist()) for u in ids], columns=list(columns.items()), groups=groups)
    json.dump(panel, open(f'{out}/{task}.json', 'w'))
    return ids, history

def run(task, ids, horizon, cut):
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([bench, f'{out}/{task}.json', f'{out}/said', model, str(horizon), params, str(cut)], check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    said = np.fromfile(f'{out}/said').reshape(len(ids), horizon * 5)
    return said[:, :horizon], said[:, horizon:].reshape(len(ids), horizon, 4), after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

for task, horizon in (('m5sub', 28), ('walmart', 13)):
    if task not in os.environ.get('TASKS', task):
        continue
    train, truth = fs.load(task, data)
    ids, history = write(task, train)
    days = sorted(train['k'].unique()) + sorted(truth['k'].unique())
    end = len(days) - horizon
    fs_load = fs.load
    held_days = [int(k) for k in os.environ['HELD'].split()] if len(os.environ['HELD']) > 1 else [horizon, 2 * horizon, 3 * horizon]
    for cut in (held_days if os.environ['HELD'] and task == 'm5sub' else [horizon, 2 * horizon] if os.environ['HELD'] else [0]):
        mean, quantiles, cpu = run(task, ids, horizon, cut)
        window = days[end - cut:end - cut + horizon]
        if cut:
            held = train.filter(pl.col('k').is_in(window)), train.filter(pl.col('k') < window[0])
            full = held[0].group_by('unique_id').len().filter(pl.col('len') == horizon)['unique_id'].to_list()
            before = set(held[1]['unique_id'].unique().to_list())
            full = [u for u in full if u in before]
            held = [h.filter(pl.col('unique_id').is_in(full)) for h in held]
            fs.load = lambda *_: (held[1], held[0])
        forecast = pl.DataFrame(dict(unique_id=np.repeat(ids, horizon), k=window * len(ids), y_hat=mean.ravel()))
        score = fs.score(task, forecast, data)
        y = fs.by_id(fs.load(task, data)[1])
        rows = [i for i, u in enumerate(ids) if u in y]
        actual = np.array([y[ids[i]] for i in rows]); q = quantiles[rows]
        inside = lambda a, b: float(np.mean((actual >= q[:, :, a]) & (actual <= q[:, :, b])))
        said = mean[rows]
        print(json.dumps({**score, 'bias': round(float(said.sum() / actual.sum() - 1), 4), 'window': f'{window[0]} to {window[-1]}', 'cpu_s': round(cpu, 1),
                          'coverage80': round(inside(1, 2), 4), 'coverage95': round(inside(0, 3), 4),
                          # Where most days sell nothing, nothing can lie below the lower bound: then each tail tells more.
                          'above80': round(float(np.mean(actual > q[:, :, 2])), 4), 'below80': round(float(np.mean(actual < q[:, :, 1])), 4),
                          'at_zero80': round(float(np.mean(q[:, :, 1] <= 0)), 4)}), flush=True)
        fs.load = fs_load
PY
if [ -n "${PEERS:-}" ]; then
  for task in m5sub walmart; do "${PYTHON:-python3}" "$SHARED/peers/forecast_lightgbm.py" $task recursive; done
fi
