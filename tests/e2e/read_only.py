#!/usr/bin/env python3
"""The store cannot be written, as its file system is full. What needs no change of it goes on: get, list, wrap, unwrap, encrypt, decrypt,
sign, verify, backup. Changes are refused, leave nothing behind, and go on when there is room; so do the notes of the backups. A start
on a read-only file system says what is wrong. The database lies on a file system of its own, in a mount name space of our own."""
import os
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
import kluis
from disk_full import enter_name_space, fill
from kluis import check, check_equal

VALUE = kluis.b64url(bytes(range(32)))
RSA = {"alg": "RSA-OAEP-256", "value": VALUE}

# (what, method, path, body): each must be answered without the store's changing; {n}: see `made`
GOES_ON = [
    ("get a key", "GET", "/keys/r", None),
    ("list keys", "GET", "/keys", None),
    ("list versions", "GET", "/keys/r/versions", None),
    ("get a secret", "GET", "/secrets/s", None),
    ("list secrets", "GET", "/secrets", None),
    ("wrap", "POST", "/keys/r/wrapkey", RSA),
    ("unwrap", "POST", "/keys/r/{v}/unwrapkey", {"alg": "RSA-OAEP-256", "value": "{sealed}"}),
    ("encrypt", "POST", "/keys/r/encrypt", RSA),
    ("decrypt", "POST", "/keys/r/{v}/decrypt", {"alg": "RSA-OAEP-256", "value": "{sealed}"}),
    ("sign", "POST", "/keys/e/sign", {"alg": "ES256", "value": VALUE}),
    ("verify", "POST", "/keys/e/{w}/verify", {"alg": "ES256", "digest": VALUE, "value": "{signed}"}),
    ("back up a key", "POST", "/keys/r/backup", None),
    ("back up a secret", "POST", "/secrets/s/backup", None),
]
CHANGES = [
    ("create a key", "POST", "/keys/new/create", {"kty": "EC"}),
    ("make a version", "POST", "/keys/e/rotate", None),
    ("set a secret", "PUT", "/secrets/new", {"value": "x" * 20000}),
    ("update a key", "PATCH", "/keys/r", {"tags": {"a": "x" * 200}}),
    ("delete a key", "DELETE", "/keys/r", None),
    ("delete a secret", "DELETE", "/secrets/s", None),
    ("restore a key", "POST", "/keys/restore", {"value": "{gone}"}),
]


def prepare(api):
    made = {}
    made["v"] = api.must("POST", "/keys/r/create", {"kty": "RSA"})["key"]["kid"].rsplit("/", 1)[1]
    made["w"] = api.must("POST", "/keys/e/create", {"kty": "EC", "crv": "P-256"})["key"]["kid"].rsplit("/", 1)[1]
    api.must("PUT", "/secrets/s", {"value": "a secret"})
    made["sealed"] = api.must("POST", "/keys/r/wrapkey", RSA)["value"]
    made["signed"] = api.must("POST", "/keys/e/sign", {"alg": "ES256", "value": VALUE})["value"]
    api.must("POST", "/keys/gone/create", {"kty": "EC"})
    made["gone"] = api.must("POST", "/keys/gone/backup")["value"]
    api.must("DELETE", "/keys/gone")
    api.must("DELETE", "/deletedkeys/gone", wanted=204)
    return made


def asked(api, row, made):
    _, method, path, body = row
    for name, value in made.items():
        path = path.replace("{%s}" % name, value)
        body = body and {k: value if v == "{%s}" % name else v for k, v in body.items()}
    return api.call(method, path, body)


def goes_on(api, made, when):
    for row in GOES_ON:
        status, _, answer = asked(api, row, made)
        check_equal(status, 200, f"{when}: {row[0]}: {answer}")
        if row[0] in ("unwrap", "decrypt"):
            check_equal(answer["value"], VALUE, f"{when}: {row[0]} gives what was wrapped")
    seen = [api.must("GET", path)["value"] for path in ("/keys", "/secrets", "/deletedkeys", "/deletedsecrets")]
    for row in CHANGES:
        status, headers, answer = asked(api, row, made)
        check_equal((status, answer["error"]["code"], bool(headers["Retry-After"])), (503, "ServiceUnavailable", True), f"{when}: {row[0]}")
        check("store changes" in answer["error"]["message"], f"{when}: {row[0]} is refused in words: {answer}")
    check_equal([api.must("GET", path)["value"] for path in ("/keys", "/secrets", "/deletedkeys", "/deletedsecrets")], seen, f"{when}: nothing changed")


def test_store_that_cannot_be_written(site):
    made = prepare(kluis.Api(site))
    site.down()
    with tempfile.TemporaryDirectory() as root:
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", root], check=True)
        try:
            database = site.config_value("service", "database")
            shutil.move(database, os.path.join(root, "kluis.db"))
            with open(site.env["KLUIS_CONFIG"], encoding="utf-8") as f:
                config = f.read()
            with open(site.env["KLUIS_CONFIG"], "w", encoding="utf-8") as f:
                f.write("".join(f"database = {root}/kluis.db\n" if line.split("=")[0].strip() == "database" else line for line in config.splitlines(True)))
            site.up()
            api = kluis.Api(site)
            fill(os.path.join(root, "filler"))
            goes_on(api, made, "full")
            os.unlink(os.path.join(root, "filler"))
            api.must("POST", "/keys/later/create", {"kty": "EC"})
            listed = kluis.Api(site, None).must("GET", "/kluis/v1/tokens/main/domain-keys")["value"]
            check_equal(sum(row["backups"] for row in listed), 3, "every backup is counted: of gone, r and s")
            site.down()
            subprocess.run(["mount", "-o", "remount,ro", root], check=True)
            check("Read-only file system" in site.up(check=False).stderr, "a start on a read-only file system is refused in words")
            subprocess.run(["mount", "-o", "remount,rw", root], check=True)
            site.up()
            kluis.Api(site).must("POST", "/keys/last/create", {"kty": "EC"})
        finally:
            site.down()
            subprocess.run(["umount", "--lazy", root], check=True)


enter_name_space()
kluis.main(globals())
