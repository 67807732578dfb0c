#!/usr/bin/env python3
"""kluisd as a program: its modes, what it refuses to start with, and what becomes of it when its token is away at the start."""
import os
import signal
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
import kluis
from kluis import check, check_equal, wait_until

KLUISD = os.path.join(kluis.BIN, "kluisd")
WRAP = {"alg": "RSA-OAEP-256", "value": kluis.b64url(bytes(32))}


def kluisd(*args, site=None):
    return subprocess.run([KLUISD, *args], capture_output=True, text=True, timeout=kluis.PATIENCE, check=False,
                          env={**os.environ, **(site.env if site else {})})


def test_modes_without_a_file():
    check(kluisd("--version").stdout.startswith("kluisd "), "--version")
    sample = kluisd("--sample-config").stdout
    for word in ("[service]", "[audit]", "[token", "wrap-proof", "checkpoint-interval", "pin-source"):
        check(word in sample, f"{word} in the sample")
    for args in ((), ("--bootstrap", "x"), ("--config",), ("--nonsense",), ("--config", "x", "y"), ("--config", "x", "--secret-file", "y")):
        check_equal(kluisd(*args).returncode, 2, f"usage {args}")
    r = kluisd("--config", "/nonexistent/kluis.conf")
    check_equal((r.returncode, "/nonexistent/kluis.conf" in r.stderr), (1, True), "a missing file")


def test_configuration(site):
    config = site.env["KLUIS_CONFIG"]
    check_equal(kluisd("--config", config, "--check-config").returncode, 0, "a good file")
    printed = kluisd("--config", config, "--print-config").stdout
    check("wrap-proof = 1m" in printed and f"listen = 127.0.0.1:{site.port}" in printed, "defaults and settings")
    with open(config, encoding="utf-8") as f:
        good = f.read()
    broken = os.path.join(site.dir, "broken.conf")
    for old, new in (("[service]", "[service]\nnonsense = 1"), (f"origin = https://localhost:{site.port}", "origin = http://localhost"),
                     ("tenant = ", "tenant = x"), ("[token main]", "[tokens main]"), ("uri = ", "#uri = "), ("[audit]", "[audit]\nwhat")):
        with open(broken, "w", encoding="utf-8") as f:
            f.write(good.replace(old, new))
        r = kluisd("--config", broken, "--check-config")
        check_equal(r.returncode, 1, f"{new} is refused")
        check(broken in r.stderr and r.stderr.count("\n") == 1, f"one sentence with the file: {r.stderr}")


def test_bootstrap(site):
    config, out = site.env["KLUIS_CONFIG"], os.path.join(site.dir, "second-secret")
    r = kluisd("--config", config, "--bootstrap", "second", "--secret-file", out, site=site)
    check_equal(r.returncode, 1, "not while the service runs")
    check(not os.path.exists(out), "nothing was written")
    r = kluisd("--config", config, site=site)
    check_equal((r.returncode, "another kluisd runs" in r.stderr), (1, True), "no second service on one state folder")
    site.down()
    r = kluisd("--config", config, "--bootstrap", "second", "--secret-file", out, site=site)
    check_equal((r.returncode, site.env["KLUIS_TENANT"] in r.stdout, os.stat(out).st_mode & 0o777), (0, True, 0o600), "a second administrator")
    os.unlink(out)
    r = kluisd("--config", config, "--bootstrap", "second", "--secret-file", out, site=site)
    check_equal((r.returncode, os.path.exists(out)), (4, False), "a name that exists: 4, nothing written")
    with open(out, "w", encoding="ascii") as f:
        f.write("mine")
    r = kluisd("--config", config, "--bootstrap", "third", "--secret-file", out, site=site)
    with open(out, encoding="ascii") as f:
        check_equal((r.returncode, f.read()), (1, "mine"), "a file that exists is left alone")
    os.unlink(out)
    check_equal(kluisd("--config", config, "--bootstrap", "third", "--secret-file", out, site=site).returncode, 0, "and no principal was made")


def test_graceful_stop_and_reload(site):
    api = kluis.Api(site)
    api.must("POST", "/keys/k/create", {"kty": "EC"})
    pid = site.daemon()
    os.kill(pid, signal.SIGHUP)
    check_equal(api.call("GET", "/keys/k")[0], 200, "serving after SIGHUP")
    os.kill(pid, signal.SIGTERM)
    wait_until(lambda: not kluis.alive(pid), "kluisd ends on SIGTERM")
    wait_until(lambda: not site.pids(), "and its worker with it")
    site.run("audit", "verify")


def test_token_away_at_the_start(site):
    """Set up once, kluisd serves without its token: public keys, listings, verification; the rest is 503 until the token is back."""
    api = kluis.Api(site)
    api.must("POST", "/keys/k/create", {"kty": "RSA"})
    sealed = api.must("POST", "/keys/k/wrapkey", WRAP)["value"]
    api.login()
    site.down()
    api.close()
    store = site.config_value("token", "store-dir")
    os.rename(store, store + ".away")
    daemon = start(site)
    try:
        wait_until(lambda: reachable(api), "kluisd serves")
        check_equal(api.call("GET", "/readyz", auth=False)[0], 503, "but is not ready")
        check_equal(api.call("GET", "/keys/k")[0], 200, "public keys are there, by an access token made before")
        for path, body in (("/keys/k/unwrapkey", {**WRAP, "value": sealed}), ("/keys/k/wrapkey", WRAP), ("/keys/n/create", {"kty": "RSA"})):
            status, headers, answer = api.call("POST", path, body)
            check_equal((status, headers["Retry-After"], answer["error"]["code"]), (503, "1", "ServiceUnavailable"), path)
        os.rename(store + ".away", store)
        wait_until(lambda: api.call("POST", "/keys/k/unwrapkey", {**WRAP, "value": sealed})[0] == 200, "unwrap works again", 30)
        check_equal(api.call("GET", "/readyz", auth=False)[0], 200, "ready")
    finally:
        daemon.terminate()
        daemon.wait(timeout=kluis.PATIENCE)


def start(site):
    return subprocess.Popen([KLUISD, "--config", site.env["KLUIS_CONFIG"]], env={**os.environ, **site.env}, stderr=subprocess.DEVNULL)


def reachable(api):
    try:
        return api.call("GET", "/healthz", auth=False)[0] == 200
    except OSError:
        return False


def test_cut_audit_log(site):
    api = kluis.Api(site)
    for _ in range(3):
        api.call("GET", "/keys")
    site.down()
    path = site.config_value("audit", "path")
    with open(path, "rb+") as f:
        lines = f.read().splitlines(keepends=True)
        f.truncate(sum(map(len, lines[:-2])))
    r = kluisd("--config", site.env["KLUIS_CONFIG"], site=site)
    check_equal((r.returncode, "--accept-audit-loss" in r.stderr), (1, True), "a cut audit log stops the start")
    daemon = subprocess.Popen([KLUISD, "--config", site.env["KLUIS_CONFIG"], "--accept-audit-loss"], env={**os.environ, **site.env},
                              stderr=subprocess.DEVNULL)
    try:
        api.close()
        wait_until(lambda: reachable(api), "kluisd serves")
        with open(path, encoding="utf-8") as f:
            check('"tail_lost"' in f.read(), "and the loss is on record")
    finally:
        daemon.terminate()
        daemon.wait(timeout=kluis.PATIENCE)


kluis.main(globals())
