#!/usr/bin/env python3
"""kill -9 of kluisd and of kluis-tokend at random moments of a load that changes keys; after each restart the service is held to
everything that it acknowledged. 20 moments, 200 with KLUIS_FULL=1. KLUIS_SEED repeats a run's choices."""
import os
import random
import re
import signal
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
import kluis
from journal import Journal
from kluis import check, check_equal, wait_until
from load import Thread

THREADS = 4
MOMENTS = int(os.environ.get("KLUIS_MOMENTS") or (200 if kluis.FULL else 20))
SEED = int(os.environ.get("KLUIS_SEED") or random.SystemRandom().randrange(1 << 32))


def settle_state(api, key):
    """Which of the possible states is it? Afterwards it is known."""
    active = api.call("GET", f"/keys/{key.name}")[0]
    deleted = api.call("GET", f"/deletedkeys/{key.name}")[0]
    found = {(200, 404): "active", (404, 200): "deleted", (404, 404): "absent"}.get((active, deleted))
    check(found is not None, f"{key.name} is in one state: GET {active}, deleted {deleted}")
    check(found in key.states(), f"{key.name} is {found}, but what was acknowledged allows only {sorted(key.states())}")
    # an unanswered purge took versions along; an unanswered restore brought back those of the backup
    if found == "absent":
        key.versions, key.wraps = [], []
    key.state, key.maybe = found, set()


def settle_versions(api, key):
    listed, path = [], f"/keys/{key.name}/versions"
    while path:
        answer = api.must("GET", path)
        listed += [row["kid"].rsplit("/", 1)[1] for row in answer["value"]]
        path = answer.get("nextLink") and "/keys/" + answer["nextLink"].split("/keys/", 1)[1]
    check_equal(len(set(listed)), len(listed), f"{key.name}: each version is listed once")
    missing = set(key.versions) - set(listed)
    check(not missing, f"{key.name}: acknowledged versions are gone: {missing}")
    extra = set(listed) - set(key.versions)
    check(len(extra) <= (1 if key.unsure_versions or not key.versions else 0), f"{key.name}: versions that nobody asked for: {extra}")
    key.versions += sorted(extra)
    key.unsure_versions = False


def check_works(api, key):
    """Every version does its work, and every acknowledged wrap opens."""
    for version in key.versions:
        if key.kind == "EC":
            digest = kluis.b64url(b"d" * 32)
            signed = api.must("POST", f"/keys/{key.name}/{version}/sign", {"alg": "ES256", "value": digest})["value"]
            answer = api.must("POST", f"/keys/{key.name}/{version}/verify", {"alg": "ES256", "digest": digest, "value": signed})
            check(answer["value"] is True, f"{key.name}/{version} verifies its own signature")
        else:
            dek = b"k" * 32
            wrapped = api.must("POST", f"/keys/{key.name}/{version}/wrapkey", {"alg": "RSA-OAEP-256", "value": kluis.b64url(dek)})["value"]
            check_unwraps(api, key, version, dek, wrapped)
    for version, dek, wrapped in key.wraps:
        check_unwraps(api, key, version, dek, wrapped)


def check_unwraps(api, key, version, dek, wrapped):
    answer = api.must("POST", f"/keys/{key.name}/{version}/unwrapkey", {"alg": "RSA-OAEP-256", "value": wrapped})
    check_equal(kluis.un_b64url(answer["value"]), dek, f"{key.name}/{version}: what was wrapped")


def verify(site, threads, everything):
    """Hold the service to the journal. States and versions of all keys each time; the keys' work for those that the last round used,
    and for all of them at the end."""
    api = kluis.Api(site)
    for thread in threads:
        for i, key in enumerate(thread.keys):
            settle_state(api, key)
            if key.state == "active":
                settle_versions(api, key)
                if everything or i >= len(thread.keys) - 3:
                    check_works(api, key)
    api.close()


def check_reconciled(site):
    """Each start says what it found: creations rolled back and purges finished are right, anything missing, foreign or tampered is not."""
    with open(os.path.join(site.dir, "kluisd.log"), encoding="utf-8", errors="replace") as f:
        text = f.read()
    starts = re.findall(r"reconciled (.*)", text)
    check(starts, "a start says that it reconciled")
    for line in starts:
        counts = dict(re.findall(r"(\w+)=(\d+)", line))
        for word in ("missing_on_token", "unknown_on_token", "tampered"):
            check_equal(counts.get(word), "0", f"reconciliation: {word} in '{line}'")
    bad = [line for line in text.splitlines() if re.search(r"AddressSanitizer|runtime error:|LeakSanitizer|ThreadSanitizer", line)]
    check_equal(bad, [], "reports of a sanitizer")


def kill_daemon(site):
    worker = site.worker()
    os.kill(site.daemon(), signal.SIGKILL)
    if worker:
        wait_until(lambda: not kluis.alive(worker), "the worker ends with its daemon")
    return "kluisd"


def kill_worker(site):
    worker = wait_until(site.worker, "a worker runs")
    os.kill(worker, signal.SIGKILL)
    wait_until(lambda: site.worker() not in (None, worker), "a new worker is started")
    return "kluis-tokend"


def round_of_load(site, threads, chance):
    """Load, one kill at a random moment, stop; the threads that go on."""
    for t in threads:
        t.start()
    time.sleep(chance.uniform(0.02, 1.5))
    killed = (kill_daemon if chance.random() < 0.5 else kill_worker)(site)
    if killed == "kluis-tokend":
        time.sleep(chance.uniform(0, 0.3))
    for t in threads:
        t.stop.set()
    for t in threads:
        t.join(kluis.PATIENCE)
        check(not t.is_alive(), "a load thread ends")
        if t.fault:
            raise kluis.Failed(f"seed {SEED}: the load got an answer that must not be: {t.fault!r}")
    if killed == "kluisd":
        site.up()
    site.wait_ready(10 if not os.environ.get("ASAN_OPTIONS") else kluis.PATIENCE)
    return killed


def test_random_kills(site):
    print(f"seed {SEED}, {MOMENTS} moments", flush=True)
    chance = random.Random(SEED)
    with tempfile.TemporaryDirectory() as outside:
        journal = Journal(os.path.join(outside, "journal"))
        threads = [Thread(n, site, journal, f"{SEED}-{n}") for n in range(THREADS)]
        counts = {"kluisd": 0, "kluis-tokend": 0}
        for moment in range(MOMENTS):
            counts[round_of_load(site, threads, chance)] += 1
            verify(site, threads, everything=moment == MOMENTS - 1)
            check_reconciled(site)
            if moment % 10 == 9:
                site.run("audit", "verify")
            threads = [t.restart() for t in threads]
        site.run("audit", "verify")
        keys = sum(len(t.keys) for t in threads)
        print(f"{counts}: {journal.acknowledged} acknowledged requests on {keys} keys, nothing lost, nothing undecryptable")
    check_equal(threading.active_count(), 1, "threads left")


kluis.main(globals())
