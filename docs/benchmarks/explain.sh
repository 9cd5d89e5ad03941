#!/usr/bin/env bash
# Prediction and TreeSHAP of one and the same LightGBM model, ours (imported) beside LightGBM's, 2 threads each, in one
# run: 200,000 rows x 50 columns (missing values; 5 columns of categories), 100 trees of 63 leaves; contributions of the
# first CONTRIBUTION_ROWS.
#   docs/benchmarks/explain.sh [ROWS] [CONTRIBUTION_ROWS]      (default: 200000 20000)
# Needs a Python with lightgbm and numpy (PYTHON, default python3). Builds the release example when it is not there.
set -euo pipefail
cd "$(dirname "$0")/../.."
ROWS=${1:-200000} FEW=${2:-20000} THREADS=${THREADS:-2} PYTHON=${PYTHON:-python3} OUT=$(mktemp -d)
trap 'rm -rf "$OUT"' EXIT
BENCH=target/release/examples/explain_bench
[ -x "$BENCH" ] || cargo build --release --locked --workspace --example explain_bench
for CATEGORIES in 0 5; do
  echo "== $CATEGORIES columns of categories"
  "$PYTHON" - "$OUT" "$ROWS" "$FEW" "$THREADS" "$CATEGORIES" >"$OUT/peer" <<'PY'
import sys, time, numpy as np, lightgbm as lgb
out, rows, few, threads, cats = sys.argv[1], *map(int, sys.argv[2:])
rng = np.random.default_rng(5)
x = rng.normal(size=(rows, 50))
for j in range(cats):
    x[:, 49 - j] = rng.integers(0, 60, rows)
effect = rng.normal(size=60)
y = x[:, 0] * x[:, 1] + np.sin(2 * x[:, 2]) + x[:, 3:15].sum(axis=1) / 3 + rng.normal(size=rows)
for j in range(cats):
    y += effect[x[:, 49 - j].astype(int)] * (1 if j % 2 else x[:, 4])
x[rng.random(x.shape) < 0.03] = np.nan
cat = [49 - j for j in range(cats)]
model = lgb.train(dict(objective='regression', num_leaves=63, learning_rate=0.1, verbose=-1, num_threads=threads),
                  lgb.Dataset(x, y, categorical_feature=cat), 100)
model.save_model(f'{out}/model.txt')
x.tofile(f'{out}/x.bin')
def best(times, work):
    shortest = 1e9
    for _ in range(times):
        t = time.perf_counter(); result = work(); shortest = min(shortest, time.perf_counter() - t)
    return shortest, result
t, p = best(5, lambda: model.predict(x, num_threads=threads)); print('predict_s', round(t, 4)); p.tofile(f'{out}/predict.bin')
t, c = best(2, lambda: model.predict(x[:few], pred_contrib=True, num_threads=threads)); print('contributions_s', round(t, 4)); c.tofile(f'{out}/contributions.bin')
print('lightgbm', lgb.__version__, file=sys.stderr)
PY
  "$BENCH" "$OUT" 50 "$FEW" "$THREADS" >"$OUT/ours"
  awk 'NR == FNR { peer[$1] = $2; next } $1 in peer { printf "%s ours %s LightGBM %s ratio %.3f\n", $1, $2, peer[$1], $2 / peer[$1]; next } { print "ours", $0 }' \
    "$OUT/peer" "$OUT/ours"
done
