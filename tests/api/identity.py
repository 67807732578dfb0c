#!/usr/bin/env python3
"""Who may log in and with what: secrets that overlap and end, client assertions, TLS client certificates, an issuer outside with its
groups, and that a principal which is shut out is out with its next request."""
import contextlib
import hashlib
import http.client
import http.server
import json
import os
import shutil
import sqlite3
import ssl
import subprocess
import sys
import threading
import time
import uuid

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
import kluis
from kluis import Api, Failed, b64url, check, check_equal, wait_until

ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


def openssl(*args, data=None):
    return subprocess.run(["openssl", *args], input=data, capture_output=True, check=True).stdout


def certificate(folder, name, *more, issuer=None):
    """A key and a certificate for it, self-signed or of `issuer` (another such name): the path without its ending."""
    path = os.path.join(folder, name)
    signer = ["-CA", f"{issuer}.pem", "-CAkey", f"{issuer}.key"] if issuer else []
    openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", f"{path}.key", "-out", f"{path}.pem", "-days", "2",
            "-subj", f"/CN={name}", *signer, *more)
    return path


def der(path):
    return openssl("x509", "-in", f"{path}.pem", "-outform", "DER")


def jws(path, header, claims, pss=False):
    text = b64url(json.dumps(header).encode()) + "." + b64url(json.dumps(claims).encode())
    how = ["-sigopt", "rsa_padding_mode:pss", "-sigopt", "rsa_pss_saltlen:digest"] if pss else []
    return text + "." + b64url(openssl("dgst", "-sha256", *how, "-sign", f"{path}.key", data=text.encode()))


def principal(site, name, *more):
    """A new principal; its client object, logged in by its secret, and its row."""
    file = os.path.join(site.dir, f"{name}.secret")
    row = site.json("principal", "create", "--name", name, "--secret-file", file, *more)
    api = Api(site)
    api.client_id = row["clientId"]
    with open(file, encoding="utf-8") as f:
        api.client_secret = f.read().strip()
    return api, row


def allow(site, name, *words):
    site.run("policy", "set", "--vault-name", "demo", "--principal", name, "--key-permissions", *words)


def token(api, fields, source=None):
    """(status, answer) of the token endpoint, asked from the address `source`."""
    import urllib.parse
    if source:
        api.close()
        api.connection = http.client.HTTPSConnection("127.0.0.1", api.base.port, context=api.context, timeout=api.timeout, source_address=(source, 0))
    form = urllib.parse.urlencode({"grant_type": "client_credentials", "scope": "https://vault.localhost/.default", **fields})
    status, _, data = api.exchange("POST", f"/{api.tenant}/oauth2/v2.0/token", form, {**FORM, "Host": api.base.netloc})
    if source:
        api.close()
    return status, json.loads(data)


def by_secret(api, secret):
    return token(api, {"client_id": api.client_id, "client_secret": secret})


def settle(site, path):
    with open(path, encoding="utf-8") as f:
        return f.read().strip()


def test_secrets_overlap_and_end(site):
    site.run("key", "create", "--vault-name", "demo", "--name", "k", "--kty", "RSA", "--size", "2048")
    api, row = principal(site, "app")
    first = api.client_secret
    second_file, third_file = os.path.join(site.dir, "second"), os.path.join(site.dir, "third")
    site.run("principal", "credential", "add", "--principal", "app", "--name", "two", "--secret-file", second_file)
    second = settle(site, second_file)
    check_equal([by_secret(api, s)[0] for s in (first, second)], [200, 200], "both secrets are good")
    # a rotation with overlap: the older ones end in an hour, not now
    made = site.json("principal", "credential", "reset", "--principal", "app", "--overlap", "1h", "--secret-file", third_file)
    third = settle(site, third_file)
    listed = site.json("principal", "credential", "list", "--principal", "app")
    check_equal(len(listed), 3, "three credentials")
    ends = [c["expires"] for c in listed if c["id"] != made["id"]]
    check(all(abs(e - time.time() - 3600) < 90 for e in ends), f"the older ones end in an hour: {ends}")
    check(not any(s in json.dumps(listed) for s in (first, second, third)), "a list shows no secret")
    check_equal([by_secret(api, s)[0] for s in (first, second, third)], [200] * 3, "all good during the overlap")
    # removed: gone at once
    site.run("principal", "credential", "remove", "--principal", "app", "--id",
             next(c["id"] for c in listed if c["name"] == "first"))
    check_equal([by_secret(api, s)[0] for s in (first, second, third)], [401, 200, 200], "a removed secret")
    # without overlap, only the new one is left, and the old one is told from a wrong one
    fourth_file = os.path.join(site.dir, "fourth")
    site.run("principal", "credential", "reset", "--principal", "app", "--secret-file", fourth_file)
    status, answer = by_secret(api, third)
    check_equal((status, answer["error_codes"]), (401, [7000222]), "an expired secret")
    check_equal(by_secret(api, "x" * 43)[1]["error_codes"], [7000215], "a wrong secret")
    check_equal(by_secret(api, settle(site, fourth_file))[0], 200, "the new secret")
    # nothing of it in the database as it was given out
    with open(os.path.join(site.dir, "kluis.db"), "rb") as f:
        database = f.read()
    check(not any(s.encode() in database for s in (first, second, third)), "secrets are stored hashed")
    many = [site.run("principal", "credential", "add", "--principal", "app", "--show-secret", check=False).returncode for _ in range(32)]
    check(4 in many, "there is an end to the number of credentials")
    check_equal(row["disabled"], False, "enabled")


def test_out_with_the_next_request(site):
    site.run("key", "create", "--vault-name", "demo", "--name", "k", "--kty", "RSA", "--size", "2048")
    api, row = principal(site, "app")
    allow(site, "app", "get")
    check_equal(api.call("GET", "/keys/k")[0], 200, "a policy")
    admin = Api(site)
    path = f"/kluis/v1/principals/{row['objectId']}"
    for _ in range(3):
        admin.must("PATCH", path, {"disabled": True})
        check_equal(api.call("GET", "/keys/k")[0], 401, "disabled: the token that it holds is worth nothing")
        check_equal(by_secret(api, api.client_secret)[0], 401, "disabled: no new token")
        admin.must("PATCH", path, {"disabled": False})
        check_equal(api.call("GET", "/keys/k")[0], 200, "enabled: the same token again")
    allow(site, "app", "list")
    check_equal(api.call("GET", "/keys/k")[0], 403, "a policy that was taken back acts at once")
    site.run("principal", "update", "--principal", "app", "--disabled")
    check_equal([p["disabled"] for p in site.json("principal", "list") if p["name"] == "app"], [True], "the command line says so")
    check_equal(api.call("GET", "/keys")[0], 401, "and does so")
    site.run("principal", "update", "--principal", "app", "--disabled", "false")
    site.run("principal", "delete", "--principal", "app")
    check_equal(api.call("GET", "/keys")[0], 401, "removed: the token is worth nothing")
    me = admin.must("GET", "/kluis/v1/whoami")["objectId"]
    check_equal(admin.call("PATCH", f"/kluis/v1/principals/{me}", {"disabled": True})[0], 409, "not the last administrator")
    check_equal(admin.call("PATCH", f"/kluis/v1/principals/{me}", {"roles": []})[0], 409, "nor its role")


def claims_of(api, **more):
    now = int(time.time())
    return {"iss": api.client_id, "sub": api.client_id, "jti": str(uuid.uuid4()), "nbf": now, "exp": now + 600,
            "aud": f"https://{api.base.netloc}/{api.tenant}/oauth2/v2.0/token", **more}


def test_client_assertion(site):
    api, _ = principal(site, "signer")
    cert = certificate(site.dir, "signer-cert")
    other = certificate(site.dir, "other-cert")
    made = site.json("principal", "credential", "add", "--principal", "signer", "--certificate", f"{cert}.pem")
    check_equal(made["thumbprint"], hashlib.sha256(der(cert)).hexdigest(), "the thumbprint")
    again = site.run("principal", "credential", "add", "--principal", "signer", "--certificate", f"{cert}.pem", check=False)
    check_equal(again.returncode, 4, "one certificate says who one principal is")
    sha1, sha256 = b64url(hashlib.sha1(der(cert)).digest()), b64url(hashlib.sha256(der(cert)).digest())

    def login(path=cert, header=None, pss=False, form=None, **claims):
        head = {"alg": "PS256" if pss else "RS256", "typ": "JWT", "x5t": sha1, **(header or {})}
        text = jws(path, {k: v for k, v in head.items() if v is not None}, {k: v for k, v in claims_of(api, **claims).items() if v is not None}, pss)
        return text, token(api, {"client_id": api.client_id, "client_assertion_type": ASSERTION, "client_assertion": text, **(form or {})})

    text, (status, answer) = login()
    check_equal(status, 200, f"x5t, RS256: {answer}")
    check_equal(login(header={"x5t": None, "x5t#S256": sha256}, pss=True)[1][0], 200, "x5t#S256, PS256")
    check_equal(login(header={"x5c": [openssl("base64", "-A", data=der(cert)).decode()]})[1][0], 200, "x5c beside it")
    check_equal(login(aud=f"https://{api.base.netloc}/{api.tenant}/v2.0")[1][0], 200, "aud: the issuer")
    again = {"client_id": api.client_id, "client_assertion_type": ASSERTION, "client_assertion": text}
    check_equal(token(api, again)[0], 200, "one for ten minutes is good again at the same address, as the Azure SDKs need it")
    status, answer = token(api, again, source="127.0.0.9")
    check_equal((status, answer["error_codes"]), (401, [700030]), "but not from elsewhere")
    now = int(time.time())
    for words, claims in {"longer than ten minutes": {"exp": now + 1200}, "without a beginning": {"nbf": None}}.items():
        text, (status, answer) = login(**claims)
        check_equal(status, 200, f"{words}: {answer}")
        status, answer = token(api, {**again, "client_assertion": text})
        check_equal((status, answer["error_codes"]), (401, [700030]), f"{words}: good once")
    foreign = b64url(hashlib.sha1(der(other)).digest())
    refused = {
        "another key": {"path": other}, "another certificate": {"path": other, "header": {"x5t": foreign}},
        "no certificate named": {"header": {"x5t": None}}, "thumbprints that differ": {"header": {"x5t#S256": foreign}},
        "expired": {"exp": now - 1}, "good for too long": {"exp": now + 7200}, "not yet": {"nbf": now + 900},
        "no jti": {"jti": None}, "no exp": {"exp": None}, "sub of another": {"sub": str(uuid.uuid4())},
        "an audience elsewhere": {"aud": "https://login.example/token"}, "alg none": {"header": {"alg": "none"}},
        "HS256": {"header": {"alg": "HS256"}}, "crit": {"header": {"crit": ["x"]}}, "PS256 said, RS256 done": {"header": {"alg": "PS256"}},
    }
    # each refusal counts against the client; it may fail twenty times in ten minutes
    for words, how in refused.items():
        check_equal(login(**how)[1][0], 401, words)
    check_equal(login(form={"client_id": str(uuid.uuid4())})[1][0], 401, "a client id of another in the form")
    check_equal(login(form={"client_secret": api.client_secret})[1][0], 400, "both ways at once")
    check_equal(login(form={"client_assertion_type": "urn:x"})[1][0], 400, "another type of assertion")
    site.run("principal", "credential", "remove", "--principal", "signer", "--id", made["id"])
    check_equal(login()[1][0], 401, "the certificate was taken away")


def restart(site, *lines):
    """The site with more configuration."""
    site.down()
    with open(site.env["KLUIS_CONFIG"], "a", encoding="utf-8") as f:
        f.write("\n" + "\n".join(lines) + "\n")
    site.up()
    site.wait_ready()


class Provider:
    """An OpenID provider on a port of its own: discovery and keys, and tokens by hand."""

    def __init__(self, site):
        self.ca = certificate(site.dir, "provider", "-addext", "subjectAltName=DNS:localhost")
        self.key = certificate(site.dir, "provider-token")
        self.other_key = certificate(site.dir, "provider-other")
        self.kids = {"one": self.key}
        self.fails = False
        self.asked = 0
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), self.handler())
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(f"{self.ca}.pem", f"{self.ca}.key")
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.url = f"https://localhost:{self.server.server_port}/realm"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def handler(self):
        provider = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                provider.asked += 1
                document = {"/realm/.well-known/openid-configuration": {"issuer": provider.url, "jwks_uri": provider.url + "/keys"},
                            "/realm/keys": {"keys": [provider.jwk(kid, path) for kid, path in provider.kids.items()]}}.get(self.path)
                data = json.dumps(document).encode()
                self.send_response(500 if provider.fails or document is None else 200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *unused):
                pass
        return Handler

    @staticmethod
    def jwk(kid, path):
        text = openssl("rsa", "-in", f"{path}.key", "-noout", "-modulus").decode().split("=")[1].strip()
        return {"kty": "RSA", "use": "sig", "kid": kid, "n": b64url(bytes.fromhex(text)), "e": "AQAB"}

    def token(self, path=None, kid="one", **claims):
        now = int(time.time())
        base = {"iss": self.url, "aud": "api://kluis", "iat": now, "nbf": now, "exp": now + 600, "oid": str(uuid.uuid4()), "tid": "t1"}
        return jws(path or self.key, {"alg": "RS256", "typ": "JWT", "kid": kid}, {**base, **claims})


def with_token(api, text, method="GET", path="/keys/k"):
    api.token = text
    return api.call(method, path)[0]


def test_issuer_outside(site):
    provider = Provider(site)
    restart(site, "[issuer corp]", f"issuer = {provider.url}", f"ca-file = {provider.ca}.pem", "audience = api://kluis", "tenant = t1",
            "refresh = 1h")
    site.run("key", "create", "--vault-name", "demo", "--name", "k", "--kty", "RSA", "--size", "2048")
    alice, team, stranger = str(uuid.uuid4()), str(uuid.uuid4()), str(uuid.uuid4())
    site.run("principal", "create", "--name", "alice", "--issuer", "corp", "--type", "user", "--object-id", alice)
    site.run("principal", "create", "--name", "team", "--issuer", "corp", "--type", "group", "--object-id", team)
    api = Api(site)
    wait_until(lambda: with_token(api, provider.token(oid=alice)) == 403, "the keys of the issuer are there")
    allow(site, "alice", "get")
    check_equal(with_token(api, provider.token(oid=alice)), 200, "a user with a policy")
    check_equal(with_token(api, provider.token(oid=stranger)), 403, "a user without one")
    # by a group
    member = provider.token(oid=stranger, groups=[str(uuid.uuid4()), team])
    check_equal(with_token(api, member), 403, "a group without a policy")
    allow(site, "team", "get")
    check_equal(with_token(api, member), 200, "a group with a policy")
    site.run("principal", "update", "--principal", "team", "--disabled")
    check_equal(with_token(api, member), 403, "a group that is disabled, and a token that was seen")
    site.run("principal", "update", "--principal", "team", "--disabled", "false")
    check_equal(with_token(api, member), 200, "and enabled again")
    check_equal(with_token(api, provider.token(oid=team)), 401, "a group is no caller")
    # what must not pass
    admin = Api(site).must("GET", "/kluis/v1/whoami")["objectId"]
    now = int(time.time())
    refused = {
        "the id of a principal of our own": {"oid": admin}, "another tenant": {"tid": "t2"}, "no tenant": {"tid": None},
        "another audience": {"aud": "api://other"}, "another issuer": {"iss": provider.url + "/x"}, "our own issuer":
        {"iss": f"{site.env['KLUIS_URL']}/{api.tenant}/v2.0"}, "expired": {"exp": now - 1}, "no object id": {"oid": None},
        "another key under the known kid": {"path": provider.other_key}, "an unknown kid": {"kid": "two", "path": provider.other_key},
        "too many groups": {"oid": alice, "groups": [str(uuid.uuid4()) for _ in range(300)]}, "groups that are no list": {"oid": alice, "groups": "x"},
    }
    for words, how in refused.items():
        check_equal(with_token(api, provider.token(**{"oid": alice, **how})), 401, words)
    check_equal(with_token(api, provider.token(oid=alice, aud=["x", "api://kluis"])), 200, "one of several audiences")
    # a key that the provider brings in: asked for because of the token, not by the hour
    provider.kids["two"] = provider.other_key
    wait_until(lambda: with_token(api, provider.token(path=provider.other_key, kid="two", oid=alice)) == 200, "a new key is found")
    # the provider is down: what was read stays good
    provider.fails = True
    asked = provider.asked
    with_token(api, provider.token(path=provider.other_key, kid="three", oid=alice))
    check_equal(with_token(api, provider.token(oid=alice)), 200, "the keys stay while the provider is down")
    check(provider.asked - asked < 10, "it is not asked at each request")
    site.run("principal", "update", "--principal", "alice", "--disabled")
    check_equal(with_token(api, provider.token(oid=alice)), 401, "a user that is disabled here")
    provider.server.shutdown()


def test_issuer_with_subjects(site):
    """A provider whose subjects are no GUIDs, as Kubernetes' and most others' are."""
    provider = Provider(site)
    restart(site, "[issuer cluster]", f"issuer = {provider.url}", f"ca-file = {provider.ca}.pem", "object-claim = sub")
    site.run("key", "create", "--vault-name", "demo", "--name", "k", "--kty", "RSA", "--size", "2048")
    who = "system:serviceaccount:backup:agent"
    made = site.json("principal", "create", "--name", "agent", "--issuer", "cluster", "--type", "user", "--subject", who)
    allow(site, "agent", "get")
    api = Api(site)
    good = {"sub": who, "oid": None, "tid": None, "aud": ["https://vault.azure.net"]}
    wait_until(lambda: with_token(api, provider.token(**good)) == 200, "the workload is the principal")
    check_equal(with_token(api, provider.token(**{**good, "sub": who + "x"})), 403, "another subject is not")
    check_equal(with_token(api, provider.token(**{**good, "sub": made["objectId"]})), 200, "its id is its id")
    bad = site.run("principal", "create", "--name", "x", "--issuer", "nobody", "--type", "user", "--subject", "x", check=False)
    check_equal(bad.returncode, 2 if "usage" in bad.stderr else 1, f"an issuer that is not configured: {bad.stderr}")
    provider.server.shutdown()


def tls_client(site, path=None):
    api = Api(site)
    if path:
        api.context.load_cert_chain(f"{path}.pem", f"{path}.key")
    return api


def test_tls_client_certificates(site):
    ca = certificate(site.dir, "client-ca", "-addext", "basicConstraints=critical,CA:TRUE")
    bound = certificate(site.dir, "bound")
    named = certificate(site.dir, "named", "-addext", "subjectAltName=DNS:agent.example", "-addext", "basicConstraints=CA:FALSE", issuer=ca)
    forged = certificate(site.dir, "forged", "-addext", "subjectAltName=DNS:agent.example")
    two = certificate(site.dir, "two-names", "-addext", "subjectAltName=DNS:agent.example,DNS:other.example", issuer=ca)
    site.run("key", "create", "--vault-name", "demo", "--name", "k", "--kty", "RSA", "--size", "2048")
    for name in ("by-thumbprint", "by-name", "other"):
        principal(site, name)
        allow(site, name, "get")
    site.run("principal", "credential", "add", "--principal", "by-thumbprint", "--certificate", f"{bound}.pem")
    site.run("principal", "credential", "add", "--principal", "by-name", "--subject", "dns:agent.example")
    site.run("principal", "credential", "add", "--principal", "other", "--subject", "dns:other.example")
    check_equal(tls_client(site, bound).call("GET", "/keys/k", auth=False)[0], 401, "certificates are not asked for unless configured")
    site.down()
    with open(site.env["KLUIS_CONFIG"], encoding="utf-8") as f:
        text = f.read()
    with open(site.env["KLUIS_CONFIG"], "w", encoding="utf-8") as f:
        f.write(text.replace("[service]\n", f"[service]\nclient-certificates = yes\nclient-ca = {ca}.pem\n", 1))
    site.up()
    site.wait_ready()
    for _ in range(2):  # the second time with a resumed session, where the client does that
        client = tls_client(site, bound)
        check_equal(client.call("GET", "/keys/k", auth=False)[0], 200, "bound by thumbprint")
        check_equal(client.must("GET", "/kluis/v1/whoami")["name"] if client.login() else "", "admin", "a token goes before the certificate")
    who = tls_client(site, named).call("GET", "/kluis/v1/whoami", auth=False)
    check_equal((who[0], (who[2] or {}).get("name")), (200, "by-name"), "by a name and the CA")
    check_equal(tls_client(site, forged).call("GET", "/keys/k", auth=False)[0], 401, "the name without the CA")
    check_equal(tls_client(site, two).call("GET", "/keys/k", auth=False)[0], 401, "two principals' names say nothing")
    check_equal(tls_client(site).call("GET", "/keys/k", auth=False)[0], 401, "no certificate: the challenge")
    check_equal(Api(site).call("GET", "/keys/k")[0], 200, "no certificate, but a token")
    admin = Api(site)
    rows = {p["name"]: p["objectId"] for p in admin.must("GET", "/kluis/v1/principals")["value"]}
    kept = tls_client(site, bound)
    check_equal(kept.call("GET", "/keys/k", auth=False)[0], 200, "a connection that stays open")
    admin.must("PATCH", f"/kluis/v1/principals/{rows['by-thumbprint']}", {"disabled": True})
    check_equal(kept.call("GET", "/keys/k", auth=False)[0], 401, "disabled: out with the next request of the same connection")


def test_roles(site):
    site.run("key", "create", "--vault-name", "demo", "--name", "k", "--kty", "RSA", "--size", "2048")
    api, _ = principal(site, "app")
    admin = Api(site)
    allow(site, "app", "get", "delete")
    vault = "/kluis/v1/vaults/demo"
    check_equal(admin.call("PATCH", vault, {"enableRbacAuthorization": True})[0], 409, "not while nobody could give roles then")
    site.run("role", "assign", "--vault-name", "demo", "--principal", "admin", "--role", "Owner")
    made = site.json("role", "assign", "--vault-name", "demo", "--principal", "app", "--role", "Key Vault Crypto Service Encryption User")
    check_equal(api.call("POST", "/keys/k/wrapkey", {"alg": "RSA-OAEP-256", "value": b64url(bytes(32))})[0], 403, "policies decide until then")
    site.run("vault", "update", "--name", "demo", "--enable-rbac-authorization", "true")
    wrapped = api.must("POST", "/keys/k/wrapkey", {"alg": "RSA-OAEP-256", "value": b64url(bytes(32))})
    check_equal(api.must("POST", "/keys/k/unwrapkey", {"alg": "RSA-OAEP-256", "value": wrapped["value"]})["value"], b64url(bytes(32)), "the role")
    status, _, answer = api.call("DELETE", "/keys/k")
    check_equal((status, answer["error"]["innererror"]["code"]), (403, "ForbiddenByRbac"), "the policy counts no more")
    check_equal(admin.call("GET", "/keys/k")[0], 403, "Owner holds nothing of the data, as in Azure")
    check_equal(Api(site).call("PATCH", vault, {"enableRbacAuthorization": "x"})[0], 400, "a yes or a no")
    listed = {a["name"]: a["id"] for a in site.json("role", "show", "--vault-name", "demo")}
    check_equal(admin.call("DELETE", f"{vault}/assignments/{listed['admin']}")[0], 409, "the last who gives roles keeps the role")
    site.run("role", "remove", "--vault-name", "demo", "--id", made["id"])
    check_equal(api.call("GET", "/keys/k")[0], 403, "a role that was taken away acts at once")
    site.down()
    site.up()
    site.wait_ready()
    admin.close()
    api.close()
    check_equal(admin.call("GET", vault)[2]["enableRbacAuthorization"], True, "it outlives a restart")
    site.run("vault", "update", "--name", "demo", "--enable-rbac-authorization", "false")
    check_equal(api.call("GET", "/keys/k")[0], 200, "and back to policies")
    ids = {r["name"]: r["id"] for r in site.json("role", "list")}
    check_equal(ids["Key Vault Administrator"], "00482a5a-887f-4fb3-b363-3b7fe8e74483", "Azure's ids")


def edit(site, *statements):
    """The database, with the service down, by a hand that knows SQL."""
    site.down()
    with contextlib.closing(sqlite3.connect(os.path.join(site.dir, "kluis.db"))) as db:
        for statement in statements:
            check(db.execute(statement).rowcount > 0, f"the edit finds its row: {statement}")
        db.commit()


def test_a_foreign_hand_is_noticed(site):
    """Rights that are written into the database itself stop the start, each kind of row and each kind of edit."""
    api, row = principal(site, "app")
    allow(site, "app", "get")
    site.run("role", "assign", "--vault-name", "demo", "--principal", "app", "--role", "Key Vault Reader")
    site.run("principal", "credential", "add", "--principal", "app", "--secret-file", os.path.join(site.dir, "two"))
    site.wait_ready()
    me = row["objectId"]
    edits = {
        "a role": f"UPDATE principal SET roles = 1 WHERE object_id = '{me}'",
        "a principal that is enabled again": f"UPDATE principal SET disabled = 1 - disabled WHERE object_id = '{me}'",
        "a policy with more": f"UPDATE policy SET keys = 1048575 WHERE object_id = '{me}'",
        "a policy that was not": f"INSERT INTO policy SELECT id, '{me}', 1, 0, 0, 255 FROM vault WHERE name = 'safe'",
        "a policy less": f"DELETE FROM policy WHERE object_id <> '{me}' AND vault_id = (SELECT id FROM vault WHERE name = 'safe')",
        "a secret of his own": f"UPDATE credential SET hash = zeroblob(32) WHERE object_id = '{me}'",
        "a secret without an end": f"UPDATE credential SET expires = 1 WHERE object_id = '{me}'",
        "another role in a vault": f"UPDATE assignment SET role = '00482a5a-887f-4fb3-b363-3b7fe8e74483' WHERE object_id = '{me}'",
        "a seal less": "DELETE FROM note WHERE name LIKE 'access-seal:%'",
    }
    database = os.path.join(site.dir, "kluis.db")
    for words, statement in edits.items():
        site.down()
        shutil.copy(database, database + ".good")
        edit(site, statement)
        r = site.up(check=False)
        check(r.returncode != 0 and "changed by a foreign hand" in r.stderr, f"{words}: {r.stderr[-300:]}")
        check("--accept-changed-access" in r.stderr, "and the sentence says what to do")
        shutil.copy(database + ".good", database)
        os.unlink(database + ".good")
        site.up()
        site.wait_ready()
    check_equal(by_secret(api, api.client_secret)[0], 200, "the database as it was is served")


if __name__ == "__main__":
    kluis.main(globals())
