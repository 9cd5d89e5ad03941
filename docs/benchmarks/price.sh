#!/usr/bin/env bash
# Prices 13 weeks ahead (avocados by region and type, cutoffs 2017-06-25, 2017-09-24 and 2017-12-24) and 4 weeks ahead
# (Dominick's orange juice by store and brand, 64 ounces, cutoffs week 148, 152 and 156), the latter also with the shop's
# plan of deals and features known. Prints mean absolute error and the share within 10 % of the point forecast, the share
# of likeliest price points that are right to half a cent, the coverage of 80 and 95 % intervals, and processor seconds.
# With `validate` the cutoffs lie before the first of those, so that nothing behind them is seen.
# Needs avocado.parquet and sales.parquet of the bayesm orange juice data in $DATA/avocado and $DATA/dominicks_oj (the
# shared data when not said), and an interpreter with numpy and polars:
#   PYTHON=… docs/benchmarks/price.sh [validate] [TASK…]
set -euo pipefail
cd "$(dirname "$0")/../.."
python=${PYTHON:-python3}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
[ -n "${BENCH:-}" ] || nice cargo build --release --locked --quiet --workspace --example panel_bench
export BENCH=${BENCH:-${CARGO_TARGET_DIR:-target}/release/examples/panel_bench} WORK=$work
export PARAMS=${PARAMS:-"{}"} DATA=${DATA:-${SHARED:-../shared}/data}
cat > "$work/price.py" <<'PY'
import datetime as dt, json, os, resource, subprocess, sys
import numpy as np, polars as pl

data, work, bench = os.environ['DATA'], os.environ['WORK'], os.environ['BENCH']
arguments = sys.argv[1:]
validate = 'validate' in arguments
tasks = [a for a in arguments if a != 'validate'] or ['avocado', 'oj', 'oj_planned']
week = dt.timedelta(weeks=1)

def load(task):
    if task == 'avocado':
        d = pl.read_parquet(f'{data}/avocado/avocado.parquet').select(
            (pl.col('region') + '_' + pl.col('type')).alias('id'), pl.col('date').cast(pl.Date).alias('k'),
            pl.col('averageprice').alias('y'), pl.col('region').alias('a'), pl.col('type').alias('b'))
        shift = -39 if validate else 0
        return d, [dt.date(2017, 6, 25) + (13 * j + shift) * week for j in range(3)], 13
    s = pl.read_parquet(f'{data}/dominicks_oj/sales.parquet')
    own = pl.concat_list([f'price{i}' for i in range(1, 12)]).list.get(pl.col('brand') - 1)
    day = [dt.date(1989, 9, 14) + int(k) * week for k in s['week']]
    d = s.select((pl.col('store').cast(str) + '_' + pl.col('brand').cast(str)).alias('id'), pl.Series('k', day),
                 (own * 64).alias('y'), pl.col('store').cast(str).alias('a'), pl.col('brand').cast(str).alias('b'), 'deal', 'feat')
    first = 136 if validate else 148
    return d, [dt.date(1989, 9, 14) + (first + 4 * j) * week for j in range(3)], 4

for task in tasks:
    d, cuts, h = load(task)
    d = d.sort('id', 'k')
    Y, F, M, Q = [], [], [], []
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    for cut in cuts:
        series, groups, columns, truth = [], ([], []), ([], []), []
        for (key,), g in d.filter(pl.col('k') <= cut + h * week).group_by('id', maintain_order=True):
            past, later = g.filter(pl.col('k') <= cut), g.filter(pl.col('k') > cut)
            if not len(past):
                continue
            first = past['k'][0]
            n = (cut - first).days // 7 + 1
            place = lambda part: [(k - first).days // 7 for k in part['k']]
            y = [None] * n
            for p, v in zip(place(past), past['y']):
                y[p] = v
            series.append((key, first.isoformat(), y))
            groups[0].append(past['a'][0]); groups[1].append(past['b'][0])
            truth.append((place(later), later['y'].to_list(), n))
            if task == 'oj_planned':
                for c, name in zip(columns, ('deal', 'feat')):
                    v = [None] * (n + h)
                    for p, x in zip(place(g), g[name]):
                        v[p] = float(x)
                    c.append(v)
        panel = {'freq': '1w', 'series': series, 'groups': [('a', groups[0]), ('b', groups[1])]}
        if task == 'oj_planned':
            panel['columns'] = [('deal', columns[0]), ('feat', columns[1])]
        with open(f'{work}/panel', 'w') as f:
            json.dump(panel, f)
        out = subprocess.run([bench, f'{work}/panel', f'{work}/said', 'price', str(h), json.dumps({'horizon': h, **json.loads(os.environ['PARAMS'])})],
                             check=True, capture_output=True, text=True).stdout
        print(out.replace('\n', ' '), flush=True)
        said = np.fromfile(f'{work}/said')
        n = len(series)
        mean = said[:n * h * 5].reshape(n, h * 5)[:, :h]; mode = said[n * h * 5:].reshape(n, h)
        quantiles = said[:n * h * 5].reshape(n, h * 5)[:, h:].reshape(n, h, 4)
        order = {s[0]: i for i, s in enumerate(sorted(series, key=lambda s: s[0]))}
        a, b, c, q = [], [], [], []
        for s, (places, values, m) in zip(series, truth):
            for p, v in zip(places, values):
                a.append(v); b.append(mean[order[s[0]], p - m]); c.append(mode[order[s[0]], p - m])
                q.append(quantiles[order[s[0]], p - m])
        Y.append(a); F.append(b); M.append(c); Q.append(q)
        a, b, c = map(np.array, (a, b, c))
        print(task, cut, f'MAE {np.abs(a - b).mean():.4f}', f'within 10 % {(np.abs(a - b) <= .1 * a).mean():.4f}', f'exact {(np.abs(a - c) <= .005).mean():.4f}', flush=True)
    y, f, m, q = map(np.concatenate, (Y, F, M, Q))
    inside = lambda low, high: ((y >= q[:, low] - 1e-9) & (y <= q[:, high] + 1e-9)).mean()
    spent = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before
    print(f'{task}: n {len(y)}, MAE {np.abs(y - f).mean():.4f}, within 10 % {(np.abs(y - f) <= .1 * y).mean():.4f}, exact {(np.abs(y - m) <= .005).mean():.4f}, mode: MAE {np.abs(y - m).mean():.4f} within 10 % {(np.abs(y - m) <= .1 * y).mean():.4f}, intervals of 80 and 95 % hold {inside(1, 2):.4f} {inside(0, 3):.4f}, {spent:.0f} processor seconds', flush=True)
PY
"$python" "$work/price.py" "$@"
