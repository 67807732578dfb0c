#!/usr/bin/env python3
"""kluis certificate, as az spells it: created, requested and merged with openssl's authority, imported, downloaded, changed, deleted,
recovered, purged, backed up and restored."""
import base64
import json
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
import kluis
from kluis import check, check_equal


def openssl(folder, *args):
    return subprocess.run(["openssl", *args], cwd=folder, check=True, capture_output=True, text=True).stdout


def certificate(site, verb, *args, name="www", **more):
    return site.json("certificate", *verb.split(), "--vault-name", "demo", *(("--name", name) if name else ()), *args, **more)


def test_life(site):
    op = certificate(site, "create", "--subject", "CN=www.example.org", "--tags", "a=b")
    check_equal(op["status"], "completed", "signed by itself: there at once")
    shown = certificate(site, "show")
    check_equal((shown["policy"]["x509_props"]["subject"], shown["tags"], shown["policy"]["key_props"]["exportable"]), ("CN=www.example.org", {"a": "b"}, False), "shown")
    pem, der = os.path.join(site.dir, "www.pem"), os.path.join(site.dir, "www.der")
    site.run("certificate", "download", "--vault-name", "demo", "--name", "www", "--file", pem)
    site.run("certificate", "download", "--vault-name", "demo", "--name", "www", "--file", der, "--encoding", "DER")
    check(pem and "www.example.org" in openssl(site.dir, "x509", "-in", pem, "-noout", "-subject"), "downloaded as PEM")
    with open(der, "rb") as f:
        check_equal(base64.b64encode(f.read()).decode(), shown["cer"], "and as DER")
    check_equal(certificate(site, "set-attributes", "--enabled", "false")["attributes"]["enabled"], False, "disabled")
    check_equal(certificate(site, "set-attributes", "--enabled", "true")["attributes"]["enabled"], True, "enabled")
    blob = os.path.join(site.dir, "www.blob")
    site.run("certificate", "backup", "--vault-name", "demo", "--name", "www", "--file", blob)
    check(certificate(site, "delete", "--yes")["recoveryId"].endswith("/deletedcertificates/www"), "deleted")
    check_equal([c["recoveryId"].rsplit("/", 1)[1] for c in certificate(site, "list-deleted", name=None)], ["www"], "listed as deleted")
    certificate(site, "show-deleted")
    check_equal(certificate(site, "recover")["x5t"], shown["x5t"], "recovered")
    certificate(site, "delete", "--yes")
    site.run("certificate", "purge", "--vault-name", "demo", "--name", "www", "--yes")
    check_equal(certificate(site, "restore", "--file", blob, name=None)["x5t"], shown["x5t"], "restored")
    check_equal(len(certificate(site, "list-versions")), 1, "with its version")
    refused = site.run("certificate", "show", "--vault-name", "demo", "--name", "none", check=False)
    check_equal(refused.returncode, 3, "one that is not there")


def test_request_and_merge(site):
    policy = json.loads(site.run("certificate", "get-default-policy").stdout)
    policy["issuer"]["name"] = "Unknown"
    file, csr, signed = (os.path.join(site.dir, n) for n in ("policy.json", "m.csr", "m.pem"))
    with open(file, "w", encoding="utf-8") as f:
        json.dump(policy, f)
    op = certificate(site, "create", "--policy", "@" + file, name="m")
    check_equal(op["status"], "inProgress", "it waits")
    with open(csr, "wb") as f:
        f.write(base64.b64decode(op["csr"]))
    check_equal([len(certificate(site, "list", *more, name=None)) for more in ((), ("--include-pending",))], [0, 1], "listed only if asked for")
    openssl(site.dir, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "a.key", "-out", "a.pem", "-subj", "/CN=an authority", "-days", "30")
    openssl(site.dir, "x509", "-req", "-inform", "DER", "-in", csr, "-CA", "a.pem", "-CAkey", "a.key", "-days", "9", "-out", signed)
    with open(signed, "a", encoding="utf-8") as f, open(os.path.join(site.dir, "a.pem"), encoding="utf-8") as a:
        f.write(a.read())
    certificate(site, "pending merge", "--file", signed, name="m")
    site.run("certificate", "download", "--vault-name", "demo", "--name", "m", "--file", os.path.join(site.dir, "out.pem"))
    openssl(site.dir, "verify", "-CAfile", "a.pem", "out.pem")
    check_equal(certificate(site, "pending show", name="m")["status"], "completed", "the operation has ended")
    certificate(site, "pending delete", name="m")
    check_equal(site.run("certificate", "pending", "show", "--vault-name", "demo", "--name", "m", check=False).returncode, 3, "and is forgotten")


def test_import(site):
    openssl(site.dir, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "i.key", "-out", "i.pem", "-subj", "/CN=imported", "-days", "30")
    openssl(site.dir, "pkcs12", "-export", "-in", "i.pem", "-inkey", "i.key", "-out", "i.pfx", "-passout", "pass:of the bundle")
    pfx, word = os.path.join(site.dir, "i.pfx"), os.path.join(site.dir, "word")
    with open(word, "w", encoding="utf-8") as f:
        f.write("of the bundle\n")
    os.chmod(word, 0o600)
    check_equal(certificate(site, "import", "--file", pfx, "--password-file", word, name="i")["policy"]["x509_props"]["subject"], "CN=imported", "imported")
    for more, words in ((("--password", "x"), "every user of this host"), ((), "password is wrong")):
        refused = site.run("certificate", "import", "--vault-name", "demo", "--name", "j", "--file", pfx, *more, check=False)
        check(refused.returncode != 0 and words in refused.stderr, f"refused: {refused.stderr}")


if __name__ == "__main__":
    kluis.main(globals())
