#!/usr/bin/env bash
# Forecasts on the M competitions beside their known continuation: OWA, CPU milliseconds a series on one thread, and
# the coverage of 80 and 95 % intervals (the model's own and conformal).
#   docs/benchmarks/m_competition.sh [TASK…] [-- MODEL[:PARAMS]…]
# TASK: m3_monthly, m3_quarterly, m4_weekly, m4_hourly (default: all four). MODEL is a name of the catalogue, PARAMS its
# JSON (default: ets theta ces combination). HELD=1 scores the last steps of the histories instead of the continuation:
# choices of design are made there and never on the continuation.
# Needs the shared data and scorers (SHARED, default ../shared beside the repository) and a Python with polars (PYTHON,
# default python3). PEERS=AutoETS,DOT,AutoTheta,AutoCES runs those of statsforecast on the same tasks.
set -euo pipefail
cd "$(dirname "$0")/../.."
SHARED=${SHARED:-../shared} PYTHON=${PYTHON:-python3} PEERS=${PEERS:-} OUT=$(mktemp -d)
trap 'rm -rf "$OUT"' EXIT
tasks=() models=() after=
for a in "$@"; do
  if [ "$a" = -- ]; then after=1; elif [ -n "$after" ]; then models+=("$a"); else tasks+=("$a"); fi
done
[ ${#tasks[@]} -gt 0 ] || tasks=(m3_monthly m3_quarterly m4_weekly m4_hourly)
[ ${#models[@]} -gt 0 ] || models=(ets theta ces combination)
cargo build --release --locked --quiet --workspace --example m_competition
"$PYTHON" - "$SHARED" "$OUT" "${tasks[@]}" <<'PY'
import sys
shared, out, *tasks = sys.argv[1:]
sys.path.insert(0, f'{shared}/peers')
import forecast_score as fs
for task in tasks:
    train, truth = fs.load(task, f'{shared}/data')
    history, ahead = fs.by_id(train), fs.by_id(truth)
    row = lambda v: ','.join(repr(float(x)) for x in v)
    with open(f'{out}/{task}.tsv', 'w') as f:
        f.writelines(f'{u}\t{row(history[u])}\t{row(ahead[u])}\n' for u in sorted(ahead))
PY
for task in "${tasks[@]}"; do
  case $task in
    m3_monthly) size="12 18" ;; m3_quarterly) size="4 8" ;; m4_weekly) size="1 13" ;; m4_hourly) size="24 48" ;;
    *) echo "unknown task $task" >&2; exit 2 ;;
  esac
  echo "$task"
  for model in "${models[@]}"; do
    name=${model%%:*} params='{}'
    [ "$name" = "$model" ] || params=${model#*:}
    # shellcheck disable=SC2086
    "${CARGO_TARGET_DIR:-target}/release/examples/m_competition" "$OUT/$task.tsv" $size "$name" "$params" ${HELD:+held}
  done
  if [ -n "$PEERS" ] && [ -z "${HELD:-}" ]; then
    OUT="$OUT" "$PYTHON" "$SHARED/peers/forecast_statsforecast.py" "$task" "$PEERS"
  fi
done
