#!/usr/bin/env python3
"""Debian's libmongocrypt from C: data key, encrypt, decrypt and rewrap, each step a process of its own, before and after a rotation of the key.
The program (mongocrypt_c.c) is built here, as an application would be: building kluis itself does not need the library."""
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
import kluis
from kluis import check, check_equal

SOURCE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "mongocrypt_c.c")


class Program:
    def __init__(self, site):
        self.site, self.path = site, os.path.join(site.dir, "mongocrypt_c")
        flags = subprocess.run(["pkg-config", "--cflags", "--libs", "libmongocrypt", "libssl", "libcrypto"], capture_output=True, text=True, check=True)
        subprocess.run(["cc", "-std=c11", "-Wall", "-Wextra", "-Werror", "-o", self.path, SOURCE, *flags.stdout.split()], check=True)

    def __call__(self, *args, wanted=0):
        env = {**os.environ, **self.site.env, "IDENTITY": f"127.0.0.1:{self.site.port}"}
        r = subprocess.run([self.path, *args], env=env, cwd=self.site.dir, capture_output=True, text=True, check=False,
                           timeout=kluis.PATIENCE)
        check_equal(r.returncode, wanted, f"{' '.join(args)}: {r.stderr}")
        return r.stdout + (r.stderr if wanted else ""), r.stderr


def requests(answer):
    return int(answer[1].rsplit(", ", 1)[1].split()[0])


def life(site, endpoint, api):
    run = Program(site)
    made = api.must("POST", "/keys/csfle/create", {"kty": "RSA", "key_size": 2048, "key_ops": ["wrapKey", "unwrapKey"]})
    version = made["key"]["kid"].rsplit("/", 1)[1]
    check_equal(requests(run("datakey", endpoint, "csfle", version, "pinned")), 2, "a login and a wrapKey")
    run("datakey", endpoint, "csfle", "", "newest")
    for key in ("pinned", "newest"):
        check_equal(requests(run("encrypt", key, f"a field of {key}", f"{key}.field")), 2, "a login and an unwrapKey")
        check_equal(run("decrypt", key, f"{key}.field")[0], f"a field of {key}\n", "decrypt")
    run("decrypt", "newest", "pinned.field", wanted=1)  # another key's ciphertext
    api.must("POST", "/keys/csfle/rotate")
    check_equal(run("decrypt", "pinned", "pinned.field")[0], "a field of pinned\n", "after a rotation: a data key that names its version")
    check("HTTP status=400" in run("decrypt", "newest", "newest.field", wanted=1)[0], "one that names none must be wrapped anew, as in the cloud")
    check_equal(requests(run("rewrap", "pinned", endpoint, "csfle", "again")), 3, "a login, an unwrapKey and a wrapKey")
    check_equal(run("decrypt", "again", "pinned.field")[0], "a field of pinned\n", "rewrap: the same data key under the new version")
    api.must("PATCH", f"/keys/csfle/{version}", {"attributes": {"enabled": False}})
    check_equal(run("decrypt", "again", "pinned.field")[0], "a field of pinned\n", "the old version is not needed any more")
    check("KeyDisabled" in run("decrypt", "pinned", "pinned.field", wanted=1)[0], "and what still names it is refused")


def test_by_name(site):
    life(site, f"demo.vault.localhost:{site.port}", kluis.Api(site))


def test_by_address(site):
    life(site, f"127.0.0.1:{site.port}", kluis.Api(site, vault="safe"))


kluis.main(globals())
