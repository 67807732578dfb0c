#!/usr/bin/env python3
"""kluis secret: every verb, with and without the word keyvault in front, and what must never be on a command line."""
import json
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
import kluis
from kluis import check, check_equal

VAULT = ("--vault-name", "demo")


def named(name, *more):
    return (*VAULT, "--name", name, *more)


def test_life_of_a_secret(site):
    made = site.json("secret", "set", *named("password", "--content-type", "password", "--tags", "team=db", "--expires", "2031-01-01"), data="hunter2\n")
    check("value" not in made, "set does not repeat the value")
    check_equal((made["contentType"], made["tags"], made["attributes"]["exp"]), ("password", {"team": "db"}, 1924992000), "attributes")
    check_equal(site.json("secret", "show", *named("password"))["value"], "hunter2", "the end of the line is not part of it")
    check_equal(site.run("secret", "download", *named("password", "--file", "-")).stdout, "hunter2", "to standard output, nothing but the value")
    again = site.json("keyvault", "secret", "set", *named("password"), data="second")
    versions = site.json("secret", "list-versions", *named("password"))
    check_equal(sorted(v["id"] for v in versions), sorted([made["id"], again["id"]]), "two versions")
    version = made["id"].rsplit("/", 1)[1]
    check_equal(site.json("secret", "show", *named("password", "--version", version))["value"], "hunter2", "the older one")
    check_equal(site.json("secret", "show", "--id", made["id"])["value"], "hunter2", "by its id")
    check_equal([s["id"].rsplit("/", 1)[1] for s in site.json("keyvault", "secret", "list", *VAULT)], ["password"], "listed")
    off = site.json("secret", "set-attributes", *named("password", "--enabled", "false", "--tags"))
    check_equal((off["attributes"]["enabled"], off.get("tags")), (False, None), "set-attributes")
    r = site.run("secret", "show", *named("password"), check=False)
    check_equal(r.returncode, 4, f"a disabled secret is refused: {r.stderr}")
    site.run("secret", "set-attributes", *named("password", "--enabled", "true"))
    gone = site.json("secret", "delete", *named("password"))
    check_equal(site.json("secret", "show-deleted", *named("password")), gone, "show-deleted")
    check_equal(len(site.json("secret", "list-deleted", *VAULT)), 1, "list-deleted")
    check_equal(site.run("secret", "show", *named("password"), check=False).returncode, 3, "a deleted secret is not found")
    site.run("secret", "recover", *named("password"))
    check_equal(site.json("secret", "show", *named("password"))["value"], "second", "recovered")
    site.run("keyvault", "secret", "delete", *named("password"))
    site.run("keyvault", "secret", "purge", *named("password"))
    check_equal(site.run("secret", "recover", *named("password"), check=False).returncode, 3, "purged for good")
    table = site.run("secret", "list", *VAULT, "-o", "table")
    check_equal((table.returncode, table.stdout), (0, ""), "an empty table is said on standard error")


def test_files_and_encodings(site):
    file, back = os.path.join(site.dir, "in"), os.path.join(site.dir, "out")
    for name, data, options, stored in (("text", b"line\nline\n", (), "line\nline\n"), ("binary", bytes(range(256)) * 20, ("--encoding", "base64"), None),
                                        ("hex", b"\x00\xff", ("-e", "hex"), "00ff"), ("snow", "☃".encode(), ("--encoding", "utf-8"), "☃")):
        with open(file, "wb") as f:
            f.write(data)
        made = site.json("secret", "set", *named(name, "--file", file, *options))
        check_equal(made["tags"], {"file-encoding": options[1] if options else "utf-8"}, f"{name}: the encoding is noted, as az does")
        if stored is not None:
            check_equal(site.json("secret", "show", *named(name))["value"], stored, f"{name}: what is kept")
        site.run("secret", "download", *named(name, "--file", back))
        with open(back, "rb") as f:
            check_equal(f.read(), data, f"{name}: the file comes back byte for byte")
        check_equal(os.stat(back).st_mode & 0o777, 0o600, "readable by its owner only")
        check(site.run("secret", "download", *named(name, "--file", back), check=False).returncode != 0, "a file that is there is not replaced")
        os.unlink(back)
    with open(file, "wb") as f:
        f.write(b"\xff\xfe")
    r = site.run("secret", "set", *named("broken", "--file", file), check=False)
    check("base64" in r.stderr and r.returncode == 2, f"what is no text says how: {r.stderr}")
    with open(file, "wb") as f:
        f.write(b"x" * 25601)
    check_equal(site.run("secret", "set", *named("broken", "--file", file), check=False).returncode, 2, "too long")
    r = site.run("secret", "set", *named("broken", "--value", "on the command line"), check=False)
    check(r.returncode == 2 and "--file" in r.stderr and "on the command line" not in r.stderr, f"--value is refused: {r.stderr}")
    check_equal(site.run("secret", "show", *named("broken"), check=False).returncode, 3, "nothing was set")


def test_backup_file(site):
    blob = os.path.join(site.dir, "secret.blob")
    for value in ("one", "two"):
        site.run("secret", "set", *named("kept"), data=value)
    site.run("keyvault", "secret", "backup", "--file", blob, *named("kept"))
    check_equal(os.stat(blob).st_mode & 0o777, 0o600, "readable by its owner only")
    check_equal(site.run("secret", "restore", *VAULT, "--file", blob, check=False).returncode, 4, "the name is taken")
    site.run("secret", "delete", *named("kept"))
    site.run("secret", "purge", *named("kept"))
    back = site.json("keyvault", "secret", "restore", "--file", blob, *VAULT)
    check("value" not in back, "restored without showing the value")
    check_equal(site.json("secret", "show", *named("kept"))["value"], "two", "and it is there")
    check_equal(len(site.json("secret", "list-versions", *named("kept"))), 2, "with both versions")
    with open(blob, "r+b") as f:
        f.seek(100)
        f.write(b"\0")
    site.run("secret", "delete", *named("kept"))
    site.run("secret", "purge", *named("kept"))
    r = site.run("secret", "restore", *VAULT, "--file", blob, check=False)
    check(r.returncode != 0 and "corrupt" in r.stderr, f"a damaged one: {r.stderr}")
    check_equal(site.run("key", "restore", *VAULT, "--file", blob, check=False).returncode, 1, "the backup of a secret is none of a key")


def test_permissions(site):
    """Each word of a policy opens its own verbs and nothing else."""
    site.run("secret", "set", *named("s"), data="v")
    secret = os.path.join(site.dir, "reader-secret")
    who = site.json("principal", "create", "--name", "reader", "--secret-file", secret)
    site.run("policy", "set", *VAULT, "--principal", who["objectId"], "--secret-permissions", "list")
    env = {"KLUIS_CLIENT_ID": who["clientId"], "KLUIS_CLIENT_SECRET_FILE": secret}
    check_equal(len(json.loads(site.run("secret", "list", *VAULT, "-o", "json", extra_env=env).stdout)), 1, "list")
    for verb, more in {"show": (), "delete": (), "set-attributes": ("--enabled", "false"), "backup": ("--file", os.path.join(site.dir, "x"))}.items():
        check_equal(site.run("secret", verb, *named("s", *more), check=False, extra_env=env).returncode, 4, f"{verb} needs a permission of its own")
    check(not os.path.exists(os.path.join(site.dir, "x")), "no file is left behind")


kluis.main(globals())
