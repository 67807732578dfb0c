#!/usr/bin/env python3
"""A client that speaks as libmongocrypt does: its own tiny HTTP reading, header names compared with their case, one connection for each
request, Host without the port, an empty version segment, RSA-OAEP-256 only, no OpenID discovery."""
import base64
import json
import os
import socket
import ssl
import sys
import urllib.parse

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
import kluis
from kluis import check, check_equal

DATA_KEY = bytes(range(96))  # the length of a client-side encryption data key


def send(site, host, head, body, content_type):
    """One request on one connection; reads status, the exactly spelled Content-Length, and not a byte more than that."""
    context = ssl.create_default_context(cafile=site.env["KLUIS_CA"])
    with socket.create_connection(("127.0.0.1", site.port), timeout=kluis.PATIENCE) as raw, context.wrap_socket(raw, server_hostname=host) as s:
        request = f"{head}\r\nHost: {host}\r\nConnection: close\r\nAccept: application/json\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}\r\n\r\n{body}"
        s.sendall(request.encode())
        data = b""
        try:
            while chunk := s.recv(4096):
                data += chunk
        except ssl.SSLEOFError:
            pass
    top, _, rest = data.partition(b"\r\n\r\n")
    lines = top.decode().split("\r\n")
    lengths = [line.split(": ")[1] for line in lines[1:] if line.startswith("Content-Length: ")]
    check_equal(len(lengths), 1, f"one header spelled Content-Length in {lines}")
    check(not any(line.lower().startswith("transfer-encoding") for line in lines), "no chunks")
    check_equal(len(rest), int(lengths[0]), "bytes after the header: exactly the length")
    return int(lines[0].split(" ")[1]), json.loads(rest)


def login(site, scope):
    with open(site.env["KLUIS_CLIENT_SECRET_FILE"], encoding="utf-8") as f:
        secret = f.read().strip()
    form = f"client_id={site.env['KLUIS_CLIENT_ID']}&scope={urllib.parse.quote(scope, safe='')}&client_secret={secret}&grant_type=client_credentials"
    status, answer = send(site, "localhost", f"POST /{site.env['KLUIS_TENANT']}/oauth2/v2.0/token HTTP/1.1", form, "application/x-www-form-urlencoded")
    check_equal(status, 200, f"login for {scope}")
    check(isinstance(answer["expires_in"], int), "expires_in is a number")
    return answer["access_token"]


def test_data_keys(site):
    api = kluis.Api(site)
    safe = kluis.Api(site, vault="safe")
    api.must("POST", "/keys/csfle/create", {"kty": "RSA", "key_size": 2048, "key_ops": ["wrapKey", "unwrapKey"]})
    safe.must("POST", "/keys/csfle/create", {"kty": "RSA", "key_size": 2048, "key_ops": ["wrapKey", "unwrapKey"]})
    # the endpoint's host less its first label, without a port
    for host, scope in (("demo.vault.localhost", "https://vault.localhost/.default"), ("127.0.0.1", "https://0.0.1/.default")):
        token = login(site, scope)

        def wrap(op, path, value, host=host, token=token):
            body = json.dumps({"alg": "RSA-OAEP-256", "value": value})
            return send(site, host, f"POST /keys/csfle/{path}/{op}?api-version=7.1 HTTP/1.1\r\nAuthorization: Bearer {token}", body, "application/json")

        # padded base64url, as some clients send it
        status, wrapped = wrap("wrapkey", "", base64.urlsafe_b64encode(DATA_KEY).decode())
        check_equal(status, 200, f"wrapkey with an empty version through {host}: {wrapped}")
        version = wrapped["kid"].rsplit("/", 1)[1]
        for path in ("", version):
            status, answer = wrap("unwrapkey", path, wrapped["value"])
            check_equal(status, 200, f"unwrapkey at '{path}'")
            check_equal(kluis.un_b64url(answer["value"]), DATA_KEY, "the data key")
        padded = base64.urlsafe_b64encode(kluis.un_b64url(wrapped["value"])).decode()
        check_equal(wrap("unwrapkey", version, padded)[0], 200, "a padded value")
        status, answer = wrap("unwrapkey", version, kluis.b64url(b"\0" * 256))
        check_equal(status, 400, "a wrong value")
        check(len(json.dumps(answer)) < 400, "a short error body")
        status, answer = wrap("sign", version, wrapped["value"])
        check(status in (400, 403), f"an operation that the key does not allow: {status}")
    # through 127.0.0.1 it was the protected vault, whose key is another
    check(api.must("GET", "/keys/csfle")["key"]["n"] != safe.must("GET", "/keys/csfle")["key"]["n"], "two vaults, two keys")


kluis.main(globals())
