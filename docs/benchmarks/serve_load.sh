#!/usr/bin/env bash
# The server under load on loopback:
#   1. cached forecasts of one product, beside FastAPI + uvicorn that answer the same JSON from memory: requests for each
#      second of processor time of the server's process (user + system, /proc/PID/stat);
#   2. recommendations for a user among 100,000 items: requests a second, and latency at half of them;
#   3. a soak with both while the champions change every 10 s: failed requests, memory of the process.
#   docs/benchmarks/serve_load.sh [forecasts] [recommendations] [soak]
# SECONDS_EACH (default 30), SOAK_SECONDS (default 600), CONNECTIONS (default 32), ITEMS (default 100000), USERS (default
# 50000). Needs wrk, curl, and an interpreter with fastapi and uvicorn (PYTHON, default python3). TRADEWIND and VERSIONS
# name built programs, else they are built. KEEP=DIR keeps the shops for the next run.
set -euo pipefail
cd "$(dirname "$0")/../.."
each=${SECONDS_EACH:-30} soak=${SOAK_SECONDS:-600} connections=${CONNECTIONS:-32}
items=${ITEMS:-100000} users=${USERS:-50000} python=${PYTHON:-python3}
[ $# -gt 0 ] || set -- forecasts recommendations soak
target=${CARGO_TARGET_DIR:-target}/release
work=${KEEP:-$(mktemp -d)}
mkdir -p "$work"
pids=()
finish() {
  for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
  wait 2>/dev/null || true
  [ -n "${KEEP:-}" ] || rm -rf "$work"
}
trap finish EXIT
if [ -z "${TRADEWIND:-}" ]; then
  # Together, so that both are made of the same parts.
  cargo build --release --locked --quiet --package tradewind-app --package tradewind --bin tradewind \
    --example serve_versions
  TRADEWIND=$target/tradewind VERSIONS=$target/examples/serve_versions
fi
ticks=$(getconf CLK_TCK)

# Seconds of processor time of a process so far.
cpu() {
  # The name in brackets may hold spaces: count from behind it.
  sed 's/.*) //' "/proc/$1/stat" | awk -v ticks="$ticks" '{ print ($12 + $13) / ticks }'
}
rss_mib() { awk '/^VmRSS/ { printf "%.0f", $2 / 1024 }' "/proc/$1/status"; }
sum() { awk "BEGIN { printf \"%.2f\", $1 }"; }

# A shop with a key of an admin in $work/NAME.key, its server at $address with the process $server.
serve() {
  local shop=$work/$1
  if [ ! -f "$work/$1.key" ]; then
    "$TRADEWIND" --quiet --shop "$shop" keys create --role admin > "$work/$1.key"
  fi
  key=$(cat "$work/$1.key")
  rm -f "$work/address"
  "$TRADEWIND" --quiet --shop "$shop" serve --listen 127.0.0.1:0 --address-file "$work/address" 2> "$work/$1.log" &
  server=$!
  pids+=("$server")
  for _ in $(seq 600); do [ -s "$work/address" ] && break; sleep 0.1; done
  address=http://$(cat "$work/address")
  for _ in $(seq 600); do
    curl --silent --fail --output /dev/null "$address/readyz" && break
    sleep 0.1
  done
  curl --silent --fail --output /dev/null "$address/readyz" || { tail -5 "$work/$1.log" >&2; exit 1; }
}
stop() { kill "$server"; wait "$server" 2>/dev/null || true; }

# A script for wrk that asks for the names in a file in turn: FILE PATH KEY
script() {
  cat > "$work/ask.lua" <<LUA
local names = {}
for line in io.lines("$1") do names[#names + 1] = line end
local k = 0
request = function()
  k = k % #names + 1
  return wrk.format("GET", "$2" .. names[k], { ["x-api-key"] = "$3" })
end
done = function(summary, latency)
  local e = summary.errors
  io.write(string.format("RESULT %d %.6f %d %d %d\n", summary.requests, summary.duration / 1e6,
    e.connect + e.read + e.write + e.timeout, e.status, latency:percentile(99)))
end
LUA
}

# Load on a process: NAME PID URL
load() {
  wrk -t1 -c"$connections" -d2s -s "$work/ask.lua" "$3" > "$work/warm"
  local before after
  before=$(cpu "$2")
  wrk -t1 -c"$connections" -d"${each}s" -s "$work/ask.lua" "$3" > "$work/out"
  after=$(cpu "$2")
  read -r _ requests seconds broken status p99 < <(grep ^RESULT "$work/out")
  printf '%-28s %9s requests/s  %9s requests/CPU second  %6s µs CPU each  p99 %6s ms  failed %s\n' "$1" \
    "$(sum "$requests / $seconds")" "$(sum "$requests / ($after - $before)")" \
    "$(sum "($after - $before) * 1e6 / $requests")" "$(sum "$p99 / 1000")" "$((broken + status))"
}

forecast_shop() {
  [ -d "$work/demo" ] || "$TRADEWIND" --quiet demo --dir "$work/demo" --products 200 --days 400
  [ -f "$work/demo.made" ] || { "$VERSIONS" "$work/demo" make forecasts trends > "$work/demo.made"; }
}
crowd_shop() {
  if [ ! -f "$work/crowd.made" ]; then
    rm -rf "$work/crowd"
    "$VERSIONS" "$work/crowd-files" crowd "$items" "$users"
    "$TRADEWIND" --quiet init "$work/crowd"
    "$TRADEWIND" --quiet --shop "$work/crowd" import "$work/crowd-files"
    "$VERSIONS" "$work/crowd" make recommendations > "$work/crowd.made"
  fi
}

for part in "$@"; do
  case $part in
  forecasts)
    forecast_shop
    serve demo
    curl --silent --fail -H "x-api-key: $key" "$address/v1/forecasts?limit=200" |
      "$python" -c 'import json, sys; [print(s["id"]) for s in json.load(sys.stdin)["items"]]' > "$work/products"
    "$python" - "$address" "$key" "$work/products" > "$work/answers.json" <<'PY'
import json, sys, urllib.parse, urllib.request
address, key, file = sys.argv[1:]
def ask(name):
    url = f"{address}/v1/forecasts?id={urllib.parse.quote(name)}"
    return json.load(urllib.request.urlopen(urllib.request.Request(url, headers={"x-api-key": key})))
json.dump({name: ask(name) for name in open(file).read().split()}, sys.stdout)
PY
    script "$work/products" "/v1/forecasts?id=" "$key"
    load "tradewind" "$server" "$address"
    stop
    port=$("$python" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
    PEER_ANSWERS=$work/answers.json "$python" docs/benchmarks/fastapi_peer.py "$port" &
    peer=$!
    pids+=("$peer")
    for _ in $(seq 100); do
      curl --silent --fail --output /dev/null "http://127.0.0.1:$port/v1/forecasts?id=$(head -1 "$work/products")" && break
      sleep 0.1
    done
    load "fastapi, values" "$peer" "http://127.0.0.1:$port"
    script "$work/products" "/raw/forecasts?id=" none
    load "fastapi, bytes" "$peer" "http://127.0.0.1:$port"
    kill "$peer"
    wait "$peer" 2>/dev/null || true
    ;;
  recommendations)
    crowd_shop
    serve crowd
    for u in $(seq 0 97 $((users - 1))); do printf 'u%06d\n' "$u"; done > "$work/users"
    script "$work/users" "/v1/recommendations?n=10&user=" "$key"
    load "recommendations, full load" "$server" "$address"
    full=$(sum "$requests / $seconds")
    # wrk keeps no rate: a pause in front of each request of a connection makes one.
    cat >> "$work/ask.lua" <<LUA
delay = function() return math.floor($connections / ($full / 2) * 1000) end
LUA
    load "recommendations, half of it" "$server" "$address"
    printf 'items %s, users %s, memory %s MiB\n' "$items" "$users" "$(rss_mib "$server")"
    stop
    ;;
  soak)
    forecast_shop
    serve demo
    [ -f "$work/products" ] || curl --silent --fail -H "x-api-key: $key" "$address/v1/forecasts?limit=200" |
      "$python" -c 'import json, sys; [print(s["id"]) for s in json.load(sys.stdin)["items"]]' > "$work/products"
    script "$work/products" "/v1/forecasts?id=" "$key"
    "$VERSIONS" "$work/demo" swap 10 $((soak / 10)) &
    swaps=$!
    pids+=("$swaps")
    wrk -t1 -c"$connections" -d"${soak}s" -s "$work/ask.lua" "$address" > "$work/out" &
    wrk=$!
    pids+=("$wrk")
    printf 'memory (MiB):'
    while kill -0 "$wrk" 2>/dev/null; do
      printf ' %s' "$(rss_mib "$server")"
      sleep $((soak > 100 ? soak / 20 : 5))
    done
    wait "$wrk"
    read -r _ requests seconds broken status p99 < <(grep ^RESULT "$work/out")
    swapped=$(curl --silent -H "x-api-key: $key" "$address/metrics" | grep '^tradewind_swaps_total.*done' | awk '{ n += $2 } END { print n }')
    printf '\nsoak of %s s: %s requests, failed %s, swaps %s, p99 %s ms\n' "$soak" "$requests" \
      "$((broken + status))" "$swapped" "$(sum "$p99 / 1000")"
    stop
    ;;
  *)
    echo "unknown part: $part" >&2
    exit 1
    ;;
  esac
done
