#!/usr/bin/env bash
# Profiles ten million rows of eight columns in one pass and reports the drift of the second half against the first: time,
# peak memory, bytes of the report.
#
#   docs/benchmarks/profile.sh [ROWS]
set -euo pipefail
cd "$(dirname "$0")/../.."
cargo run --release --locked --example profile_bench -- "${1:-10000000}"
