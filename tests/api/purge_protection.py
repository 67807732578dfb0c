#!/usr/bin/env python3
"""What is under purge protection stays until its date, whatever is tried: over the API, by editing the database while the service is
stopped, by moving the clock. One table of ways; after each, the key must be there still, or the service must say what was done to it."""
import os
import shutil
import sqlite3
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
import kluis
from kluis import check, check_equal

WRAP = {"alg": "RSA-OAEP-256", "value": kluis.b64url(bytes(32))}
SAFE = "/kluis/v1/vaults/safe"
GONE = "/kluis/v1/deletedvaults/safe"

# (what it is, method, path, body, headers): each is tried on the deleted key `p` of the vault `safe`
REQUESTS = [
    ("purge", "DELETE", "/deletedkeys/p", None, {}),
    ("oldest version", "DELETE", "/deletedkeys/p?api-version=2016-10-01", None, {}),
    ("preview version", "DELETE", "/deletedkeys/p?api-version=7.6-preview.2", None, {}),
    ("unknown version", "DELETE", "/deletedkeys/p?api-version=1.0", None, {}),
    ("upper case", "DELETE", "/DELETEDKEYS/P", None, {}),
    ("slash at the end", "DELETE", "/deletedkeys/p/", None, {}),
    ("two slashes", "DELETE", "/deletedkeys/p//", None, {}),
    ("escaped name", "DELETE", "/deletedkeys/%70", None, {}),
    ("escaped path", "DELETE", "/deleted%6beys/p", None, {}),
    ("dot segments", "DELETE", "/keys/../deletedkeys/p", None, {}),
    ("force in the query", "DELETE", "/deletedkeys/p?api-version=7.4&force=true&purge=true", None, {}),
    ("force in the body", "DELETE", "/deletedkeys/p", {"force": True, "enablePurgeProtection": False}, {}),
    ("method header", "POST", "/deletedkeys/p", None, {"X-HTTP-Method-Override": "DELETE"}),
    ("method header of the documentation", "POST", "/deletedkeys/p", None, {"X-HTTP-METHOD": "DELETE"}),
    ("forwarded host", "DELETE", "/deletedkeys/p", None, {"X-Forwarded-Host": "demo.vault.localhost"}),
    ("rewritten path", "GET", "/deletedkeys/p", None, {"X-Original-URL": "/deletedkeys/p", "X-Rewrite-URL": "/deletedkeys/p"}),
    ("purge of the live path", "DELETE", "/keys/p", None, {}),
    ("create over it", "POST", "/keys/p/create", {"kty": "RSA"}, {}),
    ("create over it in other case", "POST", "/keys/P/create", {"kty": "EC"}, {}),
    ("rotate it", "POST", "/keys/p/rotate", None, {}),
    ("protection off", "PATCH", SAFE, {"enablePurgeProtection": False}, {}),
    ("protection null", "PATCH", SAFE, {"enablePurgeProtection": None}, {}),
    ("protection as text", "PATCH", SAFE, {"enablePurgeProtection": "false"}, {}),
    ("protection as number", "PATCH", SAFE, {"enablePurgeProtection": 0}, {}),
    ("protection twice", "PATCH", SAFE, '{"enablePurgeProtection":true,"enablePurgeProtection":false}', {}),
    ("protection in other case", "PATCH", SAFE, {"EnablePurgeProtection": False}, {}),
    ("soft delete off", "PATCH", SAFE, {"enableSoftDelete": False}, {}),
    ("shorter retention", "PATCH", SAFE, {"softDeleteRetentionInDays": 7}, {}),
    ("vault made again", "PUT", SAFE, {"origins": ["safe.vault.localhost:443"], "softDeleteRetentionInDays": 7}, {}),
    ("vault made again in other case", "PUT", "/kluis/v1/vaults/SAFE", {"origins": ["other.vault.localhost:443"], "enablePurgeProtection": False}, {}),
    ("its host for another vault", "PUT", "/kluis/v1/vaults/thief", {"origins": ["safe.vault.localhost:443"]}, {}),
    ("purge of the living vault", "DELETE", GONE, None, {}),
    ("purge of the living vault in other case", "DELETE", "/kluis/v1/deletedvaults/SAFE", None, {}),
]

# (what it is, SQL): run on the database of a stopped service. {v}: the vault's id.
EDITS = [
    ("key's purge date in the past", "UPDATE object SET purge_at = 1 WHERE folded = 'P'"),
    ("key's deletion long ago", "UPDATE object SET deleted_at = 1, purge_at = 2, deleted_elapsed = 0 WHERE folded = 'P'"),
    ("key's count of time", "UPDATE object SET deleted_elapsed = -9999999999 WHERE folded = 'P'"),
    ("key made active", "UPDATE object SET state = 1, deleted_at = 0, purge_at = 0 WHERE folded = 'P'"),
    ("key made purging", "UPDATE object SET state = 3 WHERE folded = 'P'"),
    ("key made purged", "UPDATE object SET state = 4 WHERE folded = 'P'"),
    ("key moved to the open vault", "UPDATE object SET vault_id = (SELECT id FROM vault WHERE folded <> (SELECT folded FROM vault WHERE id = '{v}')) WHERE folded = 'P'"),
    ("key renamed", "UPDATE object SET name = 'q', folded = 'Q' WHERE folded = 'P'"),
    ("key's MAC zeroed", "UPDATE object SET purge_at = 1, mac = zeroblob(32) WHERE folded = 'P'"),
    ("key's MAC of another key", "UPDATE object SET purge_at = 1, mac = (SELECT mac FROM object WHERE folded = 'OTHER') WHERE folded = 'P'"),
    ("key's row deleted", "DELETE FROM version WHERE object = (SELECT id FROM object WHERE folded = 'P'); DELETE FROM object WHERE folded = 'P'"),
    ("key's own row deleted", "DELETE FROM object WHERE folded = 'P'"),
    ("key's versions deleted", "DELETE FROM version WHERE object = (SELECT id FROM object WHERE folded = 'P')"),
    ("key's version to another key", "UPDATE version SET object = (SELECT id FROM object WHERE folded = 'OTHER') WHERE object = (SELECT id FROM object WHERE folded = 'P')"),
    ("key's version unmade", "UPDATE version SET state = 0 WHERE object = (SELECT id FROM object WHERE folded = 'P')"),
    ("key's version bound to another key's material", "UPDATE version SET token_key = randomblob(16) WHERE object = (SELECT id FROM object WHERE folded = 'P')"),
    ("key's version unmade and bare", "UPDATE version SET state = 0, mac = zeroblob(32), spki_hash = zeroblob(32) WHERE object = (SELECT id FROM object WHERE folded = 'P')"),
    ("key unmade", "UPDATE object SET state = 0, mac = zeroblob(32) WHERE folded = 'P'"),
    ("vault's protection off", "UPDATE vault SET purge_protection = 0 WHERE id = '{v}'"),
    ("vault's retention", "UPDATE vault SET retention_days = 0 WHERE id = '{v}'"),
    ("vault deleted and due", "UPDATE vault SET state = 2, deleted_at = 1, purge_at = 2, deleted_elapsed = 0 WHERE id = '{v}'"),
    ("vault purging", "UPDATE vault SET state = 3 WHERE id = '{v}'"),
    ("vault purged", "UPDATE vault SET state = 4 WHERE id = '{v}'"),
    ("vault's row deleted", "DELETE FROM policy WHERE vault_id = '{v}'; DELETE FROM vault WHERE id = '{v}'"),
    ("vault's row alone deleted", "DELETE FROM vault WHERE id = '{v}'"),
    ("vault's token", "UPDATE vault SET token = 'none' WHERE id = '{v}'"),
    ("count of time", "UPDATE note SET value = 'elapsed 99999999999 mac ' || hex(zeroblob(32)) WHERE name = 'trusted-clock'"),
]


def held(api):
    """The deleted key with its date, or None."""
    status, _, answer = api.call("GET", "/deletedkeys/p")
    return (answer["key"]["kid"], answer["scheduledPurgeDate"]) if status == 200 else None


def protected_site(site):
    """(api, what `held` says, a wrapped value)"""
    api = kluis.Api(site, "safe")
    sealed = {}
    for name in ("p", "other"):
        api.must("POST", f"/keys/{name}/create", {"kty": "RSA"})
    sealed = api.must("POST", "/keys/p/wrapkey", WRAP)["value"]
    api.must("DELETE", "/keys/p")
    return api, held(api), sealed


def must_open(api, sealed, words):
    api.must("POST", "/deletedkeys/p/recover")
    check_equal(api.must("POST", "/keys/p/unwrapkey", {**WRAP, "value": sealed})["value"], WRAP["value"], words)


def test_over_the_api(site):
    api, before, sealed = protected_site(site)
    for words, method, path, body, headers in REQUESTS:
        api.call(method, path, body, headers=headers)
        check_equal(held(api), before, f"{words}: the key and its date are as they were")
    answer = api.must("DELETE", "/deletedkeys/p", wanted=403)
    check("protection" in answer["error"]["message"], "the refusal names its reason")
    for vault in ("demo", "localhost"):
        other = kluis.Api(site, vault if vault == "demo" else None)
        other.call("DELETE", "/deletedkeys/p")
        other.call("DELETE", "/deletedkeys/p", headers={"Host": f"safe.vault.localhost.:{site.port}"})
    check_equal(held(api), before, "requests to another host")
    vault_deleted(site, api)
    check_equal(held(api), before, "vault deleted and recovered")
    recreated(api, sealed)


def vault_deleted(site, api):
    """The vault goes with its keys; neither can be purged, nor its name or host be taken."""
    api.must("DELETE", SAFE)
    service = kluis.Api(site, None)
    for method, path, body in (("DELETE", GONE, None), ("DELETE", GONE + "/", None), ("DELETE", GONE + "?force=true", None), ("PUT", SAFE, {"origins": ["x.y:443"]}),
                               ("PUT", "/kluis/v1/vaults/thief", {"origins": ["safe.vault.localhost:443"]}), ("PATCH", SAFE, {"enablePurgeProtection": False})):
        status, _, _ = service.call(method, path, body)
        check(status >= 400, f"{method} {path} while the vault is deleted: {status}")
    api.call("DELETE", "/deletedkeys/p")
    service.must("POST", GONE + "/recover")


def recreated(api, sealed):
    """Recover, restore over it, delete again: the date begins anew, never earlier."""
    api.must("POST", "/deletedkeys/p/recover")
    blob = api.must("POST", "/keys/p/backup")["value"]
    check_equal(api.call("POST", "/keys/restore", {"value": blob})[0], 409, "restore over the living key")
    first = api.must("DELETE", "/keys/p")["scheduledPurgeDate"]
    check_equal(api.call("POST", "/keys/restore", {"value": blob})[0], 409, "restore over the deleted key")
    check_equal(held(api)[1], first, "its date stands")
    check_equal(api.call("DELETE", "/deletedkeys/p")[0], 403, "and its protection")
    must_open(api, sealed, "what was wrapped opens after all that")


def test_everyone_who_may_purge_is_removed(site):
    """Principals and policies go; the protected key stays and an administrator of later days finds it."""
    api, before, _ = protected_site(site)
    purger = api.must("POST", "/kluis/v1/principals", {"name": "purger", "roles": []})
    api.must("PUT", f"{SAFE}/policies/{purger['objectId']}", {"permissions": {"keys": ["all"], "vault": ["all"]}})
    theirs = kluis.Api(site, "safe")
    theirs.client_id, theirs.client_secret = purger["clientId"], purger["clientSecret"]
    theirs.login()
    check_equal(theirs.call("DELETE", "/deletedkeys/p")[0], 403, "who may purge may not purge this")
    check_equal(theirs.call("DELETE", SAFE)[0], 200, "vault delete")
    check(theirs.call("DELETE", GONE)[0] >= 400, "nor the vault")
    api.must("DELETE", f"/kluis/v1/principals/{purger['objectId']}", wanted=204)
    check_equal(theirs.call("GET", "/deletedkeys/p")[0], 401, "a removed principal is out at once")
    kluis.Api(site, None).must("POST", GONE + "/recover")
    check_equal(held(api), before, "the key is as it was")


def edit(path, sql, vault):
    with sqlite3.connect(path) as db:
        db.executescript(sql.format(v=vault))
    db.close()


def log_size(site):
    return os.path.getsize(os.path.join(site.dir, "kluisd.log"))


def said_since(site, offset):
    with open(os.path.join(site.dir, "kluisd.log"), encoding="utf-8", errors="replace") as f:
        f.seek(offset)
        return f.read()


ALARMS = ("foreign hand", "cannot be checked", "missing_on_token=1", "unknown_on_token=1", "unknown_on_token=2", "unknown_on_token=3")


def stands_or_is_told(site, offset):
    """After a foreign hand: a refused start, or no purge and an alarm in the log; either way the log says why."""
    if site.up(check=False).returncode == 0:
        api, service = kluis.Api(site, "safe"), kluis.Api(site, None)
        for words, caller, method, path in (("purge of the key", api, "DELETE", "/deletedkeys/p"), ("vault delete", api, "DELETE", SAFE),
                                            ("purge of the vault", service, "DELETE", GONE)):
            status = caller.call(method, path)[0]
            check(status != 204, f"{words}: {status}")
    check(any(a in said_since(site, offset) for a in ALARMS), "the log says nothing")


def test_edited_databases(site):
    """Each edit on a copy of the same database; afterwards the true one is put back and everything opens."""
    api, before, sealed = protected_site(site)
    vault = api.must("GET", SAFE)["name"]
    site.down()
    database = site.config_value("service", "database")
    good = database + ".good"
    shutil.copy2(database, good)
    # The mark that shows an older database goes back with it: here each edit must show by itself.
    mark = os.path.join(site.config_value("service", "state-dir"), "audit-mark")
    shutil.copy2(mark, mark + ".good")
    with sqlite3.connect(good) as db:
        vault = db.execute("SELECT id FROM vault WHERE name = 'safe'").fetchone()[0]
    db.close()
    missed = []
    for words, sql in EDITS:
        edit(database, sql, vault)
        try:
            stands_or_is_told(site, log_size(site))
        except kluis.Failed as e:
            missed.append(f"{words}: {e}")
        site.down()
        shutil.copy2(good, database)
        shutil.copy2(mark + ".good", mark)
    check_equal(missed, [], "edits that went through or were not told of")
    check_equal(site.up(check=False).returncode, 0, f"the true database serves{site.log_tail()}")
    api = kluis.Api(site, "safe")
    check_equal(held(api), before, "the key and its date are as they were")
    must_open(api, sealed, "and its material is whole")


kluis.main(globals())
