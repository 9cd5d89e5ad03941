#!/usr/bin/env bash
# Cold starts on Walmart's weekly departments: a seeded third of the series keeps only the last 4 to 20 weeks of its
# history, all others keep theirs, and 13 weeks are forecast. Scored on the short series alone: the model beside the mean
# profile of the department a year before, scaled by the series' own level, and beside that level alone.
#   docs/benchmarks/cold_start.sh [PARAMS]     (default: '{"calendar":"US"}')
# HELD=1 scores two windows cut off the training part instead, where design is chosen; SEEDS is how many thirds are drawn
# (default 3; the test window is scored with each). Needs the shared data and scorers (SHARED, default ../shared) and a
# Python with polars and numpy (PYTHON).
set -euo pipefail
cd "$(dirname "$0")/../.."
export SHARED=${SHARED:-../shared} OUT=$(mktemp -d) HELD=${HELD:-} SEEDS=${SEEDS:-3}
trap 'rm -rf "$OUT"' EXIT
cargo build --release --locked --quiet --workspace --example panel_bench
export BENCH=${CARGO_TARGET_DIR:-target}/release/examples/panel_bench
"${PYTHON:-python3}" - "${1:-{\"calendar\":\"US\"\}}" <<'PY'
import json, os, subprocess, sys
import numpy as np, polars as pl
shared, out = os.environ['SHARED'], os.environ['OUT']
sys.path.insert(0, f'{shared}/peers')
import forecast_score as fs
H, YEAR = 13, 52
train, truth = fs.load('walmart', f'{shared}/data')
known, after = fs.by_id(train), fs.by_id(truth)
ids = sorted(known)
days = sorted(train['k'].unique()) + sorted(truth['k'].unique())
whole = np.array([np.r_[known[u], after[u]] for u in ids])
department = np.array([u.split('_')[1] for u in ids])
features = pl.read_parquet(f'{shared}/data/walmart_weekly/features.parquet').sort('store', 'ds')
kinds = dict(pl.read_parquet(f'{shared}/data/walmart_weekly/stores.parquet').select('store', 'type').iter_rows())
names = [c for c in features.columns if c.startswith('MarkDown')] + ['is_holiday']
plans = {s[0]: t.select(pl.col(names).cast(pl.Float64).fill_null(0)).to_numpy() for s, t in features.group_by('store')}

def case(n, seed):
    """Forecasts the H weeks after the first n."""
    rng = np.random.default_rng(seed)
    cold = rng.permutation(len(ids))[:len(ids) // 3]
    start = np.zeros(len(ids), int)
    start[cold] = n - rng.integers(4, 21, len(cold))
    plan = [plans[int(u.split('_')[0])] for u in ids]
    json.dump(dict(
        freq='W',
        series=[(u, str(days[start[i]]), whole[i, start[i]:n].tolist()) for i, u in enumerate(ids)],
        columns=[(c, [plan[i][start[i]:n + H + 1, j].tolist() for i in range(len(ids))]) for j, c in enumerate(names)],
        groups=[('store', [u.split('_')[0] for u in ids]), ('department', department.tolist()), ('type', [kinds[int(u.split('_')[0])] for u in ids])],
    ), open(f'{out}/panel.json', 'w'))
    subprocess.run([os.environ['BENCH'], f'{out}/panel.json', f'{out}/said', 'global', str(H), sys.argv[1]], check=True, capture_output=True)
    model = np.fromfile(f'{out}/said').reshape(len(ids), H * 5)[:, :H]
    warm = np.setdiff1d(np.arange(len(ids)), cold)
    level = np.array([whole[i, start[i]:n].mean() for i in range(len(ids))])[:, None]
    profile = np.ones((len(ids), H))
    for i in cold:
        # What series of the department with a history sold in these weeks a year before, each as a share of its own level.
        own = whole[warm[department[warm] == department[i]]]
        base = own[:, start[i] - YEAR:n - YEAR].mean(axis=1, keepdims=True)
        own, base = own[base[:, 0] > 0], base[base[:, 0] > 0]
        if len(own):
            profile[i] = (own[:, n - YEAR:n - YEAR + H] / base).mean(axis=0)
            # Shares of a department with a single series of next to nothing know no bounds.
            profile[i] = profile[i].clip(0.2, 5)
    y = whole[:, n:n + H]
    wape = lambda f, rows: float(np.abs(y[rows] - f[rows]).sum() / np.abs(y[rows]).sum())
    weeks = n - start[cold]
    groups = dict(all=cold, weeks_4_8=cold[weeks <= 8], weeks_9_20=cold[weeks > 8])
    said = dict(model=model, department_profile=level * profile, own_level=np.repeat(level, H, 1))
    line = {'first_week': str(days[n]), 'seed': seed, 'n': len(cold), 'warm_model': round(wape(model, warm), 5)}
    line |= {f'{g}_{k}': round(wape(f, rows), 5) for g, rows in groups.items() for k, f in said.items()}
    print(json.dumps(line), flush=True)
    return line

lines = [case(n, seed) for n in ([104, 117] if os.environ['HELD'] else [130]) for seed in range(int(os.environ['SEEDS']))]
print(json.dumps({k: round(float(np.mean([x[k] for x in lines])), 5) for k in lines[0] if k not in ('first_week', 'seed')}))
PY
