#!/usr/bin/env python3
"""What real clients demand of the wire, one by one (the Azure SDKs, az, libmongocrypt): query names that are percent-encoded, header
spelling, empty path segments, the challenge before anything else, api-versions, ids, error bodies."""
import json
import os
import re
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
import kluis
from kluis import API, check, check_equal

DEK = bytes(range(32))
VERSIONS = ["2016-10-01", "7.0", "7.1", "7.2", "7.3", "7.4", "7.5", "7.6", "7.4-preview.1", "7.6-preview.2", "2025-06-01-preview",
            "2025-07-01", "2026-01-01-preview", "2026-04-01"]


def raw(api, request):
    """The bytes of one answer to the bytes of one request, on a connection of its own."""
    import socket
    with socket.create_connection(("127.0.0.1", api.base.port), timeout=api.timeout) as plain:
        with api.context.wrap_socket(plain, server_hostname="localhost") as s:
            s.sendall(request)
            data = b""
            while True:
                part = s.recv(65536)
                if not part:
                    return data
                data += part


def test_wire(site):
    api = kluis.Api(site)
    api.must("POST", "/keys/k1/create", {"kty": "RSA", "key_size": 2048, "attributes": {}})
    names(api)
    headers(api)
    segments(api)
    challenge_first(api)
    challenge_form(api)
    versions(api)
    ids(api)
    host_without_port(api)


def names(api):
    """Percent-encoded names of query parameters."""
    check_equal(api.exchange("GET", "/keys?api%2Dversion=7.6", headers=auth(api))[0], 200, "api%2Dversion")
    check_equal(api.exchange("GET", "/keys?API-VERSION=7.6&%6Daxresults=1", headers=auth(api))[0], 200, "any case, encoded maxresults")
    check_equal(api.exchange("GET", "/keys?api-version=7.6&maxresults=%ZZ", headers=auth(api))[0], 400, "a broken escape")


def auth(api, host=None):
    if not api.token:
        api.login()
    return {"Host": host or api.host, "Authorization": f"Bearer {api.token}"}


def headers(api):
    """Content-Length in exactly this spelling, never chunked, and not a byte more than it says."""
    request = (f"GET /keys?{API} HTTP/1.1\r\nhost: {api.host}\r\nauthorization: Bearer {api.token}\r\naccept: application/json\r\n"
               "Connection: close\r\n\r\n").encode()
    head, body = raw(api, request).split(b"\r\n\r\n", 1)
    check(head.startswith(b"HTTP/1.1 200 "), "the status line")
    length = re.search(rb"\r\nContent-Length: (\d+)(\r\n|$)", head)
    check(length is not None and int(length.group(1)) == len(body), "Content-Length, and not a byte more")
    check(b"chunked" not in head.lower(), "never chunked")
    for line in (b"Content-Type: application/json; charset=utf-8", b"Cache-Control: no-cache", b"Pragma: no-cache", b"Expires: -1",
                 b"X-Content-Type-Options: nosniff", b"Strict-Transport-Security: max-age=31536000;includeSubDomains"):
        check(b"\r\n" + line in head, line.decode())
    for name in (b"x-ms-request-id: ", b"x-ms-keyvault-region: ", b"x-ms-keyvault-service-version: "):
        check(b"\r\n" + name in head, name.decode())
    _, answered, _ = api.call("GET", "/keys", headers={"x-ms-client-request-id": "11111111-2222-3333-4444-555555555555"})
    check_equal(answered["x-ms-client-request-id"], "11111111-2222-3333-4444-555555555555", "the client's request id comes back")
    _, answered, _ = api.call("GET", "/keys", headers={"x-ms-client-request-id": "a\tb"})
    check_equal(answered["x-ms-client-request-id"], None, "a strange request id does not")


def segments(api):
    """Empty and absent version segments mean the newest version; words match without case."""
    version = api.must("GET", "/keys/k1")["key"]["kid"].rsplit("/", 1)[1]
    for path in ("/keys/k1/", "/keys/k1", f"/keys/k1/{version}", f"/Keys/k1/{version}/?{API}", "/keys/K1"):
        check_equal(api.must("GET", path)["key"]["kid"].rsplit("/", 1)[1], version, path)
    check_equal(api.must("PATCH", "/keys/k1/", {"tags": {"a": "b"}})["tags"], {"a": "b"}, "PATCH with a slash at the end")
    wrapped = api.must("POST", "/keys/k1//wrapkey", {"alg": "RSA-OAEP-256", "value": kluis.b64url(DEK)})
    check_equal(wrapped["kid"].rsplit("/", 1)[1], version, "the answer names the version")
    for path in ("/keys/k1//unwrapkey", "/keys/k1/unwrapkey", f"/keys/k1/{version}/unwrapKey"):
        got = api.must("POST", path, {"alg": "RSA-OAEP-256", "value": wrapped["value"]})
        check_equal(kluis.un_b64url(got["value"]), DEK, path)
    padded = wrapped["value"] + "=" * (-len(wrapped["value"]) % 4)
    got = api.must("POST", "/keys/k1//unwrapkey", {"alg": "RSA-OAEP-256", "value": padded})
    check_equal(kluis.un_b64url(got["value"]), DEK, "padded base64url is taken")
    check("=" not in wrapped["value"] + got["value"], "none is given")


def challenge_first(api):
    """Without a token there is nothing but the challenge: known and unknown paths, any method, any body, any version."""
    seen = set()
    for method, path, body in (("GET", "/keys?" + API, None), ("POST", "/keys/new/create?" + API, ""), ("PUT", "/keys/new", None),
                               ("PATCH", "/keys/k1/?api-version=none", "{"), ("GET", "/no/such/path", None), ("DELETE", "/keys/k1", None),
                               ("POST", "/keys/k1//unwrapkey?" + API, "not json"), ("GET", "/kluis/v1/vaults", None), ("GET", "/keys/%ZZ", None)):
        status, answered, data = api.exchange(method, path, body, {"Host": api.host, "Content-Type": "application/json"})
        check_equal(status, 401, f"{method} {path}")
        check_equal(json.loads(data)["error"]["code"], "Unauthorized", f"{method} {path}")
        seen.add(answered["WWW-Authenticate"])
    check_equal(len(seen), 1, "one challenge for all")
    check_equal(api.call("GET", "/keys/new")[0], 404, "nothing was made")
    for value in ("Bearer", "Bearer ", "Bearer x", "Basic abc", f"Bearer {api.token}x", f"Bearer {api.token[:-2]}", "Bearer a.b.c"):
        status, answered, _ = api.exchange("GET", "/keys?" + API, None, {"Host": api.host, "Authorization": value})
        check_equal((status, answered["WWW-Authenticate"] in seen), (401, True), value[:12])


def challenge_form(api):
    _, answered, data = api.exchange("GET", "/keys?" + API, None, {"Host": api.host})
    port = api.base.port
    check_equal(answered["WWW-Authenticate"],
                f'Bearer authorization="https://{api.host}/{api.tenant}", resource="https://vault.localhost:{port}"', "the challenge")
    check("AKV10000" in json.loads(data)["error"]["message"], "the recorded words")


def versions(api):
    for version in VERSIONS:
        check_equal(api.call("GET", f"/keys?api-version={version}")[0], 200, version)
    for version in ("", "7.7", "7", "7.4-preview.x", "7.4-preview.10", "2099-01-01", "7.4x", "latest", "9" * 60):
        status, _, answer = api.call("GET", f"/keys?api-version={version}")
        check_equal((status, answer["error"]["code"]), (400, "BadParameter"), version or "no version")
    check_equal(api.exchange("GET", "/keys", headers=auth(api))[0], 400, "no api-version at all")


def ids(api):
    """Absolute ids with the configured origin that the client used."""
    for host in (f"demo.vault.localhost:{api.base.port}", f"localhost:{api.base.port}"):
        kid = api.call("GET", "/keys/k1", host=host)[2]["key"]["kid"]
        check(kid.startswith(f"https://{host}/keys/k1/"), f"{kid} begins with {host}")
    for host in ("evil.example", f"nosuch.vault.localhost:{api.base.port}"):
        status, _, answer = api.call("GET", "/keys/k1", host=host)
        check_equal((status, answer["error"]["code"]), (404, "VaultNotFound"), host)


def host_without_port(api):
    kid = api.call("GET", "/keys/k1", host="DEMO.vault.localhost")[2]["key"]["kid"]
    check(kid.startswith(f"https://demo.vault.localhost:{api.base.port}/"), "the port comes from the configuration")
    kid = api.call("GET", "/keys/k1", host="demo.vault.localhost:1")[2]["key"]["kid"]
    check(kid.startswith(f"https://demo.vault.localhost:{api.base.port}/"), "not from the header")


kluis.main(globals())
