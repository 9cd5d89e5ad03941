#!/usr/bin/env bash
# The multilayer perceptron beside our own boosting and scikit-learn's MLPClassifier and MLPRegressor, on the same rows:
# German credit (10 folds), credit-card fraud (time split), Frappe click-through, and the daily sales of a hundred Rossmann
# shops (logarithm, days that were open, the last six weeks). Ours are the defaults of both; scikit-learn's network gets
# standardised numbers and one-hot categories (on Frappe, of 4,000 words, sparse), two layers of 256, and stops early as ours.
#   docs/benchmarks/mlp.sh [SET …]
# Needs the shared data (SHARED, default ../shared) and a Python with scikit-learn and pandas (PYTHON).
set -euo pipefail
cd "$(dirname "$0")/../.."
export SHARED=${SHARED:-../shared} OUT=$(mktemp -d)
trap 'rm -rf "$OUT"' EXIT
if [ -z "${BENCH:-}" ]; then
    cargo build --release --locked --quiet --workspace --example boosting_bench
    BENCH=$PWD/target/release/examples/boosting_bench
fi
export BENCH
"${PYTHON:-python3}" - "$@" <<'PY'
import json, os, subprocess, sys, time, warnings
import numpy as np, pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.metrics import average_precision_score, log_loss, roc_auc_score
from sklearn.model_selection import StratifiedKFold
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
warnings.filterwarnings('ignore')
shared, out, bench = os.environ['SHARED'], os.environ['OUT'], os.environ['BENCH']

def ours(estimator):
    def run(x, y, x_test, kinds, task):
        for name, a, b in (('train', x, y), ('test', x_test, np.zeros(len(x_test)))):
            with open(f'{out}/{name}', 'wb') as f:
                f.write(np.array(a.shape, '<u8').tobytes() + a.astype('<f8').tobytes() + b.astype('<f8').tobytes() + bytes(kinds))
        got = subprocess.run([bench, f'{out}/train', f'{out}/test', f'{out}/scores', task, '{}', estimator],
                             check=True, capture_output=True, text=True).stdout
        return json.loads(got)['fit_s'], np.fromfile(f'{out}/scores')
    return run

def theirs(x, y, x_test, kinds, task):
    words = [j for j, k in enumerate(kinds) if k]
    numbers = [j for j in range(x.shape[1]) if j not in words]
    kind = MLPRegressor if task == 'regression' else MLPClassifier
    model = make_pipeline(ColumnTransformer([('numbers', StandardScaler(), numbers),
                                             ('words', OneHotEncoder(handle_unknown='ignore'), words)]),
                          kind((256, 256), early_stopping=True, random_state=1))
    start = time.time()
    model.fit(x, y)
    took = time.time() - start
    return took, model.predict(x_test) if task == 'regression' else model.predict_proba(x_test)[:, 1]

def german():
    d = pd.read_parquet(f'{shared}/data/german_credit/german_credit.parquet')
    target = d.columns[-1] if 'credit_risk' not in d.columns else 'credit_risk'
    y = pd.factorize(d[target], sort=True)[0].astype(float)
    features = d.drop(columns=target)
    texts = [not pd.api.types.is_numeric_dtype(features[c]) for c in features]
    x = np.column_stack([pd.factorize(features[c], sort=True)[0] if t else features[c] for c, t in zip(features, texts)])
    return x.astype(float), y, [*map(int, texts)], list(StratifiedKFold(10, shuffle=True, random_state=0).split(x, y)), 'binary'

def fraud():
    d = pd.read_parquet(f'{shared}/data/creditcard_fraud/creditcard.parquet')
    x = np.column_stack([d[f'v{i}_milli'] / 1000. for i in range(1, 29)] + [d.amount_cents / 100.]).astype(float)
    cut = int(len(x) * .8)
    return x, d.is_fraud.to_numpy(float), [0] * 29, [(np.arange(cut), np.arange(cut, len(x)))], 'binary'

def frappe():
    a, b = (pd.read_parquet(f'{shared}/data/frappe_context_ctr/{n}.parquet') for n in ('validation', 'test'))
    columns = [c for c in a.columns if c != 'label']
    known = [pd.CategoricalDtype(np.unique(a[c])) for c in columns]
    both = pd.concat([a, b])
    codes = [pd.Categorical(both[c], dtype=k).codes.astype(float) for c, k in zip(columns, known)]
    x = np.column_stack([np.where(v < 0, 60_000, v) for v in codes])
    return x, both.label.to_numpy(float), [1] * len(columns), [(np.arange(len(a)), np.arange(len(a), len(both)))], 'binary'

def rossmann():
    d = pd.read_parquet(f'{shared}/data/rossmann100/sales.parquet')
    d = d[d.open & (d.sales > 0)]
    t = pd.to_datetime(d.date)
    days = (t - t.min()).dt.days.to_numpy()
    code = lambda c: pd.factorize(d[c], sort=True)[0]
    x = np.column_stack([code('store'), t.dt.dayofweek, d.promo, d.schoolholiday, code('storetype'), code('assortment'), d.promo2,
                         code('state'), t.dt.day, t.dt.dayofyear, t.dt.month, days]).astype(float)
    cut = days.max() - 42
    return x, np.log(d.sales.to_numpy(float)), [1, 1, 0, 0, 1, 1, 0, 1, 0, 0, 0, 0], [(np.where(days <= cut)[0], np.where(days > cut)[0])], 'regression'

def figures(name, y, p):
    if name == 'rossmann':
        return f'RMSE of logarithms {np.sqrt(np.mean((p - y) ** 2)):.4f}, RMSPE {np.sqrt(np.mean((np.exp(p - y) - 1) ** 2)):.4f}'
    p = np.clip(p, 1e-15, 1 - 1e-15)
    return f'AUC {roc_auc_score(y, p):.4f}, AUPRC {average_precision_score(y, p):.4f}, log loss {log_loss(y, p):.4f}'

for name in sys.argv[1:] or ['german', 'fraud', 'frappe', 'rossmann']:
    x, y, kinds, splits, task = globals()[name]()
    for who, run in (('mlp', ours('mlp')), ('boosting', ours('boosting')), ('scikit-learn', theirs)):
        took, rows, told = 0., [], []
        for a, b in splits:
            seconds, p = run(x[a], y[a], x[b], kinds, task)
            took += seconds
            rows.append(b)
            told.append(p)
        print(f'{name}, {who}: fit {took:.1f} s, {figures(name, y[np.concatenate(rows)], np.concatenate(told))}', flush=True)
PY
