#!/usr/bin/env python3
"""The main job, through the command line only: a stream encrypted under a key of the token, rotation, re-wrap, the old version
disabled, restore; and what must not happen on the way."""
import hashlib
import json
import os
import random
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
import kluis
from kluis import check, check_equal

PAYLOAD = 12288  # the core header and two wrap slots of 4 KiB come before the payload (wrap/FORMAT.md)


def version_of(bundle):
    return bundle["key"]["kid"].rsplit("/", 1)[1]


def encrypt(site, data, name="main"):
    url = f"{site.env['KLUIS_VAULT_URL']}/keys/{name}"
    return site.run("encrypt", "--key", url, data=data, text=False).stdout


def test_backup_rotate_rewrap_restore(site):
    plain = random.Random(1).randbytes(5 * (1 << 20) + 12345)
    first = site.json("key", "create", "--vault-name", "demo", "--name", "main", "--kty", "RSA", "--size", "2048")
    sealed = encrypt(site, plain)
    path = os.path.join(site.dir, "backup")
    with open(path, "wb") as f:
        f.write(sealed)
    check(plain[:64] not in sealed, "no plaintext in the container")
    check_equal(site.run("decrypt", data=sealed, text=False).stdout, plain, "the stream opens")

    second = site.json("key", "rotate", "--vault-name", "demo", "--name", "main")
    check(version_of(first) != version_of(second), "a rotation makes a new version")
    check_equal(site.run("decrypt", data=sealed, text=False).stdout, plain, "the stream opens after the rotation")
    site.run("rewrap", path)
    with open(path, "rb") as f:
        rewrapped = f.read()
    check(rewrapped != sealed, "the re-wrap changed a slot")
    check_equal(hashlib.sha256(rewrapped[PAYLOAD:]).digest(), hashlib.sha256(sealed[PAYLOAD:]).digest(), "payload bytes after a re-wrap")

    site.run("key", "set-attributes", "--vault-name", "demo", "--name", "main", "--version", version_of(first), "--enabled", "false")
    refused = site.run("decrypt", data=sealed, text=False, check=False)
    check(refused.returncode != 0 and refused.stdout == b"", "the old copy does not open with a disabled version, and no byte comes out")
    check_equal(site.run("decrypt", data=rewrapped, text=False).stdout, plain, "the re-wrapped copy opens")
    inspected = site.run("inspect", path).stdout
    check(version_of(second) in inspected, "inspect names the new version")
    site.run("audit", "verify")


def test_damage_is_named_and_nothing_unverified_comes_out(site):
    plain = random.Random(2).randbytes(3 * (1 << 20))
    site.json("key", "create", "--vault-name", "demo", "--name", "main", "--kty", "RSA", "--size", "2048")
    sealed = encrypt(site, plain)
    segment = (len(sealed) - PAYLOAD) // 3
    damages = {
        "a flipped header byte": sealed[:100] + bytes([sealed[100] ^ 1]) + sealed[101:],
        "a flipped payload byte in the first segment": sealed[:PAYLOAD + 5000] + bytes([sealed[PAYLOAD + 5000] ^ 1]) + sealed[PAYLOAD + 5001:],
        "a cut tail": sealed[:-1],
        "a cut last segment": sealed[:PAYLOAD + 2 * segment],
        "bytes after the end": sealed + b"x",
        "a flipped last byte": sealed[:-1] + bytes([sealed[-1] ^ 1]),
        "an empty file": b"",
        "something else": random.Random(3).randbytes(50000),
    }
    sentences = {}
    for what, data in damages.items():
        r = site.run("decrypt", data=data, text=False, check=False)
        check_equal(r.returncode, 1, f"exit code for {what} ({r.stderr!r})")
        check(plain.startswith(r.stdout), f"{what}: what came out before the damage is plaintext, in order")
        check(len(r.stdout) < len(plain), f"{what}: not the whole stream came out")
        sentences[what] = r.stderr.decode().strip()
        check(sentences[what].count("\n") == 0 and len(sentences[what]) > 10, f"{what}: one sentence: {sentences[what]!r}")


def test_site_reopens_with_its_keys(site):
    site.json("key", "create", "--vault-name", "demo", "--name", "main", "--kty", "RSA", "--size", "2048")
    sealed = encrypt(site, b"kept")
    site.down()
    check_equal(site.pids(), [], "processes after dev down")
    site.up()
    check_equal(site.run("decrypt", data=sealed, text=False).stdout, b"kept", "a stream of the first life opens in the second")
    site.up()
    check_equal(site.run("decrypt", data=sealed, text=False).stdout, b"kept", "dev up of a running site changes nothing")


def test_exit_codes(site):
    check_equal(site.run("key", "show", "--vault-name", "demo", "--name", "nobody", check=False).returncode, 3, "an unknown key")
    check_equal(site.run("key", "show", check=False).returncode, 2, "a missing name")
    check_equal(site.run("no-such-noun", check=False).returncode, 2, "an unknown command")
    site.json("key", "create", "--vault-name", "safe", "--name", "kept", "--kty", "RSA", "--size", "2048")
    site.run("key", "delete", "--vault-name", "safe", "--name", "kept", "--yes")
    check_equal(site.run("key", "purge", "--vault-name", "safe", "--name", "kept", "--yes", check=False).returncode, 4, "purge under purge protection")
    gone = {**site.env, "KLUIS_URL": "https://localhost:1", "KLUIS_VAULT_URL": "https://localhost:1"}
    check_equal(site.run("key", "show", "--name", "main", check=False, extra_env=gone).returncode, 5, "no service")
    rows = json.loads(site.run("vault", "list", "-o", "json").stdout)
    check_equal(sorted(v["name"] for v in rows), ["demo", "safe"], "the two vaults of a site")


kluis.main(globals())
