#!/usr/bin/env bash
# What one policy of the Open Bandit sample (ZOZOTOWN) earns, estimated from the log of the other, beside what it earned.
#   docs/benchmarks/off_policy.sh
# Needs the shared data (SHARED, default ../shared) and a Python with pandas and pyarrow (PYTHON).
set -euo pipefail
cd "$(dirname "$0")/../.."
SHARED=${SHARED:-../shared} OUT=$(mktemp -d) PYTHON=${PYTHON:-python3}
trap 'rm -rf "$OUT"' EXIT
cargo build --release --locked --quiet --workspace --example off_policy
estimate=${CARGO_TARGET_DIR:-target}/release/examples/off_policy
"$PYTHON" - "$SHARED/data/zozo_open_bandit" "$OUT" <<'P'
import sys
import pandas as pd
for name in ("bts_men", "random_men", "bts_women", "random_women"):
    d = pd.read_parquet(f"{sys.argv[1]}/{name}.parquet")
    d["day"] = pd.to_datetime(d.timestamp, format="mixed").dt.strftime("%Y-%m-%d")
    d[["day", "item_id", "position", "click", "propensity_score"]].to_csv(f"{sys.argv[2]}/{name}.tsv", sep="\t", index=False)
P
for shop in men women; do
  for pair in "bts random" "random bts"; do
    read -r log other <<<"$pair"
    for cut in inf 10; do
      echo "== $shop: the policy of $other from the log of $log, weights up to $cut"
      "$estimate" "$OUT/${log}_$shop.tsv" "$OUT/${other}_$shop.tsv" --weight-max "$cut"
    done
  done
done
