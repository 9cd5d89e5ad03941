#!/usr/bin/env bash
# SVD++ on MovieLens-100k: root mean square error over five random folds.
#   docs/benchmarks/ratings.sh [JSON of parameters]
# HELD=1 holds a tenth of each training part back instead, where parameters are chosen.
# Needs the shared data (SHARED, default ../shared) and a Python with pandas, numpy and pyarrow (PYTHON).
set -euo pipefail
cd "$(dirname "$0")/../.."
SHARED=${SHARED:-../shared} OUT=$(mktemp -d) PYTHON=${PYTHON:-python3}
trap 'rm -rf "$OUT"' EXIT
cargo build --release --locked --quiet --workspace --example ratings_bench
bench=${CARGO_TARGET_DIR:-target}/release/examples/ratings_bench
"$PYTHON" - "$SHARED/data/movielens_100k/ratings.parquet" "$OUT" "${HELD:-}" <<'P'
import sys
import numpy as np
import pandas as pd
d = pd.read_parquet(sys.argv[1])[["user_id", "movie_id", "rating"]]
rng = np.random.default_rng(0)
fold = rng.permutation(len(d)) % 5
for k in range(5):
    train, test = d[fold != k], d[fold == k]
    if sys.argv[3]:
        held = rng.random(len(train)) < 0.1
        train, test = train[~held], train[held]
    for name, part in (("train", train), ("test", test)):
        part.to_csv(f"{sys.argv[2]}/{name}{k}.tsv", sep="\t", index=False)
P
for k in 0 1 2 3 4; do
  "$bench" "$OUT/train$k.tsv" "$OUT/test$k.tsv" --params "${1:-{\}}"
done | tee "$OUT/told"
"$PYTHON" -c "
import json, sys
told = [json.loads(l) for l in open(sys.argv[1])]
print('mean of folds: rmse %.4f mae %.4f fit %.2f s' % tuple(sum(t[k] for t in told) / len(told) for k in ('rmse', 'mae', 'fit_s')))
" "$OUT/told"
