#!/usr/bin/env python3
"""Faults that the service must get over by itself: a killed worker, a killed daemon, a token folder that goes away and returns, a
refused PIN."""
import glob
import os
import signal
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
import kluis
from kluis import check, check_equal, wait_until

DEK = b"0123456789abcdef0123456789abcdef"


def wrapped_key(api, name="fault"):
    """A new key and what it wraps: (kid, wrapped value)."""
    kid = api.must("POST", f"/keys/{name}/create", {"kty": "RSA", "key_size": 2048})["key"]["kid"]
    version = kid.rsplit("/", 1)[1]
    value = api.must("POST", f"/keys/{name}/{version}/wrapkey", {"alg": "RSA-OAEP-256", "value": kluis.b64url(DEK)})["value"]
    return f"/keys/{name}/{version}", value


def unwrap(api, path, value):
    status, headers, answer = api.call("POST", f"{path}/unwrapkey", {"alg": "RSA-OAEP-256", "value": value})
    if status == 200:
        check_equal(kluis.un_b64url(answer["value"]), DEK, "what comes back is what was wrapped")
    if status == 503:
        check(int(headers["Retry-After"]) >= 0, "503 says when to come again")
    return status


def test_killed_worker(site):
    api = kluis.Api(site)
    path, value = wrapped_key(api)
    daemon, seen, stop, faults = site.daemon(), [], threading.Event(), []

    def load():
        mine = kluis.Api(site)
        while not stop.is_set():
            try:
                seen.append(unwrap(mine, path, value))
            except Exception as e:  # reported by the main thread
                faults.append(repr(e))
                return

    threads = [threading.Thread(target=load) for _ in range(6)]
    for t in threads:
        t.start()
    try:
        for _ in range(3):
            wait_until(lambda: len(seen) > 20 and seen[-1] == 200, "unwraps work under load")
            worker = wait_until(site.worker, "a worker runs")
            os.kill(worker, signal.SIGKILL)
            wait_until(lambda: site.worker() not in (None, worker), "a new worker is started")  # pylint: disable=cell-var-from-loop
            wait_until(lambda: unwrap(api, path, value) == 200, "unwrap works again", 10 if not os.environ.get("ASAN_OPTIONS") else kluis.PATIENCE)
    finally:
        stop.set()
        for t in threads:
            t.join()
    check_equal(faults, [], "faults seen by the load")
    check_equal(sorted(set(seen) - {200, 503}), [], "answers other than 200 and 503")
    check_equal(site.daemon(), daemon, "the daemon is still the same process")


def test_killed_daemon(site):
    path, value = wrapped_key(kluis.Api(site))
    for _ in range(3):
        worker = wait_until(site.worker, "a worker runs")
        os.kill(site.daemon(), signal.SIGKILL)
        wait_until(lambda: not kluis.alive(worker), "the worker ends with its daemon")  # pylint: disable=cell-var-from-loop
        site.up()
        check_equal(unwrap(kluis.Api(site), path, value), 200, "unwrap after a restart")
    site.run("audit", "verify")


def test_token_folder_leaves_and_returns(site):
    api = kluis.Api(site)
    path, value = wrapped_key(api)
    store, daemon = site.config_value("token", "store-dir"), site.daemon()
    for _ in range(2):
        os.rename(store, store + ".away")
        wait_until(lambda: unwrap(api, path, value) == 503, "unwrap says that the token is not there", 10)
        for _ in range(5):
            check_equal(unwrap(api, path, value), 503, "unwrap while the token is away")
        status, _, _ = api.call("POST", path + "/wrapkey", {"alg": "RSA-OAEP-256", "value": kluis.b64url(DEK)})
        check(status in (200, 503), f"wrap while the token is away is refused as soon as the gate's proof is too old: {status}")
        os.rename(store + ".away", store)
        wait_until(lambda: unwrap(api, path, value) == 200, "unwrap works again by itself", 10)
    check_equal(site.daemon(), daemon, "the daemon is still the same process")


def pin_attempts(store):
    """SoftHSM rewrites token.object at each C_Login, good or bad (2.6.1: seen)."""
    return [os.stat(p).st_mtime_ns for p in glob.glob(os.path.join(store, "*/token.object"))]


def test_wrong_pin_is_tried_once(site):
    path, value = wrapped_key(kluis.Api(site))
    pin_file, store = site.config_value("token", "pin-source"), site.config_value("token", "store-dir")
    with open(pin_file, encoding="utf-8") as f:
        right = f.read()
    site.down()
    os.chmod(pin_file, 0o600)
    with open(pin_file, "w", encoding="utf-8") as f:
        f.write("9" * 12 + "\n")
    before = pin_attempts(store)
    refused = site.up(check=False)
    check(refused.returncode != 0, "dev up with a wrong PIN fails")
    check("PIN" in refused.stderr, f"its sentence names the PIN: {refused.stderr}")
    check("9" * 12 not in refused.stderr + site.log_tail(200), "the PIN is in no message")
    once = pin_attempts(store)
    check(once != before, "the PIN was tried")
    site.run("dev", "down", "--dir", site.dir, check=False)
    check(site.up(check=False).returncode != 0, "the second start fails too")
    check_equal(pin_attempts(store), once, "the token file after the second start: the refused PIN was not sent again")
    site.run("dev", "down", "--dir", site.dir, check=False)
    with open(pin_file, "w", encoding="utf-8") as f:
        f.write(right)
    site.up()
    check_equal(unwrap(kluis.Api(site), path, value), 200, "unwrap once the right PIN is back")


kluis.main(globals())
