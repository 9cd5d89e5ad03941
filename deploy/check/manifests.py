#!/usr/bin/env python3
"""Checks what no schema checks: that rendered manifests and the compose file keep the promises of docs/guide/deploy.md.

    manifests.py helm NAME RENDERED SETTINGS    writes the tradewind.toml of the rendered ConfigMap to SETTINGS
    manifests.py compose CONFIG                 CONFIG as `docker-compose config --format json` gives it
"""

import json
import re
import sys
import tomllib
from pathlib import Path

import yaml

# Words that only secrets hold in deploy/helm/tradewind/ci/*-values.yaml.
SECRETS = ["pa%40ss", "s3cr#t"]


def check(condition, told):
    if not condition:
        sys.exit(f"manifests: {told}")


class Release:
    def __init__(self, name, text):
        self.name = name
        self.text = text
        self.all = [m for m in yaml.safe_load_all(text) if m]
        ids = [(m["kind"], m["metadata"]["name"]) for m in self.all]
        check(len(ids) == len(set(ids)), f"{name}: two manifests of one name")

    def of(self, kind):
        return [m for m in self.all if m["kind"] == kind]

    def one(self, kind):
        found = self.of(kind)
        check(len(found) == 1, f"{self.name}: {len(found)} of kind {kind}")
        return found[0]

    def pods(self):
        """(name, labels, spec) of every pod that will run."""
        for m in self.all:
            if m["kind"] == "Pod":
                yield m["metadata"]["name"], m["metadata"]["labels"], m["spec"]
            elif "template" in m.get("spec", {}):
                template = m["spec"]["template"]
                yield m["metadata"]["name"], template["metadata"]["labels"], template["spec"]

    def server(self):
        found = [m for m in self.of("Deployment") if m["metadata"]["labels"]["app.kubernetes.io/component"] == "server"]
        check(len(found) == 1, f"{self.name}: {len(found)} deployments of servers")
        return found[0]


def security(release):
    for name, _, spec in release.pods():
        at = f"{release.name}: {name}"
        check(spec["automountServiceAccountToken"] is False, f"{at} is handed a token of the cluster")
        check(spec["enableServiceLinks"] is False, f"{at} is handed the names of all services")
        check(not any(spec.get(k) for k in ("hostNetwork", "hostPID", "hostIPC")), f"{at} shares the host's namespaces")
        pod = spec["securityContext"]
        check(pod["runAsNonRoot"] is True and pod["runAsUser"] > 0 and pod["runAsGroup"] > 0, f"{at} may run as root")
        check(pod["seccompProfile"] == {"type": "RuntimeDefault"}, f"{at} has no seccomp profile")
        for volume in spec.get("volumes", []):
            kinds = set(volume) - {"name"}
            check(kinds <= {"persistentVolumeClaim", "configMap", "secret", "emptyDir"}, f"{at}: volume {volume}")
            check("emptyDir" not in volume or volume["emptyDir"].get("sizeLimit"), f"{at}: {volume['name']} is unbounded")
        for c in spec.get("initContainers", []) + spec["containers"]:
            own = c["securityContext"]
            check(own["allowPrivilegeEscalation"] is False, f"{at}/{c['name']} may gain privileges")
            check(not own.get("privileged"), f"{at}/{c['name']} is privileged")
            check(own["readOnlyRootFilesystem"] is True, f"{at}/{c['name']} may write to its root")
            check(own["capabilities"] == {"drop": ["ALL"]}, f"{at}/{c['name']} keeps capabilities")
            check("command" not in c, f"{at}/{c['name']} names a program; the image has one")
            check(c["resources"]["limits"]["memory"] and c["resources"]["requests"]["cpu"], f"{at}/{c['name']}: resources")
            writable = {m["mountPath"] for m in c.get("volumeMounts", []) if not m.get("readOnly")}
            check(writable <= {"/shop", "/tmp"}, f"{at}/{c['name']} may write to {writable}")
    for account in release.of("ServiceAccount"):
        check(account["automountServiceAccountToken"] is False, f"{release.name}: the account hands out tokens")
    for word in SECRETS:
        for m in release.all:
            check(m["kind"] == "Secret" or word not in json.dumps(m), f"{release.name}: a secret stands in a {m['kind']}")


def wiring(release):
    """Names that must meet do meet."""
    labels = [pod_labels for _, pod_labels, _ in release.pods()]
    chosen = lambda selector: [p for p in labels if selector.items() <= p.items()]
    for m in release.of("Service"):
        pods = chosen(m["spec"]["selector"])
        check(len(pods) == 1, f"{release.name}: service {m['metadata']['name']} selects {len(pods)} kinds of pods")
        check(pods[0]["app.kubernetes.io/component"] == "server", f"{release.name}: a service selects other pods")
    for kind in ("PodDisruptionBudget", "NetworkPolicy"):
        for m in release.of(kind):
            selector = m["spec"].get("selector") or m["spec"].get("podSelector")
            check(len(chosen(selector["matchLabels"])) == 1, f"{release.name}: {kind} selects not one kind of pods")
    for m in release.of("ServiceMonitor"):
        wanted = m["spec"]["selector"]["matchLabels"].items()
        services = [s for s in release.of("Service") if wanted <= s["metadata"]["labels"].items()]
        check(len(services) == 1, f"{release.name}: the monitor selects {len(services)} services")
        ports = {p["name"] for p in services[0]["spec"]["ports"]}
        check({e["port"] for e in m["spec"]["endpoints"]} <= ports, f"{release.name}: the monitor's port is not there")
    for m in release.of("Deployment"):
        own = m["spec"]["template"]["metadata"]["labels"].items()
        check(m["spec"]["selector"]["matchLabels"].items() <= own, f"{release.name}: a deployment selects not its own pods")
        for spread in m["spec"]["template"]["spec"]["topologySpreadConstraints"]:
            check(spread["labelSelector"]["matchLabels"].items() <= own, f"{release.name}: pods of others are spread")
    made = {(m["kind"], m["metadata"]["name"]) for m in release.all}
    for name, _, spec in release.pods():
        for volume in spec.get("volumes", []):
            for kind, key, field in [("ConfigMap", "configMap", "name"), ("PersistentVolumeClaim", "persistentVolumeClaim", "claimName")]:
                if key in volume and volume[key][field].startswith("shop-tradewind"):
                    check((kind, volume[key][field]) in made, f"{release.name}: {name} wants a {kind} that nobody makes")
        mounted = {m["name"] for c in spec["containers"] for m in c.get("volumeMounts", [])}
        check(mounted == {v["name"] for v in spec.get("volumes", [])}, f"{release.name}: {name}: volumes and mounts differ")
        for c in spec["containers"]:
            for variable in c.get("env", []):
                ref = variable.get("valueFrom", {}).get("secretKeyRef")
                if ref and ref["name"].startswith("shop-tradewind"):
                    secret = release.one("Secret")
                    check(ref["key"] in secret["stringData"], f"{release.name}: {name} wants {ref['key']} of the secret")
    secret_names = [m["metadata"]["name"] for m in release.of("Secret")]
    check(len(secret_names) <= 1, f"{release.name}: secrets {secret_names}")
    budget = {m["spec"]["maxUnavailable"] for m in release.of("PodDisruptionBudget")}
    check(0 not in budget, f"{release.name}: the budget lets no node be drained")


def server(release):
    deployment = release.server()
    spec = deployment["spec"]["template"]["spec"]
    container = spec["containers"][0]
    check(container["args"] == ["serve", "--shop", "/shop", "--listen", "0.0.0.0:8080"], f"arguments {container['args']}")
    probes = {k: container[k]["httpGet"]["path"] for k in ("startupProbe", "livenessProbe", "readinessProbe")}
    expected = {"startupProbe": "/startupz", "livenessProbe": "/livez", "readinessProbe": "/readyz"}
    check(probes == expected, f"{release.name}: probes {probes}")
    tls = any(v["name"] == "tls" for v in spec["volumes"])
    schemes = {container[k]["httpGet"]["scheme"] for k in expected}
    check(schemes == {"HTTPS" if tls else "HTTP"}, f"{release.name}: probes speak {schemes}")
    sleep = container.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
    check(spec["terminationGracePeriodSeconds"] > sleep, f"{release.name}: no time is left for draining")
    init = spec["initContainers"][0]
    check(init["args"] == ["init", "--if-absent", "/shop"], f"{release.name}: the folder is not made")
    mounts = {m["mountPath"]: m for m in init["volumeMounts"]}
    check("/shop/tradewind.toml" not in mounts, f"{release.name}: init would find a shop where there is only its settings")
    shop = next(v for v in spec["volumes"] if v["name"] == "shop")
    several = deployment["spec"].get("replicas", 2) > 1
    check("persistentVolumeClaim" not in shop or not several, f"{release.name}: servers share a folder")
    kept = "persistentVolumeClaim" in shop
    check(deployment["spec"]["strategy"]["type"] == ("Recreate" if kept else "RollingUpdate"), "strategy")
    # A volume's own root may hold lost+found, and a shop begins in an empty folder.
    check(not kept or mounts["/shop"].get("subPath"), f"{release.name}: the shop lies at the volume's root")
    for m in release.of("HorizontalPodAutoscaler"):
        check("replicas" not in deployment["spec"], f"{release.name}: replicas would fight the autoscaler")
        check(m["spec"]["scaleTargetRef"]["name"] == deployment["metadata"]["name"], f"{release.name}: scales another")
    for m in release.of("Ingress"):
        ports = {p["backend"]["service"]["port"]["name"] for r in m["spec"]["rules"] for p in r["http"]["paths"]}
        check(ports == {"http"}, f"{release.name}: the ingress shows {ports}")


def settings(release, to):
    text = release.one("ConfigMap")["data"]["tradewind.toml"]
    parsed = tomllib.loads(text)
    Path(to).write_text(text)
    if release.name == "production":
        check(parsed["shop"]["name"] == 'Tea <&> "Boots" 茶', f"name {parsed['shop']['name']!r}")
        check(parsed["trend"] == {"horizon": 14, "threshold": 0.25}, f"trend {parsed['trend']}")
        check(parsed["shop"]["regions"] == ["CN", "GB"], "regions")
    addresses = re.findall(r"(?:postgres|mysql|nats|kafka)\w*://", text)
    check(not addresses, f"{release.name}: the settings hold addresses, which may hold passwords: {addresses}")


def policies(release):
    found = {m["spec"]["podSelector"]["matchLabels"]["app.kubernetes.io/component"]: m["spec"] for m in release.of("NetworkPolicy")}
    if release.name == "minimal":
        check(not found, "minimal: a policy is there")
        return
    deployments = {m["metadata"]["labels"]["app.kubernetes.io/component"] for m in release.of("Deployment")}
    check(set(found) == deployments, f"{release.name}: policies for {set(found)}, pods are {deployments}")
    for component, spec in found.items():
        check(set(spec["policyTypes"]) == {"Ingress", "Egress"}, f"{release.name}: {component}: policy types")
        for rule in spec["ingress"]:
            ports = {p["port"] for p in rule["ports"]}
            check("metrics" not in ports or rule.get("from"), f"{release.name}: metrics are open to everyone")
    check(not found.get("worker", {}).get("ingress"), f"{release.name}: a worker can be reached")


def helm(name, rendered, to):
    release = Release(name, Path(rendered).read_text())
    for aspect in (security, wiring, server, policies):
        aspect(release)
    settings(release, to)
    print(f"helm, {name}: {len(release.all)} manifests, {len(list(release.pods()))} kinds of pods")


def compose(path):
    config = json.loads(Path(path).read_text())
    services = config["services"]
    check({"tradewind", "init", "postgres", "nats", "store", "bucket"} == set(services), f"services {set(services)}")
    for name, s in services.items():
        check(s.get("read_only") is True, f"compose: {name} may write to its root")
        check(s.get("cap_drop") == ["ALL"], f"compose: {name} keeps capabilities")
        check(s.get("security_opt") == ["no-new-privileges:true"], f"compose: {name} may gain privileges")
        check(not s.get("privileged") and s.get("network_mode") != "host", f"compose: {name} is too close to the host")
        check(s.get("pids_limit") and s.get("mem_limit"), f"compose: {name} is unbounded")
        passing = name in ("init", "bucket")
        health = s.get("healthcheck", {"disable": True})
        check(passing or not health.get("disable"), f"compose: {name} has no health check")
        check(":latest" not in s["image"] and ":" in s["image"], f"compose: {name} runs whatever is newest")
        user = s.get("user", "")
        plain = re.fullmatch(r"[1-9]\d*:[1-9]\d*", user)
        check(plain or name in ("nats", "store"), f"compose: {name} runs as {user or 'root'}")
        for port in s.get("ports", []):
            check(port.get("host_ip") == "127.0.0.1", f"compose: {name} listens beyond this machine")
        check(name == "tradewind" or not s.get("ports"), f"compose: {name} is reachable from outside")
        for volume in s.get("volumes", []):
            check(volume["type"] == "volume", f"compose: {name} sees the host's {volume['source']}")
    profiles = {n: set(s.get("profiles", [])) for n, s in services.items()}
    check(not profiles["tradewind"] and not profiles["init"], "compose: the server has a profile")
    for name in ("postgres", "nats", "store", "bucket"):
        check({name.replace("bucket", "store"), "external"} <= profiles[name], f"compose: profiles of {name}: {profiles[name]}")
    waits = services["tradewind"]["depends_on"]["init"]["condition"]
    check(waits == "service_completed_successfully", "compose: the server does not wait for its folder")
    check("tradewind.toml" in json.dumps(services["tradewind"].get("configs", [])), "compose: no settings")
    print(f"compose: {len(services)} services")


def main():
    {"helm": helm, "compose": compose}[sys.argv[1]](*sys.argv[2:])


main()
