#!/usr/bin/env python3
"""Debian's az 2.45 itself, unmodified: registration by discovery, login, every vault command of the management plane, and with the module of
conf/az the data plane: keys, secrets, certificates. Each command is a process of its own."""
import json
import os
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "../lib"))
import kluis
from kluis import check, check_equal

MODULE = os.path.join(HERE, "../../conf/az")
# Names below .localhost are this machine (RFC 6761); the C library of a bare system does not know that.
NAMES = """import socket
system_lookup = socket.getaddrinfo
socket.getaddrinfo = lambda host, *rest, **more: system_lookup("127.0.0.1" if str(host).endswith(".localhost") else host, *rest, **more)
"""


class Az:
    """The program with a configuration of its own, logged in. `module`: with conf/az on its path."""

    def __init__(self, site, client_id=None, secret=None):
        self.site, self.dir = site, os.path.join(site.dir, f"az-{client_id or 'owner'}")
        os.makedirs(self.dir)
        with open(os.path.join(self.dir, "sitecustomize.py"), "w", encoding="utf-8") as f:
            f.write(NAMES)
        # the Graph endpoint can only be named by a file; `keyvault create` wants one, and does not call it with --no-self-perms
        with open(os.path.join(self.dir, "cloud.json"), "w", encoding="utf-8") as f:
            json.dump({"endpoints": {"resourceManager": site.env["KLUIS_URL"], "microsoftGraphResourceId": site.env["KLUIS_URL"] + "/"},
                       "suffixes": {"keyvaultDns": f".vault.localhost:{site.port}"}}, f)
        self.run("cloud", "register", "-n", "Kluis", "--cloud-config", "@" + os.path.join(self.dir, "cloud.json"))
        self.run("cloud", "set", "-n", "Kluis")
        api = kluis.Api(site)
        self.account = self.json("login", "--service-principal", "-u", client_id or api.client_id, "-p", secret or api.client_secret,
                                 "--tenant", api.tenant, "--allow-no-subscriptions")

    def run(self, *args, module=False, wanted=0):
        path = ([os.path.abspath(MODULE)] if module else []) + [self.dir]
        env = {**os.environ, "AZURE_CONFIG_DIR": self.dir, "REQUESTS_CA_BUNDLE": self.site.env["KLUIS_CA"], "AZURE_CORE_COLLECT_TELEMETRY": "false",
               "AZURE_CORE_NO_COLOR": "true", "PYTHONPATH": os.pathsep.join(path)}
        r = subprocess.run(["/usr/bin/az", *args], env=env, cwd=self.dir, capture_output=True, text=True, timeout=kluis.PATIENCE, check=False)
        check_equal(r.returncode, wanted, f"az {' '.join(args)}: {r.stderr}")
        return r

    def json(self, *args, module=False):
        out = self.run(*args, "-o", "json", module=module).stdout
        return json.loads(out) if out.strip() else None

    def data(self, *args, **more):
        return self.json("keyvault", *args, module=True, **more)


def test_management(site):
    api, az = kluis.Api(site), Az(site)
    me = api.must("GET", "/kluis/v1/whoami")["objectId"]
    other = api.must("POST", "/kluis/v1/principals", {"name": "reader"})
    check_equal([(a["id"], a["tenantId"], a["state"]) for a in az.account], [("default", api.tenant, "Enabled")], "one subscription")
    check_equal([v["name"] for v in az.json("keyvault", "list")], ["demo", "safe"], "list")
    made = az.json("keyvault", "create", "-n", "by-az", "-g", "rg1", "--no-self-perms", "--retention-days", "7", "--tags", "team=backup")
    p = made["properties"]
    check_equal((made["resourceGroup"], p["vaultUri"], p["softDeleteRetentionInDays"], p["enableSoftDelete"], p["enablePurgeProtection"], made["tags"]),
                ("rg1", f"https://by-az.vault.localhost:{site.port}/", 7, True, None, {"team": "backup"}), "create")
    check_equal(az.json("keyvault", "show", "-n", "by-az")["properties"], p, "show finds it without its group")
    check_equal(api.must("GET", "/kluis/v1/vaults/by-az")["softDeleteRetentionInDays"], 7, "the same vault by /kluis/v1")
    az.run("keyvault", "create", "-n", "by-az", "-g", "rg1", "--no-self-perms", wanted=1)
    updated = az.json("keyvault", "update", "-n", "by-az", "--enable-purge-protection")
    check_equal((updated["properties"]["enablePurgeProtection"], updated["properties"]["accessPolicies"]), (True, p["accessPolicies"]), "update")
    az.run("keyvault", "update", "-n", "by-az", "--retention-days", "90", wanted=1)
    az.run("keyvault", "update", "-n", "by-az", "--default-action", "Deny", wanted=1)
    policies(az, api, me, other["objectId"])
    delete_and_recover(az, api)


def policies(az, api, me, other):
    """set-policy and delete-policy: the data part of our policies, and never the part that says who manages the vault."""
    def ours(object_id):
        rows = api.must("GET", "/kluis/v1/vaults/by-az/policies")["value"]
        return next((r["permissions"] for r in rows if r["objectId"] == object_id), None)
    manager = ours(me)
    check_equal((manager["keys"], "setPolicy" in manager["vault"]), ([], True), "--no-self-perms: a manager without a right to the data")
    for who in (me, other):
        az.run("keyvault", "set-policy", "-n", "by-az", "--object-id", who, "--key-permissions", "get", "list", "wrapKey", "--secret-permissions", "all")
        check_equal((ours(who)["keys"], len(ours(who)["secrets"])), (["wrapKey", "get", "list"], 8), "set-policy")
    check_equal((ours(me)["vault"], ours(other)["vault"]), (manager["vault"], []), "the vault's own permissions are untouched")
    az.run("keyvault", "delete-policy", "-n", "by-az", "--object-id", other)
    az.run("keyvault", "delete-policy", "-n", "by-az", "--object-id", me)
    check_equal((ours(other), ours(me)), (None, manager), "delete-policy")
    az.run("keyvault", "set-policy", "-n", "by-az", "--object-id", "00000000-0000-0000-0000-000000000000", "--key-permissions", "get", wanted=1)


def delete_and_recover(az, api):
    az.run("keyvault", "delete", "-n", "by-az")
    check_equal(api.call("GET", "/kluis/v1/vaults/by-az")[0], 404, "deleted for /kluis/v1 too")
    gone = az.json("keyvault", "list-deleted")
    check_equal([(v["name"], v["properties"]["purgeProtectionEnabled"]) for v in gone], [("by-az", True)], "list-deleted")
    check_equal(az.json("keyvault", "show-deleted", "-n", "by-az")["name"], "by-az", "show-deleted")
    az.run("keyvault", "purge", "-n", "by-az", wanted=1)
    check_equal(az.json("keyvault", "recover", "-n", "by-az")["name"], "by-az", "recover")
    az.run("keyvault", "create", "-n", "short", "-g", "rg1", "--no-self-perms")
    az.run("keyvault", "delete", "-n", "short")
    az.run("keyvault", "purge", "-n", "short")
    check_equal(az.json("keyvault", "list-deleted"), [], "purge")
    az.run("keyvault", "show", "-n", "short", wanted=1)


def test_who_may(site):
    """A principal without rights sees nothing and changes nothing; one with get alone sees its vault."""
    api = kluis.Api(site)
    row = api.must("POST", "/kluis/v1/principals", {"name": "guest"})
    az = Az(site, row["clientId"], row["clientSecret"])
    check_equal(az.json("keyvault", "list"), [], "no vault of others")
    path = "/subscriptions/default/resourceGroups/x/providers/Microsoft.KeyVault/vaults/demo?api-version=2022-07-01"
    az.run("rest", "--method", "delete", "--url", path, wanted=1)
    api.must("PUT", f"/kluis/v1/vaults/demo/policies/{row['objectId']}", {"permissions": {"vault": ["get"]}})
    seen = az.json("rest", "--method", "get", "--url", path)
    check_equal((seen["name"], "accessPolicies" in seen["properties"]), ("demo", False), "get is not getPolicy")
    for change in ({"tags": {"a": "b"}}, {"properties": {"accessPolicies": []}}):
        az.run("rest", "--method", "patch", "--url", path, "--body", json.dumps(change), wanted=1)


def test_keys(site):
    az = Az(site)
    az.run("keyvault", "key", "list", "--vault-name", "demo", wanted=1)  # as Debian ships it: this is what conf/az is for
    vault = ("--vault-name", "demo")
    made = az.data("key", "create", *vault, "-n", "az-key", "--kty", "RSA", "--size", "2048", "--tags", "a=b")
    kid = made["key"]["kid"]
    check(kid.startswith(f"https://demo.vault.localhost:{site.port}/keys/az-key/"), "key create")
    check_equal(az.data("key", "show", *vault, "-n", "az-key")["key"]["kid"], kid, "key show")
    check_equal(az.data("key", "show", "--id", kid)["tags"], {"a": "b"}, "key show by --id")
    az.data("key", "create", *vault, "-n", "az-ec", "--kty", "EC", "--curve", "P-256")
    check_equal([k["name"] for k in az.data("key", "list", *vault)], ["az-ec", "az-key"], "key list")
    secret = az.data("key", "encrypt", "--id", kid, "-a", "RSA-OAEP-256", "--value", "hallo", "--data-type", "plaintext")
    rotated = az.data("key", "rotate", *vault, "-n", "az-key")["key"]["kid"]
    check_equal(az.data("key", "decrypt", "--id", kid, "-a", "RSA-OAEP-256", "--value", secret["result"], "--data-type", "plaintext")["result"],
                "hallo", "key encrypt, decrypt by the older version")
    check_equal({k["kid"] for k in az.data("key", "list-versions", *vault, "-n", "az-key")}, {kid, rotated}, "key list-versions")
    check_equal(az.data("key", "set-attributes", *vault, "-n", "az-key", "--enabled", "false")["attributes"]["enabled"], False, "key set-attributes")
    az.data("key", "backup", *vault, "-n", "az-key", "-f", "key.bak")
    az.data("key", "download", *vault, "-n", "az-key", "-f", "key.pem")
    check(os.path.getsize(os.path.join(az.dir, "key.pem")) > 300, "key download")
    soft_delete(az, "key", "az-key", lambda: az.data("key", "restore", *vault, "-f", "key.bak")["key"]["kid"], rotated)


def soft_delete(az, kind, name, restore, wanted):
    vault = ("--vault-name", "demo")
    check("deletedDate" in az.data(kind, "delete", *vault, "-n", name), f"{kind} delete")
    check_equal([k["name"] for k in az.data(kind, "list-deleted", *vault)], [name], f"{kind} list-deleted")
    check("scheduledPurgeDate" in az.data(kind, "show-deleted", *vault, "-n", name), f"{kind} show-deleted")
    az.data(kind, "recover", *vault, "-n", name)
    az.data(kind, "delete", *vault, "-n", name)
    az.data(kind, "purge", *vault, "-n", name)
    az.run("keyvault", kind, "show", *vault, "-n", name, module=True, wanted=3)
    check_equal(restore(), wanted, f"{kind} restore: its newest version")


def test_secrets(site):
    az = Az(site)
    vault = ("--vault-name", "demo")
    made = az.data("secret", "set", *vault, "-n", "az-secret", "--value", "one", "--description", "text/plain")
    check_equal((made["value"], made["contentType"]), ("one", "text/plain"), "secret set")
    newest = az.data("secret", "set", *vault, "-n", "az-secret", "--value", "two")["id"]
    check_equal(az.data("secret", "show", *vault, "-n", "az-secret")["value"], "two", "secret show")
    check_equal(az.data("secret", "show", "--id", made["id"])["value"], "one", "secret show: an older version")
    check_equal([s["name"] for s in az.data("secret", "list", *vault)], ["az-secret"], "secret list")
    check_equal(len(az.data("secret", "list-versions", *vault, "-n", "az-secret")), 2, "secret list-versions")
    changed = az.data("secret", "set-attributes", *vault, "-n", "az-secret", "--content-type", "x", "--expires", "2035-01-01T00:00:00Z")
    check_equal((changed["contentType"], changed["attributes"]["expires"][:10]), ("x", "2035-01-01"), "secret set-attributes")
    az.data("secret", "download", *vault, "-n", "az-secret", "-f", "value")
    with open(os.path.join(az.dir, "value"), encoding="utf-8") as f:
        check_equal(f.read(), "two", "secret download")
    az.data("secret", "backup", *vault, "-n", "az-secret", "-f", "secret.bak")
    soft_delete(az, "secret", "az-secret", lambda: az.data("secret", "restore", *vault, "-f", "secret.bak")["id"], newest)
    r = az.run("keyvault", "secret", "show", "--vault-name", "demo", "-n", "none", module=True, wanted=3)
    check("was not found in this key vault" in r.stderr, "the service's words reach the operator")


def test_certificates(site):
    az = Az(site)
    vault = ("--vault-name", "demo")
    policy = az.data("certificate", "get-default-policy")
    done = az.data("certificate", "create", *vault, "-n", "az-cert", "-p", json.dumps(policy))
    check_equal(done["status"], "completed", "certificate create")
    made = az.data("certificate", "show", *vault, "-n", "az-cert")
    check_equal((made["policy"]["issuerParameters"]["name"], made["attributes"]["enabled"]), ("Self", True), "certificate show")
    check_equal([c["name"] for c in az.data("certificate", "list", *vault)], ["az-cert"], "certificate list")
    az.data("certificate", "download", *vault, "-n", "az-cert", "-f", "cert.pem")
    seen = subprocess.run(["openssl", "x509", "-in", "cert.pem", "-noout", "-subject"], cwd=az.dir, capture_output=True, text=True, check=True).stdout
    check_equal(seen.strip(), "subject=CN = CLIGetDefaultPolicy", "certificate download")
    az.data("certificate", "contact", "add", *vault, "--email", "ops@example.org")
    check_equal(az.data("certificate", "contact", "list", *vault)["contactList"][0]["emailAddress"], "ops@example.org", "certificate contact add, list")
    az.data("certificate", "backup", *vault, "-n", "az-cert", "-f", "cert.bak")
    soft_delete(az, "certificate", "az-cert", lambda: az.data("certificate", "restore", *vault, "-f", "cert.bak")["cer"], made["cer"])


if __name__ == "__main__":
    kluis.main(globals())
