#!/usr/bin/env python3
"""Debian's Azure SDK for Python (azure-keyvault-keys 4.8, azure-identity 1.13), unmodified, against a development site: the same ground as
azure_keys.mjs. Needs the interpreter that Debian's packages are for."""
import hashlib
import json
import logging
import os
import socket
import sys
from datetime import datetime, timedelta, timezone

from azure.core.exceptions import ClientAuthenticationError, HttpResponseError, ResourceExistsError, ResourceNotFoundError
from azure.identity import ClientSecretCredential, ManagedIdentityCredential
from azure.keyvault.keys import KeyClient, KeyOperation
from azure.keyvault.keys.crypto import CryptographyClient, EncryptionAlgorithm, KeyWrapAlgorithm, SignatureAlgorithm

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
import kluis
from kluis import check, check_equal

OAEP, OAEP_256 = KeyWrapAlgorithm.rsa_oaep, KeyWrapAlgorithm.rsa_oaep_256
DEK = bytes(range(32))

# Names below .localhost are this machine (RFC 6761); the C library of a bare system does not know that.
system_lookup = socket.getaddrinfo
socket.getaddrinfo = lambda host, *rest, **more: system_lookup("127.0.0.1" if host.endswith(".localhost") else host, *rest, **more)


class World:
    """The clients of one site. The demo vault keeps the SDK's check of the challenge's resource switched on."""

    def __init__(self, site):
        self.site, self.ca = site, site.env["KLUIS_CA"]
        self.credential = self.service_principal()
        self.keys = self.client(self.vault("demo"))
        self.safe = self.client(self.vault("safe"))

    def vault(self, name):
        return f"https://{name}.vault.localhost:{self.site.port}"

    def service_principal(self, client_id=None, secret=None):
        if secret is None:
            with open(self.site.env["KLUIS_CLIENT_SECRET_FILE"], encoding="utf-8") as f:
                secret = f.read().strip()
        return ClientSecretCredential(self.site.env["KLUIS_TENANT"], client_id or self.site.env["KLUIS_CLIENT_ID"], secret,
                                      authority=self.site.env["KLUIS_URL"], instance_discovery=False, connection_verify=self.ca, retry_total=0)

    def client(self, url, credential=None, **more):
        return KeyClient(url, credential or self.credential, connection_verify=self.ca, retry_total=0, **more)

    def crypto(self, key, credential=None, **more):
        return CryptographyClient(key, credential or self.credential, connection_verify=self.ca, retry_total=0, **more)


def refused(call, status, code, inner, words):
    try:
        call()
    except HttpResponseError as e:
        error = json.loads(e.response.text())["error"]
        check_equal((e.status_code, e.error.code, error.get("innererror", {}).get("code")), (status, code, inner), f"{words}: {e.message}")
        return e
    raise kluis.Failed(f"{words}: was not refused")


def test_everything(site):
    w = World(site)
    create_and_read(w)
    wrap_and_encrypt(w)
    sign_and_verify(w)
    rotate_and_versions(w)
    update(w)
    key_operations(w)
    pages(w)
    delete_recover_purge(w)
    backup_and_restore(w)
    random_bytes(w)
    other_origins(w)
    versions_of_the_api(w)
    credentials(w)
    without_get(w)


def create_and_read(w):
    made = w.keys.create_rsa_key("py-rsa", size=3072, tags={"team": "backup"})
    p = made.properties
    check_equal((made.name, made.key_type, p.vault_url, p.enabled, p.recovery_level, p.recoverable_days, p.tags),
                ("py-rsa", "RSA", w.vault("demo"), True, "Recoverable+Purgeable", 90, {"team": "backup"}), "create_rsa_key")
    check_equal((len(made.key.n), made.key.e, made.key.d), (384, b"\1\0\1", None), "3072 bits and no private part")
    check_equal(made.key_operations, ["encrypt", "decrypt", "sign", "verify", "wrapKey", "unwrapKey"], "all six")
    check_equal(w.keys.get_key("py-rsa").id, made.id, "get_key")
    check_equal(w.keys.get_key("PY-RSA", p.version).id, made.id, "of a version, by a name in capitals")
    again = w.keys.create_key("Py-Rsa", "RSA")
    check(again.id != made.id and again.name == "py-rsa", "create on a name that exists makes a version, whatever its case")
    start, end = datetime(2020, 1, 1, tzinfo=timezone.utc), datetime(2033, 1, 1, tzinfo=timezone.utc)
    hsm = w.keys.create_rsa_key("py-hsm", hardware_protected=True, key_operations=[KeyOperation.wrap_key, KeyOperation.unwrap_key],
                                not_before=start, expires_on=end)
    check_equal((hsm.key_type, hsm.key_operations, hsm.properties.not_before, hsm.properties.expires_on),
                ("RSA-HSM", ["wrapKey", "unwrapKey"], start, end), "as asked")
    for curve, size in (("P-256", 32), ("P-384", 48), ("P-521", 66)):
        ec = w.keys.create_ec_key("py-ec" + curve[2:], curve=curve)
        check_equal((ec.key_type, ec.key.crv, len(ec.key.x), len(ec.key.y)), ("EC", curve, size, size), curve)
    check_equal(w.safe.create_rsa_key("py-safe").properties.recovery_level, "Recoverable", "the protected vault")
    e = refused(lambda: w.keys.get_key("py-nobody"), 404, "KeyNotFound", None, "an unknown key")
    check(isinstance(e, ResourceNotFoundError), "as the SDK's own kind")
    refused(lambda: w.keys.create_ec_key("py-bad", curve="P-256K"), 400, "BadParameter", None, "a curve that the token lacks")


def wrap_and_encrypt(w):
    key = w.keys.get_key("py-rsa")
    local, remote = w.crypto(key), w.crypto(key.id, w.credential)
    # the private half is asked remotely, the public one is used at once; a client of keys/get alone never asks
    for algorithm in (OAEP, OAEP_256):
        wrapped = local.wrap_key(algorithm, DEK)
        check_equal(remote.unwrap_key(algorithm, wrapped.encrypted_key).key, DEK, f"unwrap_key {algorithm} of a local wrap")
    for algorithm in (EncryptionAlgorithm.rsa_oaep, EncryptionAlgorithm.rsa_oaep_256):
        sealed = local.encrypt(algorithm, b"a small secret")
        check_equal(local.decrypt(algorithm, sealed.ciphertext).plaintext, b"a small secret", f"decrypt {algorithm}")
    newest = w.crypto(key.id.rsplit("/", 1)[0])
    check_equal(newest.unwrap_key(OAEP_256, newest.wrap_key(OAEP_256, DEK).encrypted_key).key, DEK, "an id without version")
    refused(lambda: remote.unwrap_key(OAEP_256, bytes(256)), 400, "BadParameter", None, "garbage")


def sign_and_verify(w):
    for name, algorithms in (("py-rsa", ("rs256", "rs384", "rs512", "ps256", "ps384", "ps512")), ("py-ec256", ("es256",)),
                             ("py-ec384", ("es384",)), ("py-ec521", ("es512",))):
        key = w.keys.get_key(name)
        client = w.crypto(key)
        for word in algorithms:
            algorithm = getattr(SignatureAlgorithm, word)
            digest = hashlib.new("sha" + word[2:], b"signed").digest()
            signature = client.sign(algorithm, digest).signature
            check(w.crypto(key.id).verify(algorithm, digest, signature).is_valid, f"{word} verifies")
            check(not client.verify(algorithm, digest, signature[:-1] + bytes([signature[-1] ^ 1])).is_valid, f"{word} with a flipped bit does not")


def rotate_and_versions(w):
    before = w.keys.get_key("py-rsa")
    old = w.crypto(before)
    wrapped = old.wrap_key(OAEP_256, DEK).encrypted_key
    rotated = w.keys.rotate_key("py-rsa")
    check(rotated.properties.version != before.properties.version and len(rotated.key.n) == len(before.key.n), "rotate_key")
    check_equal(old.unwrap_key(OAEP_256, wrapped).key, DEK, "the old version still unwraps")
    refused(lambda: w.crypto(rotated).unwrap_key(OAEP_256, wrapped), 400, "BadParameter", None, "the new one does not")
    listed = list(w.keys.list_properties_of_key_versions("py-rsa"))
    check_equal((len(listed), {p.name for p in listed}), (3, {"py-rsa"}), "all versions")
    check_equal(list(w.keys.list_properties_of_key_versions("py-nobody")), [], "versions of a missing key: none")


def update(w):
    made = w.keys.create_rsa_key("py-update")
    version = made.properties.version
    wrapped = w.crypto(made).wrap_key(OAEP_256, DEK).encrypted_key
    aware, unaware = w.crypto(made), w.crypto(made.id)
    unaware.unwrap_key(OAEP_256, wrapped)
    later = datetime(2033, 1, 2, 3, 4, 5, tzinfo=timezone.utc)
    changed = w.keys.update_key_properties("py-update", version, expires_on=later, tags={"a": "b"})
    check_equal((changed.properties.expires_on, changed.properties.tags, changed.properties.enabled), (later, {"a": "b"}, True), "update_key_properties")
    check_equal(w.keys.update_key_properties("py-update", not_before=datetime(2020, 1, 1, tzinfo=timezone.utc)).properties.tags, {"a": "b"}, "the rest stays")
    w.keys.update_key_properties("py-update", enabled=False)
    refused(lambda: unaware.unwrap_key(OAEP_256, wrapped), 403, "Forbidden", "KeyDisabled", "a disabled key")
    check_equal(w.keys.get_key("py-update").properties.enabled, False, "which can be read")
    w.keys.update_key_properties("py-update", enabled=True, expires_on=datetime.now(timezone.utc) - timedelta(seconds=5))
    check_equal(unaware.unwrap_key(OAEP_256, wrapped).key, DEK, "an expired key still unwraps")
    refused(lambda: aware.sign(SignatureAlgorithm.rs256, DEK), 403, "Forbidden", "KeyExpired", "but does not sign")
    w.keys.update_key_properties("py-update", expires_on=later, not_before=datetime(2033, 1, 1, tzinfo=timezone.utc))
    refused(lambda: aware.sign(SignatureAlgorithm.rs256, DEK), 403, "Forbidden", "KeyNotYetValid", "nor before its time")


def key_operations(w):
    made = w.keys.create_rsa_key("py-ops", key_operations=["wrapKey", "unwrapKey"])
    unaware = w.crypto(made)  # keeps the operations that it has seen
    wrapped = unaware.wrap_key(OAEP_256, DEK).encrypted_key
    check_equal(unaware.unwrap_key(OAEP_256, wrapped).key, DEK, "an operation that the key allows")
    check_equal(w.keys.update_key_properties("py-ops", key_operations=["sign", "verify"]).key_operations, ["sign", "verify"], "changed")
    refused(lambda: unaware.unwrap_key(OAEP_256, wrapped), 403, "Forbidden", "KeyOperationForbidden", "one that it allows no longer")


def pages(w):
    for n in range(6):
        w.keys.create_ec_key(f"py-page-{n}", curve="P-256")
    names = [p.name for p in w.keys.list_properties_of_keys()]
    check_equal(names, sorted(names, key=str.upper), "by upper-cased name")
    sizes, seen = [], []
    for page in w.keys.list_properties_of_keys(max_page_size=3).by_page():
        got = [p.name for p in page]
        sizes.append(len(got))
        seen += got
    check(seen == names and max(sizes) <= 3 and len(sizes) >= 4, f"pages of {sizes}")


def delete_recover_purge(w):
    made = w.keys.create_rsa_key("py-gone")
    wrapped = w.crypto(made).wrap_key(OAEP_256, DEK).encrypted_key
    poller = w.keys.begin_delete_key("py-gone", _polling_interval=0.05)
    poller.wait()
    deleted = poller.result()
    check_equal(deleted.recovery_id, w.vault("demo") + "/deletedkeys/py-gone", "begin_delete_key: a recovery id")
    check_equal((deleted.scheduled_purge_date - deleted.deleted_date).days, 90, "and dates")
    refused(lambda: w.keys.get_key("py-gone"), 404, "KeyNotFound", None, "a deleted key")
    e = refused(lambda: w.keys.create_rsa_key("py-gone"), 409, "Conflict", "ObjectIsDeletedButRecoverable", "its name")
    check(isinstance(e, ResourceExistsError), "as the SDK's own kind")
    check_equal(w.keys.get_deleted_key("py-gone").id, made.id, "get_deleted_key")
    check("py-gone" in [k.name for k in w.keys.list_deleted_keys(max_page_size=1)], "list_deleted_keys")
    poller = w.keys.begin_recover_deleted_key("py-gone", _polling_interval=0.05)
    poller.wait()
    check_equal(poller.result().id, made.id, "begin_recover_deleted_key")
    check_equal(w.crypto(made).unwrap_key(OAEP_256, wrapped).key, DEK, "a recovered key unwraps")
    w.keys.begin_delete_key("py-gone", _polling_interval=0.05).wait()
    w.keys.purge_deleted_key("py-gone")
    refused(lambda: w.keys.get_deleted_key("py-gone"), 404, "KeyNotFound", None, "a purged key")
    refused(lambda: w.keys.purge_deleted_key("py-gone"), 404, "KeyNotFound", None, "purging it again")
    w.safe.begin_delete_key("py-safe", _polling_interval=0.05).wait()
    refused(lambda: w.safe.purge_deleted_key("py-safe"), 403, "Forbidden", "PurgeProtectionEnabled", "purge under purge protection")
    w.safe.begin_recover_deleted_key("py-safe", _polling_interval=0.05).wait()
    check_equal(w.safe.get_key("py-safe").name, "py-safe", "recovered from the protected vault")


def backup_and_restore(w):
    made = w.keys.create_rsa_key("py-backup")
    wrapped = w.crypto(made).wrap_key(OAEP_256, DEK).encrypted_key
    w.keys.rotate_key("py-backup")
    blob = w.keys.backup_key("py-backup")
    refused(lambda: w.keys.restore_key_backup(blob), 409, "Conflict", None, "restore beside the living key")
    elsewhere = w.safe.restore_key_backup(blob)
    check_equal(elsewhere.properties.vault_url, w.vault("safe"), "restored into the other vault")
    there = w.crypto(w.safe.get_key("py-backup", made.properties.version))
    check_equal(there.unwrap_key(OAEP_256, wrapped).key, DEK, "where the old version unwraps, under its id")
    e = refused(lambda: w.keys.restore_key_backup(bytes(4728)), 400, "Malformed backup blob", None, "a damaged blob")
    check("Backup blob contains invalid or corrupt version." in e.message, "in the words that upstream's own tests compare")


def random_bytes(w):
    check_equal([len(w.keys.get_random_bytes(n)) for n in (1, 32, 128)], [1, 32, 128], "get_random_bytes")
    refused(lambda: w.keys.get_random_bytes(129), 400, "BadParameter", None, "more than it gives")


def other_origins(w):
    """By addresses and names without a parent, for which the SDK's check of the challenge must be off."""
    n = w.keys.get_key("py-rsa").key.n
    for url, vault, found in ((f"https://localhost:{w.site.port}", "demo", True), (f"https://127.0.0.1:{w.site.port}", "safe", False)):
        client = w.client(url, verify_challenge_resource=False)
        names = [p.name for p in client.list_properties_of_keys()]
        check_equal(("py-rsa" in names, "py-backup" in names), (found, True), f"{url} is vault {vault}")
        made = client.create_ec_key("py-by-address")
        check(made.id.startswith(url + "/keys/py-by-address/"), f"ids begin with the origin that was used: {made.id}")
        crypto = w.crypto(made, verify_challenge_resource=False)
        check(crypto.verify(SignatureAlgorithm.es256, DEK, crypto.sign(SignatureAlgorithm.es256, DEK).signature).is_valid, "and lead back")
    check_equal(w.client(f"https://localhost:{w.site.port}", verify_challenge_resource=False).get_key("py-rsa").key.n, n, "one vault, two names")


def versions_of_the_api(w):
    for version in ("2016-10-01", "7.0", "7.1", "7.2", "7.3"):
        client = w.client(w.vault("demo"), api_version=version)
        check_equal(client.get_key("py-rsa").name, "py-rsa", version)
        check(client.create_ec_key("py-old-version", curve="P-256").key.crv == "P-256", f"create by {version}")
        list(client.list_properties_of_keys())


def credentials(w):
    try:
        w.client(w.vault("demo"), w.service_principal(secret="wrong")).get_key("py-rsa")
        raise kluis.Failed("a wrong secret was taken")
    except ClientAuthenticationError as e:
        check("AADSTS7000215" in e.message, f"the identity service's words: {e.message}")
    with open(w.site.env["KLUIS_CLIENT_SECRET_FILE"], encoding="utf-8") as f:
        os.environ["IDENTITY_HEADER"] = f"{w.site.env['KLUIS_CLIENT_ID']}:{f.read().strip()}"
    os.environ["IDENTITY_ENDPOINT"] = f"{w.site.env['KLUIS_URL']}/metadata/identity/oauth2/token"
    managed = w.client(w.vault("demo"), ManagedIdentityCredential(connection_verify=w.ca))
    check_equal(managed.get_key("py-rsa").name, "py-rsa", "ManagedIdentityCredential")


def without_get(w):
    """Who may not read the key: the SDK then asks for everything remotely."""
    api = kluis.Api(w.site)
    who = api.must("POST", "/kluis/v1/principals", {"name": "py-wrapper", "roles": []})
    api.must("PUT", f"/kluis/v1/vaults/demo/policies/{who['objectId']}", {"permissions": {"keys": ["wrapKey", "unwrapKey"]}})
    credential = w.service_principal(who["clientId"], who["clientSecret"])
    refused(lambda: w.client(w.vault("demo"), credential).get_key("py-rsa"), 403, "Forbidden", "ForbiddenByPolicy", "get")
    client = w.crypto(w.vault("demo") + "/keys/py-rsa", credential)
    for algorithm in (OAEP, OAEP_256):
        check_equal(client.unwrap_key(algorithm, client.wrap_key(algorithm, DEK).encrypted_key).key, DEK, f"{algorithm}, both halves remote")
    refused(lambda: client.sign(SignatureAlgorithm.rs256, DEK), 403, "Forbidden", "ForbiddenByPolicy", "sign")


logging.disable(logging.WARNING)  # the SDK warns about members that old versions of the API lack
if __name__ == "__main__":
    kluis.main(globals())
