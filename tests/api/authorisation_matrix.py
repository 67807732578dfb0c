#!/usr/bin/env python3
"""Every operation × permission × state of its object × tenant × credential, driven against a running service. The operations come from the
service's own table (`kluisd --routes`), so a new row is in the matrix by being there; what this file cannot call fails the test."""
import json
import os
import subprocess
import sys
import time
import uuid

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import kluis
from identity import Provider, restart
from kluis import API, Api, check, check_equal, wait_until

# The only operations that ask for no credential: the token service, and what monitors read.
OPEN = {
    "POST /{name}/oauth2/v2.0/token", "POST /{name}/oauth2/token", "POST /adfs/oauth2/token", "GET /metadata/identity/oauth2/token",
    "POST /metadata/identity/oauth2/token", "GET /{name}/v2.0/.well-known/openid-configuration",
    "GET /{name}/.well-known/openid-configuration", "GET /adfs/.well-known/openid-configuration", "GET /{name}/discovery/v2.0/keys",
    "GET /healthz", "GET /readyz", "GET /metrics", "GET /metadata/endpoints",
    # takes the administrator's credential in its form, and a token of the service's own may be out of reach: test_token_login
    "POST /kluis/v1/tokens/{name}/login",
}
KINDS = ("keys", "secrets", "certificates", "vault")
UNKNOWN = "no-such-object"
STATES = ("active", "disabled", "deleted", UNKNOWN)


def routes():
    text = subprocess.run([os.path.join(kluis.BIN, "kluisd"), "--routes"], capture_output=True, check=True, text=True).stdout
    return json.loads(text)


def title(row):
    return f"{row['method']} {row['path']}"


def fill(row, name):
    """The path with its parameters, on an object of this name."""
    out = []
    for part in row["path"].split("/"):
        if part == "{name}":
            part = name
        elif part == "{version}":
            part = ""
        elif part == "{subscription}":
            part = "default"
        elif part.startswith("{"):
            part = str(uuid.uuid4())
        out.append(part)
    path = "/".join(out)
    return path + ("?" + API if row["scope"] == "host" else "")


class Caller:
    """Somebody with a token, on a connection of his own."""

    def __init__(self, site, token=None):
        self.api = Api(site)
        self.api.token = token

    def status(self, row, name, vault="demo"):
        """(status, inner code or message) of a call with as little in it as the row takes."""
        body = {} if row["method"] in ("POST", "PUT", "PATCH") else None
        host = f"{vault}.vault.localhost:{self.api.base.port}" if row["scope"] == "host" else self.api.base.netloc
        status, headers, answer = self.api.call(row["method"], fill(row, name), body, auth=self.api.token is not None, host=host)
        error = (answer or {}).get("error", {})
        inner = error.get("innererror", {}).get("code", "") if isinstance(error, dict) else ""
        return status, inner, error, headers


def is_forbidden(answer):
    """Refused for want of a permission or role; a 403 of an object's state is a pass of the authorisation."""
    return answer[0] == 403 and answer[1] in ("ForbiddenByPolicy", "ForbiddenByRbac")


def passed(answer):
    return answer[0] not in (401, 404 if answer[1] == "VaultNotFound" else 401) and not is_forbidden(answer)


def make_objects(admin):
    """Keys and secrets in every state, in the vault demo."""
    for kind, how in (("keys", lambda n: ("POST", f"/keys/{n}/create", {"kty": "RSA", "key_size": 2048})),
                      ("secrets", lambda n: ("PUT", f"/secrets/{n}?{API}", {"value": "v"}))):
        for state in STATES[:3]:
            method, path, body = how(state)
            if state == "disabled":
                body = {**body, "attributes": {"enabled": False}}
            admin.must(method, path, body)
        admin.must("DELETE", f"/{kind}/deleted?{API}")


class World:
    """A site with a caller whose rights this test changes, and the words that there are."""

    def __init__(self, site):
        self.site = site
        self.admin = Api(site)
        me = self.admin.must("GET", "/kluis/v1/whoami")["objectId"]
        self.admin.must("PUT", f"/kluis/v1/vaults/demo/policies/{me}", {"permissions": {k: ["all"] for k in KINDS}})
        make_objects(self.admin)
        self.words = {k: self.words_of(me)[k] for k in KINDS}
        self.caller, self.caller_id = self.principal("caller")
        self.elsewhere, other = self.principal("elsewhere")
        self.set("safe", other, {k: ["all"] for k in KINDS})
        self.administrator, _ = self.principal("second-administrator", ["administrator"])
        self.auditor, _ = self.principal("auditor", ["auditor"])
        self.nobody, _ = self.principal("nobody")

    def words_of(self, object_id):
        listed = self.admin.must("GET", "/kluis/v1/vaults/demo/policies")["value"]
        return next(p["permissions"] for p in listed if p["objectId"] == object_id)

    def principal(self, name, roles=()):
        row = self.admin.must("POST", "/kluis/v1/principals", {"name": name, "roles": list(roles)})
        caller = Caller(self.site)
        caller.api.client_id, caller.api.client_secret = row["clientId"], row["clientSecret"]
        caller.api.login()
        return caller, row["objectId"]

    def set(self, vault, object_id, permissions):
        self.admin.must("PUT", f"/kluis/v1/vaults/{vault}/policies/{object_id}", {"permissions": permissions})

    def exactly(self, row):
        return {row["kind"]: [row["permission"]]}

    def all_but(self, row):
        return {k: [w for w in self.words[k] if (k, w) != (row["kind"], row["permission"])] for k in KINDS}


def changes(row):
    """Would it change something if it were let through with an empty body?"""
    return row["method"] == "DELETE" or row["path"].endswith(("/rotate", "/recover", "/login", "/reseal"))


def target(row, state):
    """The {name} of a call: for a /kluis row about a vault it is the vault."""
    return "demo" if row["scope"] in ("named", "named-or-new") else state


def vault_row(world, row, cells):
    states = STATES if row["scope"] == "host" and "{name}" in row["path"] else STATES[:1]
    # let through: whatever comes now, it is not the authorisation that speaks
    world.set("demo", world.caller_id, world.exactly(row))
    for state in states:
        harmless = UNKNOWN if changes(row) and row["scope"] == "host" else target(row, state)
        if changes(row) and row["scope"] == "named" and "{objectId}" not in row["path"] and "{id}" not in row["path"]:
            continue  # the vault itself would go: test_vault_delete
        answer = world.caller.status(row, harmless)
        cells.append((answer, passed(answer), f"{title(row)} on {state}: exactly {row['kind']} {row['permission']} is enough"))
    # refused: with everything else, from another vault, as nobody, and by role alone; the same whatever the object's state
    world.set("demo", world.caller_id, world.all_but(row))
    refused = ((world.caller, "everything but the permission"), (world.elsewhere, "everything in another vault"),
               (world.nobody, "no policy"), (world.administrator, "the role administrator"), (world.auditor, "the role auditor"))
    for caller, words in refused:
        answers = [caller.status(row, target(row, state)) for state in states]
        for state, answer in zip(states, answers):
            cells.append((answer, is_forbidden(answer), f"{title(row)} on {state}: {words} is not enough"))
        cells.append((answers, all(a[2] == answers[0][2] for a in answers), f"{title(row)}: a refusal says nothing of the object ({words})"))


def role_row(world, row, cells):
    """Rows that a role of the service opens, and rows for any caller."""
    may = {"caller": ("caller", "auditor", "administrator"), "admin": ("administrator",), "auditor": ("auditor", "administrator")}[row["scope"]]
    world.set("demo", world.caller_id, {k: ["all"] for k in KINDS})
    for who, caller in (("caller", world.caller), ("auditor", world.auditor), ("administrator", world.administrator)):
        answer = caller.status(row, UNKNOWN)
        if who in may:
            cells.append((answer, answer[0] not in (401, 403), f"{title(row)}: {who} may"))
        else:
            cells.append((answer, is_forbidden(answer), f"{title(row)}: {who} may not"))


def credential_cells(world, rows, bad, cells):
    for words, token in bad.items():
        caller = Caller(world.site, token)
        for row in rows:
            answer = caller.status(row, target(row, "active"))
            cells.append((answer, answer[0] == 401 and "Bearer authorization=" in answer[3].get("WWW-Authenticate", ""),
                          f"{title(row)}: {words} gets the challenge"))


def settle(cells, words):
    """Count every cell; name those that are wrong."""
    wrong = [f"{what}: got {answer}" for answer, good, what in cells if not good]
    check(not wrong, f"{len(wrong)} of {len(cells)} cells are wrong:\n  " + "\n  ".join(wrong[:20]))
    kluis.Counter.checks += len(cells) - 1
    print(f"{words}: {len(cells)} cells")


def test_every_permission(site):
    world, cells = World(site), []
    rows = routes()
    check_equal({title(r) for r in rows if r["scope"] == "open"}, OPEN, "operations without a credential")
    for row in rows:
        if row["scope"] in ("host", "named", "named-or-new"):
            check(row["permission"] in world.words[row["kind"]], f"{title(row)}: its permission is one that policies know")
            vault_row(world, row, cells)
        elif row["scope"] != "open":
            role_row(world, row, cells)
        check(row["operation"] or row["scope"] == "open", f"{title(row)} leaves an audit record")
    settle(cells, "permissions and states")


def test_every_credential(site):
    provider = Provider(site)
    restart(site, "[issuer corp]", f"issuer = {provider.url}", f"ca-file = {provider.ca}.pem", "audience = api://kluis", "tenant = t1")
    world, cells = World(site), []
    alice = str(uuid.uuid4())
    world.admin.must("POST", "/kluis/v1/principals", {"name": "alice", "issuer": "corp", "type": "user", "objectId": alice,
                                                      "roles": ["administrator"]})
    world.set("demo", alice, {k: ["all"] for k in KINDS})
    rows = [r for r in routes() if r["scope"] != "open"]
    listing = next(r for r in rows if title(r) == "GET /keys")
    wait_until(lambda: Caller(site, provider.token(oid=alice)).status(listing, "x")[0] == 200, "the issuer's tokens are good")
    now = int(time.time())
    good = world.admin.login()
    head, payload, signature = good.split(".")
    flip = "B" if signature[40] == "A" else "A"
    bad = {
        "no credential": None, "an expired token": provider.token(oid=alice, exp=now - 1), "a token of later": provider.token(oid=alice, nbf=now + 900),
        "another tenant's token": provider.token(oid=alice, tid="t2"), "a token for somebody else": provider.token(oid=alice, aud="api://other"),
        "a token of a foreign key": provider.token(path=provider.other_key, oid=alice), "a changed token": f"{head}.{payload}.{signature[:40]}{flip}{signature[41:]}",
        "a token without signature": f"{head}.{payload}.", "what is no token": "x",
    }
    credential_cells(world, rows, bad, cells)
    # and a principal that is disabled, however much it may
    world.admin.must("PUT", f"/kluis/v1/vaults/demo/policies/{world.caller_id}", {"permissions": {k: ["all"] for k in KINDS}})
    world.admin.must("PATCH", f"/kluis/v1/principals/{world.caller_id}", {"disabled": True})
    credential_cells(world, rows, {"a disabled principal": world.caller.api.token}, cells)
    settle(cells, "credentials and tenants")
    provider.server.shutdown()


def test_every_role(site):
    """Built-in roles × operations of a vault: a role lets through what its words say, and nothing else."""
    world, cells = World(site), []
    world.admin.must("POST", "/kluis/v1/vaults/demo/assignments", {"objectId": world.admin.must("GET", "/kluis/v1/whoami")["objectId"], "role": "Owner"})
    world.admin.must("PATCH", "/kluis/v1/vaults/demo", {"enableRbacAuthorization": True})
    rows = [r for r in routes() if r["scope"] == "host"]
    for role in world.admin.must("GET", "/kluis/v1/roles")["value"]:
        caller, object_id = world.principal("role-" + role["name"].lower().replace(" ", "-"))
        world.admin.must("POST", "/kluis/v1/vaults/demo/assignments", {"objectId": object_id, "role": role["id"]})
        for row in rows:
            may = row["permission"] in role["permissions"][row["kind"]]
            answer = caller.status(row, UNKNOWN)
            cells.append((answer, passed(answer) if may else is_forbidden(answer),
                          f"{title(row)}: {role['name']} {'may' if may else 'may not'}"))
    settle(cells, "roles")


def test_vault_delete(site):
    """The one cell that the matrix leaves out, as its object would be gone: the vault itself."""
    world = World(site)
    row = next(r for r in routes() if title(r) == "DELETE /kluis/v1/vaults/{name}")
    world.set("demo", world.caller_id, world.exactly(row))
    check_equal(world.caller.status(row, "demo")[0], 200, "exactly its permission")
    listing = next(r for r in routes() if title(r) == "GET /keys")
    check(is_forbidden(world.caller.status(listing, "x")), "a deleted vault is as one that there never was")


def test_token_login(site):
    """An operation that reads its credential itself: only an administrator's opens it."""
    world = World(site)
    row = next(r for r in routes() if r["path"] == "/kluis/v1/tokens/{name}/login")
    for who, caller in (("nobody", Caller(site)), ("a principal", world.caller), ("an auditor", world.auditor)):
        for headers in ({}, {"Content-Type": "application/x-www-form-urlencoded"}):
            form = f"client_id={caller.api.client_id}&client_secret={caller.api.client_secret if who != 'nobody' else 'x'}&pin=1234"
            status, _, answer = caller.api.call(row["method"], "/kluis/v1/tokens/main/login", form, auth=who != "nobody",
                                                host=caller.api.base.netloc, headers=headers)
            check(status in (400, 401, 403), f"{who} cannot hand a PIN to a token: {status} {answer}")


if __name__ == "__main__":
    kluis.main(globals())
