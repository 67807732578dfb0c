#!/usr/bin/env python3
"""What sops sends through the Azure SDK for Go, replayed under that SDK's rules: it takes the challenge apart at blanks, wants the host's
parent with its port, asks again and again without a tenant, and adds the words of OpenID to its scope."""
import json
import os
import sys
import urllib.parse

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
import kluis
from kluis import check, check_equal

AGENT = "azsdk-go-azkeys/v1.5.0 (go1.23; linux)"


class Go:
    def __init__(self, site, identity=False):
        self.api = kluis.Api(site)
        self.identity = identity  # managed identity, which asks no authority
        self.token = None

    def send(self, method, path, body=None):
        """One operation; the first of a client goes out without body and token, to be challenged."""
        text = json.dumps(body) if body is not None else None
        given = {"Host": self.api.host, "Accept": "application/json", "User-Agent": AGENT, "Accept-Encoding": "gzip", **({"Content-Type": "application/json"} if body else {})}
        if self.token is None:
            status, headers, _ = self.api.exchange(method, path, None, {**given, "Content-Length": "0"} if body else given)
            check_equal(status, 401, "the first request is challenged")
            (self.ask_identity if self.identity else self.log_in)(*self.challenge(headers["WWW-Authenticate"]))
        status, _, data = self.api.exchange(method, path, text, {**given, "Authorization": f"Bearer {self.token}"})
        return status, json.loads(data)

    def challenge(self, header):
        check(header.startswith("Bearer "), "the scheme")
        values = {}
        for part in header[len("Bearer "):].split(" "):
            pieces = part.split("=")
            check_equal(len(pieces), 2, f"no '=' inside a value: {part}")
            values[pieces[0]] = pieces[1].replace('"', "").removesuffix(",")
        authority = urllib.parse.urlsplit(values["authorization"])
        check_equal(authority.path.count("/"), 1, "one path segment: the tenant")
        resource = values.get("scope", values["resource"])
        check(self.api.host.endswith("." + urllib.parse.urlsplit(resource).netloc), "host and port of the resource are the parent of the request's")
        return authority.path[1:], resource if resource.endswith("/.default") else resource + "/.default"

    def log_in(self, tenant, scope):
        plain = {"Host": self.api.base.netloc, "Accept-Encoding": "gzip"}
        _, _, data = self.api.exchange("GET", f"/{tenant}/v2.0/.well-known/openid-configuration", None, plain)
        document = json.loads(data)
        check(all(document[k] for k in ("authorization_endpoint", "token_endpoint", "issuer")), "the endpoints")
        form = {"client_id": self.api.client_id, "client_secret": self.api.client_secret, "client_info": "1", "grant_type": "client_credentials",
                "scope": f"{scope} openid offline_access profile"}
        status, _, data = self.api.exchange("POST", urllib.parse.urlsplit(document["token_endpoint"]).path, urllib.parse.urlencode(form),
                                            {**plain, "Content-Type": "application/x-www-form-urlencoded; charset=utf-8", "x-client-sku": "MSAL.Go"})
        check_equal(status, 200, f"a token for {form['scope']}: {data!r}")
        self.token = json.loads(data)["access_token"]

    def ask_identity(self, tenant, scope):
        check_equal(tenant, self.api.tenant, "the tenant")
        query = urllib.parse.urlencode({"api-version": "2019-08-01", "resource": scope.removesuffix("/.default")})
        status, _, data = self.api.exchange("GET", f"/metadata/identity/oauth2/token?{query}", None,
                                            {"Host": self.api.base.netloc, "X-IDENTITY-HEADER": f"{self.api.client_id}:{self.api.client_secret}"})
        answer = json.loads(data)
        check_equal((status, answer["expires_on"].isdigit()), (200, True), "a token of a managed identity")
        self.token = answer["access_token"]


def test_sops(site):
    api = kluis.Api(site)
    api.must("POST", "/keys/sops/create", {"kty": "RSA", "key_size": 2048, "key_ops": ["encrypt", "decrypt"]})
    for version in ("7.4", "7.5", "7.6", "2025-07-01"):
        go = Go(site, identity=version != "7.4")
        # an URL without version: sops asks for the newest and keeps its version beside the file
        status, bundle = go.send("GET", f"/keys/sops/?api-version={version}")
        check_equal(status, 200, "the newest version")
        pinned = bundle["key"]["kid"].rsplit("/", 1)[1]
        secret = os.urandom(32)
        status, sealed = go.send("POST", f"/keys/sops/{pinned}/encrypt?api-version={version}", {"alg": "RSA-OAEP-256", "value": kluis.b64url(secret)})
        check_equal((status, sealed["kid"]), (200, bundle["key"]["kid"]), "encrypt")
        api.must("POST", "/keys/sops/rotate")
        status, opened = Go(site).send("POST", f"/keys/sops/{pinned}/decrypt?api-version={version}", {"alg": "RSA-OAEP-256", "value": sealed["value"]})
        check_equal((status, kluis.un_b64url(opened["value"])), (200, secret), "another run decrypts it, after a rotation too")
    status, answer = Go(site).send("POST", "/keys/sops//wrapkey?api-version=7.4", {"alg": "RSA-OAEP-256", "value": kluis.b64url(secret)})
    check_equal((status, answer["error"]["innererror"]["code"]), (403, "KeyOperationForbidden"), "what the key does not allow")


kluis.main(globals())
