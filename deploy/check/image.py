#!/usr/bin/env python3
"""Checks an image from the inside: what it holds, and how it runs as a cluster runs it.

    image.py CONFIG ROOT      (as root, in mount, network and process namespaces of its own; deploy/check.sh does it)

CONFIG is the image's configuration as `buildah inspect --type image` gives it, ROOT its files. The program is run as the
image's user, without capabilities, with everything but /shop and /tmp read-only, and without any network but loopback:
first what needs no server, then, where the program has one, the image's own command and its health check.
"""

import http.server
import json
import os
import re
import signal
import socket
import socketserver
import stat
import struct
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

# A debug build, which CI has, is several times as large as a release.
SIZE_MAX_MIB = 600
LABELS = ["title", "description", "source", "licenses", "version", "revision"]


def check(condition, told):
    if not condition:
        sys.exit(f"image: {told}")


def configuration(path):
    """The configuration says what a cluster relies on."""
    image = json.loads(Path(path).read_text())
    config = image["Docker"]["config"]
    check(re.fullmatch(r"[1-9]\d*:[1-9]\d*", config["User"]), f"the user {config['User']!r} is not a number above 0")
    check(config["Entrypoint"] == ["/usr/bin/tradewind"], f"entry point {config['Entrypoint']}")
    check(config["Cmd"] == ["serve", "--shop", "/shop", "--listen", "0.0.0.0:8080"], f"command {config['Cmd']}")
    check(config["Volumes"] == {"/shop": {}}, f"volumes {config['Volumes']}")
    check(set(config["ExposedPorts"]) == {"8080/tcp", "9090/tcp"}, f"ports {config['ExposedPorts']}")
    check(config["StopSignal"] == "SIGTERM", "the stop signal is not SIGTERM")
    check(config["Healthcheck"]["Test"] == ["CMD", "/usr/bin/tradewind", "probe", "--quiet"], "no health check")
    for label in LABELS:
        value = config["Labels"].get(f"org.opencontainers.image.{label}", "")
        check(value and value != "unknown", f"label {label} is missing")
    names = [v.split("=")[0] for v in config["Env"]]
    check(names == ["PATH", "HOME", "SSL_CERT_FILE"], f"environment {names}")
    layers = image["Docker"]["rootfs"]["diff_ids"]
    check(len(layers) <= 2, f"{len(layers)} layers")
    return config


def files(root):
    """Nothing is there that need not be: no shell, no library, no set-id file, nothing the user could change."""
    size, found = 0, []
    for folder, folders, names in os.walk(root):
        for name in folders + names:
            path = Path(folder, name)
            at = "/" + str(path.relative_to(root))
            info = path.lstat()
            check(not info.st_mode & (stat.S_ISUID | stat.S_ISGID), f"{at} has a set-id bit")
            check(not path.is_symlink(), f"{at} is a link")
            if path.is_file():
                found.append(at)
                size += info.st_size
            owner = (65532, 65532) if at in ("/shop", "/tmp") else (0, 0)
            check((info.st_uid, info.st_gid) == owner, f"{at} belongs to {info.st_uid}:{info.st_gid}")
            check(owner[0] or not info.st_mode & (stat.S_IWGRP | stat.S_IWOTH), f"{at} can be written to by others")
    expected = [
        "/etc/group",
        "/etc/nsswitch.conf",
        "/etc/passwd",
        "/etc/ssl/certs/ca-certificates.crt",
        "/usr/bin/tradewind",
    ]
    check(sorted(found) == expected, f"files {sorted(found)}")
    check(size < SIZE_MAX_MIB << 20, f"{size >> 20} MiB are more than {SIZE_MAX_MIB}")
    return size


class Container:
    """Runs programs as a cluster would: another root, read-only; a plain user; nothing kept from the caller."""

    def __init__(self, root, config):
        self.root = root
        self.user = config["User"].split(":")
        self.env = dict(v.split("=", 1) for v in config["Env"])
        self.entry = config["Entrypoint"]
        # What a container engine lays over every image.
        for name in ("proc", "dev"):
            (root / name).mkdir(exist_ok=True)
        (root / "etc/resolv.conf").write_text("nameserver 127.0.0.1\noptions timeout:1 attempts:1\n")
        (root / "etc/hosts").write_text("127.0.0.1 localhost hosts.test\n")
        mount = lambda *words: subprocess.run(["mount", *words], check=True)
        mount("--make-rprivate", "/")
        mount("--bind", root, root)
        mount("-o", "remount,bind,ro,nosuid,nodev", root)
        for name in ("shop", "tmp"):
            options = f"nosuid,nodev,noexec,size=512m,mode=0700,uid={self.user[0]},gid={self.user[1]}"
            mount("-t", "tmpfs", "-o", options, "tmpfs", root / name)
        mount("-t", "proc", "proc", root / "proc")
        mount("-t", "tmpfs", "-o", "nosuid,noexec,size=64k,mode=0755", "tmpfs", root / "dev")
        for name in ("null", "zero", "full", "random", "urandom"):
            (root / "dev" / name).touch()
            mount("--bind", f"/dev/{name}", root / "dev" / name)
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)

    def start(self, *args, **how):
        # Root is needed to enter the other root and to become the user; after that nothing of it is left.
        python = "import os, sys; os.chroot(sys.argv[1]); os.chdir('/'); os.setgroups([]); os.setgid(int(sys.argv[3])); "
        python += "os.setuid(int(sys.argv[2])); os.chdir('/shop'); os.execv(sys.argv[4], sys.argv[4:])"
        command = ["setpriv", "--no-new-privs", "--bounding-set=-all,+setuid,+setgid,+sys_chroot", "--"]
        command += [sys.executable, "-I", "-S", "-c", python, str(self.root), *self.user, *self.entry, *args]
        return subprocess.Popen(command, env=self.env, **how)

    def run(self, *args, code=0):
        process = self.start(*args, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        out, err = process.communicate(timeout=60)
        check(process.returncode == code, f"{args} ended with {process.returncode}, not {code}: {out}{err}")
        return out + err


class Names(threading.Thread):
    """A name server that knows one name, as a cluster's does."""

    KNOWN = b"\x09tradewind\x03tea\x03svc\x07cluster\x05local\x00"

    def __init__(self):
        super().__init__(daemon=True)
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 53))
        self.asked = 0

    def run(self):
        while True:
            query, sender = self.socket.recvfrom(512)
            end = query.index(b"\0", 12) + 1
            known = query[12:end].lower() == self.KNOWN
            self.asked += known
            kind = struct.unpack(">H", query[end : end + 2])[0]
            answer = b"\xc0\x0c\0\1\0\1\0\0\0\5\0\4\x7f\0\0\1" if known and kind == 1 else b""
            head = query[:2] + (b"\x81\x80" if known else b"\x81\x83") + b"\0\1" + struct.pack(">H", bool(answer)) + b"\0\0\0\0"
            self.socket.sendto(head + query[12 : end + 4] + answer, sender)


class Quiet(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == "/readyz" else 503)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


def without_server(container):
    """The program starts, writes where it may and nowhere else, and finds hosts by name."""
    check(re.match(r"tradewind \d+\.\d+\.\d+", container.run("--version")), "no version")
    container.run("init", "--if-absent", "/shop")
    container.run("init", "--if-absent", "/shop")
    check((container.root / "shop/tradewind.toml").is_file(), "init made no shop")
    container.run("init", "/elsewhere", code=2)
    container.run("init", "/usr/shop", code=2)

    server = socketserver.TCPServer(("127.0.0.1", 8081), Quiet)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    names = Names()
    names.start()
    for host in ("127.0.0.1", "localhost", "hosts.test", "tradewind.tea.svc.cluster.local"):
        container.run("probe", "--url", f"http://{host}:8081/readyz")
    check(names.asked, "the name server was not asked")
    container.run("probe", "--url", "http://127.0.0.1:8081/livez", code=1)
    container.run("probe", "--url", "http://nowhere.test:8081/readyz", code=1)


def answer(url, key=None):
    """(status, body) of a request, sent from beside the container."""
    request = urllib.request.Request(url, headers={"authorization": f"Bearer {key}"} if key else {})
    try:
        with urllib.request.urlopen(request, timeout=30) as got:
            return got.status, got.read().decode()
    except urllib.error.HTTPError as e:
        return e.code, e.read().decode()


def with_server(container, config):
    """The image's own command answers, its health check sees it, and the stop signal ends it well."""
    # As the chart mounts it: the settings that matter here, and no other key.
    settings = container.root / "shop/tradewind.toml"
    settings.write_text('[serve]\nmetrics_listen = "0.0.0.0:9090"\n')
    made = container.run("--shop", "/shop", "keys", "create", "--role", "admin")
    key = re.search(r"\btw_[A-Za-z0-9_-]+", made)
    check(key, "no key was made")

    log = Path("serve.log")
    with log.open("w") as to:
        server = container.start(*config["Cmd"], stdout=to, stderr=subprocess.STDOUT)
    ends = time.monotonic() + 60
    while True:
        check(server.poll() is None, f"the server ended with {server.poll()}:\n{log.read_text()[-4000:]}")
        quietly = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        if container.start("probe", "--url", "http://127.0.0.1:8080/livez", **quietly).wait(30) == 0:
            break
        check(time.monotonic() < ends, f"/livez did not answer within 60 s:\n{log.read_text()[-4000:]}")
        time.sleep(0.2)
    for path in ("/livez", "/startupz", "/readyz"):
        container.run("probe", "--url", f"http://127.0.0.1:8080{path}")
    # Without "CMD" and the program, which `run` begins with.
    container.run(*config["Healthcheck"]["Test"][2:])

    # Only the probes are open, and the metrics at an address of their own.
    for path in ("/v1/version", "/v1/keys", "/metrics"):
        code, body = answer(f"http://127.0.0.1:8080{path}")
        check(code == 401, f"{path} without a key: {code} {body}")
    code, body = answer("http://127.0.0.1:8080/v1/version", key[0])
    check(code == 200, f"/v1/version with a key: {code} {body}")
    code, body = answer("http://127.0.0.1:9090/metrics")
    check(code == 200 and "tradewind_" in body, f"/metrics: {code} {body[:1000]}")

    status = (container.root / f"proc/{server.pid}/status").read_text()
    user = re.search(r"^Uid:\s+(\d+)", status, re.M)[1]
    check(user == container.user[0], f"the server runs as {user}")
    check(re.search(r"^CapPrm:\s+0+$", status, re.M), "the server holds capabilities")
    server.send_signal(signal.SIGTERM)
    check(server.wait(60) == 0, f"after SIGTERM the server ended with {server.returncode}:\n{log.read_text()[-4000:]}")
    check(key[0] not in log.read_text(), "the key stands in the log")
    check(settings.is_file(), "the settings are gone")


def main():
    config = configuration(sys.argv[1])
    root = Path(sys.argv[2])
    size = files(root)
    container = Container(root, config)
    without_server(container)
    has_server = container.start("help", "serve", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).wait(30) == 0
    if has_server:
        with_server(container, config)
    served = "the server answered and drained" if has_server else "this program has no `serve` yet: the server was not tried"
    print(f"image: {size / (1 << 20):.1f} MiB, user {config['User']}, names resolved, read-only root held; {served}")


main()
