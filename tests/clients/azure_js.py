#!/usr/bin/env python3
"""Runs the azure_….mjs: installs the pinned packages into WORK (once for each lock file) and gives each script a site."""
import filecmp
import json
import os
import shutil
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "../lib"))
import kluis
from kluis import check_equal


def install(work):
    """npm ci, unless WORK has what the lock file asks for."""
    os.makedirs(work, exist_ok=True)
    done = os.path.join(work, "installed-lock.json")
    lock = os.path.join(HERE, "package-lock.json")
    if not (os.path.exists(done) and filecmp.cmp(lock, done, shallow=False)):
        for name in ("package.json", "package-lock.json"):
            shutil.copy(os.path.join(HERE, name), work)
        subprocess.run(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"], cwd=work, check=True)
        shutil.copy(lock, done)
    for name in os.listdir(HERE):
        if name.endswith(".mjs"):
            shutil.copy(os.path.join(HERE, name), work)


def node():
    """Debian 12's own node is 18, which has the SDK's `crypto` only by a switch; the SDK asks for 20."""
    version = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True).stdout
    old = int(version.lstrip("v").split(".")[0]) < 20
    return ["node", "--experimental-global-webcrypto"] if old else ["node"]


def run(site, script, **more):
    work = os.environ["KLUIS_CLIENTS_DIR"]
    install(work)
    r = subprocess.run([*node(), script], cwd=work, check=False, timeout=480,
                       env={**os.environ, **site.env, "NODE_EXTRA_CA_CERTS": site.env["KLUIS_CA"], **more})
    check_equal(r.returncode, 0, f"the exit code of {script}")


def test_azure_keys(site):
    run(site, "azure_keys.mjs")


def test_azure_secrets(site):
    run(site, "azure_secrets.mjs")


def test_azure_certificates(site):
    key, pem = os.path.join(site.dir, "authority.key"), os.path.join(site.dir, "authority.pem")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", pem, "-subj", "/CN=an authority", "-days", "30"],
                   check=True, capture_output=True)
    run(site, "azure_certificates.mjs", CA_KEY=key, CA_PEM=pem)


def test_azure_certificate(site):
    key, pem = os.path.join(site.dir, "signer.key"), os.path.join(site.dir, "signer.pem")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", pem, "-subj", "/CN=signer", "-days", "30"],
                   check=True, capture_output=True)
    who = site.json("principal", "create", "--name", "signer", "--secret-file", os.path.join(site.dir, "signer-secret"))
    site.run("principal", "credential", "add", "--principal", "signer", "--certificate", pem)
    site.run("policy", "set", "--vault-name", "demo", "--principal", "signer", "--key-permissions", "get", "create")
    with open(key, encoding="utf-8") as f, open(pem, "a", encoding="utf-8") as out:
        out.write(f.read())
    run(site, "azure_certificate.mjs", KLUIS_SIGNER_ID=who["clientId"], KLUIS_SIGNER_PEM=pem)
    with open(os.path.join(site.dir, "audit.log"), encoding="utf-8") as f:
        check_equal({r["identity"]["claim"].get("method") for r in map(json.loads, f) if who["clientId"] in str(r.get("identity"))},
                    {"assertion"}, "how the caller logged in, in the records")


kluis.main(globals())
