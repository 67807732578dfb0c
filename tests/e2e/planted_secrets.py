#!/usr/bin/env python3
"""Planted secrets must be nowhere but where they belong: not in argv, not in the environment, not in any file of the site."""
import base64
import os
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
import kluis
from kluis import check, check_equal


def spellings(secret):
    """How bytes could be written down."""
    return {secret, secret.hex().encode(), base64.b64encode(secret).rstrip(b"="), kluis.b64url(secret).encode()}


def hits(data, secrets):
    return [name for name, forms in secrets.items() if any(form in data for form in forms)]


def look_at_processes(secrets, found):
    for pid in filter(str.isdigit, os.listdir("/proc")):
        if int(pid) == os.getpid():
            continue
        for part in ("cmdline", "environ"):
            try:
                with open(f"/proc/{pid}/{part}", "rb") as f:
                    found.update((part, name) for name in hits(f.read(), secrets))
            except OSError:
                pass


def test_planted_secrets(site):
    api = kluis.Api(site)
    dek, plain = b"kluisDEK" + os.urandom(24), b"kluisPLAIN" + os.urandom(30)
    secrets = {"client secret": {api.client_secret.encode()}, "bearer token": {api.login().encode()}, "DEK": spellings(dek), "stream": spellings(plain)}
    pin_file = site.config_value("token", "pin-source")
    with open(pin_file, encoding="utf-8") as f:
        secrets["PIN"] = {f.read().strip().encode()}
    check(len(next(iter(secrets["PIN"]))) >= 8, "the site's PIN is long enough to look for")

    found, stop = set(), threading.Event()

    def watch():
        while not stop.is_set():
            look_at_processes(secrets, found)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        site.json("key", "create", "--vault-name", "demo", "--name", "marked", "--kty", "RSA", "--size", "2048")
        for alg in ("RSA-OAEP", "RSA-OAEP-256"):
            value = api.must("POST", "/keys/marked//wrapkey", {"alg": alg, "value": kluis.b64url(dek)})["value"]
            check_equal(kluis.un_b64url(api.must("POST", "/keys/marked//unwrapkey", {"alg": alg, "value": value})["value"]), dek, "the DEK comes back")
            api.call("POST", "/keys/marked//unwrapkey", {"alg": alg, "value": kluis.b64url(dek)})
            api.call("POST", "/keys/marked//decrypt", {"alg": alg, "value": kluis.b64url(plain)})
        sealed = site.run("encrypt", "--key", f"{site.env['KLUIS_VAULT_URL']}/keys/marked", data=plain, text=False).stdout
        check_equal(site.run("decrypt", data=sealed, text=False).stdout, plain, "the stream comes back")
        api.call("GET", "/keys", headers={"Authorization": f"Bearer {api.token}x"})
        kluis.Api(site).exchange("POST", f"/{api.tenant}/oauth2/v2.0/token", f"grant_type=client_credentials&client_id={api.client_id}&client_secret={api.client_secret}&broken",
                                 {"Content-Type": "application/x-www-form-urlencoded"})
    finally:
        stop.set()
        watcher.join()
    check_equal(sorted(found), [], "secrets seen in argv or environments")

    allowed = {os.path.realpath(pin_file): {"PIN"}, os.path.realpath(site.env["KLUIS_CLIENT_SECRET_FILE"]): {"client secret"}}
    files = 0
    for here, _, names in os.walk(site.dir):
        for name in names:
            path = os.path.realpath(os.path.join(here, name))
            if not os.path.isfile(path):
                continue
            files += 1
            with open(path, "rb") as f:
                seen = set(hits(f.read(), secrets)) - allowed.get(path, set())
            check_equal(sorted(seen), [], f"secrets in {os.path.relpath(path, site.dir)}")
            if path in allowed:
                check_equal(os.stat(path).st_mode & 0o077, 0, f"rights of others to {os.path.relpath(path, site.dir)}")
    check(files > 5, "files were looked at")


kluis.main(globals())
