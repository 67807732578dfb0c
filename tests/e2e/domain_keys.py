#!/usr/bin/env python3
"""Domain keys over their life: rotation, re-sealing of backups, retirement, shares for a second site. The service runs all the while."""
import hashlib
import os
import re
import signal
import stat
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
import kluis
from kluis import check, check_equal

DEK = bytes(range(32))


def so_pin(site):
    return ["--so-pin-file", os.path.join(site.dir, "so-pin")]


def domain_key(site, *words, wanted=0):
    r = site.run("token", "domain-key", *words, check=False)
    check_equal(r.returncode, wanted, f"exit code of domain-key {' '.join(words)}: {r.stderr}")
    return r


def keys_of(site):
    return site.json("token", "domain-key", "show")


def make_key(api, name):
    api.must("POST", f"/keys/{name}/create", {"kty": "RSA", "key_size": 2048})
    return api.must("POST", f"/keys/{name}/wrapkey", {"alg": "RSA-OAEP-256", "value": kluis.b64url(DEK)})["value"]


def opens(api, name, wrapped):
    answer = api.must("POST", f"/keys/{name}/unwrapkey", {"alg": "RSA-OAEP-256", "value": wrapped})
    check_equal(kluis.un_b64url(answer["value"]), DEK, f"what {name} unwraps")


def purge(api, name):
    api.must("DELETE", f"/keys/{name}")
    api.must("DELETE", f"/deletedkeys/{name}", wanted=204)


def back_up(site, name):
    path = os.path.join(site.dir, name + ".klkb")
    site.run("key", "backup", "--vault-name", "demo", "--name", name, "--file", path)
    return path


def restore(site, path, wanted=0):
    r = site.run("key", "restore", "--vault-name", "demo", "--file", path, check=False)
    check_equal(r.returncode == 0, wanted == 0, f"restore of {path}: {r.stderr}")
    return r


def test_rotation_keeps_old_backups_and_retirement_asks_for_them(site):
    api = kluis.Api(site)
    wrapped = {name: make_key(api, name) for name in ("one", "two")}
    files = {name: back_up(site, name) for name in wrapped}
    first = keys_of(site)
    check_equal([(k["generation"], k["current"], k["backups"]) for k in first], [(1, True, 2)], "the first domain key")
    domain_key(site, "create", *so_pin(site), wanted=4)
    domain_key(site, "rotate", *so_pin(site))
    second = keys_of(site)
    check_equal([(k["generation"], k["current"], k["backups"]) for k in second], [(1, False, 2), (2, True, 0)], "after the rotation")
    make_key(api, "three")
    back_up(site, "three")
    check_equal([k["backups"] for k in keys_of(site)], [2, 1], "a new backup is under the new domain key, of a service that was not restarted")
    for name, path in files.items():
        purge(api, name)
        restore(site, path)
        opens(api, name, wrapped[name])
    site.run("secret", "set", "--vault-name", "demo", "--name", "word", "--file", files["one"], "--encoding", "base64")
    site.run("secret", "backup", "--vault-name", "demo", "--name", "word", "--file", files["one"] + ".word")
    check_equal([k["backups"] for k in keys_of(site)], [2, 2], "backups of secrets count too")
    old = first[0]["id"]
    r = domain_key(site, "retire", "--id", second[1]["id"], "--yes", "--force", *so_pin(site), wanted=4)
    check("current" in r.stderr, f"the current one is not retired: {r.stderr}")
    r = domain_key(site, "retire", "--id", old, "--yes", *so_pin(site), wanted=4)
    check("2 keys or secrets" in r.stderr, f"retirement says what needs it: {r.stderr}")
    domain_key(site, "reseal", files["one"])
    check_equal([k["backups"] for k in keys_of(site)], [1, 3], "one came over")
    site.run("key", "backup", "--vault-name", "demo", "--name", "two", "--file", files["two"] + ".new")
    check_equal([k["backups"] for k in keys_of(site)], [0, 4], "the other one was backed up anew")
    domain_key(site, "retire", "--id", old[:12], "--yes", *so_pin(site))
    check_equal([k["id"] for k in keys_of(site)], [second[1]["id"]], "what is left")
    for path, name in ((files["one"], "one"), (files["two"] + ".new", "two")):
        purge(api, name)
        restore(site, path)
        opens(api, name, wrapped[name])
    purge(api, "two")
    r = restore(site, files["two"], wanted=1)
    check("domain" in r.stderr, f"a backup under the retired one says so: {r.stderr}")


def test_resealing_is_resumed_after_a_kill(site):
    api = kluis.Api(site)
    folder = os.path.join(site.dir, "backups")
    os.mkdir(folder)
    names = [f"key-{i}" for i in range(12)]
    for name in names:
        make_key(api, name)
        site.run("key", "backup", "--vault-name", "demo", "--name", name, "--file", os.path.join(folder, name))
    with open(os.path.join(folder, "notes.txt"), "w", encoding="utf-8") as f:
        f.write("not a backup\n")
    domain_key(site, "rotate", *so_pin(site))
    old = {n: open(os.path.join(folder, n), "rb").read() for n in names}

    def moved():
        return sum(open(os.path.join(folder, n), "rb").read() != old[n] for n in names)

    run = subprocess.Popen([kluis.KLUIS, "token", "domain-key", "reseal", folder], env={**os.environ, **site.env},
                           stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    kluis.wait_until(lambda: moved() >= 3 or run.poll() is not None, "some files are re-sealed")
    run.send_signal(signal.SIGKILL)
    run.wait()
    rows = site.json("token", "domain-key", "reseal", folder)
    results = {os.path.basename(r["file"]): r["result"] for r in rows}
    check_equal(results.pop("notes.txt"), "no key backup", "a stranger among the files")
    check_equal({results[n] for n in names} <= {"resealed", "current"}, True, f"every backup is under the new one: {results}")
    check_equal(moved(), len(names), "files that were replaced")
    check_equal([k["backups"] for k in keys_of(site)], [0, len(names)], "nothing needs the old domain key any more")
    again = site.json("token", "domain-key", "reseal", folder)
    check_equal({r["result"] for r in again if r["file"].endswith(tuple(names))}, {"current"}, "a second run changes nothing")
    damaged = bytearray(old[names[0]])
    damaged[-40] ^= 1
    with open(os.path.join(folder, "damaged"), "wb") as f:
        f.write(damaged)
    r = domain_key(site, "reseal", os.path.join(folder, "damaged"), wanted=1)
    check_equal(open(os.path.join(folder, "damaged"), "rb").read(), bytes(damaged), f"a damaged file is left as it was: {r.stderr}")


def share_files(folder):
    return sorted(os.path.join(folder, n) for n in os.listdir(folder))


def share_bytes(path):
    with open(path, encoding="ascii") as f:
        text = f.read()
    return bytes.fromhex("".join(re.findall(r"^data \d: (.*)$", text, re.M)).replace(" ", "")), int(re.search(r"^share: (\d+) of", text, re.M)[1])


def combine_elsewhere(paths):
    """The secret by libgfshare's own program."""
    with tempfile.TemporaryDirectory() as folder:
        names = []
        for path in paths:
            data, number = share_bytes(path)
            names.append(os.path.join(folder, f"s.{number:03}"))
            with open(names[-1], "wb") as f:
                f.write(data)
        out = os.path.join(folder, "secret")
        subprocess.run(["gfcombine", "-o", out, *names], check=True)
        with open(out, "rb") as f:
            return f.read()


def test_shares_bring_the_domain_to_a_second_site(site):
    folder = os.path.join(site.dir, "shares")
    os.mkdir(folder, 0o700)
    domain_key(site, "rotate", "--shares", "3-of-5", wanted=2)
    domain_key(site, "rotate", "--shares", "1-of-5", "--out-dir", folder, *so_pin(site), wanted=1)
    domain_key(site, "rotate", "--shares", "3-of-5", "--out-dir", os.path.join(site.dir, "nowhere"), *so_pin(site), wanted=3)
    check_equal(len(keys_of(site)), 1, "refusals make nothing")
    r = domain_key(site, "export-shares", wanted=2)
    check("no token lets a domain key out" in r.stderr, f"what was made inside stays inside: {r.stderr}")
    domain_key(site, "rotate", "--shares", "3-of-5", "--out-dir", folder, *so_pin(site))
    shares = share_files(folder)
    check_equal(len(shares), 5, "shares")
    check_equal({stat.S_IMODE(os.stat(p).st_mode) for p in shares}, {0o600}, "their modes")
    key = keys_of(site)[-1]
    check_equal((key["origin"], key["current"]), ("shares", True), "the domain key of which shares exist")
    secret = combine_elsewhere(shares[1:4])
    check_equal(secret, combine_elsewhere([shares[0], shares[4], shares[2]]), "any three give the same, says libgfshare")
    check_equal(hashlib.sha256(bytes.fromhex(key["id"]) + secret[:64]).digest()[:16], secret[64:], "and it is tied to the id")
    check(combine_elsewhere(shares[:2])[:32] != secret[:32], "two give nothing")
    api = kluis.Api(site)
    wrapped = make_key(api, "travels")
    path = back_up(site, "travels")
    with kluis.Site() as other:
        restore(other, path, wanted=1)
        r = domain_key(other, "import-shares", *so_pin(other), *shares[:2], wanted=1)
        check("3 of the 5 are needed" in r.stderr, f"too few: {r.stderr}")
        bent = os.path.join(other.dir, "bent")
        with open(shares[0], encoding="ascii") as f, open(bent, "w", encoding="ascii") as g:
            text = f.read()
            at = text.index("data 3: ") + 8
            g.write(text[:at] + ("0" if text[at] != "0" else "1") + text[at + 1:])
        r = domain_key(other, "import-shares", *so_pin(other), bent, *shares[1:3], wanted=1)
        check("mistyped" in r.stderr and bent in r.stderr, f"a mistyped share is named: {r.stderr}")
        fresh = os.path.join(other.dir, "fresh")
        os.mkdir(fresh)
        domain_key(other, "export-shares", "--shares", "2-of-3", "--out-dir", fresh, *shares[2:])
        r = domain_key(other, "import-shares", *so_pin(other), shares[0], shares[1], share_files(fresh)[0], wanted=1)
        check("different sets" in r.stderr, f"shares of two sets do not mix: {r.stderr}")
        domain_key(other, "import-shares", *so_pin(other), *share_files(fresh)[1:])
        check(key["id"] in [k["id"] for k in keys_of(other)], "the second site has it")
        restore(other, path)
        opens(kluis.Api(other), "travels", wrapped)
        domain_key(other, "import-shares", *so_pin(other), *shares[:3], wanted=4)


def test_a_refused_pin_makes_nothing_and_is_sent_once(site):
    wrong = os.path.join(site.dir, "wrong-pin")
    with open(wrong, "w", encoding="ascii") as f:
        f.write("0000000000\n")
    domain_key(site, "rotate", "--so-pin-file", wrong, wanted=4)
    check_equal(len(keys_of(site)), 1, "a wrong PIN of the officer makes nothing")
    state = {"XDG_STATE_HOME": os.path.join(site.dir, "xdg")}
    for words in ("refused its PIN", "refused this PIN before"):
        r = site.run("token", "domain-key", "rotate", "--pin-file", wrong, *so_pin(site), check=False, extra_env=state)
        check_equal(r.returncode, 4, f"a wrong user PIN: {r.stderr}")
        check(words in r.stderr, f"the second time it is not even sent: {r.stderr}")
    check("0000000000" not in r.stderr, "the PIN is in no message")
    check_equal(len(keys_of(site)), 1, "and makes nothing")


if __name__ == "__main__":
    kluis.main(globals())
