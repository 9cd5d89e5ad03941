#!/bin/sh
# Makes the secrets of deploy/compose.yaml: random, readable by their owner and group alone. What is there stays.
#   make-secrets.sh [FOLDER]     (the folder of this file when none is named)
set -eu
umask 077
at=${1:-$(dirname "$0")}
if [ -e "$at/.env" ]; then
  echo "$at/.env is there; nothing changed" >&2
  exit 0
fi
random() { od -An -N24 -tx1 /dev/urandom | tr -d ' \n'; }
password=$(random) events=$(random) access=$(random) secret=$(random)
mkdir -p "$at/secrets"
printf %s "$password" >"$at/secrets/postgres_password"
printf 'user: tradewind\npassword: "%s"\n' "$events" >"$at/secrets/nats_password.conf"
cat >"$at/secrets/store_identities.json" <<END
{"identities": [{"name": "tradewind", "credentials": [{"accessKey": "$access", "secretKey": "$secret"}],
 "actions": ["Read:tradewind", "Write:tradewind", "List:tradewind", "Tagging:tradewind", "Admin:tradewind"]}]}
END
# Containers read the files as users of their own, who are strangers to this machine: the folder keeps others out.
chmod 0444 "$at/secrets/"*
# Last, and whole: its presence says that the rest is there.
cat >"$at/.env.new" <<END
TRADEWIND_SETTINGS=./compose/external.toml
TRADEWIND_STATE=postgres://tradewind:$password@postgres/tradewind
TRADEWIND_EVENTS=nats://tradewind:$events@nats:4222
STORE_ACCESS_KEY=$access
STORE_SECRET_KEY=$secret
END
mv "$at/.env.new" "$at/.env"
echo "made $at/.env and $at/secrets" >&2
