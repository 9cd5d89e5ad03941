#!/usr/bin/env bash
# Boosting beside LightGBM on real tables, in one run: credit-card fraud (time split; area under the precision-recall
# curve) and Frappe click-through (area under the ROC curve). The peers' settings are those of the shared peer scripts;
# ours were chosen on windows inside the training part (fraud: three expanding windows; Frappe: 15 % of the rows). For
# fraud ours is boosting and logistic regression pooled by log odds, 0.7 and 0.3.
#   docs/benchmarks/risk.sh
# Needs the shared data and scorers (SHARED, default ../shared) and a Python with lightgbm, pandas, scikit-learn (PYTHON).
set -euo pipefail
cd "$(dirname "$0")/../.."
export SHARED=${SHARED:-../shared} OUT=$(mktemp -d)
trap 'rm -rf "$OUT"' EXIT
cargo build --release --locked --quiet --workspace --example boosting_bench
export BENCH=${CARGO_TARGET_DIR:-target}/release/examples/boosting_bench
"${PYTHON:-python3}" - <<'PY'
import json, os, subprocess, sys, time
import lightgbm as lgb, numpy as np, pandas as pd
shared, out, bench = os.environ['SHARED'], os.environ['OUT'], os.environ['BENCH']
sys.path.insert(0, f'{shared}/peers')
from binary_score import report

def ours(x, y, x_test, kinds, params, estimator='boosting'):
    for name, a, b in (('train', x, y), ('test', x_test, np.zeros(len(x_test)))):
        with open(f'{out}/{name}', 'wb') as f:
            f.write(np.array(a.shape, '<u8').tobytes() + a.astype('<f8').tobytes() + b.astype('<f8').tobytes() + bytes(kinds))
    got = subprocess.run([bench, f'{out}/train', f'{out}/test', f'{out}/scores', 'binary', json.dumps(params), estimator],
                         check=True, capture_output=True, text=True).stdout
    return json.loads(got)['fit_s'], np.fromfile(f'{out}/scores')

def compare(what, y_test, mine, peer, repeats=3):
    times, scores = [[], []], [None, None]
    for _ in range(repeats):
        for k, run in enumerate((mine, peer)):
            fit_s, scores[k] = run()
            times[k].append(fit_s)
    for name, t, s in zip(('tradewind', f'LightGBM {lgb.__version__}'), times, scores):
        r = report(y_test, s)
        print(f'{what}, {name}: fit {min(t):.2f} s, ' + ', '.join(f'{k} {v:.5f}' for k, v in r.items() if k not in ('n', 'pos')), flush=True)
    print(f'{what}: ratio of the best fit times {min(times[0]) / min(times[1]):.2f}', flush=True)

d = pd.read_parquet(f'{shared}/data/creditcard_fraud/creditcard.parquet')
y = d.is_fraud.to_numpy(float)
x = np.column_stack([d[f'v{i}_milli'] / 1000. for i in range(1, 29)] + [d.amount_cents / 100.]).astype(np.float32)
cut = int(len(y) * .8)

def peer():
    start = time.time()
    m = lgb.LGBMClassifier(n_estimators=400, learning_rate=.05, num_leaves=31, min_child_samples=50, subsample=.8, subsample_freq=1,
                           colsample_bytree=.8, reg_lambda=5, n_jobs=2, random_state=1, verbose=-1).fit(x[:cut], y[:cut])
    return time.time() - start, m.predict_proba(x[cut:])[:, 1]

mine = dict(n_rounds=400, learning_rate=.05, n_leaves=31, min_child_samples=100, min_sum_hessian=1, l2=5,
            sampling='bagging', bagging_fraction=.8, feature_fraction=.4)
compare('fraud', y[cut:].astype(int), lambda: ours(x[:cut], y[:cut], x[cut:], [], mine, 'boosting+logistic'), peer)

a, b = (pd.read_parquet(f'{shared}/data/frappe_context_ctr/{n}.parquet') for n in ('validation', 'test'))
columns = [c for c in a.columns if c != 'label']
kinds = [pd.CategoricalDtype(np.unique(a[c])) for c in columns]
codes = lambda d: np.column_stack([np.where(v < 0, np.nan, v) for v in
                                   (pd.Categorical(d[c], dtype=k).codes.astype(float) for c, k in zip(columns, kinds))])
xa, xb = codes(a), codes(b)
table = lambda d: d[columns].astype(dict(zip(columns, kinds)))
ta, tb = table(a), table(b)

def peer():
    start = time.time()
    m = lgb.LGBMClassifier(n_estimators=300, learning_rate=.1, num_leaves=63, n_jobs=2, random_state=1, verbose=-1, cat_smooth=10,
                           min_child_samples=20).fit(ta, a.label)
    return time.time() - start, m.predict_proba(tb)[:, 1]

mine = dict(n_rounds=300, learning_rate=.1, n_leaves=63, cat_smooth=1, cat_l2=30, min_data_per_group=20)
compare('Frappe', b.label.to_numpy(int), lambda: ours(xa, a.label.to_numpy(float), xb, [1] * len(columns), mine), peer)
PY
