#!/usr/bin/env bash
# Forests beside scikit-learn's, on the same data in one run:
# 1. random forest and extra trees, 80,000 × 20 generated rows, 100 trees, 2 threads: fit time and accuracy;
# 2. random forest on German credit: mean area under the ROC curve over the same 10 folds, 5 seeds each;
# 3. isolation forest on credit-card fraud, time split: area under the precision-recall curve.
#   docs/benchmarks/forest.sh
# Needs the shared data and scorers (SHARED, default ../shared) and a Python with scikit-learn and pandas (PYTHON).
set -euo pipefail
cd "$(dirname "$0")/../.."
export SHARED=${SHARED:-../shared} OUT=$(mktemp -d)
trap 'rm -rf "$OUT"' EXIT
PYTHON=${PYTHON:-python3}
cargo build --release --locked --quiet --workspace --example forest_bench
export BENCH=$PWD/target/release/examples/forest_bench
"$PYTHON" - <<'PY'
import json, os, resource, subprocess, sys, time
import numpy as np, pandas as pd
from sklearn.datasets import make_classification
from sklearn.ensemble import ExtraTreesClassifier, IsolationForest, RandomForestClassifier
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold
shared, out, bench = os.environ['SHARED'], os.environ['OUT'], os.environ['BENCH']
sys.path.insert(0, f'{shared}/peers')
from binary_score import report

def write(name, x, y, kinds=()):
    with open(f'{out}/{name}', 'wb') as f:
        f.write(np.array(x.shape, '<u8').tobytes() + np.ascontiguousarray(x, '<f8').tobytes())
        f.write(np.asarray(y, '<f8').tobytes() + bytes(kinds))
    return f'{out}/{name}'

def ours(*args):
    return json.loads(subprocess.run([bench, *args], check=True, capture_output=True, text=True).stdout)

def cpu(who):
    used = resource.getrusage(who)
    return used.ru_utime + used.ru_stime

x, y = make_classification(100_000, 20, n_informative=10, n_redundant=5, random_state=1)
train, test = write('train', x[:80_000], y[:80_000]), write('test', x[80_000:], y[80_000:])
for name, kind in (('forest', RandomForestClassifier), ('extra', ExtraTreesClassifier)):
    before = cpu(resource.RUSAGE_CHILDREN)
    mine = ours(name, train, test, '2')
    mine_cpu = cpu(resource.RUSAGE_CHILDREN) - before
    start, before = time.time(), cpu(resource.RUSAGE_SELF)
    model = kind(n_estimators=100, n_jobs=2, random_state=1).fit(x[:80_000], y[:80_000])
    fit_s, fit_cpu = time.time() - start, cpu(resource.RUSAGE_SELF) - before
    accuracy = model.score(x[80_000:], y[80_000:])
    print(f'{name}: fit {mine["fit_s"]:.2f} s against {fit_s:.2f} s, ratio {mine["fit_s"] / fit_s:.3f}; '
          f'CPU (ours with reading and scoring) {mine_cpu:.2f} s against {fit_cpu:.2f} s; '
          f'accuracy {mine["accuracy"]:.4f} against {accuracy:.4f}', flush=True)

d = pd.read_parquet(f'{shared}/data/german_credit/german_credit.parquet')
target = d.columns[-1] if 'credit_risk' not in d.columns else 'credit_risk'
y = pd.factorize(d[target], sort=True)[0]
features = d.drop(columns=target)
texts = [not pd.api.types.is_numeric_dtype(features[c]) for c in features]
codes = np.column_stack([pd.factorize(features[c], sort=True)[0] if t else features[c] for c, t in zip(features, texts)])
onehot = pd.get_dummies(features).to_numpy(float)
mine, theirs = [], {'codes': [], 'one-hot': []}
for seed in range(5):
    fold, folds = np.zeros(len(y)), list(StratifiedKFold(10, shuffle=True, random_state=seed).split(codes, y))
    for k, (_, rows) in enumerate(folds):
        fold[rows] = k
    table = write('german', np.column_stack([codes, fold]), y, [*map(int, texts), 0])
    mine.append(ours('folds', table, '{"n_trees": 500}')['auc'])
    for name, z in (('codes', codes), ('one-hot', onehot)):
        aucs = []
        for a, b in folds:
            model = RandomForestClassifier(500, n_jobs=2, random_state=seed).fit(z[a], y[a])
            aucs.append(roc_auc_score(y[b], model.predict_proba(z[b])[:, 1]))
        theirs[name].append(np.mean(aucs))
print(f'german credit: AUC {np.mean(mine):.4f} against ' +
      ', '.join(f'{np.mean(v):.4f} ({k})' for k, v in theirs.items()), flush=True)

d = pd.read_parquet(f'{shared}/data/creditcard_fraud/creditcard.parquet')
y = d.is_fraud.to_numpy(float)
x = np.column_stack([d[f'v{i}_milli'] / 1000. for i in range(1, 29)] + [d.amount_cents / 100.]).astype(np.float32)
cut = int(len(y) * .8)
train, test = write('train', x[:cut], y[:cut]), write('test', x[cut:], y[cut:])
for params in ({'max_samples': 4096}, {'max_samples': 1_000_000, 'max_depth': 8, 'scoring': 'density'}):
    mine = ours('isolation', train, test, f'{out}/scores', json.dumps(params))
    score = report(y[cut:], np.fromfile(f'{out}/scores', '<f8'))
    print(f'fraud, ours {params}: fit {mine["fit_s"]:.2f} s, score {mine["predict_s"]:.2f} s, '
          f'AUPRC {score["AUPRC"]:.4f}, AUC {score["AUC"]:.4f}', flush=True)
start = time.time()
model = IsolationForest(n_estimators=200, max_samples=4096, n_jobs=2, random_state=1).fit(x[:cut])
fit_s, start = time.time() - start, time.time()
score = report(y[cut:], -model.score_samples(x[cut:]))
print(f'fraud, scikit-learn: fit {fit_s:.2f} s, score {time.time() - start:.2f} s, AUPRC {score["AUPRC"]:.4f}, '
      f'AUC {score["AUC"]:.4f}')
PY
