#!/usr/bin/env python3
"""Files of a stopped service put back or cut: an older database, a log cut together with its head, both gone."""
import json
import os
import shutil
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
import kluis
from kluis import check, check_equal, wait_until

KLUISD = os.path.join(kluis.BIN, "kluisd")


def refused(site, *options):
    """The sentence with which kluisd refuses to start."""
    r = subprocess.run([KLUISD, "--config", site.env["KLUIS_CONFIG"], *options], capture_output=True, text=True, timeout=kluis.PATIENCE,
                       check=False, env={**os.environ, **site.env})
    check_equal(r.returncode, 1, f"the start is refused: {r.stderr}")
    return r.stderr


def recorded(site):
    with open(site.config_value("audit", "path"), encoding="utf-8") as f:
        return [r["resultDescription"] for r in map(json.loads, f) if r.get("operationName") == "LossAccepted"]


def serves(site, option):
    """kluisd starts with the option, and without it the next time."""
    check(not os.path.exists(site.config_value("audit", "path")) or not recorded(site), "nothing was accepted before")
    daemon = subprocess.Popen([KLUISD, "--config", site.env["KLUIS_CONFIG"], option], env={**os.environ, **site.env}, stderr=subprocess.DEVNULL)
    try:
        wait_until(site.ready, f"it serves with {option}")
        check(recorded(site), "going on after a loss is a record of the audit log")
    finally:
        daemon.terminate()
        daemon.wait(timeout=kluis.PATIENCE)
    site.up()
    site.down()


def cut_together(site, count):
    """The last `count` lines off the log, and a head file that fits."""
    log, head = site.config_value("audit", "path"), site.config_value("audit", "head")
    with open(log, "rb") as f:
        lines = f.read().splitlines(keepends=True)[:-count]
    with open(log, "wb") as f:
        f.write(b"".join(lines))
    last = json.loads(lines[-1])
    with open(head, "r+b") as f:
        size = len(f.read())
        f.seek(0)
        text = json.dumps({"seq": last["seq"], "size": sum(map(len, lines)), "chain": last["chain"]}, separators=(",", ":"))
        f.write(text.encode().ljust(size - 1) + b"\n")


def test_log_and_head_cut_together(site):
    api = kluis.Api(site)
    for i in range(4):
        api.must("POST", f"/keys/k{i}/create", {"kty": "EC"})
    site.down()
    site.run("audit", "verify", "--offline")
    for count in (1, 3):
        cut_together(site, count)
        r = site.run("audit", "verify", "--offline", check=False)
        check_equal((r.returncode, "the log was cut" in r.stderr), (1, True), f"verify finds {count} lines missing: {r.stderr}")
        check("--accept-audit-loss" in refused(site), "the service does too, and says how to go on")
        check("--accept-audit-loss" in refused(site, "--accept-older-database"), "the other option is not for this")
    serves(site, "--accept-audit-loss")


def test_log_and_head_gone(site):
    kluis.Api(site).must("GET", "/keys")
    site.down()
    os.unlink(site.config_value("audit", "path"))
    os.unlink(site.config_value("audit", "head"))
    check("--accept-audit-loss" in refused(site), "a log that is gone is missed")
    serves(site, "--accept-audit-loss")


def test_older_database(site):
    """The copy from before a vault was protected."""
    api = kluis.Api(site)
    api.must("POST", "/keys/k/create", {"kty": "EC"})
    site.down()
    database = site.config_value("service", "database")
    shutil.copy2(database, database + ".old")
    site.up()
    api = kluis.Api(site)
    api.must("PATCH", "/kluis/v1/vaults/demo", {"enablePurgeProtection": True})
    api.must("DELETE", "/keys/k")
    site.down()
    shutil.copy2(database, database + ".new")
    shutil.copy2(database + ".old", database)
    check("the database is older than it was" in refused(site), "an older database is not taken for the newest")
    check("the database is older" in refused(site, "--accept-audit-loss"), "nor with the other option")
    shutil.copy2(database + ".new", database)
    site.up()
    check_equal(kluis.Api(site).call("DELETE", "/deletedkeys/k")[0], 403, "the true one serves, and protects")
    site.down()
    shutil.copy2(database + ".old", database)
    serves(site, "--accept-older-database")


def test_everything_put_back(site):
    """Database, state folder and log as they once were, together. A head on another medium, or one saved there, tells."""
    site.down()
    log, head, database, state = (site.config_value(*at) for at in (("audit", "path"), ("audit", "head"), ("service", "database"), ("service", "state-dir")))
    old = os.path.join(site.dir, "old")
    os.mkdir(old)
    for path in (log, head, database):
        shutil.copy2(path, old)
    shutil.copytree(state, os.path.join(old, "state"))
    site.up()
    kluis.Api(site).must("PATCH", "/kluis/v1/vaults/demo", {"enablePurgeProtection": True})
    site.down()
    saved = os.path.join(site.dir, "saved.head")
    shutil.copy2(head, saved)
    for path in (log, database):
        shutil.copy2(os.path.join(old, os.path.basename(path)), path)
    shutil.copy2(os.path.join(old, "state", "audit-mark"), state)
    check("--accept-audit-loss" in refused(site), "a head that did not go back with them stops the start")
    shutil.copy2(os.path.join(old, os.path.basename(head)), head)
    site.run("audit", "verify", "--offline")
    r = site.run("audit", "verify", "--offline", "--head-file", saved, check=False)
    check_equal((r.returncode, "was cut off" in r.stderr), (1, True), f"a saved head shows what is missing: {r.stderr}")


def test_mark_taken_away(site):
    """Without the mark of the state folder nobody could tell an older database."""
    site.down()
    os.unlink(os.path.join(site.config_value("service", "state-dir"), "audit-mark"))
    check("--accept-older-database" in refused(site), "a mark that is gone is missed")
    serves(site, "--accept-older-database")


def test_forged_mark(site):
    site.down()
    subprocess.run(["sqlite3", site.config_value("service", "database"), "UPDATE note SET value = replace(value, '\"seq\":', '\"seq\":9') WHERE name = 'audit-mark'"], check=True)
    check("foreign hand" in refused(site), "a mark without its MAC")


def test_crash(site):
    """After a kill the marks may be a minute old; that is no lie."""
    api = kluis.Api(site)
    for i in range(3):
        api.must("POST", f"/keys/k{i}/create", {"kty": "EC"})
        os.kill(site.daemon(), 9)
        api.close()
        wait_until(lambda: not site.pids(), "all gone")
        site.up()
    site.run("audit", "verify")


kluis.main(globals())
