#!/usr/bin/env python3
"""Health pages, counters, and the audit log: a record for every answer, none with a secret in it."""
import json
import os
import re
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
import kluis
from kluis import check, check_equal

DEK = b"plain data key, 32 bytes long.. "


def records(site):
    with open(site.config_value("audit", "path"), encoding="utf-8") as f:
        return [json.loads(line) for line in f]


def test_health(site):
    api = kluis.Api(site, vault=None)
    check_equal(api.call("GET", "/healthz", auth=False)[::2], (200, {"status": "ok"}), "/healthz")
    status, _, ready = api.call("GET", "/readyz", auth=False)
    check_equal((status, ready["status"], ready["tokens"][0]["name"], ready["tokens"][0]["state"]), (200, "ready", "main", "ready"), "/readyz")
    api.call("GET", "/keys", host=f"demo.vault.localhost:{api.base.port}")
    status, headers, data = api.exchange("GET", "/metrics")
    text = data.decode()
    check_equal((status, headers["Content-Type"]), (200, "text/plain; version=0.0.4; charset=utf-8"), "/metrics")
    for line in text.splitlines():
        check(line.startswith("# ") or re.fullmatch(r'[a-z_]+(\{[a-z]+="[^"]*"(,[a-z]+="[^"]*")*\})? -?[0-9.]+', line), line)
    check(re.search(r'kluis_requests_total\{operation="KeyList",row="\d+",status="200"\} 1\n', text), "one listing")
    check('kluis_token_ready{token="main"} 1\n' in text, "the token is ready")
    before = len(records(site))
    for path in ("/healthz", "/readyz", "/metrics"):
        api.call("GET", path, auth=False, headers={"Accept": "*/*"}) if path != "/metrics" else api.exchange("GET", path)
    check_equal(len(records(site)), before, "health pages leave no record")


def test_audit(site):
    api = kluis.Api(site)
    api.must("POST", "/keys/a/create", {"kty": "RSA"})
    sealed = api.must("POST", "/keys/a/wrapkey", {"alg": "RSA-OAEP-256", "value": kluis.b64url(DEK)})
    sent = {"x-ms-client-request-id": "correlate-me-1", "User-Agent": "test\"agent\u00e9"}
    status, headers, _ = api.call("POST", "/keys/a/unwrapkey", {"alg": "RSA-OAEP-256", "value": sealed["value"]},
                                  headers={**sent, "User-Agent": sent["User-Agent"].encode("latin-1")})
    check_equal(status, 200, "unwrap")
    last = records(site)[-1]
    claim = last["identity"]["claim"]
    check_equal({k: last[k] for k in ("operationName", "operationVersion", "category", "resultType", "resultSignature", "resultDescription",
                                      "callerIpAddress", "correlationId")},
                {"operationName": "KeyUnwrap", "operationVersion": "7.4", "category": "AuditEvent", "resultType": "Success",
                 "resultSignature": "OK", "resultDescription": "", "callerIpAddress": "127.0.0.1", "correlationId": "correlate-me-1"}, "members")
    check(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{7}Z", last["time"]), "the time has seven decimals")
    check(isinstance(last["durationMs"], str) and last["durationMs"].isdigit(), "durationMs is a string")
    check_equal(claim["appid"], api.client_id, "who")
    properties = last["properties"]
    check_equal((properties["id"], properties["httpStatusCode"], properties["requestId"]), (sealed["kid"], 200, headers["x-ms-request-id"]),
                "the exact version")
    check_equal(properties["requestUri"], f"https://{api.host}/keys/a/unwrapkey?api-version=7.4", "the URI")
    check(last["resourceId"].endswith("/VAULTS/DEMO") and last["resourceId"] == last["resourceId"].upper(), "the resource")
    refusals(site, api)
    nothing_secret(site, api)
    site.run("audit", "verify")


def refusals(site, api):
    for method, path, body, auth, name, status in (
            ("GET", "/keys", None, False, "Authentication", 401), ("GET", "/keys/none", None, True, "KeyGet", 404),
            ("POST", "/keys/x/create", {"kty": "no"}, True, "KeyCreate", 400), ("PUT", "/keys/restore", {}, True, "Authentication", 405)):
        before = len(records(site))
        got, _, answer = api.call(method, path, body, auth=auth)
        rows = records(site)[before:]
        check_equal((got, len(rows)), (status, 1), f"one record of {method} {path}")
        check_equal((rows[0]["operationName"], rows[0]["properties"]["httpStatusCode"], rows[0]["resultDescription"]),
                    (name, status, answer["error"]["message"]), f"{method} {path}")
        check_equal("claim" in rows[0]["identity"], auth, "identity only when it is known")
    seen = set()
    for value in (os.urandom(256), bytes(256), b"short"):
        api.call("POST", "/keys/a/unwrapkey", {"alg": "RSA-OAEP-256", "value": kluis.b64url(value)})
        last = records(site)[-1]
        seen.add(json.dumps([last["resultDescription"], last["properties"]["httpStatusCode"], last["properties"]["cause"], last["operationName"]]))
    check_equal(len(seen), 1, "decryption failures look alike in the records")


def nothing_secret(site, api):
    api.call("GET", "/keys?client_secret=QUERYSECRET")
    api.exchange("GET", f"/keys/a?{kluis.API}", headers={"Host": api.host, "Authorization": "Bearer HEADERSECRET"})
    with open(site.config_value("audit", "path"), encoding="utf-8") as f:
        text = f.read()
    for secret in (kluis.b64url(DEK), api.token, api.token.split(".")[2], api.client_secret, "QUERYSECRET", "HEADERSECRET"):
        check(secret not in text, "a secret in the audit log")


kluis.main(globals())
