#!/usr/bin/env python3
"""Debian's Azure SDK for Python, unmodified: azure-keyvault-secrets 4.7 and azure-keyvault-certificates 4.7 with their pollers and pages."""
import base64
import os
import sys
from datetime import datetime, timezone

from azure.core.exceptions import HttpResponseError, ResourceNotFoundError
from azure.keyvault.certificates import CertificateClient, CertificatePolicy
from azure.keyvault.secrets import SecretClient
from cryptography import x509
from cryptography.hazmat.primitives.serialization import pkcs12

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from azure_python import World, kluis
from kluis import check, check_equal


def refused(call, status, words):
    try:
        call()
    except HttpResponseError as e:
        check_equal(e.status_code, status, f"{words}: {e.message}")
        return
    raise kluis.Failed(f"{words}: was not refused")


def client(w, kind, vault="demo"):
    return kind(w.vault(vault), w.credential, connection_verify=w.ca, retry_total=0)


def test_secrets(site):
    w = World(site)
    secrets, safe = client(w, SecretClient), client(w, SecretClient, "safe")
    made = secrets.set_secret("py", "één", content_type="text/plain", tags={"a": "b"}, expires_on=datetime(2035, 1, 1, tzinfo=timezone.utc))
    p = made.properties
    check_equal((made.value, p.content_type, p.tags, p.expires_on.year, p.enabled, p.recovery_level, p.vault_url),
                ("één", "text/plain", {"a": "b"}, 2035, True, "Recoverable+Purgeable", w.vault("demo")), "set_secret")
    newest = secrets.set_secret("py", "two")
    check_equal((secrets.get_secret("py").value, secrets.get_secret("py", p.version).value), ("two", "één"), "get_secret, and an older version")
    check_equal({v.version for v in secrets.list_properties_of_secret_versions("py")}, {p.version, newest.properties.version}, "versions")
    check_equal(secrets.update_secret_properties("py", enabled=False).enabled, False, "update_secret_properties")
    refused(lambda: secrets.get_secret("py"), 403, "a disabled secret")
    secrets.update_secret_properties("py", enabled=True, content_type="x")
    for i in range(7):
        secrets.set_secret(f"page-{i}", str(i))
    pages = [list(page) for page in secrets.list_properties_of_secrets(max_page_size=3).by_page()]
    check_equal(([s.name for page in pages for s in page], max(map(len, pages))), ([*(f"page-{i}" for i in range(7)), "py"], 3), "pages")
    blob = secrets.backup_secret("py")
    refused(lambda: secrets.restore_secret_backup(blob), 409, "restore over a live secret")
    deleted = secrets.begin_delete_secret("py").result()
    check(deleted.recovery_id.endswith("/deletedsecrets/py") and deleted.scheduled_purge_date > deleted.deleted_date, "begin_delete_secret")
    check_equal([s.name for s in secrets.list_deleted_secrets()], ["py"], "list_deleted_secrets")
    secrets.begin_recover_deleted_secret("py").wait()
    check_equal(secrets.get_secret("py").value, "two", "begin_recover_deleted_secret")
    secrets.begin_delete_secret("py").wait()
    secrets.purge_deleted_secret("py")
    try:
        secrets.get_deleted_secret("py")
        raise kluis.Failed("a purged secret is still there")
    except ResourceNotFoundError as e:
        check_equal(e.status_code, 404, "purge_deleted_secret")
    check_equal((secrets.restore_secret_backup(blob).version, secrets.get_secret("py", p.version).value), (newest.properties.version, "één"), "restore")
    safe.set_secret("kept", "x")
    safe.begin_delete_secret("kept").wait()
    refused(lambda: safe.purge_deleted_secret("kept"), 403, "purge protection")


def test_certificates(site):
    w = World(site)
    certificates, secrets = client(w, CertificateClient), client(w, SecretClient)
    made = certificates.begin_create_certificate("py-cert", CertificatePolicy.get_default()).result()
    check_equal((made.name, made.policy.issuer_name, made.properties.enabled), ("py-cert", "Self", True), "begin_create_certificate")
    parsed = x509.load_der_x509_certificate(bytes(made.cer))
    check_equal(parsed.subject.rfc4514_string(), "CN=DefaultPolicy", "the subject of the default policy")
    check(made.key_id.startswith(w.vault("demo") + "/keys/py-cert/") and made.secret_id.startswith(w.vault("demo") + "/secrets/py-cert/"),
          "its key and its secret")
    value = secrets.get_secret("py-cert").value
    key, _, others = pkcs12.load_key_and_certificates(base64.b64decode(value), b"")
    check_equal((key, others), (None, [parsed]), "the secret behind it is the certificate; the private key was made on the token and stays there")
    check_equal([c.name for c in certificates.list_properties_of_certificates()], ["py-cert"], "list")
    check_equal(certificates.update_certificate_properties("py-cert", tags={"a": "b"}).properties.tags, {"a": "b"}, "update")
    pending = certificates.begin_create_certificate("py-csr", CertificatePolicy(issuer_name="Unknown", subject="CN=py-csr"))
    check_equal(x509.load_der_x509_csr(bytes(certificates.get_certificate_operation("py-csr").csr)).subject.rfc4514_string(), "CN=py-csr",
                f"a request for a CA of one's own ({pending.status()})")
    certificates.delete_certificate_operation("py-csr")
    blob = certificates.backup_certificate("py-cert")
    certificates.begin_delete_certificate("py-cert").wait()
    certificates.begin_recover_deleted_certificate("py-cert").wait()
    certificates.begin_delete_certificate("py-cert").wait()
    certificates.purge_deleted_certificate("py-cert")
    check_equal(bytes(certificates.restore_certificate_backup(blob).cer), bytes(made.cer), "delete, recover, purge, restore")
    refused(lambda: certificates.get_certificate("none"), 404, "no such certificate")


if __name__ == "__main__":
    kluis.main(globals())
