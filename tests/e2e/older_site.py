#!/usr/bin/env python3
"""A site that an older kluis made opens without a word: seals and MACs that it did not have are made once, and the audit log tells of it. Nobody
gets them made a second time, whatever he puts back into database, state folder or schema number."""
import contextlib
import json
import os
import shutil
import sqlite3
import sys
import tarfile
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "../lib"))
import kluis
from kluis import check, check_equal

FIXTURE = os.path.join(HERE, "../fixtures/older-site/site.tar.gz")
PLACED = ("kluis.conf", "env", "site.json", "softhsm2.conf")


def database(site):
    return os.path.join(site.dir, "kluis.db")


def sql(path, *statements):
    with contextlib.closing(sqlite3.connect(path)) as db:
        rows = [db.execute(s) for s in statements]
        for s, r in zip(statements, rows):
            check(r.rowcount != 0, f"the edit finds its row: {s}")
        db.commit()


def asked(path, statement):
    with contextlib.closing(sqlite3.connect(path)) as db:
        return db.execute(statement).fetchall()


def unpack(site):
    with tarfile.open(FIXTURE) as tar:
        tar.extractall(site.dir)
    for name in PLACED:
        path = os.path.join(site.dir, name)
        with open(path, encoding="utf-8") as f:
            text = f.read()
        with open(path, "w", encoding="utf-8") as f:
            f.write(text.replace("@DIR@", site.dir).replace("@PORT@", str(site.port)))
    sql(database(site), f"UPDATE vault SET origins = replace(origins, ':19511', ':{site.port}')")
    check_equal(asked(database(site), "PRAGMA user_version"), [(1,)], "the fixture has the first schema")


@contextlib.contextmanager
def older_site():
    folder = tempfile.mkdtemp(prefix="kluis-test.", dir=kluis.scratch_root())
    site = kluis.Site(folder)
    site.owned = True
    unpack(site)
    try:
        yield site
    finally:
        site.__exit__()


def unwraps(site):
    """What k1 wrapped under the old service."""
    with open(file(site, "wrapped.json"), encoding="utf-8") as f:
        wrapped = json.load(f)
    path = wrapped["kid"] + "/unwrapkey"
    answer = kluis.Api(site).must("POST", path, {"alg": "RSA-OAEP-256", "value": wrapped["value"]})
    check_equal(kluis.un_b64url(answer["value"]), b"sixteen bytes ok", "an old wrapped key")


def records(site):
    with open(os.path.join(site.dir, "audit.log"), encoding="utf-8") as f:
        return sum('"operationName":"AccessSealed"' in line for line in f)


def file(site, name):
    return os.path.join(site.dir, name)


def test_it_opens():
    """Keys, backups, streams and rights are as they were; the seals are made once, with one record."""
    with older_site() as site:
        site.up()
        site.wait_ready()
        check_equal(records(site), 1, "records of the seals")
        check_equal(asked(database(site), "SELECT count(*) FROM note WHERE name LIKE 'access-seal:%'"), [(3,)], "seals: people and two vaults")
        check_equal(asked(database(site), "SELECT count(*) FROM version WHERE state = 1 AND attr_mac = zeroblob(32)"), [(0,)], "keys without a MAC")
        unwraps(site)
        check_equal(site.json("key", "show", "--vault-name", "demo", "--name", "off")["attributes"]["enabled"], False, "a disabled key")
        check_equal([k["kid"].rsplit("/", 1)[1] for k in site.json("key", "list-deleted", "--vault-name", "safe")], ["gone"], "deleted keys")
        site.run("key", "delete", "--vault-name", "demo", "--name", "k1")
        site.run("key", "purge", "--vault-name", "demo", "--name", "k1")
        site.run("key", "restore", "--vault-name", "demo", "--file", file(site, "k1.backup"))
        unwraps(site)
        site.run("principal", "create", "--name", "newcomer", "--secret-file", file(site, "newcomer"))
        check_equal(site.json("audit", "verify")["intact"], True, "the audit log")
        site.down()
        site.up()
        check_equal(records(site), 1, "records of the seals after another start")


def refused(site, words):
    r = site.up(check=False)
    check(r.returncode != 0, f"{words}: the service serves")
    check(any(w in r.stderr for w in ("foreign hand", "older than it was", "older copy")), f"{words}: {r.stderr[-300:]}")
    return r.stderr


def test_seals_are_made_once():
    """The database as it was before, with rights that a foreign hand added, is not sealed again."""
    with older_site() as site:
        before = file(site, "before.db")
        shutil.copy(database(site), before)
        sql(before, "UPDATE principal SET roles = 255 WHERE name = 'reader'")
        site.up()
        site.wait_ready()
        site.down()
        good, mark = file(site, "good.db"), file(site, "state/audit-mark")
        shutil.copy(database(site), good)
        shutil.copy(before, database(site))
        check("older than it was" in refused(site, "the old database"), "the mark in the state folder tells")
        shutil.copy(before, database(site))
        os.rename(mark, mark + ".gone")
        check("is missing" in refused(site, "the old database, no mark in the state folder"), "a mark that was taken away is missed")
        with open(mark, "w", encoding="ascii") as f:
            f.write('{"seq":0,"size":0,"chain":"' + 64 * "0" + '"}')
        check("--accept-changed-access" in refused(site, "the old database, the first mark in the state folder"), "the audit log tells")
        shutil.copy(before, database(site))
        sql(database(site), "DELETE FROM note WHERE name = 'audit-mark'")
        refused(site, "the old database without its mark")
        os.rename(mark + ".gone", mark)
        for words, statements in {
            "no seals": ["DELETE FROM note WHERE name LIKE 'access-seal:%'"],
            "no word of seals in the mark": ["DELETE FROM note WHERE name LIKE 'access-seal:%'",
                                             "UPDATE note SET value = replace(value, ' sealed 1', '') WHERE name = 'audit-mark'"],
            "the mark of before": ["DELETE FROM note WHERE name LIKE 'access-seal:%'",
                                   f"UPDATE note SET value = '{asked(before, 'SELECT value FROM note WHERE name = ' + repr('audit-mark'))[0][0]}' "
                                   "WHERE name = 'audit-mark'"],
        }.items():
            shutil.copy(good, database(site))
            sql(database(site), "UPDATE principal SET roles = 255 WHERE name = 'reader'", *statements)
            refused(site, words)
        shutil.copy(good, database(site))
        site.up()
        site.wait_ready()
        check_equal(records(site), 1, "records of the seals")


def status_of(api, path, body):
    return api.call("POST", path, body)[0]


def test_attributes(site):
    """A key that is enabled again, may do more or lives longer by an edit of the database is not served, and the log says so."""
    api = kluis.Api(site)
    api.must("POST", "/keys/off/create", {"kty": "RSA", "key_size": 2048, "key_ops": ["sign", "verify"]})
    api.must("PATCH", "/keys/off", {"attributes": {"enabled": False, "exp": 4000000000}, "tags": {"a": "b"}})
    digest = {"alg": "RS256", "value": kluis.b64url(bytes(32))}
    check_equal(status_of(api, "/keys/off/sign", digest), 403, "signing with a disabled key")
    edits = {
        "enabled again": "enabled = 1",
        "another key_ops": "ops = 63",
        "no end": "has_exp = 0, exp = 0",
        "a later end": "exp = 5000000000",
        "a beginning": "has_nbf = 1, nbf = 1",
        "other tags": """tags = '{"a":"c"}'""",
        "no tags": "tags = NULL",
        "another key's MAC": "enabled = 1, attr_mac = (SELECT attr_mac FROM version ORDER BY seq LIMIT 1)",
        "no MAC": "enabled = 1, attr_mac = zeroblob(32)",
    }
    where = "WHERE object = (SELECT id FROM object WHERE name = 'off')"
    columns = "ops, enabled, has_nbf, nbf, has_exp, exp, attr_mac, tags"
    for words, edit in edits.items():
        site.down()
        good = asked(database(site), f"SELECT {columns} FROM version {where}")[0]
        sql(database(site), f"UPDATE version SET {edit} {where}")
        site.up()
        site.wait_ready()
        api = kluis.Api(site)
        check_equal(status_of(api, "/keys/off/sign", digest), 500, f"{words}: signing")
        check_equal(api.call("PATCH", "/keys/off", {"attributes": {"enabled": True}})[0], 500, f"{words}: a change on top")
        check("changed by a foreign hand" in site.log_tail(60), f"{words}: the log says so")
        site.down()
        with contextlib.closing(sqlite3.connect(database(site))) as db:
            db.execute(f"UPDATE version SET ({columns}) = (?, ?, ?, ?, ?, ?, ?, ?) {where}", good)
            db.commit()
        site.up()
        site.wait_ready()
    api = kluis.Api(site)
    api.must("PATCH", "/keys/off", {"attributes": {"enabled": True}})
    check_equal(status_of(api, "/keys/off/sign", digest), 200, "enabled by the service")


if __name__ == "__main__":
    kluis.main(globals())
