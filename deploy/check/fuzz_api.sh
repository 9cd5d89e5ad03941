#!/usr/bin/env bash
# Asks a server of a demo shop everything that its description allows, and much that it forbids: no answer may be 5xx,
# and each must be as the description says. Needs Python 3 with venv; run by hand.
#   deploy/check/fuzz_api.sh [SECONDS] [SEED]    TRADEWIND names a built program, else the debug build is used
set -euo pipefail
cd "$(dirname "$0")/../.."
seconds=${1:-300} seed=${2:-1}
if [[ -z ${TRADEWIND:-} ]]; then
  cargo build --quiet --locked
  TRADEWIND=target/debug/tradewind
fi
work=$(mktemp -d)
server=
finish() {
  [[ -z $server ]] || kill "$server" 2>/dev/null || true
  wait 2>/dev/null || true
  rm -rf "$work"
}
trap finish EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check "schemathesis==4.32.5"
"$TRADEWIND" --quiet demo --dir "$work/shop" --products 30 --days 300 >/dev/null
"$TRADEWIND" --quiet --shop "$work/shop" pipeline run >/dev/null
key=$("$TRADEWIND" --quiet --shop "$work/shop" keys create --role admin)
"$TRADEWIND" --quiet --shop "$work/shop" serve --listen 127.0.0.1:0 --address-file "$work/address" 2>"$work/log" &
server=$!
for _ in $(seq 600); do [[ -s $work/address ]] && break; sleep 0.1; done
address=http://$(cat "$work/address")
for _ in $(seq 600); do curl --silent --fail --output /dev/null "$address/readyz" && break; sleep 0.1; done
# Every request carries the key: without the schemes none is sent beside it that was made up. What could revoke it is left
# out.
curl --silent --fail --header "X-API-Key: $key" "$address/v1/openapi.json" | python3 -c '
import json, sys
api = json.load(sys.stdin)
api["components"].pop("securitySchemes", None)
for item in api["paths"].values():
    for operation in item.values():
        operation.pop("security", None)
json.dump(api, sys.stdout)' >"$work/openapi.json"
checks=not_a_server_error,response_schema_conformance,content_type_conformance,response_headers_conformance
"$work/venv/bin/schemathesis" run "$work/openapi.json" --url "$address" --header "X-API-Key: $key" --workers 1 \
  --exclude-path-regex '^/v1/keys/[{]id[}]' --max-time "$seconds" --checks "$checks" --continue-on-failure --seed "$seed" --no-color
kill -0 "$server" || { tail -20 "$work/log" >&2; exit 1; }
if grep -q -e "${key##*_}" -e "a fault of ours" "$work/log"; then
  echo "the log holds a secret or a fault of ours" >&2
  exit 1
fi
