#!/usr/bin/env bash
# Self-attention over histories on ML-1M, the last event of each user left out: alone, and in the hybrid beside the models
# that count. Two threads; wall seconds, CPU seconds and peak memory of each process.
#   docs/benchmarks/sasrec.sh
# PEERS=1 trains a SASRec in PyTorch beside it, for as many seconds as BUDGET says (1200). HELD=1 asks for the last but one
# event of each user instead, where parameters are chosen.
# Needs the shared data and scorers (SHARED, default ../shared) and a Python with numpy, pandas and pyarrow (PYTHON); for
# the peer also torch.
set -euo pipefail
cd "$(dirname "$0")/../.."
SHARED=${SHARED:-../shared} OUT=$(mktemp -d) PYTHON=${PYTHON:-python3}
trap 'rm -rf "$OUT"' EXIT
cargo build --release --locked --quiet --workspace --example recommend_bench
bench=${CARGO_TARGET_DIR:-target}/release/examples/recommend_bench
"$PYTHON" "$SHARED/peers/recommend_splits.py" ml1m_llo "$OUT/ml1m" --data "$SHARED/data"

SASREC='{"length":200,"epochs":80}'
QUOTED=${SASREC//\"/\\\"}
while read -r model params; do
  echo "$model $params"
  if [ -n "${HELD:-}" ]; then
    RAYON_NUM_THREADS=2 /usr/bin/time -f '  %e s wall, %U s CPU, %M KiB' \
      "$bench" "$OUT/ml1m/train.tsv" - - --held last --model "$model" --params "$params"
  else
    RAYON_NUM_THREADS=2 /usr/bin/time -f '  %e s wall, %U s CPU, %M KiB' \
      "$bench" "$OUT/ml1m/train.tsv" "$OUT/ml1m/test.tsv" "$OUT/pred.tsv" --model "$model" --params "$params"
    "$PYTHON" "$SHARED/peers/recommend_score.py" "$OUT/ml1m/test.tsv" "$OUT/pred.tsv" --train "$OUT/ml1m/train.tsv" |
      grep -E '^(NDCG|Recall|HR|coverage)@10' | tr '\n' ' '
    echo
  fi
done <<M
sasrec $SASREC
hybrid {"models":"sasrec $QUOTED,transitions,slit,ease,ials,item_knn"}
M
if [ -n "${PEERS:-}" ]; then
  RES=/dev/null "$PYTHON" "$SHARED/peers/sasrec_peers.py" ml1m_llo "${BUDGET:-1200}" 100 64
fi
