#!/usr/bin/env bash
# Import of 10 million generated order lines (CSV, about 600 MB): rate and peak memory; then three imports killed with
# -9 at random moments, after each of which the shop must be as before.
#   docs/benchmarks/import.sh [ROWS]              (default: 10000000)
set -euo pipefail
cd "$(dirname "$0")/../.."
ROWS=${1:-10000000} OUT=$(mktemp -d)
trap 'rm -rf "$OUT"' EXIT
[ -x target/release/tradewind ] || cargo build --release --locked
TRADEWIND=$PWD/target/release/tradewind
cargo run --release --locked --example make_orders -- "$ROWS" 1 "$OUT/orders.csv"
ls -l "$OUT/orders.csv"
"$TRADEWIND" --quiet init "$OUT/shop"
/usr/bin/env time -f "import: %U s user, %S s system, %e s wall, %M KiB" \
  "$TRADEWIND" --quiet --shop "$OUT/shop" import --preset canonical --table sales "$OUT/orders.csv"
"$TRADEWIND" --quiet --shop "$OUT/shop" import --preset canonical --table sales "$OUT/orders.csv" # again: nothing new
head -n $((ROWS / 2)) "$OUT/orders.csv" >"$OUT/more.csv"
state() { "$TRADEWIND" --quiet --json --shop "$OUT/shop" check | "${PYTHON:-python3}" -c \
  'import sys,json; q=json.load(sys.stdin)["quality"]; print([(t["table"],t["rows"],t["files"]) for t in q["tables"]], len(q["imports"]))'; }
before=$(state)
for i in 1 2 3; do
  "$TRADEWIND" --quiet --shop "$OUT/shop" import --preset canonical --table sales "$OUT/more.csv" & pid=$!
  sleep "0.$((RANDOM % 9))$((RANDOM % 10))"; kill -9 "$pid" 2>/dev/null && echo "killed import $i" || true
  wait "$pid" 2>/dev/null || true
  [ "$(state)" = "$before" ] && echo "the shop is as before: $before" || { echo "the shop changed: $(state)"; exit 1; }
done
