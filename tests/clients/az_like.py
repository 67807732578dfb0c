#!/usr/bin/env python3
"""What Debian's az 2.45 sends, replayed: `az login --service-principal` through /adfs, `az account get-access-token`, `az rest`, and the two
requests that each of its key commands makes. (The requests were recorded from the program itself; it is large, so the suite does not install it.)"""
import json
import os
import sys
import urllib.parse

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
import kluis
from kluis import check, check_equal

AGENT = "AZURECLI/2.45.0 (DEB) azsdk-python-keyvault-keys/4.8.0b2 Python/3.11.2"
JSON = {"Accept": "application/json", "Content-Type": "application/json", "User-Agent": AGENT, "Accept-Encoding": "gzip, deflate", "Connection": "keep-alive",
        "CommandName": "keyvault key show", "ParameterSetName": "--name --vault-name", "x-ms-client-request-id": "3d0c1d56-0000-11f0-8000-0242ac110002"}


class Az:
    """The program's own state: the token endpoint that it was told of, and one token for each scope."""

    def __init__(self, site):
        self.api = kluis.Api(site)
        self.base = f"https://{self.api.base.netloc}"
        self.tokens = {}
        self.token_path = None

    def login(self, secret=None):
        """openid-configuration, a token for the resource manager, the list of subscriptions."""
        status, _, data = self.api.exchange("GET", "/adfs/.well-known/openid-configuration", None, self.msal())
        check_equal(status, 200, "the authority's document, without /v2.0")
        document = json.loads(data)
        for name in ("authorization_endpoint", "token_endpoint", "issuer"):
            check(document[name].startswith(self.base), f"{name}: {document[name]}")
        self.token_path = document["token_endpoint"][len(self.base):]
        status, answer = self.fetch_token(f"{self.base}/.default", secret)
        if status != 200:
            return status, answer
        status, headers, data = self.api.exchange("GET", "/subscriptions?api-version=2019-11-01", None,
                                                  {**JSON, "Host": self.api.base.netloc, "Authorization": f"Bearer {answer['access_token']}"})
        check_equal((status, [s["subscriptionId"] for s in json.loads(data)["value"]], headers["Content-Encoding"]), (200, ["default"], None),
                    "the subscription of the vaults, and no compression")
        return 200, answer

    def msal(self):
        return {"Host": self.api.base.netloc, "Accept": "*/*", "Accept-Encoding": "gzip, deflate", "Connection": "keep-alive", "x-client-sku": "MSAL.Python",
                "x-client-ver": "1.21.0", "x-client-os": "linux", "x-client-cpu": "x64", "client-request-id": "f2f5b5b0-0000-11f0-8000-0242ac110002",
                "x-ms-lib-capability": "retry-after, h429", "x-client-current-telemetry": "4|730,0|", "x-client-last-telemetry": "4|0|||",
                "User-Agent": "python-requests/2.28.1"}

    def fetch_token(self, scope, secret=None):
        form = {"client_id": self.api.client_id, "grant_type": "client_credentials", "client_info": "1", "client_secret": secret or self.api.client_secret,
                "claims": '{"access_token": {"xms_cc": {"values": ["CP1"]}}}', "scope": scope}
        status, _, data = self.api.exchange("POST", self.token_path, urllib.parse.urlencode(form), {**self.msal(), "Content-Type": "application/x-www-form-urlencoded"})
        answer = json.loads(data)
        if status == 200:
            check_equal((answer["token_type"], type(answer["expires_in"])), ("Bearer", int), "the form of the token")
            self.tokens[scope] = answer["access_token"]
        return status, answer

    def command(self, method, host, path, body=None, version="7.4-preview.1"):
        """A command of az keyvault: one request without body, which is challenged, then the real one."""
        target = f"{path}?api-version={version}"
        given = {**JSON, "Host": host}
        status, headers, _ = self.api.exchange(method, target, None, {**given, "Content-Length": "0"})
        check_equal(status, 401, "a command begins without a token and without a body")
        words = dict(w.split("=", 1) for w in headers["WWW-Authenticate"][len("Bearer "):].split(", "))
        authority, resource = (words[k].strip('"') for k in ("authorization", "resource"))
        check(host.endswith("." + resource.split("//")[1]), f"the challenge resource {resource} is a parent of {host}, port and all")
        check_equal(authority.rsplit("/", 1)[1], self.api.tenant, "the tenant of the challenge")
        scope = f"{resource}/.default"
        if scope not in self.tokens:
            check_equal(self.fetch_token(scope)[0], 200, f"a token for {scope}")
        status, _, data = self.api.exchange(method, target, json.dumps(body) if body is not None else None,
                                            {**given, "Authorization": f"Bearer {self.tokens[scope]}"})
        return status, json.loads(data) if data else None


def test_login_and_rest(site):
    az = Az(site)
    status, answer = az.login("wrong")
    check_equal((status, answer["error"], answer["error_description"].split(":")[0]), (401, "invalid_client", "AADSTS7000215"), "a wrong secret")
    check_equal(az.login()[0], 200, "login")
    # az account get-access-token --resource R, then az rest: the token at once, no challenge
    resource = f"https://vault.localhost:{site.port}"
    check_equal(az.fetch_token(resource + "/.default")[0], 200, "get-access-token")
    for host in (f"localhost:{site.port}", f"127.0.0.1:{site.port}"):
        def rest(method, path, body=None, host=host):
            status, _, data = az.api.exchange(method, f"{path}?api-version=7.4", json.dumps(body) if body else None,
                                              {**JSON, "Host": host, "Authorization": f"Bearer {az.tokens[resource + '/.default']}"})
            return status, json.loads(data) if data else None
        made = rest("POST", "/keys/az-rest/create", {"kty": "RSA", "key_size": 2048})[1]
        check(made["key"]["kid"].startswith(f"https://{host}/keys/az-rest/"), "key create")
        check_equal(rest("GET", "/keys/az-rest")[1], made, "key show")
        wrapped = rest("POST", "/keys/az-rest/wrapkey", {"alg": "RSA-OAEP-256", "value": kluis.b64url(bytes(32))})[1]
        check_equal(rest("POST", "/keys/az-rest/unwrapkey", {"alg": "RSA-OAEP-256", "value": wrapped["value"]})[1]["value"], kluis.b64url(bytes(32)), "wrap, unwrap")
        check("az-rest" in str(rest("GET", "/keys")[1]), "key list")


def test_login_with_an_identity(site):
    """`az login --identity` in its App Service form (MSI_ENDPOINT, MSI_SECRET)."""
    az = Az(site)
    for secret, status in ((f"{az.api.client_id}:{az.api.client_secret}", 200), (f"{az.api.client_id}:x", 401)):
        got, _, data = az.api.exchange("GET", f"/metadata/identity/oauth2/token/?resource={az.base}&api-version=2017-09-01", None,
                                       {"Host": az.api.base.netloc, "secret": secret, "Accept": "*/*", "User-Agent": "python-requests/2.28.1"})
        check_equal(got, status, "a token by the older form of managed identity")
        if status == 200:
            answer = json.loads(data)
            check_equal((answer["token_type"], answer["expires_on"].isdigit()), ("Bearer", True), "its form")
            az.tokens[""] = answer["access_token"]
    status, _, _ = az.api.exchange("GET", "/subscriptions?api-version=2019-11-01", None,
                                   {**JSON, "Host": az.api.base.netloc, "Authorization": f"Bearer {az.tokens['']}"})
    check_equal(status, 200, "subscriptions")


def test_key_commands(site):
    az = Az(site)
    az.login()
    for host in (f"demo.vault.localhost:{site.port}", f"127.0.0.1:{site.port}"):
        body = {"kty": "RSA", "key_size": 2048, "key_ops": ["decrypt", "encrypt"], "attributes": {"enabled": True, "exp": 2051222400}, "tags": {"a": "b"}}
        status, made = az.command("POST", host, "/keys/az-key/create", body)
        check_equal((status, made["key"]["key_ops"], made["attributes"]["exp"]), (200, ["encrypt", "decrypt"], 2051222400), f"key create at {host}")
        version = made["key"]["kid"].rsplit("/", 1)[1]
        check_equal(az.command("GET", host, "/keys/az-key/"), (200, made), "key show: a slash at the end")
        check_equal(az.command("GET", host, f"/keys/az-key/{version}", version="7.0"), (200, made), "key download")
        status, changed = az.command("PATCH", host, "/keys/az-key/", {"attributes": {"enabled": False, "exp": 2051222400}, "tags": {}})
        check_equal((status, changed["attributes"]["enabled"]), (200, False), "key set-attributes")
        az.command("PATCH", host, "/keys/az-key/", {"attributes": {"enabled": True}})
        check_equal(az.command("POST", host, "/keys/az-key/rotate")[0], 200, "key rotate: no body")
        check_equal(len(az.command("GET", host, "/keys/az-key/versions", version="7.0")[1]["value"]), 2, "key list-versions")
        status, blob = az.command("POST", host, "/keys/az-key/backup", version="7.0")
        check_equal((status, "=" in blob["value"]), (200, False), "key backup")
        check_equal(az.command("DELETE", host, "/keys/az-key", version="7.0")[0], 200, "key delete")
        check_equal(az.command("GET", host, "/deletedkeys/az-key", version="7.0")[0], 200, "key show-deleted, at once: az does not wait")
        check_equal(len(az.command("GET", host, "/deletedkeys", version="7.0")[1]["value"]), 1, "key list-deleted")
        check_equal(az.command("POST", host, "/deletedkeys/az-key/recover", version="7.0")[0], 200, "key recover")
        az.command("DELETE", host, "/keys/az-key", version="7.0")
        protected = host.startswith("127")
        check_equal(az.command("DELETE", host, "/deletedkeys/az-key", version="7.0")[0], 403 if protected else 204, "key purge")
        if not protected:
            status, back = az.command("POST", host, "/keys/restore", {"value": blob["value"]}, version="7.0")
            check_equal((status, back["key"]["kid"].rsplit("/", 1)[0]), (200, f"https://{host}/keys/az-key"), "key restore")


kluis.main(globals())
