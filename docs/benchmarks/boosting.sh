#!/usr/bin/env bash
# Boosting against LightGBM on 2 threads: generated 1,000,000 × 50 regression, and 200,000 × 100 binary with 20 columns
# of categories; 100 rounds, 63 leaves, 255 bins, learning rate 0.1. Three turns each, one after the other; prints fit
# seconds, error on rows held out, memory at its highest, and what of it came on top of the data and the interpreter.
# LightGBM gets its data as f32, which it prefers; ours are f64.
# Needs an interpreter with numpy, scikit-learn and lightgbm: PYTHON=… docs/benchmarks/boosting.sh
set -euo pipefail
cd "$(dirname "$0")/../.."
python=${PYTHON:-python3}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cargo build --release --locked --quiet --workspace --example boosting_bench
export BENCH=${CARGO_TARGET_DIR:-target}/release/examples/boosting_bench
cat > "$work/make.py" <<'PY'
import sys
import numpy as np
to, r = sys.argv[1], np.random.RandomState(7)

def write(name, x, y, kinds=()):
    np.save(f'{to}/{name}_x.npy', x); np.save(f'{to}/{name}_y.npy', y)
    with open(f'{to}/{name}', 'wb') as f:
        f.write(np.array(x.shape, '<u8').tobytes() + x.astype('<f8').tobytes() + y.astype('<f8').tobytes() + bytes(kinds))

n, p = 1_200_000, 50
X = r.standard_normal((n, p)).astype(np.float32)
y = (3 * np.sin(2 * X[:, 0]) + X[:, 1] * X[:, 2] + 2 * (X[:, 3] > 0.5) + np.abs(X[:, 4])
     + X[:, 5:15] @ np.linspace(1, .1, 10).astype(np.float32) + np.where(X[:, 15] > 0, X[:, 16], -X[:, 17])
     + r.standard_normal(n)).astype(np.float32)
write('regression_train', X[:1_000_000], y[:1_000_000]); write('regression_test', X[1_000_000:], y[1_000_000:])
n, p = 250_000, 100
X = r.standard_normal((n, p)).astype(np.float32)
z = 1.2 * X[:, 0] * X[:, 1] + np.sin(3 * X[:, 2]) + X[:, 3:13] @ np.linspace(.6, .1, 10)
for k in range(20):
    card = [3, 5, 8, 12, 20, 30, 50, 80, 120, 200][k % 10]
    w = 1 / (1 + np.arange(card)) ** .7
    c = r.choice(card, n, p=w / w.sum()); X[:, 80 + k] = c
    z += r.standard_normal(card)[c] * .35
y = (r.random_sample(n) < 1 / (1 + np.exp(-z))).astype(np.float32)
kinds = [0] * 80 + [1] * 20
write('binary_train', X[:200_000], y[:200_000], kinds); write('binary_test', X[200_000:], y[200_000:], kinds)
PY
cat > "$work/turn.py" <<'PY'
import json, os, resource, subprocess, sys, time
import numpy as np
at, who, task = sys.argv[1:4]
y = np.load(f'{at}/{task}_test_y.npy')
if who == 'tradewind':
    out = subprocess.run([os.environ['BENCH'], f'{at}/{task}_train', f'{at}/{task}_test', f'{at}/scores', task,
                          '{"n_leaves": 63}'], check=True, capture_output=True, text=True).stdout
    r, q = json.loads(out), np.fromfile(f'{at}/scores')
    fit_s, loaded, peak = r['fit_s'], r['loaded_mib'], r['peak_mib']
else:
    import lightgbm as lgb
    x, target = np.load(f'{at}/{task}_train_x.npy'), np.load(f'{at}/{task}_train_y.npy')
    loaded = int(next(l for l in open('/proc/self/status') if l.startswith('VmRSS')).split()[1]) / 1024
    columns = list(range(80, 100)) if task == 'binary' else 'auto'
    start = time.time()
    d = lgb.Dataset(x, target, categorical_feature=columns, params=dict(verbose=-1, num_threads=2, max_bin=255))
    m = lgb.train(dict(objective=task, num_leaves=63, max_bin=255, learning_rate=.1, num_threads=2, verbose=-1, seed=1), d, 100)
    fit_s, peak = time.time() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    q = m.predict(np.load(f'{at}/{task}_test_x.npy'))
if task == 'regression':
    name, value = 'RMSE', np.sqrt(np.mean((q - y) ** 2))
else:
    from sklearn.metrics import roc_auc_score
    name, value = 'AUC', roc_auc_score(y, q)
print(f'{task} {who}: fit {fit_s:.2f} s, {name} {value:.6f}, memory {peak:.0f} MiB, of it by fitting {peak - loaded:.0f} MiB', flush=True)
with open(f'{at}/{task}_{who}', 'a') as f:
    f.write(f'{fit_s}\n')
PY
"$python" "$work/make.py" "$work"
for _ in 1 2 3; do
  for task in regression binary; do
    "$python" "$work/turn.py" "$work" tradewind $task
    "$python" "$work/turn.py" "$work" lightgbm $task
  done
done
for task in regression binary; do
  best() { sort -g "$work/${task}_$1" | head -1; }
  awk -v t=$task -v a="$(best tradewind)" -v b="$(best lightgbm)" 'BEGIN { printf "%s: ratio of the best fit times %.2f\n", t, a / b }'
done
