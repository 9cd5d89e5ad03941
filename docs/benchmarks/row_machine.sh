#!/usr/bin/env bash
# The factorisation machine on Frappe click-through (learnt on the validation file, scored on the test file, as the shared
# page agrees): area under the curve and log loss.
#   docs/benchmarks/row_machine.sh [PARAMS]…
# DEV=1 scores a tenth held back from the training part instead, where parameters are chosen.
# Needs the shared data (SHARED, default ../shared) and a Python with pandas and pyarrow (PYTHON).
set -euo pipefail
cd "$(dirname "$0")/../.."
SHARED=${SHARED:-../shared} OUT=$(mktemp -d) PYTHON=${PYTHON:-python3}
trap 'rm -rf "$OUT"' EXIT
cargo build --release --locked --quiet --workspace --example row_machine
"$PYTHON" - "$SHARED/data/frappe_context_ctr" "$OUT" <<'P'
import sys
import pandas
for name in ["validation", "test"]:
    pandas.read_parquet(f"{sys.argv[1]}/{name}.parquet").to_csv(f"{sys.argv[2]}/{name}.tsv", sep="\t", index=False)
P
test=$OUT/test.tsv
[ -z "${DEV:-}" ] || test=-
[ $# -gt 0 ] || set -- '{"factors":32,"epochs":15,"learning_rate":0.2,"regularization":0.01}'
for params in "$@"; do
  "${CARGO_TARGET_DIR:-target}/release/examples/row_machine" "$OUT/validation.tsv" "$test" "$params"
done
