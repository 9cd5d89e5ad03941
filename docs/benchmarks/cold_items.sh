#!/usr/bin/env bash
# Amazon Games with titles: items that nobody has taken yet, recommended from their titles. A fifth of the 16,859 items,
# drawn at random, loses all its events; every user with events left and a cold one is asked for the best 20 of the cold
# items. Beside the models: chance, the popularity of known items that share the title's words, and the popularity that the
# cold items turn out to have, which nobody could know.
#   docs/benchmarks/cold_items.sh [MODEL PARAMS]…
# DEV=1 leaves those items out altogether and makes another fifth cold, where parameters are chosen.
# Needs the shared data (SHARED, default ../shared) and a Python with pandas and pyarrow (PYTHON).
set -euo pipefail
cd "$(dirname "$0")/../.."
SHARED=${SHARED:-../shared} OUT=$(mktemp -d) PYTHON=${PYTHON:-python3}
trap 'rm -rf "$OUT"' EXIT
cargo build --release --locked --quiet --workspace --example cold_items
"$PYTHON" - "$SHARED/data/amazon_games_titles" "$OUT" <<'P'
import sys
import pandas
data, out = sys.argv[1:]
for name in ["sequences", "items"]:
    table = pandas.read_parquet(f"{data}/{name}.parquet")
    if "title" in table:
        table["title"] = table.title.str.replace(r"\s+", " ", regex=True)
    table.to_csv(f"{out}/{name}.tsv", sep="\t", index=False, quoting=3)
P
[ $# -gt 0 ] || set -- content '{}' cold_factors '{}' two_tower '{}'
options=()
[ -z "${DEV:-}" ] || options+=(--dev)
while [ $# -gt 1 ]; do
  options+=(--model "$1" --params "$2")
  shift 2
done
"${CARGO_TARGET_DIR:-target}/release/examples/cold_items" "$OUT/sequences.tsv" "$OUT/items.tsv" "${options[@]}"
