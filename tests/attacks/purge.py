#!/usr/bin/env python3
"""Ways around purge protection, by name; each is refused. On one site, one after the other: after each the deleted key `p` of the vault
`safe` is there with its date, or the service does not start and says why, until what was done to its files is undone. At the end the key
is recovered, and what was wrapped under it opens. Spellings of requests and single columns of the database: api/purge_protection.py."""
import base64
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
import kluis
from kluis import check, check_equal, wait_until
from moved import MovedSite

DAY, YEARS = 86400, 3650 * 86400
WRAP = {"alg": "RSA-OAEP-256", "value": kluis.b64url(bytes(range(32)))}
SAFE, GONE = "/kluis/v1/vaults/safe", "/kluis/v1/deletedvaults/safe"
ARM = "/subscriptions/default/providers/Microsoft.KeyVault/locations/default/deletedVaults/safe"
ARM_VAULT = "/subscriptions/default/resourceGroups/any/providers/Microsoft.KeyVault/vaults/safe?api-version=2023-07-01"
KLUISD = os.path.join(kluis.BIN, "kluisd")


class Victim:
    """The site, its deleted key, and copies of its files as they should be."""

    def __init__(self, site):
        self.site = site
        api = self.api()
        self.sealed = {}
        self.older = os.path.join(site.dir, "older.db")
        for name in ("p", "other", "rolled"):
            api.must("POST", f"/keys/{name}/create", {"kty": "RSA"})
        self.sealed = api.must("POST", "/keys/p/wrapkey", WRAP)["value"]
        self.blob = api.must("POST", "/keys/p/backup")["value"]
        self.restart(lambda: shutil.copy2(self.database(), self.older))
        self.api().must("DELETE", "/keys/p")
        self.before = self.held()

    def api(self, vault="safe"):
        return kluis.Api(self.site, vault)

    def held(self):
        status, _, answer = self.api().call("GET", "/deletedkeys/p")
        return (answer["key"]["kid"], answer["deletedDate"], answer["scheduledPurgeDate"]) if status == 200 else None

    def purge(self):
        """The status of a purge; never 204."""
        return self.api().call("DELETE", "/deletedkeys/p")[0]

    def database(self):
        return self.site.config_value("service", "database")

    def state(self, name=""):
        return os.path.join(self.site.config_value("service", "state-dir"), name)

    def restart(self, between=lambda: None):
        self.site.down()
        between()
        self.site.up()
        wait_until(self.site.reconciled, "reconciled")

    def sql(self, text):
        with sqlite3.connect(self.database()) as db:
            db.executescript(text)
        db.close()


class Undone:
    """The service is stopped, its files may be changed, and are put back afterwards."""

    def __init__(self, victim):
        self.v = victim

    def __enter__(self):
        self.v.site.down()
        self.kept = self.v.site.dir + ".kept"
        shutil.copytree(self.v.site.dir, self.kept, symlinks=True)
        return self.v

    def __exit__(self, *unused):
        self.v.site.down()
        for name in os.listdir(self.kept):
            here, kept = os.path.join(self.v.site.dir, name), os.path.join(self.kept, name)
            if name == "moved-clock":
                continue
            if os.path.isdir(kept):
                shutil.rmtree(here, ignore_errors=True)
                shutil.copytree(kept, here, symlinks=True)
            else:
                shutil.copy2(kept, here)
        shutil.rmtree(self.kept)
        self.v.site.up()


def refused_start(v, words):
    r = subprocess.run([KLUISD, "--config", v.site.env["KLUIS_CONFIG"]], capture_output=True, text=True, timeout=kluis.PATIENCE, check=False,
                       env={**os.environ, **v.site.env})
    check(r.returncode == 1 and words in r.stderr, f"the start is refused, with '{words}': {r.returncode} {r.stderr[-500:]}")


def stopped(change, words):
    """Files changed while the service is stopped: it does not start."""
    def way(v):
        with Undone(v):
            change(v)
            refused_start(v, words)
    return way


def edited(sql):
    """Rows changed while it is stopped: it may start, but purges nothing and says so, or takes none of it for true."""
    def way(v):
        with Undone(v):
            v.sql(sql)
            if v.site.up(check=False).returncode == 0:
                wait_until(v.site.reconciled, "reconciled")
                check(v.purge() != 204 and v.api().call("DELETE", SAFE)[0] != 204 and v.api(None).call("DELETE", GONE)[0] != 204, "no purge goes through")
            with open(os.path.join(v.site.dir, "kluisd.log"), encoding="utf-8", errors="replace") as f:
                told = f.read()
            check(any(w in told for w in ("foreign hand", "unknown_on_token=1", "missing_on_token=1", "cannot be checked")), "and the log tells")
    return way


def asked(method, path, body=None, wanted=403, vault="safe"):
    """One request, and its answer."""
    return lambda v: check_equal(v.api(vault).call(method, path, body)[0], wanted, f"{method} {path}")


# --- callers ---

def jwt(token, **changes):
    head, claims, mac = token.split(".")
    parsed = {**json.loads(kluis.un_b64url(claims)), **changes}
    return head, kluis.b64url(json.dumps(parsed).encode()), mac


def with_token(v, token):
    api = v.api()
    api.token = token
    check_equal(api.call("DELETE", "/deletedkeys/p")[0], 401, "such a token says nothing")


def another_tenant(v):
    with_token(v, ".".join(jwt(v.api().login(), tid="00000000-0000-0000-0000-000000000000", iss="https://login.example/other/")))


def unsigned(v):
    _, claims, _ = jwt(v.api().login())
    with_token(v, base64.urlsafe_b64encode(b'{"alg":"none","typ":"JWT"}').rstrip(b"=").decode() + "." + claims + ".")


def expired(v):
    token = v.api().login()
    v.site.move(30 * DAY, 30 * DAY)
    with_token(v, token)


def without_purge(v):
    made = v.api(None).must("POST", "/kluis/v1/principals", {"name": "nearly", "roles": []})
    rights = ["get", "list", "create", "delete", "recover", "backup", "restore", "update", "import"]
    for vault in ("safe", "demo"):
        v.api(None).must("PUT", f"/kluis/v1/vaults/{vault}/policies/{made['objectId']}", {"permissions": {"keys": rights}})
    theirs = v.api("demo")
    v.api("demo").must("POST", "/keys/n/create", {"kty": "EC"})
    theirs.client_id, theirs.client_secret = made["clientId"], made["clientSecret"]
    theirs.must("DELETE", "/keys/n")
    check_equal(theirs.call("DELETE", "/deletedkeys/n")[0], 403, "who may delete may not purge")
    theirs.host = v.api().host
    check_equal(theirs.call("DELETE", "/deletedkeys/p")[0], 403, "nor here")
    v.api("demo").must("DELETE", "/deletedkeys/n", wanted=204)


# --- other objects, other vaults, races ---

def elsewhere(v):
    demo = v.api("demo")
    demo.must("POST", "/keys/restore", {"value": v.blob})
    demo.must("DELETE", "/keys/p")
    demo.must("DELETE", "/deletedkeys/p", wanted=204)


def vault_purged(v):
    v.api().must("DELETE", SAFE)
    answers = [v.api(None).call("DELETE", GONE)[0], v.api(None).call("POST", ARM + "/purge?api-version=2023-07-01")[0],
               v.api(None).call("PUT", SAFE, {"origins": ["safe.vault.localhost:1"]})[0],
               v.api(None).call("PUT", "/kluis/v1/vaults/thief", {"origins": ["safe.vault.localhost:1"]})[0]]
    v.api(None).must("POST", GONE + "/recover")
    check(all(a >= 400 for a in answers), f"neither the vault, nor its name, nor its host: {answers}")


def new_vault(v, name):
    v.api(None).must("PUT", f"/kluis/v1/vaults/{name}", {"origins": [f"{name}.vault.localhost:{v.site.port}"]})
    return v.api(name)


def replayed(v):
    """A purge that was good once comes again after the vault is protected."""
    api = new_vault(v, "late")
    for wanted in (204, 403):
        api.must("PUT", "/secrets/s", {"value": "x"})
        api.must("DELETE", "/secrets/s")
        api.must("DELETE", "/deletedsecrets/s", wanted=wanted)
        api.must("PATCH", "/kluis/v1/vaults/late", {"enablePurgeProtection": True})


def both(*calls):
    """The statuses of calls that run at the same time."""
    answers, start = [None] * len(calls), threading.Barrier(len(calls))

    def one(i, api, request):
        start.wait()
        answers[i] = api.call(*request)[0]
    threads = [threading.Thread(target=one, args=(i, *c)) for i, c in enumerate(calls)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    return answers


def race(name, path, body, wins):
    """A purge beside the call that forbids it, ten times: who is told that it went has it so."""
    def way(v):
        for n in range(10):
            vault = f"{name}{n}"
            api, other = new_vault(v, vault), v.api(vault)
            other.login()
            api.must("PUT", "/secrets/s", {"value": "x"})
            api.must("DELETE", "/secrets/s")
            purged, forbidden = both((api, ("DELETE", "/deletedsecrets/s")), (other, ("POST" if body is None else "PATCH", path.format(vault), body)))
            where = api.call("GET", "/secrets/s")[0], api.call("GET", "/deletedsecrets/s")[0]
            check(purged == 204 or where in wins, f"not purged ({purged}), so it is there: {where}")
            check(purged != 204 or where == (404, 404), f"purged, so it is gone: {where}, the other {forbidden}")
            if body is not None and purged != 204:
                check_equal(api.call("DELETE", "/deletedsecrets/s")[0], 403, "protected from then on")
    return way


# --- clocks ---

def clock(*moves):
    """(wall, boot) while it runs, None = stop and start; a purge after each is refused."""
    def way(v):
        for move in moves:
            if move is None:
                v.restart()
            else:
                v.site.move(*move)
            check(v.purge() in (403, 503), "refused at this time")
            check(v.held(), "and there")
        v.site.move(-v.site.wall, 0)
        v.restart()
    return way


def while_stopped(wall, boot):
    def way(v):
        v.restart(lambda: v.site.move(wall, boot))
        check_equal(v.purge(), 403, "the service has not seen that time")
        v.restart(lambda: v.site.move(-v.site.wall, 0))
    return way


# --- files ---

def cut_log(v):
    log, head = v.site.config_value("audit", "path"), v.site.config_value("audit", "head")
    with open(log, "rb") as f:
        lines = f.read().splitlines(keepends=True)[:-5]
    with open(log, "wb") as f:
        f.write(b"".join(lines))
    last = json.loads(lines[-1])
    with open(head, "r+b") as f:
        size = len(f.read())
        f.seek(0)
        f.write(json.dumps({"seq": last["seq"], "size": sum(map(len, lines)), "chain": last["chain"]}, separators=(",", ":")).encode().ljust(size - 1) + b"\n")


def older(v):
    shutil.copy2(v.older, v.database())


def older_without_state(v):
    older(v)
    shutil.rmtree(v.state())
    os.mkdir(v.state(), 0o700)


def mark_replaced(v):
    with open(v.state("audit-mark"), "w", encoding="ascii") as f:
        f.write("nothing of a mark")


def other_store(v):
    os.unlink(v.database())


def destroyed_on_the_token(v):
    """The key's object goes behind the service's back: the row stays, and the loss is told."""
    with Undone(v):
        v.sql("CREATE TABLE IF NOT EXISTS unused (x)")
        with sqlite3.connect(v.database()) as db:
            identity = db.execute("SELECT hex(token_key) FROM version WHERE object = (SELECT id FROM object WHERE folded = 'P' AND state = 2)").fetchone()[0]
        db.close()
        with open(v.site.config_value("token", "pin-source"), encoding="ascii") as f:
            pin = f.read().strip()
        r = subprocess.run(["pkcs11-tool", "--module", v.site.config_value("token", "module"), "--login", "--pin", pin, "--delete-object", "--type", "privkey", "--id", identity],
                           env={**os.environ, **v.site.env}, capture_output=True, text=True, check=False)
        check_equal(r.returncode, 0, f"pkcs11-tool: {r.stderr}")
        v.site.up()
        wait_until(lambda: "missing_on_token=1" in open(os.path.join(v.site.dir, "kluisd.log"), encoding="utf-8").read(), "the loss is told")
        check_equal((v.purge(), v.held()), (403, v.before), "and the row protected still")


P = "WHERE folded = 'P' AND state = 2"
V = "WHERE folded = 'SAFE'"
WAYS = {
    "purge before the date": asked("DELETE", "/deletedkeys/p"),
    "token of another tenant": another_tenant,
    "token without a signature": unsigned,
    "token that has expired": expired,
    "role without purge": without_purge,
    "protection off by update": asked("PATCH", SAFE, {"enablePurgeProtection": False}),
    "protection off by the management plane": asked("PATCH", ARM_VAULT, {"properties": {"enablePurgeProtection": False}}),
    "soft delete off": asked("PATCH", SAFE, {"enableSoftDelete": False}, 400),
    "retention shortened by update": asked("PATCH", SAFE, {"softDeleteRetentionInDays": 7}, 400),
    "retention shortened by making the vault again": asked("PUT", SAFE, {"origins": ["safe.vault.localhost:1"], "softDeleteRetentionInDays": 7}, 409),
    "purge of the vault by the management plane": asked("POST", ARM + "/purge?api-version=2023-07-01", None, 404, None),
    "name made again": asked("POST", "/keys/p/create", {"kty": "EC"}, 409),
    "restore over the deleted key": lambda v: asked("POST", "/keys/restore", {"value": v.blob}, 409)(v),
    "backup, restored elsewhere and purged there": elsewhere,
    "vault deleted and purged, its name and host taken": vault_purged,
    "purge replayed after the vault is protected": replayed,
    "race of purge and recover": race("race-r", "/deletedsecrets/s/recover", None, ((200, 404),)),
    "race of purge and protect": race("race-p", "/kluis/v1/vaults/{}", {"enablePurgeProtection": True}, ((404, 200),)),
    "clock forward": clock((YEARS, 0)),
    "clock forward and back and forward": clock((YEARS, 0), (-2 * YEARS, 0), (2 * YEARS, 0)),
    "clock forward, then a restart": clock((YEARS, 0), None),
    "clock back, restart, forward": clock((-YEARS, 0), None, (2 * YEARS, 0), None),
    "sweeper that starts with a wrong clock": while_stopped(YEARS, 0),
    "service stopped until the date": while_stopped(91 * DAY, 91 * DAY),
    "older database": stopped(older, "older than it was"),
    "older database, state folder removed": stopped(older_without_state, "is missing"),
    "mark replaced": stopped(mark_replaced, "head"),
    "audit log cut with its head": stopped(cut_log, "--accept-audit-loss"),
    "another, empty store": stopped(other_store, "older than it was"),
    "row edited: date of deletion": edited(f"UPDATE object SET deleted_at = 1 {P}"),
    "row edited: purge date": edited(f"UPDATE object SET purge_at = 1, deleted_elapsed = -99999999 {P}"),
    "row edited: state": edited(f"UPDATE object SET state = 3 {P}"),
    "row edited: protection": edited(f"UPDATE vault SET purge_protection = 0 {V}"),
    "row edited: retention": edited(f"UPDATE vault SET retention_days = 0 {V}"),
    "row of the key deleted": edited(f"DELETE FROM object {P}"),
    "row of the vault replaced by another's": edited("UPDATE vault SET (purge_protection, retention_days, token, state, created, mac) = "
                                                     f"(SELECT purge_protection, retention_days, token, state, created, mac FROM vault WHERE folded = 'DEMO') {V}"),
    "row of the key moved to the open vault": edited(f"UPDATE object SET vault_id = (SELECT id FROM vault WHERE folded = 'DEMO') {P}"),
    "count of time edited": edited("UPDATE note SET value = 'elapsed 99999999 mac ' || hex(zeroblob(32)) WHERE name = 'trusted-clock'"),
    "object destroyed on the token": destroyed_on_the_token,
}


def test_every_way():
    with MovedSite() as site:
        v, through = Victim(site), []
        for words, way in WAYS.items():
            try:
                way(v)
                check_equal(v.held(), v.before, "the key and its dates")
            except kluis.Failed as e:
                through.append(f"{words}: {e}")
                site.up(check=False)
        check_equal(through, [], f"{len(through)} of {len(WAYS)} ways")
        print(f"{len(WAYS)} ways around purge protection, each refused")
        v.api().must("POST", "/deletedkeys/p/recover")
        opened = v.api().must("POST", "/keys/p/unwrapkey", {**WRAP, "value": v.sealed})
        check_equal(opened["value"], WRAP["value"], "what was wrapped opens after all that")


kluis.main(globals())
