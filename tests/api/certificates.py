#!/usr/bin/env python3
"""Certificates over raw HTTP: self-signed, request and merge, import of PKCS#12 and PEM, policies, the key and secret behind them, issuers,
contacts, the table of states, backup and restore, and what is on disk."""
import base64
import hashlib
import os
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
import kluis
from kluis import check, check_equal

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import pkcs12
from cryptography.x509.oid import ExtensionOID, NameOID

class Api(kluis.Api):
    """Every call names the version of the API."""

    def call(self, method, path, *args, **more):
        if "api-version=" not in path:
            path += ("&" if "?" in path else "?") + kluis.API
        return super().call(method, path, *args, **more)


MISSING = (404, "CertificateNotFound", None, "was not found in this key vault")
NOT_DELETED = (404, "CertificateNotFound", None, "Deleted Certificate not found: s")
HELD = (409, "Conflict", "ObjectIsDeletedButRecoverable", "in a deleted but recoverable state")
SELF = {"issuer": {"name": "Self"}, "x509_props": {"subject": "CN=s"}, "key_props": {"kty": "EC", "crv": "P-256"}}


def refused(api, method, path, body, wanted, words):
    status, _, answer = api.call(method, path, body)
    error = (answer or {}).get("error", {})
    check_equal((status, error.get("code"), error.get("innererror", {}).get("code")), wanted[:3], f"{words}: {answer}")
    check(wanted[3] in error["message"], f"{words} says: {error['message']}")


def version_of(bundle):
    return bundle["id"].rsplit("/", 1)[1]


def all_pages(api, path):
    items, pages = [], 0
    while path:
        page = api.must("GET", path)
        items += page["value"]
        pages += 1
        path = page["nextLink"] and page["nextLink"].split(f"https://{api.host}", 1)[1]
    return items, pages


def create(api, name, policy=None, **more):
    return api.must("POST", f"/certificates/{name}/create", {"policy": policy or SELF, **more}, wanted=202)


def get(api, name, version=""):
    return api.must("GET", f"/certificates/{name}/{version}")


def parsed(bundle):
    return x509.load_der_x509_certificate(base64.b64decode(bundle["cer"], validate=True))


def thumbprint(der, hash_name):
    return base64.urlsafe_b64encode(hashlib.new(hash_name, der).digest()).rstrip(b"=").decode()


def verify(public, cert):
    if isinstance(public, rsa.RSAPublicKey):
        public.verify(cert.signature, cert.tbs_certificate_bytes, padding.PKCS1v15(), cert.signature_hash_algorithm)
    else:
        public.verify(cert.signature, cert.tbs_certificate_bytes, ec.ECDSA(cert.signature_hash_algorithm))


def test_self_signed(site):
    api = Api(site)
    policy = {"issuer": {"name": "Self"}, "key_props": {"kty": "RSA", "key_size": 2048, "exportable": False},
              "x509_props": {"subject": "CN=www.example.org, O=\"Acme, Inc.\", C=NL", "validity_months": 24, "key_usage": ["digitalSignature", "keyEncipherment"],
                             "ekus": ["1.3.6.1.5.5.7.3.1"],
                             "sans": {"dns_names": ["www.example.org", "example.org"], "emails": ["a@example.org"], "upns": ["u@example.org"],
                                      "uris": ["https://example.org/x"], "ipAddresses": ["192.0.2.1", "2001:db8::1"]}}}
    status, headers, op = api.call("POST", "/certificates/My-Cert/create", {"policy": policy, "tags": {"a": "b"}})
    check_equal((status, op["status"], op["issuer"]["name"], op["cancellation_requested"]), (202, "inProgress", "Self", False), "an operation comes back")
    check_equal(headers["Location"].split("?")[0], f"https://{api.host}/certificates/My-Cert/pending", "Location")
    check("request_id=" + op["request_id"] in headers["Location"], "with the request's id")
    csr = x509.load_der_x509_csr(base64.b64decode(op["csr"], validate=True))
    check(csr.is_signature_valid, "the request is signed by its key")
    done = api.must("GET", "/certificates/My-Cert/pending")
    check_equal((done["status"], done["target"]), ("completed", f"https://{api.host}/certificates/My-Cert"), "the operation has ended")
    bundle = get(api, "My-Cert")
    cert = parsed(bundle)
    der = cert.public_bytes(serialization.Encoding.DER)
    check_equal((bundle["x5t"], bundle["x5t#S256"]), (thumbprint(der, "sha1"), thumbprint(der, "sha256")), "thumbprints")
    version = version_of(bundle)
    check_equal((bundle["kid"], bundle["sid"]), (f"https://{api.host}/keys/My-Cert/{version}", f"https://{api.host}/secrets/My-Cert/{version}"), "key and secret")
    check_equal(bundle["tags"], {"a": "b"}, "tags")
    verify(cert.public_key(), cert)
    check_equal(cert.subject, cert.issuer, "self-signed")
    check_equal(cert.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)[0].value, "Acme, Inc.", "quotes in a subject")
    san = cert.extensions.get_extension_for_oid(ExtensionOID.SUBJECT_ALTERNATIVE_NAME).value
    check_equal(san.get_values_for_type(x509.DNSName), ["www.example.org", "example.org"], "DNS names")
    check_equal([str(i) for i in san.get_values_for_type(x509.IPAddress)], ["192.0.2.1", "2001:db8::1"], "addresses")
    check_equal(san.get_values_for_type(x509.UniformResourceIdentifier), ["https://example.org/x"], "URIs")
    check_equal(len(san.get_values_for_type(x509.OtherName)), 1, "principal names")
    usage = cert.extensions.get_extension_for_oid(ExtensionOID.KEY_USAGE).value
    check_equal((usage.digital_signature, usage.key_encipherment, usage.key_cert_sign), (True, True, False), "key usage")
    check_equal([o.dotted_string for o in cert.extensions.get_extension_for_oid(ExtensionOID.EXTENDED_KEY_USAGE).value], ["1.3.6.1.5.5.7.3.1"], "extended key usage")
    check_equal(cert.extensions.get_extension_for_oid(ExtensionOID.BASIC_CONSTRAINTS).value.ca, False, "no CA")
    months = (cert.not_valid_after.year - cert.not_valid_before.year) * 12 + cert.not_valid_after.month - cert.not_valid_before.month
    check_equal(months, 24, "validity")
    check_equal((bundle["attributes"]["nbf"], bundle["attributes"]["exp"]),
                (int(cert.not_valid_before.replace(tzinfo=None).timestamp() - time.timezone), int(cert.not_valid_after.timestamp() - time.timezone)), "dates in attributes")
    p = bundle["policy"]
    check_equal((p["id"], p["key_props"], p["secret_props"]["contentType"]),
                (f"https://{api.host}/certificates/My-Cert/policy", {"exportable": False, "kty": "RSA", "key_size": 2048, "reuse_key": False}, "application/x-pkcs12"), "policy")
    check_equal(p["lifetime_actions"], [{"trigger": {"lifetime_percentage": 80}, "action": {"action_type": "AutoRenew"}}], "default lifetime action")
    key = api.must("GET", "/keys/My-Cert")
    check_equal((key["managed"], sorted(key["key"]["key_ops"]), key["attributes"]["exp"]), (True, ["sign", "unwrapKey", "verify", "wrapKey"], bundle["attributes"]["exp"]), "the key behind it")
    check("origin" not in key["kluis"], "made on the token")
    secret = api.must("GET", "/secrets/My-Cert")
    check_equal((secret["managed"], secret["kid"], secret["contentType"]), (True, bundle["kid"], "application/x-pkcs12"), "the secret behind it")
    private, leaf, _ = pkcs12.load_key_and_certificates(base64.b64decode(secret["value"]), b"")
    check(private is None and len(pkcs12.load_pkcs12(base64.b64decode(secret["value"]), b"").additional_certs) + (leaf is not None) == 1, "with the certificate and no private key")
    second = create(api, "my-cert", policy)
    check(second["request_id"] != op["request_id"], "another operation")
    newer = get(api, "MY-CERT")
    check(version_of(newer) != version and newer["id"].split("/")[4] == "My-Cert", "a second version under the first spelling")
    check_equal(get(api, "My-Cert", version)["x5t"], bundle["x5t"], "the older version")
    versions, _ = all_pages(api, "/certificates/my-cert/versions")
    check_equal({i["id"] for i in versions}, {bundle["id"], newer["id"]}, "both are listed")
    items, _ = all_pages(api, "/certificates")
    check_equal([(i["id"], i["x5t"]) for i in items], [(f"https://{api.host}/certificates/My-Cert", newer["x5t"])], "and the newest in the list")
    check("CN=www.example.org" in items[0]["subject"] and "recoveryLevel" not in items[0]["attributes"], "with its subject")


def test_kinds_of_keys(site):
    api = Api(site)
    for name, key in (("rsa3", {"kty": "RSA", "key_size": 3072}), ("p256", {"kty": "EC"}), ("p384", {"kty": "EC", "crv": "P-384"}),
                      ("hsm", {"kty": "EC-HSM", "crv": "P-256"})):
        create(api, name, {**SELF, "key_props": key})
        cert = parsed(get(api, name))
        verify(cert.public_key(), cert)
        check_equal(api.must("GET", f"/keys/{name}")["key"]["kty"], key["kty"], f"{name}: the kind of key")
    bad = {"exportable key of an HSM": {"key_props": {"kty": "RSA-HSM", "exportable": True}}, "size": {"key_props": {"kty": "RSA", "key_size": 1024}},
           "curve": {"key_props": {"kty": "EC", "crv": "P-999"}}, "kind": {"key_props": {"kty": "oct"}}, "subject": {"x509_props": {"subject": "nonsense"}},
           "no subject": {"x509_props": {"subject": ""}}, "months": {"x509_props": {"subject": "CN=s", "validity_months": 0}},
           "content type": {"secret_props": {"contentType": "text/plain"}}, "EKU": {"x509_props": {"subject": "CN=s", "ekus": ["x"]}},
           "usage": {"x509_props": {"subject": "CN=s", "key_usage": ["fly"]}}, "address": {"x509_props": {"subject": "CN=s", "sans": {"ipAddresses": ["1.2.3"]}}},
           "DNS name": {"x509_props": {"subject": "CN=s", "sans": {"dns_names": ["a b"]}}},
           "trigger": {"lifetime_actions": [{"trigger": {"lifetime_percentage": 100}, "action": {"action_type": "AutoRenew"}}]},
           "action": {"lifetime_actions": [{"trigger": {"lifetime_percentage": 10}, "action": {"action_type": "Fly"}}]}}
    for words, part in bad.items():
        refused(api, "POST", "/certificates/bad/create", {"policy": {**SELF, **part}}, (400, "BadParameter", None, ""), f"a bad {words}")
    refused(api, "POST", "/certificates/bad/create", {}, (400, "BadParameter", None, "policy"), "no policy")
    refused(api, "POST", "/certificates/b_d/create", {"policy": SELF}, (400, "BadParameter", None, "name"), "a bad name")
    refused(api, "GET", "/certificates/bad", None, MISSING, "nothing came of it")
    check_equal(api.call("GET", "/keys/bad")[0], 404, "no key either")


def test_exportable(site):
    api = Api(site)
    for kind in ("application/x-pkcs12", "application/x-pem-file"):
        name = "out-" + kind[14:17]
        create(api, name, {**SELF, "key_props": {"kty": "RSA", "key_size": 2048, "exportable": True}, "secret_props": {"contentType": kind}})
        value = api.must("GET", f"/secrets/{name}")["value"]
        if kind.endswith("pem-file"):
            check(value.startswith("-----BEGIN PRIVATE KEY-----"), "the key comes first")
            private, cert = serialization.load_pem_private_key(value.encode(), None), x509.load_pem_x509_certificate(value[value.index("-----BEGIN CERT"):].encode())
        else:
            private, cert, _ = pkcs12.load_key_and_certificates(base64.b64decode(value), b"")
        check_equal(cert, parsed(get(api, name)), f"{name}: its certificate")
        check_equal(private.public_key().public_numbers(), cert.public_key().public_numbers(), f"{name}: its private key")
        key = api.must("GET", f"/keys/{name}")
        check_equal(key["kluis"]["origin"], "software-import", "the key says where it was")
        digest = hashlib.sha256(b"x").digest()
        signature = api.must("POST", f"/keys/{name}/sign", {"alg": "RS256", "value": base64.urlsafe_b64encode(digest).decode()})["value"]
        cert.public_key().verify(base64.urlsafe_b64decode(signature + "=="), b"x", padding.PKCS1v15(), hashes.SHA256())


def test_managed(site):
    """What is behind a certificate changes with it only."""
    api = Api(site)
    create(api, "s")
    forbidden = (403, "Forbidden", None, "managed by the certificate")
    taken = (409, "Conflict", None, "belongs to the certificate")
    for kind in ("keys", "secrets"):
        refused(api, "PATCH", f"/{kind}/s", {"tags": {"x": "y"}}, forbidden, f"update of {kind}")
        refused(api, "DELETE", f"/{kind}/s", None, forbidden, f"delete of {kind}")
        refused(api, "POST", f"/{kind}/s/backup", None, forbidden, f"backup of {kind}")
    refused(api, "POST", "/keys/s/create", {"kty": "EC"}, taken, "a key of that name")
    refused(api, "POST", "/keys/s/rotate", None, taken, "a rotation of the key")
    refused(api, "PUT", "/secrets/s", {"value": "x"}, taken, "a secret of that name")
    api.must("POST", "/keys/k/create", {"kty": "EC"})
    api.must("PUT", "/secrets/v", {"value": "x"})
    for name in ("k", "v"):
        refused(api, "POST", f"/certificates/{name}/create", {"policy": SELF}, (409, "Conflict", None, "already exists"), f"a certificate named {name}")
    listed = {i["kid"].rsplit("/", 1)[1]: i.get("managed") for i in all_pages(api, "/keys")[0]}
    check_equal(listed, {"s": True, "k": None}, "managed keys are listed and marked")
    patched = api.must("PATCH", "/certificates/s", {"attributes": {"enabled": False}, "tags": {"a": "1"}})
    check_equal((patched["attributes"]["enabled"], patched["tags"]), (False, {"a": "1"}), "the certificate is disabled")
    check_equal(api.must("GET", "/keys/s")["attributes"]["enabled"], False, "and its key")
    refused(api, "GET", "/secrets/s", None, (403, "Forbidden", "SecretDisabled", ""), "and its secret")
    api.must("PATCH", f"/certificates/s/{version_of(patched)}", {"attributes": {"enabled": True}})
    api.must("GET", "/secrets/s")
    api.must("DELETE", "/certificates/s")
    for kind in ("key", "secret"):
        check_equal(api.call("GET", f"/{kind}s/s")[0], 404, f"the {kind} goes with it")
        check_equal(all_pages(api, f"/deleted{kind}s")[0], [], f"and is no deleted {kind}")
        for method, path in (("GET", ""), ("DELETE", ""), ("POST", "/recover")):
            check_equal(api.call(method, f"/deleted{kind}s/s{path}")[0], 404, f"nobody gets at the deleted {kind}: {method}")
    refused(api, "POST", "/keys/s/create", {"kty": "EC"}, HELD, "its key's name is held")
    api.must("POST", "/deletedcertificates/s/recover")
    api.must("GET", "/secrets/s")
    api.must("GET", "/keys/s")
    api.must("DELETE", "/certificates/s")
    api.must("DELETE", "/deletedcertificates/s", wanted=204)
    api.must("POST", "/keys/s/create", {"kty": "EC"})
    api.must("PUT", "/secrets/s", {"value": "free"})


def authority():
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "an authority")])
    return key, name


def issue(ca, name, csr):
    import datetime
    now = datetime.datetime.utcnow().replace(microsecond=0)
    return (x509.CertificateBuilder().subject_name(csr.subject).issuer_name(name).public_key(csr.public_key()).serial_number(x509.random_serial_number())
            .not_valid_before(now).not_valid_after(now + datetime.timedelta(days=30)).sign(ca, hashes.SHA256()))


def std64(cert):
    return base64.b64encode(cert.public_bytes(serialization.Encoding.DER)).decode()


def test_merge(site):
    api = Api(site)
    policy = {"issuer": {"name": "Unknown"}, "x509_props": {"subject": "CN=merged"}, "key_props": {"kty": "RSA", "key_size": 2048, "exportable": True}}
    op = create(api, "m", policy)
    check_equal(op["status"], "inProgress", "it waits")
    check_equal(api.must("GET", "/certificates/m/pending")["csr"], op["csr"], "with the same request")
    check_equal(all_pages(api, "/certificates")[0], [], "no certificate is listed yet")
    check_equal(len(all_pages(api, "/certificates?includePending=true")[0]), 1, "but with includePending")
    refused(api, "POST", "/certificates/m/create", {"policy": policy}, (409, "Conflict", None, "pending"), "another operation meanwhile")
    ca, name = authority()
    csr = x509.load_der_x509_csr(base64.b64decode(op["csr"]))
    check_equal(csr.subject.rfc4514_string(), "CN=merged", "the request's subject")
    stranger = issue(ca, name, create_csr())
    refused(api, "POST", "/certificates/m/pending/merge", {"x5c": [std64(stranger)]}, (400, "BadParameter", None, "does not match"), "somebody else's certificate")
    refused(api, "POST", "/certificates/m/pending/merge", {"x5c": ["AAAA"]}, (400, "BadParameter", None, "x5c"), "no certificate")
    cert = issue(ca, name, csr)
    merged = api.must("POST", "/certificates/m/pending/merge", {"x5c": [std64(cert), std64(stranger)], "tags": {"t": "1"}}, wanted=201)
    check_equal((parsed(merged), merged["tags"]), (cert, {"t": "1"}), "merged")
    private, leaf, chain = pkcs12.load_key_and_certificates(base64.b64decode(api.must("GET", "/secrets/m")["value"]), b"")
    check_equal((leaf, chain), (cert, [stranger]), "the secret has the chain")
    check_equal(private.public_key().public_numbers(), cert.public_key().public_numbers(), "and the key")
    refused(api, "POST", "/certificates/m/pending/merge", {"x5c": [std64(cert)]}, (404, "PendingCertificateNotFound", None, "m"), "a second merge")
    create(api, "c", policy)
    check_equal(api.must("PATCH", "/certificates/c/pending", {"cancellation_requested": True})["status"], "cancelled", "cancelled")
    check_equal(api.must("GET", "/certificates/c/pending")["cancellation_requested"], True, "and it stays so")
    refused(api, "POST", "/certificates/c/pending/merge", {"x5c": [std64(cert)]}, (404, "PendingCertificateNotFound", None, "c"), "a merge after that")
    api.must("DELETE", "/certificates/c/pending")
    refused(api, "GET", "/certificates/c/pending", None, (404, "PendingCertificateNotFound", None, "c"), "forgotten")
    refused(api, "GET", "/certificates/none/pending", None, MISSING, "of no certificate")
    api.must("DELETE", "/certificates/c")
    api.must("DELETE", "/deletedcertificates/c", wanted=204)


def create_csr():
    key = ec.generate_private_key(ec.SECP256R1())
    return x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, hashes.SHA256())


def outside(name="imported", key=None):
    key = key or rsa.generate_private_key(65537, 2048)
    ca, authority_name = authority()
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    return key, issue(ca, authority_name, x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256()))


def pem(key, *certs):
    text = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return (text + b"".join(c.public_bytes(serialization.Encoding.PEM) for c in certs)).decode()


def test_import(site):
    api = Api(site)
    key, cert = outside()
    pfx = pkcs12.serialize_key_and_certificates(b"n", key, cert, None, serialization.BestAvailableEncryption(b"a password"))
    path = "/certificates/i/import"
    value = base64.b64encode(pfx).decode()
    refused(api, "POST", path, {"value": value, "pwd": "wrong"}, (400, "BadParameter", None, "password"), "a wrong password")
    refused(api, "POST", path, {"value": value}, (400, "BadParameter", None, "password"), "no password")
    for words, bad in (("nothing", ""), ("no base64", "@@"), ("zeros", base64.b64encode(bytes(400)).decode()), ("no key", cert.public_bytes(serialization.Encoding.PEM).decode()),
                       ("a foreign key", pem(rsa.generate_private_key(65537, 2048), cert))):
        refused(api, "POST", path, {"value": bad}, (400, "BadParameter", None, ""), words)
    check_equal(api.call("GET", "/keys/i")[0], 404, "nothing came of it")
    bundle = api.must("POST", path, {"value": value, "pwd": "a password", "tags": {"x": "y"}})
    check_equal((parsed(bundle), bundle["tags"], bundle["policy"]["issuer"]["name"]), (cert, {"x": "y"}, "Unknown"), "imported")
    check_equal(bundle["policy"]["key_props"], {"exportable": True, "kty": "RSA", "key_size": 2048, "reuse_key": False}, "the policy says what it is")
    got, leaf, _ = pkcs12.load_key_and_certificates(base64.b64decode(api.must("GET", "/secrets/i")["value"]), b"")
    check_equal((got.private_numbers(), leaf), (key.private_numbers(), cert), "without a password in the secret")
    api.must("POST", path, {"value": value, "pwd": "a password"})
    check_equal(len(all_pages(api, "/certificates/i/versions")[0]), 2, "once more is a second version")
    ec_key, ec_cert = outside("ec", ec.generate_private_key(ec.SECP256R1()))
    text = pem(ec_key, ec_cert, cert)
    for name, sent in (("p1", text), ("p2", base64.b64encode(text.encode()).decode())):
        made = api.must("POST", f"/certificates/{name}/import", {"value": sent, "policy": {"secret_props": {"contentType": "application/x-pem-file"}}})
        check_equal(parsed(made), ec_cert, f"{name}: PEM")
        check(api.must("GET", f"/secrets/{name}")["value"].count("BEGIN CERTIFICATE") == 2, "with its chain")
    kept = api.must("POST", "/certificates/kept/import", {"value": text, "policy": {"key_props": {"exportable": False}}})
    check_equal(kept["policy"]["key_props"]["exportable"], False, "not exportable, if asked so")
    check("PRIVATE KEY" not in api.must("GET", "/secrets/kept")["value"], "then the secret has no private key")
    for c in (bundle, kept):
        check_equal(api.must("GET", c["kid"].split(api.host, 1)[1])["kluis"]["origin"], "software-import", "the key is on the token")


def test_policy(site):
    api = Api(site)
    create(api, "s")
    changed = api.must("PATCH", "/certificates/s/policy", {"x509_props": {"subject": "CN=other"}, "lifetime_actions": [{"trigger": {"days_before_expiry": 10}, "action": {"action_type": "emailcontacts"}}]})
    check_equal((changed["x509_props"]["subject"], changed["key_props"]["crv"], changed["lifetime_actions"][0]["action"]["action_type"]), ("CN=other", "P-256", "EmailContacts"), "what is not named stays")
    check_equal(api.must("GET", "/certificates/s/policy"), changed, "it is kept")
    check(parsed(get(api, "s")).subject.rfc4514_string() == "CN=s", "what is there is not changed")
    refused(api, "PATCH", "/certificates/s/policy", {"key_props": {"kty": "nonsense"}}, (400, "BadParameter", None, "kty"), "a bad policy")
    refused(api, "GET", "/certificates/none/policy", None, MISSING, "of no certificate")
    create(api, "again", {**SELF, "key_props": {"kty": "EC", "reuse_key": True}})
    first = get(api, "again")
    create(api, "again", {**SELF, "key_props": {"kty": "EC", "reuse_key": True}})
    second = get(api, "again")
    check_equal((second["kid"], second["sid"] == first["sid"]), (first["kid"], False), "reuse_key: the same key under a new certificate")
    check_equal(parsed(second).public_key().public_numbers(), parsed(first).public_key().public_numbers(), "the same public key")


def test_issuers_and_contacts(site):
    api = Api(site)
    body = {"provider": "Test", "credentials": {"account_id": "me", "pwd": "issuer-password"}, "org_details": {"id": "o", "admin_details": [{"email": "a@b", "first_name": "A"}]}}
    made = api.must("PUT", "/certificates/issuers/ca1", body)
    check_equal((made["provider"], made["credentials"], made["org_details"]["admin_details"][0]["email"]), ("Test", {"account_id": "me"}, "a@b"), "an issuer without its password")
    check_equal(made["id"], f"https://{api.host}/certificates/issuers/ca1", "its identifier")
    changed = api.must("PATCH", "/certificates/issuers/ca1", {"provider": "Other"})
    check_equal((changed["provider"], changed["credentials"]), ("Other", {"account_id": "me"}), "changed")
    for i in range(27):
        api.must("PUT", f"/certificates/issuers/many-{i}", {"provider": "Test"})
    items, pages = all_pages(api, "/certificates/issuers")
    check_equal((len(items), pages), (28, 2), "issuers by pages")
    api.must("DELETE", "/certificates/issuers/ca1")
    refused(api, "GET", "/certificates/issuers/ca1", None, (404, "CertificateIssuerNotFound", None, "ca1"), "a deleted issuer")
    refused(api, "PUT", "/certificates/issuers/x", {}, (400, "BadParameter", None, "provider"), "no provider")
    refused(api, "GET", "/certificates/contacts", None, (404, "ContactsNotFound", None, ""), "no contacts")
    contacts = [{"email": "a@b.c", "name": "A", "phone": "1"}, {"email": "b@b.c"}]
    check_equal(api.must("PUT", "/certificates/contacts", {"contacts": contacts}), {"id": f"https://{api.host}/certificates/contacts", "contacts": contacts}, "contacts")
    check_equal(api.must("GET", "/certificates/contacts")["contacts"], contacts, "kept")
    check_equal(api.must("DELETE", "/certificates/contacts")["contacts"], contacts, "deleted")
    refused(api, "DELETE", "/certificates/contacts", None, (404, "ContactsNotFound", None, ""), "twice")
    with open(os.path.join(site.dir, "kluis.db"), "rb") as db:
        check(b"issuer-password" not in db.read(), "a password of an issuer is not in the database")


CALLS = {
    "get": ("GET", "/certificates/s", None), "create": ("POST", "/certificates/s/create", {"policy": SELF}), "update": ("PATCH", "/certificates/s", {"tags": {}}),
    "policy": ("GET", "/certificates/s/policy", None), "backup": ("POST", "/certificates/s/backup", None), "delete": ("DELETE", "/certificates/s", None),
    "get deleted": ("GET", "/deletedcertificates/s", None), "purge": ("DELETE", "/deletedcertificates/s", None), "recover": ("POST", "/deletedcertificates/s/recover", None),
}


def test_states(site):
    api = Api(site)

    def expect(state, table):
        for name, wanted in table.items():
            refused(api, *CALLS[name], wanted, f"{name} while {state}")
    absent = {**dict.fromkeys(("get", "update", "policy", "backup", "delete"), MISSING), **dict.fromkeys(("get deleted", "purge", "recover"), NOT_DELETED)}
    expect("absent", absent)
    create(api, "s")
    expect("active", dict.fromkeys(("get deleted", "purge", "recover"), NOT_DELETED))
    deleted = api.must("DELETE", "/certificates/s")
    check_equal((deleted["recoveryId"], deleted["scheduledPurgeDate"] - deleted["deletedDate"]), (f"https://{api.host}/deletedcertificates/s", 90 * 86400), "recovery")
    expect("deleted", {**dict.fromkeys(("get", "update", "policy", "backup", "delete"), MISSING), "create": HELD})
    check_equal(api.must("GET", "/deletedcertificates/s")["x5t"], deleted["x5t"], "a deleted certificate")
    check_equal([i["recoveryId"] for i in all_pages(api, "/deletedcertificates")[0]], [deleted["recoveryId"]], "is listed")
    check_equal(api.must("POST", "/deletedcertificates/s/recover")["x5t"], deleted["x5t"], "recovered")
    check_equal(api.must("GET", "/certificates/s/policy")["x509_props"]["subject"], "CN=s", "with its policy")
    api.must("DELETE", "/certificates/s")
    api.must("DELETE", "/deletedcertificates/s", wanted=204)
    expect("purged", absent)
    safe = Api(site, vault="safe")
    create(safe, "s")
    safe.must("DELETE", "/certificates/s")
    refused(safe, "DELETE", "/deletedcertificates/s", None, (403, "Forbidden", "PurgeProtectionEnabled", ""), "purge under protection")


def test_backup(site):
    api = Api(site)
    create(api, "s", {**SELF, "key_props": {"kty": "EC", "exportable": True}}, tags={"a": "b"})
    first = get(api, "s")
    create(api, "s", {**SELF, "key_props": {"kty": "EC"}})
    before = {path: api.must("GET", path) for path in ("/certificates/s", f"/certificates/s/{version_of(first)}", "/keys/s", "/secrets/s", f"/secrets/s/{version_of(first)}",
                                                      "/certificates/s/policy")}
    blob = api.must("POST", "/certificates/s/backup")["value"]
    check(b"PRIVATE" not in base64.urlsafe_b64decode(blob + "==") and b"CN=s" not in base64.urlsafe_b64decode(blob + "=="), "all of it is secret")
    refused(api, "POST", "/certificates/restore", {"value": blob}, (409, "Conflict", None, "already exists"), "a restore while it is there")
    api.must("DELETE", "/certificates/s")
    refused(api, "POST", "/certificates/restore", {"value": blob}, HELD, "a restore while it is deleted")
    api.must("DELETE", "/deletedcertificates/s", wanted=204)
    for words, value in (("zeros", base64.urlsafe_b64encode(bytes(8693)).decode()), ("a cut end", blob[:-8]), ("a changed byte", blob[:400] + ("A" if blob[400] != "A" else "B") + blob[401:]),
                         ("a key's", api_key_backup(api))):
        check_equal(api.call("POST", "/certificates/restore", {"value": value})[0], 400, f"{words} is no backup")
    api.must("PUT", "/secrets/s", {"value": "in the way"})
    refused(api, "POST", "/certificates/restore", {"value": blob}, (409, "Conflict", None, "already exists"), "a secret has the name")
    check_equal(api.call("GET", "/keys/s")[0], 404, "nothing came of it")
    api.must("DELETE", "/secrets/s")
    api.must("DELETE", "/deletedsecrets/s", wanted=204)
    back = api.must("POST", "/certificates/restore", {"value": blob})
    check_equal(back["x5t"], before["/certificates/s"]["x5t"], "restored")
    for path, was in before.items():
        now = api.must("GET", path)
        check_equal({k: v for k, v in now.items() if k not in ("attributes", "kluis", "pending")}, {k: v for k, v in was.items() if k not in ("attributes", "kluis", "pending")}, f"{path} is as it was")
    digest = base64.urlsafe_b64encode(hashlib.sha256(b"x").digest()).decode()
    api.must("POST", "/keys/s/sign", {"alg": "ES256", "value": digest})


def api_key_backup(api):
    api.must("POST", "/keys/other/create", {"kty": "EC"})
    return api.must("POST", "/keys/other/backup")["value"]


if __name__ == "__main__":
    kluis.main(globals())
