#!/usr/bin/env python3
"""What the listener refuses, and how the login challenge looks to a foreign client."""
import os
import re
import socket
import ssl
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
import kluis
from kluis import check, check_equal


def raw(site, data, context=None):
    """Bytes to the port, everything that comes back."""
    s = socket.create_connection(("127.0.0.1", site.port), timeout=kluis.PATIENCE)
    if context:
        s = context.wrap_socket(s, server_hostname="localhost")
    s.sendall(data)
    out = b""
    try:
        while chunk := s.recv(65536):
            out += chunk
    except OSError:
        pass
    s.close()
    return out


def test_plain_http_is_refused(site):
    answer = raw(site, b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    check(b"200" not in answer.split(b"\r\n")[0], f"no HTTP answer on a plain connection: {answer[:60]!r}")


def test_old_tls_is_refused(site):
    for version, accepted in ((ssl.TLSVersion.TLSv1, False), (ssl.TLSVersion.TLSv1_1, False), (ssl.TLSVersion.TLSv1_2, True), (ssl.TLSVersion.TLSv1_3, True)):
        context = ssl.create_default_context(cafile=site.env["KLUIS_CA"])
        context.set_ciphers("DEFAULT:@SECLEVEL=0")  # or our own side would refuse before the server can
        context.minimum_version = context.maximum_version = version
        try:
            answer = raw(site, b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", context)
            spoken = answer.startswith(b"HTTP/1.1 200")
        except (ssl.SSLError, ConnectionError):
            spoken = False
        check_equal(spoken, accepted, f"an answer over {version.name}")


def test_certificate_names(site):
    for name in ("localhost", "demo.vault.localhost", "vault.localhost", "127.0.0.1"):
        context = ssl.create_default_context(cafile=site.env["KLUIS_CA"])
        with socket.create_connection(("127.0.0.1", site.port), timeout=kluis.PATIENCE) as s, context.wrap_socket(s, server_hostname=name) as t:
            check(t.version() in ("TLSv1.2", "TLSv1.3"), f"a handshake as {name}")


def test_challenge_comes_first(site):
    api = kluis.Api(site)
    port = api.base.port
    form = re.compile(r'Bearer authorization="https://([^"/=]+)/([^"/=]+)", resource="([^"=]+)"')
    for method, path, body in (("GET", "/keys/a/?api%2Dversion=2025-07-01", None), ("POST", "/keys/a/create?api-version=7.4", ""),
                               ("PUT", "/keys/a?api-version=7.4", ""), ("PATCH", "/keys/a/?api-version=7.4", ""),
                               ("POST", "/keys/a//wrapkey?api-version=7.1", "not JSON at all")):
        status, headers, data = api.call(method, path, body, auth=False)
        check_equal(status, 401, f"{method} {path} without a token")
        m = form.fullmatch(headers["WWW-Authenticate"] or "")
        check(m, f"the challenge's form: {headers['WWW-Authenticate']}")
        check_equal(m.group(2), site.env["KLUIS_TENANT"], "its one path segment is the tenant")
        check_equal(m.group(3), f"https://vault.localhost:{port}", "its resource is the vault's parent, port kept")
        check(data["error"]["code"], "an error body with a code")
    status, _, _ = api.call("GET", "/keys", auth=False, headers={"Authorization": "Bearer nonsense"})
    check_equal(status, 401, "a nonsense token")


def test_strangers_and_big_bodies(site):
    api = kluis.Api(site)
    api.login()
    status, _, answer = api.call("GET", "/keys", host="unknown.vault.localhost")
    check(status in (400, 403, 404, 421), f"an unknown Host: {status} {answer}")
    status, _, answer = api.call("POST", "/keys/big/create", b'{"kty":"RSA","tags":{"a":"' + b"x" * (1 << 20) + b'"}}')
    check(status in (400, 413), f"a body over the limit: {status} {answer}")
    status, _, _ = kluis.Api(site).call("GET", "/healthz", auth=False)
    check_equal(status, 200, "the service after all that")


kluis.main(globals())
