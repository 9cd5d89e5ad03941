#!/usr/bin/env bash
# One answer at a time and events as they come, in process:
# - answers from a 100,000-item, 1,000,000-user iALS model of 64 factors (tastes, drawn; popularity as in shops, by Zipf, flat), with a rule, the
#   stock filter and reasons: p50, p95, p99 on one thread, beside a plain scan in single precision;
# - events a second with answers read beside, each event seen in the next answer;
# - SOAK=10: so many minutes of 10 million events of 1,000,000 users, with the memory every ten seconds.
#   docs/benchmarks/serve_recommend.sh
set -euo pipefail
cd "$(dirname "$0")/../.."
cargo build --release --locked --quiet --workspace --examples
BIN=$(mktemp -d)
trap 'rm -rf "$BIN"' EXIT
cp "${CARGO_TARGET_DIR:-target}"/release/examples/{serve_bench,live_bench,live_soak} "$BIN"
for skew in 3 0 1; do
  echo "popularity: skew $skew"
  "$BIN/serve_bench" --skew $skew
done
"$BIN/live_bench" --writers 1 --readers 1
"$BIN/live_bench" --writers 2 --readers 0
if [[ ${SOAK:-0} != 0 ]]; then
  "$BIN/live_soak" --minutes "$SOAK"
fi
