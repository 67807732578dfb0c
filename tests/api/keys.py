#!/usr/bin/env python3
"""Keys: creation in all forms, answers as JWK, listings by pages, attributes, gates, the operations, and what each refusal says."""
import hashlib
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
import kluis
from kluis import check, check_equal

DEK = bytes(range(32))
ALL = ["encrypt", "decrypt", "sign", "verify", "wrapKey", "unwrapKey"]


def fault(api, method, path, body=None):
    """(status, code, inner code, message) of a refusal."""
    status, headers, answer = api.call(method, path, body)
    check(status >= 400, f"{method} {path} is refused, not {status}")
    check_equal(headers["Content-Type"], "application/json; charset=utf-8", "the type of an error body")
    error = answer["error"]
    return status, error["code"], error.get("innererror", {}).get("code"), error["message"]


def test_keys(site):
    api = kluis.Api(site)
    create_forms(api)
    create_refusals(api)
    pages(api)
    update(api)
    operations(api)
    operation_refusals(api)
    uniform_decryption_failure(api)
    gates(api)
    rotate(api)
    random_bytes(api)
    not_found(api)


def create_forms(api):
    b = api.must("POST", "/keys/rsa/create", {"kty": "RSA", "attributes": {}})
    key, attributes = b["key"], b["attributes"]
    check_equal((key["kty"], key["key_ops"], key["e"], len(key["n"])), ("RSA", ALL, "AQAB", 342), "an RSA key without wishes")
    check_equal(attributes["created"], attributes["updated"], "created and updated")
    check(abs(attributes["created"] - time.time()) < 60, "created is now")
    check_equal({k: attributes[k] for k in ("enabled", "recoveryLevel", "recoverableDays", "exportable", "hsmPlatform")},
                {"enabled": True, "recoveryLevel": "Recoverable+Purgeable", "recoverableDays": 90, "exportable": False, "hsmPlatform": "0"},
                "attributes")
    check("exp" not in attributes and "nbf" not in attributes, "no dates")
    version = key["kid"].rsplit("/", 1)[1]
    check(len(version) == 32 and set(version) <= set("0123456789abcdef"), "32 hex digits of version")
    check("d" not in key and "p" not in key, "nothing private")
    b = api.must("POST", "/keys/hsm/create", {"kty": "RSA-HSM", "key_size": 3072, "key_ops": ["wrapKey", "unwrapKey"], "tags": {"team": "é"},
                                              "attributes": {"enabled": True, "nbf": 1000, "exp": 4000000000}})
    check_equal((b["key"]["kty"], b["key"]["key_ops"], b["tags"]), ("RSA-HSM", ["wrapKey", "unwrapKey"], {"team": "é"}), "as asked")
    check_equal((b["attributes"]["nbf"], b["attributes"]["exp"]), (1000, 4000000000), "dates")
    check_equal(api.must("GET", "/keys/hsm"), b, "get gives what create answered")
    for crv, width in (("P-256", 43), ("P-384", 64), ("P-521", 88)):
        k = api.must("POST", f"/keys/ec{width}/create", {"kty": "EC", "crv": crv})["key"]
        check_equal((k["kty"], k["crv"], len(k["x"]), len(k["y"]), k["key_ops"]), ("EC", crv, width, width, ["sign", "verify"]), crv)
    b = api.must("POST", "/keys/fix/create", {"kty": "EC", "kluis": {"profile": "fixed"}})
    check_equal(b["kluis"], {"profile": "fixed", "token": "main"}, "kluis' own members")
    again = api.must("POST", "/keys/rsa/create", {"kty": "RSA"})["key"]["kid"]
    check(again != key["kid"], "create on a name that exists makes a version")
    check_equal(api.must("GET", "/keys/rsa")["key"]["kid"], again, "which is the newest")


def create_refusals(api):
    for body in ({}, {"kty": "oct"}, {"kty": "RSA", "key_size": 1024}, {"kty": "RSA", "key_size": "2048"}, {"kty": "EC", "crv": "P-256K"},
                 {"kty": "EC", "key_ops": ["wrapKey"]}, {"kty": "RSA", "key_ops": ["import", "sign"]}, {"kty": "RSA", "attributes": {"exportable": True}},
                 {"kty": "RSA", "tags": {str(n): "" for n in range(16)}}, {"kty": "RSA", "tags": {"x": "y" * 257}}, {"kty": "RSA", "tags": "x"}):
        check_equal(fault(api, "POST", "/keys/bad/create", body)[:2], (400, "BadParameter"), str(body)[:60])
    for text in ("", "[]", '"x"', "{", '{"kty":"RSA","kty":"EC"}', '{"kty":"RSA"} x', "{" * 50, '{"kty":"RSA","x":"\\u0000"}'):
        check_equal(fault(api, "POST", "/keys/bad/create", text)[:2], (400, "BadParameter"), text[:40])
    for name in ("a_b", "a%20b", "a.b", "x" * 128, "%C3%A9", "a%2Fb"):
        check_equal(fault(api, "POST", f"/keys/{name}/create", {"kty": "RSA"})[1], "BadParameter", name[:20])
    check(fault(api, "GET", "/keys/a_b")[3].startswith("The request URI contains an invalid name: a_b"), "the recorded words")
    check_equal(fault(api, "POST", "/keys//create", {"kty": "RSA"})[::3], (400, "Operation not specified"), "no name")
    check_equal(fault(api, "PUT", "/keys/restore", {})[::3], (405, "Method PUT does not allow operation 'restore'"), "a wrong method")
    check_equal(fault(api, "GET", "/nothing?" + kluis.API)[:2], (404, "NotFound"), "an unknown path")
    check_equal(api.call("GET", "/keys/bad")[0], 404, "nothing was made")


def pages(api):
    for n in range(4):
        api.must("POST", f"/keys/Page-{n}/create", {"kty": "EC"})
    listed = api.must("GET", "/keys")
    names = [k["kid"].rsplit("/", 1)[1] for k in listed["value"]]
    check_equal(names, sorted(names, key=str.upper), "by upper-cased name")
    check(listed["nextLink"] is None, "one page")
    check(all("/keys/" in k["kid"] and k["kid"].count("/") == 4 and "key" not in k for k in listed["value"]), "base ids, no key material")
    for size in (1, 2, 5, 25):
        seen, path = [], f"/keys?maxresults={size}&{kluis.API}"
        while path:
            page = api.must("GET", path)
            check(len(page["value"]) <= size, "no page is too long")
            seen += [k["kid"].rsplit("/", 1)[1] for k in page["value"]]
            link = page["nextLink"]
            if link:
                prefix = f"https://{api.host}/keys?"
                check(link.startswith(prefix) and "api-version=7.4" in link and "$skiptoken=" in link and f"maxresults={size}" in link, link)
            path = link and link[len(f"https://{api.host}"):]
        check_equal(seen, names, f"by pages of {size}")
    for query in ("maxresults=0", "maxresults=26", "maxresults=-1", "maxresults=x", "maxresults=1x", "$skiptoken=x", "$skiptoken=MSE"):
        check_equal(fault(api, "GET", f"/keys?{query}")[:2], (400, "BadParameter"), query)
    for _ in range(3):
        api.must("POST", "/keys/Page-0/rotate")
    first = api.must("GET", "/keys/Page-0/versions?maxresults=3")
    check(len(first["value"]) == 3 and all(k["kid"].count("/") == 5 for k in first["value"]), "versioned ids")
    token = first["nextLink"].split("$skiptoken=")[1].split("&")[0]
    second = api.must("GET", first["nextLink"][len(f"https://{api.host}"):])
    versions = [k["kid"].rsplit("/", 1)[1] for k in first["value"] + second["value"]]
    check_equal((len(versions), versions), (4, sorted(set(versions))), "all versions, by version id")
    check_equal(fault(api, "GET", f"/keys?$skiptoken={token}")[0], 400, "a page token of another listing")
    check_equal(api.must("GET", "/keys/no-such-key/versions")["value"], [], "versions of a missing key")


def update(api):
    before = api.must("GET", "/keys/hsm")
    after = api.must("PATCH", "/keys/hsm/", {"attributes": {"enabled": False}})
    check_equal((after["attributes"]["enabled"], after["tags"], after["attributes"]["exp"], after["key"]),
                (False, before["tags"], before["attributes"]["exp"], before["key"]), "absent members stay")
    after = api.must("PATCH", "/keys/hsm", {"tags": {"x": "1"}, "key_ops": ["wrapKey"], "attributes": {"enabled": True, "exp": 4100000000}})
    check_equal((after["tags"], after["key"]["key_ops"], after["attributes"]["exp"], after["attributes"]["nbf"]),
                ({"x": "1"}, ["wrapKey"], 4100000000, 1000), "sent ones change")
    check_equal(api.must("GET", "/keys/hsm"), after, "for good")
    check(api.must("PATCH", "/keys/hsm", {"tags": {}}).get("tags", {}) == {}, "tags can go")
    for body in ({"key_ops": ["fly"]}, {"attributes": {"enabled": 1}}, {"tags": {"a": None}}):
        check_equal(fault(api, "PATCH", "/keys/hsm", body)[0], 400, str(body))
    check_equal(fault(api, "PATCH", "/keys/no-such-key", {"tags": {}})[1], "KeyNotFound", "a missing key")


def operations(api):
    for alg in ("RSA-OAEP-256", "RSA-OAEP"):
        for there, back in (("wrapkey", "unwrapkey"), ("encrypt", "decrypt")):
            for plain in (b"\0", b"\0\0" + DEK, bytes(190 if alg == "RSA-OAEP-256" else 214)):
                sealed = api.must("POST", f"/keys/rsa/{there}", {"alg": alg, "value": kluis.b64url(plain)})
                check_equal(len(kluis.un_b64url(sealed["value"])), 256, "a modulus of ciphertext")
                opened = api.must("POST", f"/keys/rsa/{back}", {"alg": alg, "value": sealed["value"]})
                check_equal((kluis.un_b64url(opened["value"]), opened["kid"]), (plain, sealed["kid"]), f"{alg} {there} {len(plain)}")
    for name, algs in (("rsa", ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")), ("ec43", ("ES256",)), ("ec64", ("ES384",)), ("ec88", ("ES512",))):
        for alg in algs:
            digest = kluis.b64url(hashlib.new("sha" + alg[2:], b"message").digest())
            signature = api.must("POST", f"/keys/{name}/sign", {"alg": alg, "value": digest})["value"]
            verify = {"alg": alg, "digest": digest, "value": signature}
            check_equal(api.must("POST", f"/keys/{name}/verify", verify), {"value": True}, alg)
            flipped = ("B" if signature[0] == "A" else "A") + signature[1:]
            check_equal(api.must("POST", f"/keys/{name}/verify", {**verify, "value": flipped}), {"value": False}, alg + " flipped")


def operation_refusals(api):
    short = kluis.b64url(DEK)
    rows = (
        ("rsa/wrapkey", {"alg": "RSA1_5", "value": kluis.b64url(bytes(246))}, 400), ("rsa/wrapkey", {"alg": "A256KW", "value": short}, 400),
        ("rsa/wrapkey", {"alg": "RS256", "value": short}, 400), ("rsa/wrapkey", {"alg": "RSA-OAEP"}, 400), ("rsa/wrapkey", {"value": short}, 400),
        ("rsa/wrapkey", {"alg": "RSA-OAEP", "value": ""}, 400), ("rsa/wrapkey", {"alg": "RSA-OAEP", "value": "a+/b"}, 400),
        ("rsa/wrapkey", {"alg": "RSA-OAEP", "value": 5}, 400), ("rsa/wrapkey", {"alg": "RSA-OAEP-256", "value": kluis.b64url(bytes(191))}, 400),
        ("rsa/wrapkey", {"alg": "RSA-OAEP-256", "value": kluis.b64url(bytes(5000))}, 400), ("rsa/wrapkey", "", 400),
        ("rsa/sign", {"alg": "ES256", "value": short}, 400), ("rsa/sign", {"alg": "RS512", "value": short}, 400),
        ("ec43/sign", {"alg": "ES384", "value": kluis.b64url(bytes(48))}, 400), ("ec43/wrapkey", {"alg": "RSA-OAEP", "value": short}, 403),
        ("rsa/verify", {"alg": "RS256", "value": short}, 400), ("rsa/verify", {"alg": "RS256", "digest": kluis.b64url(b"x"), "value": short}, 400),
    )
    for path, body, status in rows:
        got = fault(api, "POST", f"/keys/{path}", body)
        check_equal(got[0], status, f"{path} {body} {got}")
    check("Key and signing algorithm are incompatible" in fault(api, "POST", "/keys/rsa/sign", {"alg": "ES256", "value": short})[3], "words")


def uniform_decryption_failure(api):
    """One answer, whatever is wrong with the ciphertext."""
    good = kluis.un_b64url(api.must("POST", "/keys/rsa/wrapkey", {"alg": "RSA-OAEP-256", "value": kluis.b64url(DEK)})["value"])
    bad = [bytes(256), b"\xff" * 256, good[:-1], good + b"\0", b"\0", good[:-1] + bytes([good[-1] ^ 1]), os.urandom(256), os.urandom(512)]
    seen = set()
    for operation in ("unwrapkey", "decrypt"):
        for alg in ("RSA-OAEP-256", "RSA-OAEP"):
            for value in bad + ([good] if alg == "RSA-OAEP" else []):
                seen.add(fault(api, "POST", f"/keys/rsa/{operation}", {"alg": alg, "value": kluis.b64url(value)}))
    check_equal(seen, {(400, "BadParameter", None, "The parameter is incorrect.")}, "one answer for all")


def gates(api):
    """enabled, nbf, exp and key_ops, operation by operation."""
    body = {"alg": "RSA-OAEP-256", "value": kluis.b64url(DEK)}
    digest = kluis.b64url(bytes(32))
    sealed = api.must("POST", "/keys/rsa/wrapkey", body)["value"]
    signature = api.must("POST", "/keys/rsa/sign", {"alg": "RS256", "value": digest})["value"]
    requests = {"encrypt": body, "wrapkey": body, "sign": {"alg": "RS256", "value": digest}, "decrypt": {**body, "value": sealed},
                "unwrapkey": {**body, "value": sealed}, "verify": {"alg": "RS256", "digest": digest, "value": signature}}

    def held_back(timed, inner):
        for operation, request in requests.items():
            status, _, answer = api.call("POST", f"/keys/rsa/{operation}", request)
            if timed and operation in ("decrypt", "unwrapkey", "verify"):
                check_equal(status, 200, f"{operation} in spite of {inner}")
            else:
                check_equal((status, answer["error"]["code"], answer["error"]["innererror"]["code"]), (403, "Forbidden", inner), operation)
        check_equal(api.call("GET", "/keys/rsa")[0], 200, "get goes on")

    api.must("PATCH", "/keys/rsa", {"attributes": {"enabled": False}})
    held_back(False, "KeyDisabled")
    api.must("PATCH", "/keys/rsa", {"attributes": {"enabled": True, "exp": int(time.time()) - 1}})
    held_back(True, "KeyExpired")
    api.must("PATCH", "/keys/rsa", {"attributes": {"exp": 4000000000, "nbf": 3900000000}})
    held_back(True, "KeyNotYetValid")
    api.must("PATCH", "/keys/rsa", {"attributes": {"nbf": 1}})
    for operation, word in (("wrapkey", "wrapKey"), ("sign", "sign"), ("unwrapkey", "unwrapKey"), ("decrypt", "decrypt"), ("verify", "verify")):
        api.must("PATCH", "/keys/rsa", {"key_ops": [o for o in ALL if o != word]})
        got = fault(api, "POST", f"/keys/rsa/{operation}", requests[operation])
        check_equal(got, (403, "Forbidden", "KeyOperationForbidden", f"Operation {word} is not permitted on this key."), operation)
    api.must("PATCH", "/keys/rsa", {"key_ops": ALL})
    for operation, request in requests.items():
        api.must("POST", f"/keys/rsa/{operation}", request)


def rotate(api):
    before = api.must("POST", "/keys/turn/create", {"kty": "RSA-HSM", "key_size": 3072, "key_ops": ["wrapKey", "unwrapKey"], "tags": {"a": "b"}})
    old = before["key"]["kid"].rsplit("/", 1)[1]
    sealed = api.must("POST", "/keys/turn/wrapkey", {"alg": "RSA-OAEP-256", "value": kluis.b64url(DEK)})["value"]
    after = api.must("POST", "/keys/turn/rotate")
    check(after["key"]["kid"] != before["key"]["kid"] and after["key"]["n"] != before["key"]["n"], "new material")
    check_equal((after["key"]["kty"], after["key"]["key_ops"], after["tags"], len(after["key"]["n"])),
                (before["key"]["kty"], before["key"]["key_ops"], before["tags"], len(before["key"]["n"])), "like the old")
    opened = api.must("POST", f"/keys/turn/{old}/unwrapkey", {"alg": "RSA-OAEP-256", "value": sealed})
    check_equal(kluis.un_b64url(opened["value"]), DEK, "the old version still opens")
    check_equal(fault(api, "POST", "/keys/turn/unwrapkey", {"alg": "RSA-OAEP-256", "value": sealed})[0], 400, "the new one does not")
    check_equal(fault(api, "POST", "/keys/no-such-key/rotate")[1], "KeyNotFound", "a missing key")


def random_bytes(api):
    for count in (1, 32, 128):
        value = api.must("POST", f"/rng?{kluis.API}", {"count": count})["value"]
        check_equal(len(kluis.un_b64url(value)), count, "as many bytes as asked")
    for body in ({"count": 0}, {"count": 129}, {"count": "1"}, {}, ""):
        check_equal(fault(api, "POST", f"/rng?{kluis.API}", body)[:2], (400, "BadParameter"), str(body))


def not_found(api):
    body = {"alg": "RSA-OAEP", "value": kluis.b64url(DEK)}
    for method, path in (("GET", "/keys/none"), ("GET", "/keys/rsa/" + "0" * 32), ("POST", "/keys/none/wrapkey"), ("DELETE", "/keys/none"),
                         ("GET", "/keys/rsa/not-a-version")):
        got = fault(api, method, path, body if method == "POST" else None)
        check_equal(got[:2], (404, "KeyNotFound"), f"{method} {path}")
    check(fault(api, "GET", "/keys/none")[3].startswith("A key with (name/id) none was not found in this key vault."), "the recorded words")


kluis.main(globals())
