#!/usr/bin/env python3
"""The service API and the token service over raw HTTPS: vaults, policies, principals, tokens, audit head; who gets a token, and what it opens."""
import base64
import json
import os
import sys
import urllib.parse

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
import kluis
from kluis import check, check_equal

FORM = "application/x-www-form-urlencoded"
NOBODY = "00000000-0000-4000-8000-000000000000"


def code_of(answer):
    return answer["error"]["code"]


def principal(api, name, roles=()):
    """A new principal, and a client that is it."""
    made = api.must("POST", "/kluis/v1/principals", {"name": name, "roles": list(roles)})
    client = kluis.Api.__new__(kluis.Api)
    client.__dict__.update(api.__dict__, client_id=made["clientId"], client_secret=made["clientSecret"], connection=None, token=None)
    return made, client


def vault_body(api, name, **more):
    return {"origins": [f"{name}.vault.localhost:{api.base.port}"], **more}


def test_principals(site):
    admin = kluis.Api(site)
    me = admin.must("GET", "/kluis/v1/whoami")
    check_equal(me["clientId"], admin.client_id, "whoami names the caller")
    check("administrator" in me["roles"], "the first principal is administrator")
    made, client = principal(admin, "worker-1")
    check_equal(len(made["clientSecret"]), 43, "256 random bits as base64url")
    listed = admin.must("GET", "/kluis/v1/principals")
    check_equal(listed["nextLink"], None, "lists have a nextLink")
    check("Secret" not in json.dumps(listed), "no secret in the list")
    check("worker-1" in [p["name"] for p in listed["value"]], "the new one is listed")
    check_equal(client.must("GET", "/kluis/v1/whoami")["roles"], [], "it logs in with its secret")
    for body in ({"name": "worker-1"}, {"name": "WORKER-1"}):
        check_equal(admin.call("POST", "/kluis/v1/principals", body)[0], 409, f"{body}: taken")
    for body in (None, {}, {"name": ""}, {"name": "a b"}, {"name": NOBODY}, {"name": "x" * 128}, {"name": "x", "roles": ["god"]},
                 {"name": "x", "roles": "auditor"}, {"name": "x", "role": "auditor"}, {"name": 5}):
        check_equal(admin.call("POST", "/kluis/v1/principals", body)[0], 400, f"{body}: bad")
    for method, path in (("GET", "/kluis/v1/principals"), ("POST", "/kluis/v1/principals"), ("DELETE", f"/kluis/v1/principals/{me['objectId']}"),
                         ("GET", "/kluis/v1/deletedvaults"), ("PUT", "/kluis/v1/vaults/x-vault"), ("GET", "/kluis/v1/tokens"),
                         ("GET", "/kluis/v1/audit/head")):
        check_equal(client.call(method, path, {"name": "y"} if method != "GET" else None)[0], 403, f"{method} {path} without a role")
    check_equal(admin.call("DELETE", f"/kluis/v1/principals/{me['objectId']}")[0], 409, "the last administrator stays")
    check_equal(admin.call("DELETE", "/kluis/v1/principals/worker-1")[0], 400, "by object id only")
    check_equal(admin.call("DELETE", f"/kluis/v1/principals/{NOBODY}")[0], 404, "an unknown one")
    check_equal(admin.call("DELETE", f"/kluis/v1/principals/{made['objectId'].upper()}")[0], 204, "removed")
    status, headers, answer = client.call("GET", "/kluis/v1/whoami")
    check_equal((status, code_of(answer)), (401, "Unauthorized"), "its token ends with it")
    check("Bearer authorization=" in headers["WWW-Authenticate"], "the challenge")


def test_vaults(site):
    admin = kluis.Api(site)
    for name, body in (("new-vault", {}), ("new-vault", {"origins": []}), ("new-vault", {"origins": ["a b:1"]}),
                       ("new-vault", vault_body(admin, "n", purgeProtection=True)), ("new-vault", vault_body(admin, "n", enableSoftDelete=False)),
                       ("new-vault", vault_body(admin, "n", softDeleteRetentionInDays=6)), ("new-vault", vault_body(admin, "n", profile="loose")),
                       ("new-vault", vault_body(admin, "n", token="none")), ("new-vault", vault_body(admin, "n", geography="a/b")),
                       ("new-vault", vault_body(admin, "n", tags={"a": 1})), ("no", vault_body(admin, "n")), ("a--b", vault_body(admin, "n"))):
        check_equal(admin.call("PUT", f"/kluis/v1/vaults/{name}", body)[0], 400, f"{name} {body}")
    made = admin.must("PUT", "/kluis/v1/vaults/new-vault", vault_body(admin, "new-vault", softDeleteRetentionInDays=7, tags={"a": "b"},
                                                                     subscription="s-1", geography="europe"))
    check_equal(made["vaultUri"], f"https://new-vault.vault.localhost:{admin.base.port}/", "vaultUri is the first origin")
    check_equal((made["id"], made["softDeleteRetentionInDays"], made["enableSoftDelete"], made["enablePurgeProtection"], made["tags"],
                 made["geography"]), ("/subscriptions/s-1/vaults/new-vault", 7, True, False, {"a": "b"}, "europe"), "as asked")
    check_equal(admin.call("PUT", "/kluis/v1/vaults/new-vault", vault_body(admin, "other"))[0], 409, "the name is taken")
    check_equal(admin.call("PUT", "/kluis/v1/vaults/other-vault", vault_body(admin, "new-vault"))[0], 409, "the host is taken")
    check_equal(admin.must("GET", "/kluis/v1/vaults/NEW-vault"), made, "get, any case")
    path = "/kluis/v1/vaults/new-vault"
    check_equal(admin.call("PATCH", path, {"enableSoftDelete": False})[0], 400, "soft delete stays on")
    check_equal(admin.call("PATCH", path, {"retention": 90})[0], 400, "an unknown member")
    check_equal(admin.must("PATCH", path, {"enablePurgeProtection": False, "tags": {}})["tags"], {}, "tags away")
    deleted = admin.must("DELETE", path)
    check(deleted["scheduledPurgeDate"] - deleted["deletedDate"] == 7 * 86400, "seven days")
    check_equal(deleted["recoveryId"], f"{site.env['KLUIS_URL']}/kluis/v1/deletedvaults/new-vault", "recoveryId")
    check_equal(admin.call("GET", path)[0], 404, "gone for administrators")
    check_equal([v["name"] for v in admin.must("GET", "/kluis/v1/deletedvaults")["value"]], ["new-vault"], "deleted list")
    check_equal(admin.call("PUT", path, vault_body(admin, "n2"))[0], 409, "the name is held")
    admin.must("POST", "/kluis/v1/deletedvaults/new-vault/recover")
    check_equal(admin.must("GET", path)["name"], "new-vault", "back")
    check_equal(admin.must("PATCH", path, {"enablePurgeProtection": True})["enablePurgeProtection"], True, "purge protection on")
    check_equal(admin.call("PATCH", path, {"enablePurgeProtection": False})[0], 403, "and never off")
    admin.must("DELETE", path)
    check_equal(admin.call("DELETE", "/kluis/v1/deletedvaults/new-vault")[0], 403, "protected from purge")
    admin.must("PUT", "/kluis/v1/vaults/short-lived", vault_body(admin, "short-lived"))
    admin.must("DELETE", "/kluis/v1/vaults/short-lived")
    _, second = principal(admin, "second-admin", ["administrator"])
    check_equal(second.call("DELETE", "/kluis/v1/deletedvaults/short-lived")[0], 403, "the role alone does not purge")
    check_equal(admin.call("DELETE", "/kluis/v1/deletedvaults/short-lived")[0], 204, "the role and the permission do")
    check_equal(admin.call("GET", "/kluis/v1/deletedvaults/short-lived")[0], 404, "purged")


def test_policies(site):
    admin = kluis.Api(site)
    me = admin.must("GET", "/kluis/v1/whoami")
    who, client = principal(admin, "wrapper")
    second, other_admin = principal(admin, "second-admin", ["administrator"])
    policies = "/kluis/v1/vaults/demo/policies"
    one = f"{policies}/{who['objectId']}"
    admin.must("POST", "/keys/k1/create", {"kty": "RSA", "key_size": 2048})
    no_probing(client)
    check_equal(client.must("GET", "/kluis/v1/vaults")["value"], [], "no policy, no vault in the list")
    for body in ({"permissions": {"keys": ["fly"]}}, {"permissions": {"storage": []}}, {}, {"permissions": []},
                 {"permissions": {}, "objectId": who["objectId"]}):
        check_equal(admin.call("PUT", one, body)[0], 400, f"{body}")
    check_equal(admin.call("PUT", f"{policies}/{NOBODY}", {"permissions": {"keys": ["get"]}})[0], 400, "nobody is granted anything")
    check_equal(admin.call("PUT", f"{policies}/wrapper", {"permissions": {"keys": ["get"]}})[0], 400, "by object id only")
    made = admin.must("PUT", one, {"permissions": {"keys": ["WRAPKEY"], "secrets": ["all"]}})
    check_equal((made["name"], made["permissions"]["keys"], len(made["permissions"]["secrets"])), ("wrapper", ["wrapKey"], 8), "the policy")
    dek = kluis.b64url(bytes(32))
    client.must("POST", "/keys/k1//wrapkey", {"alg": "RSA-OAEP-256", "value": dek})
    status, _, answer = client.call("GET", "/keys/k1")
    check_equal((status, answer["error"]["innererror"]["code"]), (403, "ForbiddenByPolicy"), "wrapKey is not get")
    check_equal(answer["error"]["message"], f"The user, group or application 'appid={who['clientId']};oid={who['objectId']};numgroups=0;"
                f"iss={site.env['KLUIS_URL']}/{admin.tenant}/v2.0' does not have keys get permission on key vault 'demo'", "the words")
    check_equal([v["name"] for v in client.must("GET", "/kluis/v1/vaults")["value"]], ["demo"], "the vault is in the list now")
    check_equal(client.call("GET", one.rsplit("/", 1)[0])[0], 403, "policies are not for all")
    role_is_no_right(other_admin, policies, second)
    check_equal(admin.call("DELETE", f"{policies}/{me['objectId']}")[0], 409, "the last manager stays")
    check_equal(admin.call("PUT", f"{policies}/{me['objectId']}", {"permissions": {"keys": ["all"]}})[0], 409, "and keeps setPolicy")
    check_equal(admin.call("DELETE", one)[0], 204, "a policy goes")
    check_equal(client.call("POST", "/keys/k1//wrapkey", {"alg": "RSA-OAEP-256", "value": dek})[0], 403, "and takes effect at once")
    # the only manager is removed: now, and only now, an administrator may set one
    check_equal(other_admin.call("DELETE", f"/kluis/v1/principals/{me['objectId']}")[0], 204, "the manager is gone")
    check_equal(other_admin.call("GET", "/keys/k1")[0], 403, "still no data")
    other_admin.must("PUT", f"{policies}/{second['objectId']}", {"permissions": {"keys": ["get"], "vault": ["all"]}})
    other_admin.must("GET", "/keys/k1")


def no_probing(client):
    """A vault that is there and one that is not: one answer, by name and by host."""
    seen = set()
    for name in ("demo", "no-such"):
        for method, path in (("GET", f"/kluis/v1/vaults/{name}"), ("PATCH", f"/kluis/v1/vaults/{name}"), ("GET", f"/kluis/v1/vaults/{name}/policies")):
            status, _, answer = client.call(method, path, {} if method == "PATCH" else None)
            seen.add((status, json.dumps(answer)))
        for path in ("/keys", "/keys/k1", "/keys/bad_name"):
            status, _, answer = client.call("GET", path, host=f"{name}.vault.localhost:{client.base.port}")
            seen.add((status, json.dumps(answer)))
    check_equal(len(seen), 1, f"one answer: {seen}")


def role_is_no_right(api, policies, who):
    for method, path, body in (("GET", "/keys/k1", None), ("GET", policies, None), ("GET", "/kluis/v1/vaults/demo", None),
                               ("PUT", f"{policies}/{who['objectId']}", {"permissions": {"keys": ["all"]}}), ("DELETE", "/kluis/v1/vaults/demo", None)):
        check_equal(api.call(method, path, body)[0], 403, f"{method} {path} by role alone")
    check("demo" in [v["name"] for v in api.must("GET", "/kluis/v1/vaults")["value"]], "administrators see that vaults exist")
    check_equal(api.call("GET", "/kluis/v1/vaults/no-such")[0], 404, "and that they do not")


def test_tokens_and_audit(site):
    admin = kluis.Api(site)
    _, auditor = principal(admin, "auditor-1", ["auditor"])
    for api in (admin, auditor):
        token = api.must("GET", "/kluis/v1/tokens")["value"][0]
        check_equal(token["state"], "ready", "the token is ready")
        check("RSA-OAEP-256" in token["algorithms"] and 2048 in token["rsaBits"], "what it can do")
        check_equal(api.must("GET", f"/kluis/v1/tokens/{token['name']}")["label"], token["label"], "one token")
        check_equal(api.call("GET", "/kluis/v1/tokens/none")[0], 404, "no such token")
        head = api.must("GET", "/kluis/v1/audit/head")
        check(head["seq"] > 0 and len(head["chain"]) == 64 and "PUBLIC KEY" in head["keys"][0]["publicKey"], "audit head")
    check_equal(auditor.call("GET", "/kluis/v1/principals")[0], 403, "an auditor is no administrator")


def ask(api, path, form=None, headers=None, method="POST"):
    body = urllib.parse.urlencode(form) if isinstance(form, dict) else form
    given = {"Host": api.base.netloc, **({"Content-Type": FORM} if body is not None else {}), **(headers or {})}
    status, answered, data = api.exchange(method, path, body, given)
    return status, answered, json.loads(data)


def test_token_service(site):
    api = kluis.Api(site)
    good = {"grant_type": "client_credentials", "client_id": api.client_id, "client_secret": api.client_secret}
    v2, v1, adfs = f"/{api.tenant}/oauth2/v2.0/token", f"/{api.tenant}/oauth2/token", "/adfs/oauth2/token"
    msi = "/metadata/identity/oauth2/token"
    pair = f"{api.client_id}:{api.client_secret}"
    basic = {"Authorization": "Basic " + base64.b64encode(pair.encode()).decode()}
    port = api.base.port
    for path, form, headers in ((v2, {**good, "scope": "https://vault.azure.net/.default"}, None),
                                (v2 + "?client-request-id=x", {**good, "scope": f"https://vault.localhost:{port}//.default"}, None),
                                (v1, {**good, "resource": "https://0.0.1"}, None), (adfs, {**good, "scope": f"https://localhost:{port}/.default"}, None),
                                (v2, {"grant_type": "client_credentials", "scope": "https://localhost/.default"}, basic)):
        status, answered, token = ask(api, path, form, headers)
        check_equal((status, token.get("token_type"), token.get("expires_in")), (200, "Bearer", 3599), f"{path} {token}")
        check("no-store" in answered["Cache-Control"], "tokens are not to be stored")
        api.token = token["access_token"]
        api.must("GET", "/kluis/v1/whoami")
    for method, path, form, headers in (("GET", msi + "?api-version=2019-08-01&resource=https%3A%2F%2Fvault.azure.net", None, {"X-IDENTITY-HEADER": pair}),
                                        ("POST", msi, {"resource": "https://vault.azure.net"}, {"Secret": pair})):
        status, _, token = ask(api, path, form, headers, method)
        check_equal((status, token.get("expires_in")), (200, "3599"), f"managed identity by {method}")
        api.token = token["access_token"]
        api.must("GET", "/kluis/v1/whoami")
    check_equal([s["subscriptionId"] for s in api.must("GET", "/subscriptions?api-version=2019-11-01")["value"]], ["default"], "az login's list")
    documents(api)
    refusals(api, good, v2)


def documents(api):
    for path, token in ((f"/{api.tenant}/v2.0", f"/{api.tenant}/oauth2/v2.0/token"), (f"/{api.tenant}", f"/{api.tenant}/oauth2/token"), ("/adfs", "/adfs/oauth2/token")):
        status, _, doc = ask(api, path + "/.well-known/openid-configuration", method="GET")
        check_equal((status, doc["token_endpoint"]), (200, f"https://{api.base.netloc}{token}"), path)
        status, _, keys = ask(api, urllib.parse.urlsplit(doc["jwks_uri"]).path, method="GET")
        check_equal((status, keys["keys"][0]["alg"], len(keys["keys"])), (200, "RS256", 1), "the key set")


def refusals(api, good, path):
    scope = {"scope": "https://vault.azure.net/.default"}
    for form, wanted, error in (({**good, **scope, "client_secret": "x"}, 401, "invalid_client"), ({**good, **scope, "client_id": NOBODY}, 401, "invalid_client"),
                                ({**good, "scope": "https://graph.microsoft.com/.default"}, 400, "invalid_scope"),
                                ({**good, **scope, "grant_type": "password"}, 400, "unsupported_grant_type"), ("client_id=%zz", 400, "invalid_request"),
                                ("a&" * 65, 400, "invalid_request"), ("a" * 16385, 400, "invalid_request")):
        status, _, answer = ask(api, path, form)
        check_equal((status, answer.get("error")), (wanted, error), f"{str(form)[:80]}")
        check("access_token" not in answer, "no token")
    same = [{k: v for k, v in ask(api, path, {**good, **scope, **wrong})[2].items() if k not in ("trace_id", "correlation_id")}
            for wrong in ({"client_secret": "x"}, {"client_id": NOBODY})]
    check_equal(same[0]["error_description"].split(" Trace")[0], same[1]["error_description"].split(" Trace")[0], "unknown and wrong look alike")
    for _ in range(20):
        status, answered, _ = ask(api, path, {**good, **scope, "client_id": NOBODY[:-1] + "1"})
        check_equal(status, 401, "a failure")
    status, answered, _ = ask(api, path, {**good, **scope, "client_id": NOBODY[:-1] + "1"})
    check_equal((status, answered["Retry-After"]), (429, "1"), "enough failures")
    check_equal(ask(api, path, {**good, **scope})[0], 200, "others are not in the way")


kluis.main(globals())
