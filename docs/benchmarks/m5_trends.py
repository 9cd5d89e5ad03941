#!/usr/bin/env python3
"""Product trends on the M5 slice by `trend_bench`, without a shop (numpy, polars, scikit-learn).

    cargo build --release --workspace --examples
    python docs/benchmarks/m5_trends.py [SETTINGS_JSON] [CUTOFF...]

Without cutoffs: those of the training time on which the model's choices were made (windows end at the first test cutoff
or before). With `test`: the four cutoffs of the shared scorer. Needs the shared data and scorers (SHARED, default
../shared).
"""
import json, os, subprocess, sys, tempfile
import numpy as np
SHARED = os.environ.get('SHARED', '../shared'); sys.path.insert(0, f'{SHARED}/peers')
import trend_score as ts
VALIDATION = [1465, 1493, 1521, 1549, 1577, 1605, 1633, 1661, 1689, 1717, 1745, 1773, 1801]
settings = sys.argv[1] if len(sys.argv) > 1 else '{}'
cuts = [c for a in sys.argv[2:] for c in (ts.CUTS if a == 'test' else [int(a)])] or VALIDATION
ids, Y, d0 = ts.load(); n, steps = Y.shape
with tempfile.TemporaryDirectory() as d:
    with open(f'{d}/panel', 'wb') as f:
        f.write(np.array([n, steps], '<u8').tobytes()); f.write(Y.astype('<f8').tobytes())
    run = subprocess.run(['target/release/examples/trend_bench', f'{d}/panel', str(d0), '28', settings, f'{d}/out', *map(str, cuts)],
                         check=True, capture_output=True, text=True)
    print(run.stdout, end='')
    P = np.fromfile(f'{d}/out', '<f8').reshape(len(cuts), n, 3)
ps, ls = [], []
for t, p in zip(cuts, P):
    y, keep = ts.label(Y, t)
    # A product that never sold before is not asked about.
    keep &= Y[:, :t].any(1)
    ps.append(p[keep]); ls.append(y[keep])
p, l = np.vstack(ps), np.concatenate(ls)
gap = {}
for k, name in enumerate(('falling', 'steady', 'rising')):
    bins = np.array_split(np.argsort(p[:, k], kind='stable'), 10)
    gap[f'ece_{name}'] = np.mean([abs(p[b, k].mean() - (l[b] == k).mean()) for b in bins])
for name, v in [*((str(t), ts.metrics(a, b)) for t, a, b in zip(cuts, ls, ps)), ('all', {**ts.metrics(l, p), **gap})]:
    print(name, json.dumps({a: round(float(b), 4) for a, b in v.items()}))
