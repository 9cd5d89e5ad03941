#!/usr/bin/env bash
# Boosting against LightGBM on 2 threads: generated 1,000,000 × 50 regression, and 200,000 × 100 binary with 20 columns
# of categories; 100 rounds, 63 leaves, 255 bins, learning rate 0.1. Prints fit seconds, error on held-out rows, memory.
# Needs an interpreter with numpy, scikit-learn and lightgbm: PYTHON=… docs/benchmarks/boosting.sh
set -euo pipefail
cd "$(dirname "$0")/../.."
python=${PYTHON:-python3}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cargo build --release --quiet -p tradewind-learn --example boosting_bench
ours=${CARGO_TARGET_DIR:-target}/release/examples/boosting_bench
"$python" - "$work" <<'PY'
import sys
import numpy as np
to, r = sys.argv[1], np.random.RandomState(7)
n, p = 1_200_000, 50
X = r.standard_normal((n, p)).astype(np.float32)
y = (3 * np.sin(2 * X[:, 0]) + X[:, 1] * X[:, 2] + 2 * (X[:, 3] > 0.5) + np.abs(X[:, 4])
     + X[:, 5:15] @ np.linspace(1, .1, 10).astype(np.float32) + np.where(X[:, 15] > 0, X[:, 16], -X[:, 17])
     + r.standard_normal(n)).astype(np.float32)
X.tofile(to + '/reg_x.bin'); y.tofile(to + '/reg_y.bin')
n, p = 250_000, 100
X = r.standard_normal((n, p)).astype(np.float32)
z = 1.2 * X[:, 0] * X[:, 1] + np.sin(3 * X[:, 2]) + X[:, 3:13] @ np.linspace(.6, .1, 10)
for k in range(20):
    card = [3, 5, 8, 12, 20, 30, 50, 80, 120, 200][k % 10]
    w = 1 / (1 + np.arange(card)) ** .7
    c = r.choice(card, n, p=w / w.sum()); X[:, 80 + k] = c
    z += r.standard_normal(card)[c] * .35
y = (r.random_sample(n) < 1 / (1 + np.exp(-z))).astype(np.float32)
X.tofile(to + '/bin_x.bin'); y.tofile(to + '/bin_y.bin')
PY
peer() {
  "$python" - "$work" "$@" <<'PY'
import resource, sys, time
import lightgbm as lgb, numpy as np
from sklearn.metrics import roc_auc_score
at, kind = sys.argv[1:3]
n, p, cat, objective = dict(reg=(1_000_000, 50, 'auto', 'regression'), bin=(200_000, 100, list(range(80, 100)), 'binary'))[kind]
X, y = np.fromfile(f'{at}/{kind}_x.bin', np.float32).reshape(-1, p), np.fromfile(f'{at}/{kind}_y.bin', np.float32)
t = time.time()
d = lgb.Dataset(X[:n], y[:n], categorical_feature=cat, params=dict(verbose=-1, num_threads=2, max_bin=255))
m = lgb.train(dict(objective=objective, num_leaves=63, max_bin=255, learning_rate=.1, num_threads=2, verbose=-1, seed=1), d, 100)
t = time.time() - t
q = m.predict(X[n:])
metric = np.sqrt(np.mean((q - y[n:]) ** 2)) if kind == 'reg' else roc_auc_score(y[n:], q)
rss = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(f'{kind} lightgbm {lgb.__version__} fit_s {t:.3f} metric {metric:.6f} peak_rss {rss} kB')
PY
}
for _ in 1 2 3; do
  peer reg
  "$ours" "$work/reg_x.bin" "$work/reg_y.bin" 50 1000000 regression 0
  peer bin
  "$ours" "$work/bin_x.bin" "$work/bin_y.bin" 100 200000 binary 20
done | tee "$work/out"
awk '{ for (i = 1; i < NF; i++) if ($i == "fit_s") { k = substr($1, 1, 3) " " $2; if (!(k in t) || $(i + 1) < t[k]) t[k] = $(i + 1) } }
  END { printf "ratio of the best fit times: regression %.2f, binary %.2f\n", t["reg tradewind"] / t["reg lightgbm"], t["bin tradewind"] / t["bin lightgbm"] }' "$work/out"
