#!/usr/bin/env python3
"""The management API by raw requests: what `az keyvault` relies on beyond what az itself shows (tests/clients/az.py), and what must be refused."""
import os
import sys
import urllib.parse

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
import kluis
from kluis import check, check_equal

BASE = "/subscriptions/default"
VAULTS = BASE + "/resourceGroups/rg/providers/Microsoft.KeyVault/vaults"
VERSION = "?api-version=2022-07-01"


def properties(api, **more):
    return {"location": "default", "properties": {"tenantId": api.tenant, "sku": {"family": "A", "name": "standard"}, **more}}


def policy(api, object_id, **permissions):
    return {"tenantId": api.tenant, "objectId": object_id, "permissions": permissions}


def test_make(site):
    api = kluis.Api(site, vault=None)
    status, _, made = api.call("PUT", f"{VAULTS}/new{VERSION}", properties(api))
    check_equal((status, made["id"], made["properties"]["vaultUri"]), (201, f"{VAULTS}/new", f"https://new.vault.localhost:{site.port}/"), "made")
    check_equal(api.call("PUT", f"{VAULTS}/new{VERSION}", {**made})[0], 200, "what was read may be written back")
    kluis.Api(site, vault="new").must("POST", "/keys/k/create", {"kty": "EC"})
    rbac = api.must("PUT", f"{VAULTS}/roles{VERSION}", properties(api, enableRbacAuthorization=True), wanted=201)
    check_equal(rbac["properties"]["enableRbacAuthorization"], True, "roles decide from the beginning")
    check_equal([a["roleName"] for a in api.must("GET", "/kluis/v1/vaults/roles/assignments")["value"]], ["Owner"], "and its maker has one")
    for name, available in (("new", False), ("free", True), ("-", False)):
        answer = api.must("POST", f"{BASE}/providers/Microsoft.KeyVault/checkNameAvailability{VERSION}", {"name": name, "type": "Microsoft.KeyVault/vaults"})
        check_equal(answer["nameAvailable"], available, f"checkNameAvailability {name}")
    found = api.must("GET", f"{BASE}/resources?$filter=" + urllib.parse.quote("resourceType eq 'Microsoft.KeyVault/vaults'") + "&api-version=2015-11-01")
    check_equal({v["name"] for v in found["value"]}, {"demo", "safe", "new", "roles"}, "resources")
    none = api.must("GET", f"{BASE}/resources?$filter=" + urllib.parse.quote("resourceType eq 'Microsoft.Compute/disks'"))
    check_equal(none["value"], [], "and none of another type")


def test_refused(site):
    """What cannot be kept is refused, and leaves nothing behind."""
    api = kluis.Api(site, vault=None)
    me = api.must("GET", "/kluis/v1/whoami")["objectId"]
    bodies = {
        "no body": {}, "properties is a list": {"properties": []}, "an unknown member": properties(api, enablePurgeProtecton=True),
        "another tenant": properties(api, tenantId=me), "soft delete off": properties(api, enableSoftDelete=False),
        "network rules": properties(api, networkAcls={"defaultAction": "Deny"}), "a rule": properties(api, networkAcls={"ipRules": [{"value": "1.2.3.4"}]}),
        "no public access": properties(api, publicNetworkAccess="Disabled"), "deployment": properties(api, enabledForDeployment=True),
        "6 days": properties(api, softDeleteRetentionInDays=6), "a number as policies": properties(api, accessPolicies=7),
        "a policy for nobody": properties(api, accessPolicies=[policy(api, str(me)[::-1], keys=["get"])]),
        "the same twice": properties(api, accessPolicies=[policy(api, me, keys=["get"])] * 2), "a wrong word": properties(api, accessPolicies=[policy(api, me, keys=["gte"])]),
        "rights to the vault": properties(api, accessPolicies=[policy(api, me, vault=["all"])]),
        "on behalf of": properties(api, accessPolicies=[{**policy(api, me, keys=["get"]), "applicationId": me}]),
        "a policy that is none": properties(api, accessPolicies=["x"]), "tags": {**properties(api), "tags": {"a": 1}},
    }
    for words, body in bodies.items():
        status, _, answer = api.call("PUT", f"{VAULTS}/new{VERSION}", body)
        check_equal((status, answer["error"]["code"]), (400, "BadParameter"), f"{words}: {answer}")
    check_equal(api.call("GET", "/kluis/v1/vaults/new")[0], 404, "no vault was made")
    for part in ("a%0d%0aX-Evil:%201", "%ff", "a%2fb"):
        for path in (f"/subscriptions/{part}/resourceGroups/g/providers/Microsoft.KeyVault/vaults/new",
                     f"{BASE}/resourceGroups/{part}/providers/Microsoft.KeyVault/vaults/new"):
            check_equal(api.call("PUT", path + VERSION, properties(api))[0], 400, f"{part} in a path")
    check_equal(api.call("GET", f"{VAULTS}/demo{VERSION}".replace("default", "other"))[0], 404, "a vault of another subscription")
    check_equal(api.call("PUT", f"{VAULTS}/demo{VERSION}".replace("default", "other"), properties(api))[0], 409, "nor can it be made there again")
    protected = api.must("GET", f"{VAULTS}/safe{VERSION}")
    for change in ({"enablePurgeProtection": False}, {"softDeleteRetentionInDays": 7}):
        status, _, _ = api.call("PATCH", f"{VAULTS}/safe{VERSION}", {"properties": change})
        check(status in (400, 403), f"{change}: {status}")
    check_equal(api.must("GET", f"{VAULTS}/safe{VERSION}"), protected, "nothing has changed")


def test_policies(site):
    """add, replace and remove; a list speaks of the data, never of who manages the vault."""
    api = kluis.Api(site, vault=None)
    other = api.must("POST", "/kluis/v1/principals", {"name": "other"})["objectId"]
    before = api.must("GET", "/kluis/v1/vaults/demo/policies")["value"]

    def words():
        rows = api.must("GET", "/kluis/v1/vaults/demo/policies")["value"]
        return next((r["permissions"] for r in rows if r["objectId"] == other), {}).get("keys")
    for kind, given, left in (("add", ["get", "list"], ["get", "list"]), ("add", ["sign"], ["sign", "get", "list"]), ("remove", ["list"], ["sign", "get"]),
                              ("replace", ["wrapKey"], ["wrapKey"]), ("remove", ["all"], None)):
        answer = api.must("PUT", f"{VAULTS}/demo/accessPolicies/{kind}{VERSION}", {"properties": {"accessPolicies": [policy(api, other, keys=given)]}})
        check_equal((words(), answer["type"]), (left, "Microsoft.KeyVault/vaults/accessPolicies"), f"{kind} {given}")
    check_equal(api.must("GET", "/kluis/v1/vaults/demo/policies")["value"], before, "and nobody else's")
    check_equal(api.call("PUT", f"{VAULTS}/demo/accessPolicies/steal{VERSION}", {"properties": {"accessPolicies": []}})[0], 400, "another word")
    api.must("PATCH", f"{VAULTS}/demo{VERSION}", {"properties": {"accessPolicies": []}})
    left = api.must("GET", "/kluis/v1/vaults/demo/policies")["value"]
    check_equal([(p["permissions"]["keys"], "setPolicy" in p["permissions"]["vault"]) for p in left], [([], True)], "an empty list locks nobody out")
    check_equal(kluis.Api(site).call("GET", "/keys")[0], 403, "but takes the data away at once")


def test_purge(site):
    api = kluis.Api(site, vault=None)
    api.must("PUT", f"{VAULTS}/gone{VERSION}", properties(api), wanted=201)
    api.must("DELETE", f"{VAULTS}/gone{VERSION}")
    check_equal(api.call("PUT", f"{VAULTS}/gone{VERSION}", properties(api))[0], 409, "a deleted vault keeps its name")
    place = f"{BASE}/providers/Microsoft.KeyVault/locations"
    row = api.must("GET", f"{place}/default/deletedVaults/gone{VERSION}")
    check_equal(row["properties"]["vaultId"].rsplit("/", 1)[1], "gone", "a deleted vault")
    check_equal(api.call("POST", f"{place}/elsewhere/deletedVaults/gone/purge{VERSION}")[0], 404, "not in that location")
    check_equal(api.call("GET", f"{place}/default/operationResults/gone{VERSION}")[0], 202, "not yet purged")
    api.must("PUT", f"{VAULTS}/gone{VERSION}", properties(api, createMode="recover"), wanted=201)
    api.must("DELETE", f"{VAULTS}/gone{VERSION}")
    status, headers, _ = api.call("POST", f"{place}/default/deletedVaults/gone/purge{VERSION}")
    target = urllib.parse.urlsplit(headers["Location"])
    check_equal((status, target.netloc), (202, f"localhost:{site.port}"), "accepted, and where to ask")
    check_equal(api.call("GET", f"{target.path}?{target.query}")[0], 200, "done")
    check_equal(api.call("GET", f"{place}/default/deletedVaults/gone{VERSION}")[0], 404, "gone")


if __name__ == "__main__":
    kluis.main(globals())
