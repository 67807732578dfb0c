#!/usr/bin/env python3
"""Soft delete and purge protection of keys as a table: each call in each state. No state in between is ever seen."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
import kluis
from kluis import check, check_equal

DAY = 86400
WRAP = {"alg": "RSA-OAEP-256", "value": kluis.b64url(bytes(32))}

# call -> state -> (status, code, inner code, words of the message)
CALLS = {
    "get": ("GET", "/keys/s", None),
    "create": ("POST", "/keys/s/create", {"kty": "RSA"}),
    "update": ("PATCH", "/keys/s", {"tags": {}}),
    "rotate": ("POST", "/keys/s/rotate", None),
    "encrypt": ("POST", "/keys/s/encrypt", WRAP),
    "decrypt": ("POST", "/keys/s/decrypt", WRAP),
    "wrap": ("POST", "/keys/s/wrapkey", WRAP),
    "unwrap": ("POST", "/keys/s//unwrapkey", WRAP),
    "sign": ("POST", "/keys/s/sign", {"alg": "RS256", "value": WRAP["value"]}),
    "verify": ("POST", "/keys/s/verify", {"alg": "RS256", "digest": WRAP["value"], "value": WRAP["value"]}),
    "backup": ("POST", "/keys/s/backup", None),
    "delete": ("DELETE", "/keys/s", None),
    "get deleted": ("GET", "/deletedkeys/s", None),
    "purge": ("DELETE", "/deletedkeys/s", None),
    "recover": ("POST", "/deletedkeys/s/recover", None),
}
KEY, GONE = (404, "KeyNotFound", None, "A key with (name/id) s was not found in this key vault"), (404, "KeyNotFound", None, "Deleted Key not found: s")
HELD = (409, "Conflict", "ObjectIsDeletedButRecoverable", "in a deleted but recoverable state")
NO_KEY = dict.fromkeys(("get", "update", "rotate", "encrypt", "decrypt", "wrap", "unwrap", "sign", "verify", "backup", "delete"), KEY)
NOT_DELETED = dict.fromkeys(("get deleted", "purge", "recover"), GONE)
ABSENT = {**NO_KEY, **NOT_DELETED}
DELETED = {**NO_KEY, "create": HELD}
ACTIVE = NOT_DELETED


def expect(api, state, table):
    for name, wanted in table.items():
        status, _, answer = api.call(*CALLS[name])
        error = answer["error"]
        check_equal((status, error["code"], error.get("innererror", {}).get("code")), wanted[:3], f"{name} while {state}: {error['message']}")
        check(wanted[3] in error["message"], f"{name} while {state} says: {error['message']}")


def remove(api, days, level):
    before = api.must("GET", "/keys/s")
    gone = api.must("DELETE", "/keys/s")
    check_equal((gone["key"], gone["attributes"]["recoveryLevel"]), (before["key"], level), "the deleted bundle names the version")
    check_equal(gone["recoveryId"], f"https://{api.host}/deletedkeys/s", "recoveryId has no version")
    check_equal(gone["scheduledPurgeDate"] - gone["deletedDate"], days * DAY, "the retention, to the second")
    check_equal(api.must("GET", "/deletedkeys/s"), gone, "at once, not after seconds")
    item = next(i for i in api.must("GET", "/deletedkeys")["value"] if i["recoveryId"] == gone["recoveryId"])
    check_equal((item["kid"], item["deletedDate"]), (f"https://{api.host}/keys/s", gone["deletedDate"]), "listed with its base id")
    check(all("/keys/s" != k["kid"][-7:] for k in api.must("GET", "/keys")["value"]), "no longer among the keys")


def test_keys_of_an_open_vault(site):
    api = kluis.Api(site)
    expect(api, "absent", ABSENT)
    api.must("POST", "/keys/s/create", {"kty": "RSA", "tags": {"a": "b"}})
    api.must("POST", "/keys/s/rotate")
    sealed = api.must("POST", "/keys/s/wrapkey", WRAP)
    expect(api, "active", ACTIVE)
    remove(api, 90, "Recoverable+Purgeable")
    expect(api, "deleted", DELETED)
    back = api.must("POST", "/deletedkeys/s/recover")
    check_equal((back["key"]["kid"], back["tags"]), (sealed["kid"], {"a": "b"}), "recovered as it was")
    check_equal(len(api.must("GET", "/keys/s/versions")["value"]), 2, "with all its versions")
    check_equal(api.must("POST", "/keys/s/unwrapkey", {**WRAP, "value": sealed["value"]})["value"], WRAP["value"], "and usable")
    expect(api, "active again", ACTIVE)
    api.must("DELETE", "/keys/s")
    status, headers, answer = api.call("DELETE", "/deletedkeys/s")
    check_equal((status, answer, headers["Content-Type"]), (204, None, None), "purge: 204, no body, no type")
    expect(api, "purged", ABSENT)
    fresh = api.must("POST", "/keys/s/create", {"kty": "RSA"})
    check(fresh["key"]["kid"] != sealed["kid"], "the name is free again")
    check_equal(api.call("POST", "/keys/s/unwrapkey", {**WRAP, "value": sealed["value"]})[0], 400, "the old material is gone")


def test_keys_of_a_protected_vault(site):
    api = kluis.Api(site, vault="safe")
    api.must("POST", "/keys/s/create", {"kty": "EC"})
    remove(api, 90, "Recoverable")
    status, _, answer = api.call("DELETE", "/deletedkeys/s")
    check_equal((status, answer["error"]["code"]), (403, "Forbidden"), "purge under purge protection")
    check("purge protection" in answer["error"]["message"].lower(), "says why")
    check_equal(api.call("GET", "/deletedkeys/s")[0], 200, "still there")
    api.must("POST", "/deletedkeys/s/recover")
    check_equal(api.call("GET", "/keys/s")[0], 200, "and recoverable")


kluis.main(globals())
