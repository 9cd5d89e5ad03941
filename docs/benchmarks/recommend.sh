#!/usr/bin/env bash
# Recommenders on the agreed splits, by the shared scorer, each line with CPU seconds of the fit, users a CPU second of the
# answers and peak memory of the process. PEERS=1 runs the peers beside it on the same machine.
#   docs/benchmarks/recommend.sh [SET…]     (default: ml1m_rand ml1m_llo beauty_llo sports_llo games_llo taobao_buy journey_next4w)
# HELD=1 asks for a part held back from the training part instead, where parameters are chosen: the last event of each
# user, a random tenth (ml1m_rand, taobao_buy), or the last four weeks (journey_next4w).
# Needs the shared data and scorers (SHARED, default ../shared) and a Python with numpy, pandas and pyarrow (PYTHON); for
# the peers also scipy and implicit.
set -euo pipefail
cd "$(dirname "$0")/../.."
SHARED=${SHARED:-../shared} OUT=$(mktemp -d) PYTHON=${PYTHON:-python3}
trap 'rm -rf "$OUT"' EXIT
cargo build --release --locked --quiet --workspace --example recommend_bench
bench=${CARGO_TARGET_DIR:-target}/release/examples/recommend_bench

# Chosen on the parts held back, never on the test files.
models_of() {
  case $1 in
    ml1m_rand) cat <<'M'
item_knn {}
user_knn {}
ials {}
slim {}
graph_filter {}
random_walk {}
bpr {}
light_gcn {}
ease {"regularization":1000}
hybrid {"held_back":"random","users_max":10000,"models":"ease {\"regularization\":1000},ials,user_knn,transitions {\"backward\":1,\"history\":1000,\"history_decay\":1}"}
M
    ;;
    ml1m_llo) cat <<'M'
ease {}
transitions {}
slit {}
hybrid {"models":"transitions,slit,ease,ials,item_knn"}
ranker {"candidates":50,"models":"transitions,slit,ease,ials,item_knn"}
M
    ;;
    beauty_llo|sports_llo|games_llo) cat <<'M'
item_knn {}
slim {}
user_knn {}
transitions {"backward":0.3}
hybrid {"models":"item_knn,user_knn,ials,rp3beta"}
hybrid {"models":"item_knn,user_knn,ials,transitions {\"backward\":0.3}"}
hybrid {"models":"item_knn,user_knn,ials,transitions {\"backward\":0.3},sasrec {\"length\":50,\"epochs\":40}"}
ranker {"models":"item_knn,user_knn,ials,transitions {\"backward\":0.3}"}
M
    ;;
    taobao_buy) cat <<'M'
item_knn {}
user_knn {}
hybrid {"models":"item_knn,user_knn,rp3beta,ials,transitions"}
M
    ;;
    journey_next4w) cat <<'M'
buy_again {"period":672}
M
    ;;
  esac
}
peers_of() {
  case $1 in
    ml1m_rand) printf '%s\n' 'itemknn {}' 'als {"alpha":10}' 'als {"alpha":2}' 'ease {"lam":300}' ;;
    ml1m_llo) printf '%s\n' 'markov {}' 'ease {"lam":300}' 'als {"alpha":2}' ;;
    journey_next4w) printf '%s\n' 'userfreq {}' ;;
    *) printf '%s\n' 'markov {}' 'itemknn {}' 'als {"alpha":10}' ;;
  esac
}

for set in "${@:-ml1m_rand ml1m_llo beauty_llo sports_llo games_llo taobao_buy journey_next4w}"; do
for name in $set; do
  "$PYTHON" "$SHARED/peers/recommend_splits.py" "$name" "$OUT/$name" --data "$SHARED/data"
  options=(); held=last
  case $name in
    journey_next4w) options=(--seen --keep-duplicates); held=672 ;;
    ml1m_rand|taobao_buy) held=random ;;
  esac
  models_of "$name" | while read -r model params; do
    if [ -n "${HELD:-}" ]; then
      "$bench" "$OUT/$name/train.tsv" - - "${options[@]}" --held "$held" --model "$model" --params "$params"
    else
      "$bench" "$OUT/$name/train.tsv" "$OUT/$name/test.tsv" "$OUT/pred.tsv" "${options[@]}" --model "$model" --params "$params"
      "$PYTHON" "$SHARED/peers/recommend_score.py" "$OUT/$name/test.tsv" "$OUT/pred.tsv" --train "$OUT/$name/train.tsv" \
        | grep -E '^(NDCG|Recall|HR|coverage)@10' | tr '\n' ' '; echo
    fi
  done
  if [ -n "${PEERS:-}" ]; then
    peers_of "$name" | while read -r model params; do
      SHARED_DATA="$SHARED/data" RES=/dev/null "$PYTHON" "$SHARED/peers/recommend_peers.py" "$name" "$model" "$params"
    done
  fi
done
done
