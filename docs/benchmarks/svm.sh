#!/usr/bin/env bash
# Support vector machine, Gaussian kernel, 5,000 × 20, C = 1, gamma `scale`, one thread each: fit time (median of five)
# beside scikit-learn's libsvm in the same run, the support vectors both find, and how far the decisions differ.
#   docs/benchmarks/svm.sh [ROWS] [COLUMNS]       (default: 5000 20)
# Needs a Python with scikit-learn (PYTHON, default python3).
set -euo pipefail
cd "$(dirname "$0")/../.."
PYTHON=${PYTHON:-python3} OUT=$(mktemp -d)
trap 'rm -rf "$OUT"' EXIT
BENCH=target/release/examples/svm_bench
[ -x "$BENCH" ] || cargo build --release --locked --workspace --example svm_bench
"$PYTHON" - "$OUT" "$BENCH" "${1:-5000}" "${2:-20}" <<'PY'
import subprocess, sys, time
import numpy as np, sklearn
from sklearn.datasets import make_classification
from sklearn.svm import SVC
out, bench, n, p = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
x, y = make_classification(n_samples=n, n_features=p, n_informative=p // 2, random_state=0)
np.concatenate([[n, p], x.ravel(), y]).astype('<f8').tofile(f'{out}/data')
said = subprocess.run([bench, f'{out}/data', f'{out}/answer'], check=True, capture_output=True, text=True).stdout.split()
ours, our_predict = float(said[2]), float(said[4])
times = []
for _ in range(5):
    start = time.perf_counter(); m = SVC().fit(x, y); times.append(time.perf_counter() - start)
start = time.perf_counter(); d = m.decision_function(x); predict = time.perf_counter() - start
theirs = sorted(times)[2]
lines = open(f'{out}/answer').read().split()
k = int(lines[0]); support = set(map(int, lines[1:k + 1])); decision = np.array(lines[k + 1:], float)
same = len(support & set(m.support_)); union = len(support | set(m.support_))
print(f'scikit-learn {sklearn.__version__}: fit {theirs:.4f} s, predict {predict:.4f} s, steps {int(np.sum(m.n_iter_))}, support {len(m.support_)}')
print(f'ours: fit {ours:.4f} s, predict {our_predict:.4f} s, steps {said[6]}, support {k}')
print(f'ratio fit {ours / theirs:.3f}, predict {our_predict / predict:.3f}; support in common {same} of {union}; largest difference of a decision {np.abs(decision - d).max():.2e}')
PY
