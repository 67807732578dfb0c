#!/usr/bin/env python3
"""Backup blobs over the API: round trip with all versions, conflicts, scope, and every way to damage one."""
import os
import random
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
import kluis
from kluis import check, check_equal

WRAP = {"alg": "RSA-OAEP-256", "value": kluis.b64url(bytes(range(32)))}
MALFORMED = (400, "Malformed backup blob", "Backup blob contains invalid or corrupt version.")


def restore(api, value):
    status, _, answer = api.call("POST", "/keys/restore", {"value": value})
    return (status, answer["error"]["code"], answer["error"]["message"]) if status != 200 else (200, answer, None)


def test_backup(site):
    api = kluis.Api(site)
    first = api.must("POST", "/keys/b/create", {"kty": "RSA", "tags": {"a": "b"}, "attributes": {"exp": 4000000000}})
    check_equal(first["kluis"]["profile"], "domain-backed", "a site's token has a domain key")
    old = first["key"]["kid"].rsplit("/", 1)[1]
    sealed = api.must("POST", "/keys/b/wrapkey", WRAP)["value"]
    newest = api.must("POST", "/keys/b/rotate")
    blob = api.must("POST", "/keys/b/backup")["value"]
    check("=" not in blob, "unpadded base64url")
    status, code, _ = restore(api, blob)
    check_equal((status, code), (409, "Conflict"), "the name is taken")
    api.must("DELETE", "/keys/b")
    check_equal(restore(api, blob)[:2], (409, "Conflict"), "also by a deleted key")
    answer = api.call("POST", "/keys/restore", {"value": blob})[2]
    check_equal(answer["error"]["innererror"]["code"], "ObjectIsDeletedButRecoverable", "which says so")
    api.must("DELETE", "/deletedkeys/b", wanted=204)
    malformed = 0
    for bad in damaged(blob):
        got = restore(api, bad)
        check_equal(got[0], 400, f"a damaged blob of {len(bad)} characters: {got[1:]}")
        check(got == MALFORMED or got[1] == "BadParameter", "in words that clients know")
        malformed += got == MALFORMED
    check(malformed > 30, "only damage to the name of the domain or scope reads as a foreign blob")
    check_equal(api.call("GET", "/keys/b")[0], 404, "no damaged blob made anything")
    status, bundle, _ = restore(api, blob)
    check_equal((status, bundle), (200, newest), "restored as it was: newest version, tags, dates")
    check_equal(len(api.must("GET", "/keys/b/versions")["value"]), 2, "with all versions")
    opened = api.must("POST", f"/keys/b/{old}/unwrapkey", {**WRAP, "value": sealed})
    check_equal(opened["value"], WRAP["value"], "old ciphertext opens")
    for body in ({}, {"value": ""}, {"value": 5}):
        check_equal(api.call("POST", "/keys/restore", body)[0], 400, str(body))
    api.must("POST", "/keys/f/create", {"kty": "RSA", "kluis": {"profile": "fixed"}})
    status, _, answer = api.call("POST", "/keys/f/backup")
    check_equal((status, answer["error"]["code"]), (400, "BadParameter"), "a fixed key has no backup")


def damaged(blob):
    raw = kluis.un_b64url(blob)
    yield from ("%%%", "A", kluis.b64url(bytes(4728)), kluis.b64url(bytes(8693)))
    for length in (1, len(raw) // 2, len(raw) - 1):
        yield kluis.b64url(raw[:length])
    yield kluis.b64url(raw + b"\0")
    places = range(len(raw)) if kluis.FULL else sorted(random.Random(1).sample(range(len(raw)), 60))
    for place in places:
        yield kluis.b64url(raw[:place] + bytes([raw[place] ^ 1]) + raw[place + 1:])


kluis.main(globals())
