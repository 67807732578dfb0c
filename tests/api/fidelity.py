#!/usr/bin/env python3
"""The rest of what Key Vault's documents and recordings say of keys, cell by cell: wrong methods, names without case, what an update leaves
alone, pages of 25, states against operations, headers of every kind of answer, what a server must not mind."""
import json
import os
import sys
import time
import urllib.parse

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
import kluis
from kluis import API, check, check_equal

V = "0" * 32
WRAP = {"alg": "RSA-OAEP-256", "value": kluis.b64url(bytes(32))}
DIGEST = kluis.b64url(bytes(32))


def refusal(answer):
    error = answer["error"]
    return error["code"], error.get("innererror", {}).get("code"), error["message"]


def test_wrong_methods(site):
    """405 with the methods that there are, in a body of the usual form; nothing for those who have no token."""
    api = kluis.Api(site)
    for path, operation, allow in (("/keys", "keys", "GET"), ("/keys/n", "n", "GET, PUT, PATCH, DELETE"), (f"/keys/n/{V}", V, "GET, PATCH"),
                                   ("/keys/n/create", "create", "GET, POST, PATCH"), (f"/keys/n/{V}/sign", "sign", "POST"), ("/keys/n/versions", "versions", "GET, PATCH"),
                                   ("/deletedkeys", "deletedkeys", "GET"), ("/deletedkeys/n", "n", "GET, DELETE"), ("/deletedkeys/n/recover", "recover", "POST"),
                                   ("/rng", "rng", "POST"), ("/keys/n/rotationpolicy", "rotationpolicy", "GET, PUT, PATCH")):
        for method in ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"):
            if method in allow.split(", "):
                continue
            status, headers, answer = api.call(method, path, {} if method in ("POST", "PUT", "PATCH") else None)
            check_equal((status, headers["Allow"]), (405, allow), f"{method} {path}")
            if method == "HEAD":
                check(answer is None and int(headers["Content-Length"]) > 0, "HEAD has the head alone")
            else:
                check_equal(refusal(answer), ("BadParameter", None, f"Method {method} does not allow operation '{operation}'"), f"{method} {path}")
            check_equal(api.call(method, path, auth=False)[0], 401, f"{method} {path} without a token")
    status, headers, _ = api.call("GET", "/keys/none")
    check_equal((status, headers["Allow"]), (404, None), "Allow goes with 405 alone")


def test_operations_of_later_days(site):
    """What Key Vault has and this service has not says so, and changes nothing."""
    api = kluis.Api(site)
    before = api.must("POST", "/keys/k/create", {"kty": "RSA"})
    version = before["key"]["kid"].rsplit("/", 1)[1]
    for method, path, status, words in (
            ("GET", f"/keys/k/{version}/attestation", 404, "names no operation"),
            ("GET", f"/keys/k/{V}", 404, f"A key with (name/id) k/{V} was not found in this key vault.")):
        got, _, answer = api.call(method, path, {"key": {"kty": "RSA"}} if method != "GET" else None)
        check_equal(got, status, f"{method} {path}")
        check(words in answer["error"]["message"], f"{method} {path} says: {answer['error']['message']}")
    check_equal(api.must("GET", "/keys/k"), before, "nothing changed")


def test_names_without_case(site):
    api = kluis.Api(site)
    first = api.must("POST", "/keys/kek1/create", {"kty": "RSA"})
    version = first["key"]["kid"].rsplit("/", 1)[1]
    check_equal(api.must("GET", "/keys/KEK1"), first, "GET")
    check_equal(api.must("GET", f"/keys/Kek1/{version.upper()}"), first, "a version")
    second = api.must("POST", "/keys/KEK1/create", {"kty": "RSA"})
    check(second["key"]["kid"].startswith(f"https://{api.host}/keys/kek1/"), "create makes a version of the one key, under the name that it has")
    check_equal([k["kid"] for k in api.must("GET", "/keys")["value"]], [f"https://{api.host}/keys/kek1"], "one key, not two")
    check_equal(len(api.must("GET", "/keys/kEk1/versions")["value"]), 2, "with two versions")
    sealed = api.must("POST", "/keys/KEK1/wrapkey", WRAP)
    check_equal(api.must("POST", f"/keys/kek1/{second['key']['kid'].rsplit('/', 1)[1]}/unwrapkey", {**WRAP, "value": sealed["value"]})["value"], WRAP["value"], "operations")
    check_equal(api.must("PATCH", "/keys/KEK1", {"tags": {"A": "1", "a": "2"}})["tags"], {"A": "1", "a": "2"}, "PATCH; names of tags have case")
    blob = api.must("POST", "/keys/KEK1/backup")["value"]
    api.must("DELETE", "/keys/KEK1")
    check_equal(api.must("GET", "/deletedkeys/kEK1")["recoveryId"], f"https://{api.host}/deletedkeys/kek1", "deleted")
    check_equal(api.call("POST", "/keys/KeK1/create", {"kty": "RSA"})[0], 409, "its name is held in any case")
    api.must("POST", "/deletedkeys/KEK1/recover")
    check_equal(api.call("POST", "/keys/restore", {"value": blob})[0], 409, "restore over it")
    api.must("DELETE", "/keys/kek1")
    api.must("DELETE", "/deletedkeys/KEK1", wanted=204)
    check_equal(api.must("POST", "/keys/restore", {"value": blob})["key"]["kid"], second["key"]["kid"], "a restore brings the spelling back")


def test_name_and_tag_limits(site):
    api = kluis.Api(site)
    for name in ("a", "0", "-", "A-1", "x" * 127):
        api.must("POST", f"/keys/{name}/create", {"kty": "EC"})
        check_equal(api.must("GET", f"/keys/{name}")["key"]["kid"].split("/")[4], name, f"name {name[:8]}")
    for name in ("x" * 128, "a_b", "a.b", "a%20b", "a+b", "%00", "ä", "a%2Fb"):
        status, _, answer = api.call("POST", f"/keys/{urllib.parse.quote(name, safe='%')}/create", {"kty": "EC"})
        check_equal((status, answer["error"]["code"]), (400, "BadParameter"), f"name {name[:8]}")
    tags = {("t%02d" % n) + "é" * 253: "ü" * 256 for n in range(15)}
    check_equal(api.must("POST", "/keys/a/create", {"kty": "EC", "tags": tags})["tags"], tags, "15 tags of 256 characters each")
    for bad in ({**tags, "t": ""}, {"t" * 257: ""}, {"t": "v" * 257}, {"t": 1}, {"t": None}, [], "t"):
        for method, path, body in (("POST", "/keys/a/create", {"kty": "EC", "tags": bad}), ("PATCH", "/keys/a", {"tags": bad})):
            status, _, answer = api.call(method, path, body)
            check_equal((status, answer["error"]["code"]), (400, "BadParameter"), f"{method} {str(bad)[:30]}")
    check_equal(api.must("GET", "/keys/a")["tags"], tags, "a refused change changes nothing")


def test_what_an_update_leaves_alone(site):
    api = kluis.Api(site)
    made = api.must("POST", "/keys/k/create", {"kty": "RSA", "key_ops": ["wrapKey", "unwrapKey"], "tags": {"a": "1"}, "attributes": {"nbf": 1000, "exp": 4000000000}})
    version = made["key"]["kid"].rsplit("/", 1)[1]
    api.must("POST", "/keys/k/rotate")

    def rest(bundle):
        return {**bundle, "attributes": {k: v for k, v in bundle["attributes"].items() if k != "updated"}}

    for body in ({}, {"key_ops": []}, {"key_ops": None, "attributes": None, "tags": None}, {"attributes": {}}, {"attributes": {"enabled": None, "nbf": None, "exp": None}},
                 {"unknown": {"deep": [1, {"x": None}]}, "attributes": {"unknown": 1, "created": 5, "updated": 6, "recoveryLevel": "Purgeable"}},
                 {"attributes": {"exportable": False}}, {"release_policy": None}):
        got = api.must("PATCH", f"/keys/k/{version}", body)
        check_equal(rest(got), rest(made), f"PATCH {body} changes nothing")
        check(got["attributes"]["updated"] >= made["attributes"]["updated"], "but the date of the change")
    status, _, answer = api.call("PATCH", f"/keys/k/{version}")
    check_equal((status, answer["error"]["code"]), (400, "BadParameter"), "no body at all")
    changed = api.must("PATCH", f"/keys/k/{version}", {"tags": {"b": "2"}, "attributes": {"exp": 4000000001}})
    check_equal((changed["tags"], changed["attributes"]["exp"], changed["attributes"]["nbf"]), ({"b": "2"}, 4000000001, 1000), "tags are replaced, not merged")
    newest = api.must("GET", "/keys/k")
    check_equal((newest["key"]["kid"].endswith(version), newest["tags"]), (False, {"a": "1"}), "the newest version is another, and untouched")
    check_equal(api.must("PATCH", "/keys/k", {"tags": {}}).get("tags", {}), {}, "no tags any more")
    check_equal(api.must("GET", f"/keys/k/{version}")["tags"], {"b": "2"}, "of that version alone")
    both = {i["kid"].rsplit("/", 1)[1]: i for i in api.must("GET", "/keys/k/versions")["value"]}
    check_equal(both[version]["tags"], {"b": "2"}, "versions are listed with what is theirs")
    listed = api.must("GET", "/keys")["value"][0]
    check_equal((listed["attributes"], listed.get("tags")), (api.must("GET", "/keys/k")["attributes"], None), "keys with what the newest version has")


def walk(api, path):
    """All pages from `path` on: the sizes, the ids, the links."""
    sizes, ids, links = [], [], []
    while path:
        page = api.must("GET", path)
        sizes.append(len(page["value"]))
        ids += [i["kid"] for i in page["value"]]
        links.append(page["nextLink"])
        path = page["nextLink"] and page["nextLink"][len(f"https://{api.host}"):]
    return sizes, ids, links


def test_pages(site):
    api = kluis.Api(site)
    names = [f"{'Pp'[n % 2]}age-{n:02d}" for n in range(27)]
    for name in reversed(names):
        api.must("POST", f"/keys/{name}/create", {"kty": "EC"})
    for version in ("7.4", "7.4-preview.1", "2025-07-01"):
        sizes, ids, links = walk(api, f"/keys?api%2Dversion={version}")
        check_equal((sizes, ids, links[-1]), ([25, 2], [f"https://{api.host}/keys/{n}" for n in names], None), "25 to a page, by upper-cased name, null at the end")
        query = urllib.parse.urlsplit(links[0]).query.split("&")
        check_equal([q.split("=")[0] for q in query], ["api-version", "$skiptoken"], "a link with the version, the place, and maxresults only if it was sent")
        check_equal(query[0], f"api-version={version}", "the version that was asked for")
    sizes, ids, links = walk(api, f"/keys?{API}&maxresults=9")
    check_equal((sizes, len(set(ids)), all("maxresults=9" in x for x in links[:-1]), links[-1]), ([9, 9, 9], 27, True, None), "27 by 9: no empty page at the end")
    api.must("DELETE", "/keys/" + names[20])  # what was deleted meanwhile is left out, nothing else
    check_equal(walk(api, links[0][len(f"https://{api.host}"):])[1], [i for i in ids[9:] if not i.endswith(names[20])], "a link goes on from its place")
    for n in names[:4]:
        api.must("DELETE", "/keys/" + n)
    sizes, ids, _ = walk(api, f"/deletedkeys?{API}&maxresults=2")
    check_equal((sizes, [i.rsplit("/", 1)[1] for i in ids]), ([2, 2, 1], names[:4] + [names[20]]), "deleted keys by pages")
    for _ in range(26):
        api.must("POST", f"/keys/{names[5]}/rotate")
    sizes, ids, _ = walk(api, f"/keys/{names[5]}/versions?{API}")
    check_equal((sizes, ids), ([25, 2], sorted(set(ids))), "versions by pages")
    check_equal(api.must("GET", "/keys/none/versions"), {"value": [], "nextLink": None}, "versions of a missing key")
    other = urllib.parse.urlsplit(links[0]).query.split("$skiptoken=")[1].split("&")[0]
    for path in (f"/deletedkeys?$skiptoken={other}", f"/keys?$skiptoken={other}%21", "/keys?maxresults=", "/keys?maxresults=0", "/keys?maxresults=26", "/keys?maxresults=1.0"):
        status, _, answer = api.call("GET", path)
        check_equal((status, "" if status == 200 else answer["error"]["code"]), (200, "") if path.endswith("=") else (400, "BadParameter"), path)


def operations(api, name):
    sealed = api.must("POST", f"/keys/{name}/wrapkey", WRAP)["value"]
    signature = api.must("POST", f"/keys/{name}/sign", {"alg": "PS256", "value": DIGEST})["value"]
    return {"encrypt": WRAP, "wrapkey": WRAP, "sign": {"alg": "PS256", "value": DIGEST}, "decrypt": {**WRAP, "value": sealed}, "unwrapkey": {**WRAP, "value": sealed},
            "verify": {"alg": "PS256", "digest": DIGEST, "value": signature}}


def test_states_against_operations(site):
    """Each of disabled, not yet valid, expired, and pairs of them, against each operation and each way to look after the key."""
    api = kluis.Api(site)
    api.must("POST", "/keys/k/create", {"kty": "RSA"})
    requests = operations(api, "k")
    now = int(time.time())
    early, late, fine = {"nbf": now + 3600, "exp": 4000000000}, {"nbf": 1, "exp": now - 3600}, {"nbf": 1, "exp": 4000000000}
    for attributes, inner, all_of_them in (({"enabled": False, **fine}, "KeyDisabled", True), ({"enabled": False, **late}, "KeyDisabled", True),
                                           ({"enabled": False, **early}, "KeyDisabled", True), ({"enabled": True, **early}, "KeyNotYetValid", False),
                                           ({"enabled": True, **late}, "KeyExpired", False), ({"enabled": True, "nbf": 1, "exp": now}, "KeyExpired", False),
                                           ({"enabled": True, **fine}, None, False)):
        api.must("PATCH", "/keys/k", {"attributes": attributes})
        for operation, body in requests.items():
            status, _, answer = api.call("POST", f"/keys/k/{operation}", body)
            if inner is not None and (all_of_them or operation in ("encrypt", "wrapkey", "sign")):
                check_equal((status, refusal(answer)[:2]), (403, ("Forbidden", inner)), f"{operation} with {attributes}")
            else:
                check_equal(status, 200, f"{operation} with {attributes}")
        for method, path, body in (("GET", "/keys/k", None), ("GET", "/keys/k/versions", None), ("GET", "/keys", None), ("PATCH", "/keys/k", {"tags": {}}), ("POST", "/keys/k/backup", None)):
            check_equal(api.call(method, path, body)[0], 200, f"{method} {path} with {attributes}")
    old = api.must("GET", "/keys/k")["key"]["kid"].rsplit("/", 1)[1]
    api.must("PATCH", "/keys/k", {"attributes": {"enabled": False}})
    check_equal(api.must("POST", "/keys/k/create", {"kty": "RSA"})["attributes"]["enabled"], True, "a version of its own")
    api.must("POST", "/keys/k/wrapkey", WRAP)
    check_equal(refusal(api.call("POST", f"/keys/k/{old}/unwrapkey", requests["unwrapkey"])[2])[1], "KeyDisabled", "only the version is disabled")
    api.must("DELETE", "/keys/k")
    for operation, body in requests.items():
        status, _, answer = api.call("POST", f"/keys/k/{old}/{operation}", body)
        check_equal((status, refusal(answer)[:2]), (404, ("KeyNotFound", None)), f"{operation} with a deleted key, disabled or not")
    check_equal(api.must("GET", "/keys/k/versions")["value"], [], "versions of a deleted key")


def test_headers_of_every_answer(site):
    api = kluis.Api(site)
    api.must("POST", "/keys/k/create", {"kty": "EC"})
    api.must("POST", "/keys/gone/create", {"kty": "EC"})
    api.must("DELETE", "/keys/gone")
    seen = set()
    for method, path, body, auth, status in (("GET", "/keys/k", None, True, 200), ("GET", "/keys/k", None, False, 401), ("GET", "/keys/none", None, True, 404),
                                             ("POST", "/keys/k/sign", {}, True, 400), ("PUT", "/keys/restore", {}, True, 405), ("DELETE", "/deletedkeys/gone", None, True, 204),
                                             ("POST", "/keys/k/encrypt", WRAP, True, 403), ("POST", "/keys/k/create", "{", True, 400)):
        got, headers, _ = api.call(method, path, body, auth=auth, headers={"x-ms-client-request-id": "client-1", "Accept-Encoding": "gzip, br", "Accept": "text/html"})
        check_equal(got, status, f"{method} {path}")
        for name, value in (("Pragma", "no-cache"), ("Expires", "-1"), ("X-Content-Type-Options", "nosniff"), ("x-ms-client-request-id", "client-1"),
                            ("Strict-Transport-Security", "max-age=31536000;includeSubDomains"), ("Content-Encoding", None), ("Transfer-Encoding", None),
                            ("x-ms-keyvault-network-info", "conn_type=Ipv4;addr=127.0.0.1;act_addr_fam=InterNetwork;"),
                            ("Content-Type", None if status == 204 else "application/json; charset=utf-8"), ("Server", None)):
            check_equal(headers[name], value, f"{name} of a {status}")
        check(headers["Cache-Control"].startswith("no-cache") and headers["x-ms-keyvault-region"] and headers["x-ms-keyvault-service-version"], f"the rest of a {status}")
        check_equal(headers["WWW-Authenticate"] is not None, status == 401, f"a challenge with 401 alone, not with {status}")
        check(len(headers["x-ms-request-id"]) == 36 and headers["x-ms-request-id"] not in seen, "an id for each")
        seen.add(headers["x-ms-request-id"])


def test_what_it_does_not_mind(site):
    """Types, encodings and unknown members that clients send and that mean nothing here."""
    api = kluis.Api(site)
    body = {"kty": "RSA", "key_size": 2048, "unknown": [{"x": {}}], "Hsm": False, "attributes": {"created": 1, "other": {}}, "release_policy": None, "public_exponent": 65537}
    for kind in ("application/json", "application/json; charset=utf-8", "application/json;odata=verbose", "text/plain", "application/x-www-form-urlencoded", ""):
        made = api.call("POST", "/keys/k/create", body, headers={"Content-Type": kind, "Accept": "*/*"})
        check_equal(made[0], 200, f"Content-Type {kind}")
    check_equal(api.call("POST", "/keys/k/create", "\n\t " + json.dumps(body, indent=3) + "\r\n")[0], 200, "blanks around the body")
    check_equal(api.call("POST", "/keys/k/rotate", "")[0], 200, "no body where none is needed")
    check_equal(api.call("POST", "/keys/k/rotate", {})[0], 200, "nor an empty one")
    sealed = api.must("POST", "/keys/k/wrapkey", {**WRAP, "iv": None, "aad": None, "tag": None, "unknown": 1})
    check_equal(sorted(sealed), ["kid", "value"], "what an answer of wrapkey has")
    check_equal(api.must("POST", "/keys/k//unwrapKey", {**WRAP, "value": sealed["value"] + "=="})["value"], WRAP["value"], "padding, and capitals in the path")
    for scheme in ("bearer", "BEARER"):
        check_equal(api.exchange("GET", f"/keys/k?{API}", None, {"Host": api.host, "authorization": f"{scheme} {api.token}"})[0], 200, scheme)
    check_equal(api.call("GET", f"/keys/k?{API}&client-request-id=x&unknown=%20")[0], 200, "query parameters that mean nothing")


def test_first_requests(site):
    """The first request of a client: no token, its body stripped. A challenge, and nothing made or changed."""
    api = kluis.Api(site)
    before = api.must("POST", "/keys/k/create", {"kty": "RSA"})
    for method, path in (("POST", "/keys/new/create"), ("PATCH", "/keys/k/"), ("POST", "/keys/k/rotate"), ("DELETE", "/keys/k"), ("POST", "/keys/restore"), ("POST", "/keys/k//wrapkey"),
                         ("PUT", "/keys/new"), ("POST", "/rng"), ("GET", "/deletedkeys")):
        for body in ("", None, '{"kty":"RSA"}', "x" * 5000):
            status, headers, answer = api.call(method, f"{path}?api%2Dversion=2025-07-01", body, auth=False, headers={"Content-Type": "application/json"})
            check_equal((status, answer["error"]["code"]), (401, "Unauthorized"), f"{method} {path}")
            check(headers["WWW-Authenticate"].startswith("Bearer authorization="), "the challenge")
    check_equal(api.must("GET", "/keys/k"), before, "nothing changed")
    check_equal(len(api.must("GET", "/keys")["value"]), 1, "nothing made")


kluis.main(globals())
