#!/usr/bin/env python3
"""Secrets over raw HTTP: every operation, encodings, limits, attributes, paging, the table of states, backup and restore, and what is
on disk."""
import os
import sqlite3
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
import kluis
from kluis import check, check_equal

DAY = 86400
MISSING = (404, "SecretNotFound", None, "A secret with (name/id) s was not found in this key vault")
NOT_DELETED = (404, "SecretNotFound", None, "Deleted Secret not found: s")
HELD = (409, "Conflict", "ObjectIsDeletedButRecoverable", "in a deleted but recoverable state")

CALLS = {
    "get": ("GET", "/secrets/s", None),
    "set": ("PUT", "/secrets/s", {"value": "another"}),
    "update": ("PATCH", "/secrets/s", {"tags": {}}),
    "backup": ("POST", "/secrets/s/backup", None),
    "delete": ("DELETE", "/secrets/s", None),
    "get deleted": ("GET", "/deletedsecrets/s", None),
    "purge": ("DELETE", "/deletedsecrets/s", None),
    "recover": ("POST", "/deletedsecrets/s/recover", None),
}
ABSENT = {**dict.fromkeys(("get", "update", "backup", "delete"), MISSING), **dict.fromkeys(("get deleted", "purge", "recover"), NOT_DELETED)}
DELETED = {**dict.fromkeys(("get", "update", "backup", "delete"), MISSING), "set": HELD}
ACTIVE = dict.fromkeys(("get deleted", "purge", "recover"), NOT_DELETED)


def refused(api, method, path, body, wanted, words):
    status, _, answer = api.call(method, path, body)
    error = (answer or {}).get("error", {})
    check_equal((status, error.get("code"), error.get("innererror", {}).get("code")), wanted[:3], f"{words}: {answer}")
    check(wanted[3] in error["message"], f"{words} says: {error['message']}")


def expect(api, state, table):
    for name, wanted in table.items():
        refused(api, *CALLS[name], wanted, f"{name} while {state}")


def version_of(bundle):
    return bundle["id"].rsplit("/", 1)[1]


def all_pages(api, path):
    items, pages = [], 0
    while path:
        page = api.must("GET", path)
        items += page["value"]
        pages += 1
        path = page["nextLink"] and page["nextLink"].split(f"https://{api.host}", 1)[1]
    return items, pages


def test_set_get_and_versions(site):
    api = kluis.Api(site)
    body = {"value": "first ☃", "contentType": "text/plain", "tags": {"a": "b", "☃": "\"\\\u0001"}, "attributes": {"enabled": True, "nbf": 1000, "exp": 2000}}
    first = api.must("PUT", "/secrets/My-Name", body)
    check_equal({k: first[k] for k in ("value", "contentType", "tags")}, {k: body[k] for k in ("value", "contentType", "tags")}, "what was set comes back")
    a = first["attributes"]
    check_equal((a["enabled"], a["nbf"], a["exp"], a["recoveryLevel"], a["recoverableDays"], a["created"]), (True, 1000, 2000, "CustomizedRecoverable+Purgeable" if a["recoverableDays"] < 90 else "Recoverable+Purgeable", a["recoverableDays"], a["updated"]), "attributes")
    check("exportable" not in a and "managed" not in first and "kid" not in first, "no members of keys or certificates")
    check_equal(first["id"], f"https://{api.host}/secrets/My-Name/{version_of(first)}", "the identifier")
    check(len(version_of(first)) == 32 and set(version_of(first)) <= set("0123456789abcdef"), "a version has 32 hex digits")
    check_equal(api.must("GET", "/secrets/my-name"), first, "names are compared without case; an expired secret is still answered")
    second = api.must("PUT", "/secrets/MY-NAME", {"value": ""})
    check_equal((second["value"], second["id"].split("/")[4]), ("", "My-Name"), "an empty value is one; the first spelling stays")
    check("contentType" not in second and "tags" not in second, "nothing is taken over from the version before")
    check_equal(api.must("GET", "/secrets/My-Name/"), second, "an empty version is the newest")
    check_equal(api.must("GET", f"/secrets/My-Name/{version_of(first).upper()}"), first, "an older version, in any case")
    listed, _ = all_pages(api, "/secrets/my-name/versions")
    check_equal([i["id"] for i in listed], sorted([first["id"], second["id"]]), "versions by version id")
    check(all("value" not in i for i in listed), "no values in lists")
    check_equal(all_pages(api, "/secrets/none/versions")[0], [], "versions of an unknown secret: an empty list")
    items, _ = all_pages(api, "/secrets")
    check_equal([(i["id"], i["attributes"]) for i in items], [(f"https://{api.host}/secrets/My-Name", second["attributes"])], "the list shows the newest version under the base id")
    text = "".join(chr(c) for c in range(1, 0x250)) + "\U0001f600" * 40
    check_equal(api.must("PUT", "/secrets/odd", {"value": text})["value"], text, "odd characters in the answer")
    check_equal(api.must("GET", "/secrets/odd")["value"], text, "and when they are read")


def test_update_and_disable(site):
    api = kluis.Api(site)
    first = api.must("PUT", "/secrets/s", {"value": "v", "contentType": "old", "tags": {"a": "1"}, "attributes": {"exp": 5}})
    patched = api.must("PATCH", "/secrets/s", {"attributes": {"enabled": False}})
    check("value" not in patched, "an update does not answer the value")
    check_equal((patched["contentType"], patched["tags"], patched["attributes"]["exp"], patched["id"]), ("old", {"a": "1"}, 5, first["id"]), "what is not named stays")
    off = (403, "Forbidden", "SecretDisabled", "Operation get is not allowed on a disabled secret.")
    refused(api, "GET", "/secrets/s", None, off, "get while disabled")
    refused(api, "GET", f"/secrets/s/{version_of(first)}", None, off, "get of the version while disabled")
    check_equal(api.must("GET", "/secrets")["value"][0]["attributes"]["enabled"], False, "the list shows it")
    patched = api.must("PATCH", f"/secrets/s/{version_of(first)}", {"attributes": {"enabled": True, "nbf": 7, "exp": None}, "tags": {}, "contentType": "new"})
    check_equal((patched["contentType"], patched.get("tags"), patched["attributes"]["nbf"], patched["attributes"]["exp"]), ("new", None, 7, 5), "null is unchanged, {} is none")
    check_equal(api.must("GET", "/secrets/s")["value"], "v", "the value is as it was")
    second = api.must("PUT", "/secrets/s", {"value": "w"})
    api.must("PATCH", f"/secrets/s/{version_of(first)}", {"attributes": {"enabled": False}})
    check_equal(api.must("GET", "/secrets/s")["value"], "w", "disabling a version leaves the others")
    check_equal(version_of(api.must("PATCH", "/secrets/s/", {"tags": {"x": "y"}})), version_of(second), "an update without a version means the newest")
    refused(api, "PATCH", "/secrets/s", {"value": "x"}, (400, "BadParameter", None, "value"), "a value in an update")
    refused(api, "PATCH", "/secrets/none", {"tags": {}}, (404, "SecretNotFound", None, "none"), "update of nothing")
    refused(api, "PATCH", f"/secrets/s/{'0' * 32}", {"tags": {}}, (404, "SecretNotFound", None, "0" * 32), "update of no version")


def test_limits_and_bad_input(site):
    api = kluis.Api(site)
    bad = (400, "BadParameter", None, "")
    check_equal(len(api.must("PUT", "/secrets/big", {"value": "x" * 25600})["value"]), 25600, "25 KB are fine")
    check_equal(len(api.must("PUT", "/secrets/big", {"value": "☃" * 8533})["value"]), 8533, "counted in bytes")
    refused(api, "PUT", "/secrets/big", {"value": "x" * 25601}, bad, "one byte more")
    refused(api, "PUT", "/secrets/big", {"value": "☃" * 8534}, bad, "one character more")
    for words, body in {"no value": {}, "null": {"value": None}, "a number": {"value": 5}, "an object": {"value": {}}, "content type": {"value": "x", "contentType": "x" * 256},
                        "type of content type": {"value": "x", "contentType": 1}, "tags": {"value": "x", "tags": {str(i): "" for i in range(16)}},
                        "tag value": {"value": "x", "tags": {"a": 1}}, "long tag": {"value": "x", "tags": {"a": "x" * 513}}, "attributes": {"value": "x", "attributes": []},
                        "enabled": {"value": "x", "attributes": {"enabled": 1}}, "exp": {"value": "x", "attributes": {"exp": "never"}}}.items():
        refused(api, "PUT", "/secrets/bad", body, bad, words)
    refused(api, "PUT", "/secrets/bad", '{"value":"\\u0000"}', bad, "U+0000")
    refused(api, "PUT", "/secrets/bad", b'{"value":"\xff"}', bad, "not UTF-8")
    for name in ("a_b", "a.b", "x" * 128, "%C3%BC", "a%20b"):
        refused(api, "PUT", f"/secrets/{name}", {"value": "x"}, (400, "BadParameter", None, "invalid name"), f"name {name}")
    api.must("PUT", "/secrets/" + "x" * 127, {"value": "x", "contentType": "☃" * 255, "tags": {"k" * 512: "v" * 512}})
    refused(api, "GET", "/secrets/bad", None, (404, "SecretNotFound", None, "bad"), "nothing was made")
    refused(api, "GET", "/secrets/big/123", None, (404, "SecretNotFound", None, "big/123"), "what is no version")
    check_equal(api.call("POST", "/secrets/big", {})[0], 405, "a method that the path does not have")
    api.must("POST", "/keys/big/create", {"kty": "EC"})
    check_equal(api.must("GET", "/secrets/big")["value"], "☃" * 8533, "a key and a secret may have one name")
    api.must("DELETE", "/keys/big")
    check_equal(len(api.must("GET", "/secrets/big")["value"]), 8533, "and lives of their own")


def remove(api, days, level):
    before = api.must("GET", "/secrets/s")
    gone = api.must("DELETE", "/secrets/s")
    check("value" not in gone, "a deleted bundle has no value")
    check_equal((gone["id"], gone["attributes"]["recoveryLevel"]), (before["id"], level), "it names the version")
    check_equal(gone["recoveryId"], f"https://{api.host}/deletedsecrets/s", "recoveryId has no version")
    check_equal(gone["scheduledPurgeDate"] - gone["deletedDate"], days * DAY, "the retention, to the second")
    check_equal(api.must("GET", "/deletedsecrets/s"), gone, "at once, not after seconds")
    item = next(i for i in api.must("GET", "/deletedsecrets")["value"] if i["recoveryId"] == gone["recoveryId"])
    check_equal((item["id"], item["deletedDate"]), (f"https://{api.host}/secrets/s", gone["deletedDate"]), "listed with its base id")
    check_equal([i for i in api.must("GET", "/secrets")["value"] if i["id"].endswith("/s")], [], "no longer among the secrets")
    return before


def test_states_of_an_open_vault(site):
    api = kluis.Api(site)
    expect(api, "absent", ABSENT)
    for value in ("one", "two", "three"):
        api.must("PUT", "/secrets/s", {"value": value})
    expect(api, "active", ACTIVE)
    level = api.must("GET", "/secrets/s")["attributes"]
    before = remove(api, level["recoverableDays"], level["recoveryLevel"])
    expect(api, "deleted", DELETED)
    back = api.must("POST", "/deletedsecrets/s/recover")
    check_equal((back["id"], "value" in back), (before["id"], False), "recovered as it was, without the value")
    check_equal(api.must("GET", "/secrets/s"), before, "and readable")
    check_equal(len(all_pages(api, "/secrets/s/versions")[0]), 3, "with all versions")
    api.must("DELETE", "/secrets/s")
    check_equal(api.call("DELETE", "/deletedsecrets/s")[0], 204, "purged")
    expect(api, "purged", ABSENT)
    with sqlite3.connect(f"file:{site.config_value('service', 'database')}?mode=ro", uri=True) as db:
        check_equal(db.execute("SELECT count(*) FROM secret").fetchone()[0], 0, "rows of purged values")
    check_equal(api.must("PUT", "/secrets/s", {"value": "new"})["value"], "new", "the name is free again")
    check_equal(len(all_pages(api, "/secrets/s/versions")[0]), 1, "without the old versions")


def test_states_under_purge_protection(site):
    api = kluis.Api(site, "safe")
    api.must("PUT", "/secrets/s", {"value": "kept"})
    level = api.must("GET", "/secrets/s")["attributes"]
    check("Purgeable" not in level["recoveryLevel"], "the level says that nobody purges")
    remove(api, level["recoverableDays"], level["recoveryLevel"])
    protected = (403, "Forbidden", "PurgeProtectionEnabled", "purge protection is enabled")
    refused(api, "DELETE", "/deletedsecrets/s", None, protected, "purge under protection")
    site.down()
    with sqlite3.connect(site.config_value("service", "database")) as db:
        db.execute("UPDATE object SET purge_at = 1, deleted_at = 1, deleted_elapsed = -1000000000 WHERE kind = 1 AND state = 2")
    site.up()
    api.close()
    refused(api, "DELETE", "/deletedsecrets/s", None, protected[:3] + ("",), "purge with an edited date")
    check_equal(api.call("POST", "/deletedsecrets/s/recover")[0], 500, "an edited row is not changed either")


def test_pages(site):
    api = kluis.Api(site)
    names = [f"n{i:03d}" for i in range(60)]
    for name in names:
        api.must("PUT", f"/secrets/{name}", {"value": name})
    items, pages = all_pages(api, "/secrets")
    check_equal(([i["id"].rsplit("/", 1)[1] for i in items], pages), (names, 3), "25 to a page by name")
    items, pages = all_pages(api, "/secrets?maxresults=7")
    check_equal((len(items), pages), (60, 9), "maxresults goes with nextLink")
    first = api.must("GET", "/secrets?maxresults=7")
    check("maxresults=7" in first["nextLink"] and "api-version=7.4" in first["nextLink"], first["nextLink"])
    for wrong in ("0", "26", "-1", "x"):
        refused(api, "GET", f"/secrets?maxresults={wrong}", None, (400, "BadParameter", None, "maxresults"), f"maxresults {wrong}")
    token = first["nextLink"].split("$skiptoken=")[1].split("&")[0]
    refused(api, "GET", f"/keys?$skiptoken={token}", None, (400, "BadParameter", None, "skiptoken"), "the token of another listing")
    for name in names[:30]:
        api.must("DELETE", f"/secrets/{name}")
    check_equal([len(all_pages(api, p)[0]) for p in ("/secrets", "/deletedsecrets")], [30, 30], "deleted ones in a list of their own")
    for _ in range(30):
        api.must("PUT", "/secrets/many", {"value": "v"})
    items, pages = all_pages(api, "/secrets/many/versions")
    check_equal((len({i["id"] for i in items}), pages), (30, 2), "versions by pages")


def test_backup_and_restore(site):
    api = kluis.Api(site)
    values = ["one", "two ☃", "x" * 25600]
    for i, value in enumerate(values):
        api.must("PUT", "/secrets/s", {"value": value, "contentType": f"type {i}", "tags": {"n": str(i)}, "attributes": {"nbf": i + 1}})
    versions = sorted(all_pages(api, "/secrets/s/versions")[0], key=lambda i: i["id"])
    api.must("PATCH", versions[0]["id"].split(api.host)[1], {"attributes": {"enabled": False}})
    versions = sorted(all_pages(api, "/secrets/s/versions")[0], key=lambda i: i["id"])
    newest = api.call("GET", "/secrets/s")
    blob = api.must("POST", "/secrets/s/backup")["value"]
    raw = kluis.un_b64url(blob)
    check(all(word not in raw for word in (b"one", b"xxxx", b"type 1", b"demo")), "nothing of it can be read")
    check(blob != api.must("POST", "/secrets/s/backup")["value"], "each is sealed under a key of its own")
    conflict = (409, "Conflict", None, "A secret named s already exists")
    refused(api, "POST", "/secrets/restore", {"value": blob}, conflict, "restore over an active secret")
    api.must("DELETE", "/secrets/s")
    refused(api, "POST", "/secrets/restore", {"value": blob}, HELD, "restore over a deleted one")
    api.must("DELETE", "/deletedsecrets/s", wanted=204)
    back = api.must("POST", "/secrets/restore", {"value": blob})
    check_equal(("value" in back, version_of(back)), (False, version_of(newest[2]) if newest[0] == 200 else version_of(back)), "the newest, without its value")
    check_equal(sorted(all_pages(api, "/secrets/s/versions")[0], key=lambda i: i["id"]), versions, "every version with id and attributes")
    check_equal(api.call("GET", "/secrets/s")[::2], newest[::2], "and the value")
    safe = kluis.Api(site, "safe")
    safe.must("POST", "/secrets/restore", {"value": blob})
    check_equal(sorted(version_of(i) for i in all_pages(safe, "/secrets/s/versions")[0]), sorted(map(version_of, versions)), "into another vault of the same geography")
    site.json("vault", "create", "--name", "abroad", "--geography", "elsewhere", "--origins", f"abroad.vault.localhost:{site.port}")
    abroad = kluis.Api(site, "abroad")
    refused(abroad, "POST", "/secrets/restore", {"value": blob}, (400, "BadParameter", None, "geography"), "another geography")
    damaged = (400, "Malformed backup blob", None, "Backup blob contains invalid or corrupt version.")
    for at in (0, 9, 13, len(raw) // 2, len(raw) - 1, 60):
        wrong = bytearray(raw)
        wrong[at] ^= 1
        status, _, answer = safe.call("POST", "/secrets/restore", {"value": kluis.b64url(bytes(wrong))})
        check_equal((status, answer["error"]["code"]), damaged[:2], f"one bit of byte {at}")
    for words, wrong in {"zeros": bytes(4728), "more zeros": bytes(8693), "cut": raw[:-1], "longer": raw + b"\0", "nothing": b"\0"}.items():
        refused(safe, "POST", "/secrets/restore", {"value": kluis.b64url(wrong)}, damaged, words)
    safe.must("POST", "/keys/k/create", {"kty": "EC"})
    key = safe.must("POST", "/keys/k/backup")["value"]
    refused(safe, "POST", "/secrets/restore", {"value": key}, damaged, "the backup of a key")
    status, _, answer = safe.call("POST", "/keys/restore", {"value": blob})
    check_equal((status, answer["error"]["code"]), damaged[:2], "and the reverse")


def test_more_than_500_versions(site):
    api = kluis.Api(site)
    for i in range(501):
        api.must("PUT", "/secrets/s", {"value": str(i)})
    blob = api.must("POST", "/secrets/s/backup")["value"]
    kluis.Api(site, "safe").must("POST", "/secrets/restore", {"value": blob})
    check_equal(kluis.Api(site, "safe").must("GET", "/secrets/s")["value"], "500", "501 versions come back, the newest is the newest")
    api.must("PUT", "/secrets/s", {"value": "one more"})
    refused(api, "POST", "/secrets/s/backup", None, (400, "BadParameter", None, "past versions"), "more than 500 past versions")


def test_edited_rows(site):
    """What somebody changes in the database is noticed: a value moved to another name, an attribute, a replaced vault key."""
    api = kluis.Api(site)
    for name in ("low", "high"):
        api.must("PUT", f"/secrets/{name}", {"value": f"value of {name}"})
    api.must("PATCH", "/secrets/high", {"attributes": {"enabled": False}})
    database = site.config_value("service", "database")
    edits = {"a value moved": "UPDATE secret SET sealed = (SELECT sealed FROM secret WHERE object = (SELECT id FROM object WHERE name = 'high')) WHERE object = (SELECT id FROM object WHERE name = 'low')",
             "enabled again": "UPDATE secret SET enabled = 1 WHERE object = (SELECT id FROM object WHERE name = 'high')",
             "a foreign vault key": "UPDATE vault_key SET wrapped = x'00'"}
    for (words, edit), path in zip(edits.items(), ("/secrets/low", "/secrets/high", "/secrets/low")):
        site.down()
        with sqlite3.connect(database) as db:
            check(db.execute(edit).rowcount > 0, "something was edited")
        site.up()
        api.close()
        status, _, answer = api.call("GET", path)
        check_equal((status, "value" in answer), (500, False), f"{words}: {answer}")
    check_equal(api.call("PUT", "/secrets/new", {"value": "x"})[0], 500, "nothing is sealed under a vault key that was changed")


def test_restart_and_audit(site):
    api = kluis.Api(site)
    first = api.must("PUT", "/secrets/s", {"value": "stays"})
    site.down()
    site.up()
    api.close()
    check_equal(api.must("GET", "/secrets/s"), first, "after a restart")
    api.must("DELETE", "/secrets/s")
    api.must("GET", "/deletedsecrets/s")
    records = site.run("audit", "show", "-o", "json", check=False)
    with open(os.path.join(site.dir, "audit.log"), encoding="utf-8") as f:
        log = f.read()
    check("stays" not in log and "stays" not in records.stdout, "no value in the audit log")
    for operation in ("SecretSet", "SecretGet", "SecretDelete", "SecretGetDeleted"):
        check(f'"operationName":"{operation}"' in log, operation)
    check(log.count(f'"id":"{first["id"]}"') >= 4, "records name the exact version")


kluis.main(globals())
