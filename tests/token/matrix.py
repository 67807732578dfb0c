#!/usr/bin/env python3
"""The main job on every token that runs here: matrix.py KIND. A table of what each can, and one run of everything over it.

The other side of each operation is the cryptography package, never kluis itself. What a token lacks must be refused in one clear
sentence, and whatever happens to a token must end in 503 and come back by itself.
"""
import glob
import io
import os
import random
import signal
import sys
import tarfile
import threading
import time

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa, utils

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "../lib"))
sys.path.insert(0, os.path.join(HERE, "scripts"))
import kluis
import nss
import opencryptoki
import p11kit
import softhsm
import tpm2
from kluis import check, check_equal, wait_until

DEK = bytes(range(32))
ALL_CURVES, ALL_SIZES = ("P-256", "P-384", "P-521"), (2048, 3072, 4096)

# backup: a key wrapped under the token's domain key can be restored. per_key: objects that another program sees for each key.
# back_in: seconds until an unwrap works again after the token's return; sanitized builds on a busy machine get more.
ROWS = {
    "softhsm": {"kind": softhsm.SoftHsm, "curves": ALL_CURVES, "sizes": ALL_SIZES, "backup": True, "per_key": 2},
    "spy": {"kind": softhsm.Spy, "curves": ALL_CURVES, "sizes": ALL_SIZES, "backup": True, "per_key": 2},
    "nss": {"kind": nss.Nss, "curves": ALL_CURVES, "sizes": ALL_SIZES, "backup": False, "per_key": 1},
    "opencryptoki": {"kind": opencryptoki.OpenCryptoki, "curves": (), "sizes": ALL_SIZES, "backup": False, "per_key": 2},
    "tpm2": {"kind": tpm2.Tpm2, "curves": ("P-256", "P-384"), "sizes": (2048, 3072), "backup": False, "per_key": 2},
    "p11kit-remote": {"kind": p11kit.Remote, "curves": ALL_CURVES, "sizes": ALL_SIZES, "backup": False, "per_key": 2},
    "p11kit-proxy": {"kind": p11kit.Proxy, "curves": ALL_CURVES, "sizes": ALL_SIZES, "backup": True, "per_key": 2},
}
BACK_IN = 10 if not os.environ.get("ASAN_OPTIONS") else kluis.PATIENCE
HASHES = {"RSA-OAEP": hashes.SHA1(), "RSA-OAEP-256": hashes.SHA256(), "ES256": hashes.SHA256(), "ES384": hashes.SHA384(), "ES512": hashes.SHA512(),
          **{f"{kind}{bits}": h for kind in ("RS", "PS") for bits, h in ((256, hashes.SHA256()), (384, hashes.SHA384()), (512, hashes.SHA512()))}}
OAEP, RSA_SIGNATURES = ("RSA-OAEP", "RSA-OAEP-256"), tuple(f"{kind}{bits}" for kind in ("RS", "PS") for bits in (256, 384, 512))
ES = {"P-256": ("ES256", ec.SECP256R1()), "P-384": ("ES384", ec.SECP384R1()), "P-521": ("ES512", ec.SECP521R1())}


def number(jwk, member):
    return int.from_bytes(kluis.un_b64url(jwk[member]), "big")


class Key:
    """A key of the service, with its public half as a foreign library's object."""

    def __init__(self, bundle):
        jwk = bundle["key"]
        self.path = "/keys/" + jwk["kid"].split("/keys/")[1]
        self.name, self.version = self.path.split("/")[2:]
        if jwk["kty"].startswith("RSA"):
            self.public = rsa.RSAPublicNumbers(number(jwk, "e"), number(jwk, "n")).public_key()
        else:
            self.public = ec.EllipticCurvePublicNumbers(number(jwk, "x"), number(jwk, "y"), ES[jwk["crv"]][1]).public_key()

    def seal(self, alg, plain):
        h = HASHES[alg]
        return kluis.b64url(self.public.encrypt(plain, padding.OAEP(padding.MGF1(h), h, None)))

    def verify(self, alg, digest, signature):
        how = utils.Prehashed(HASHES[alg])
        if alg.startswith("ES"):
            half = len(signature) // 2
            der = utils.encode_dss_signature(int.from_bytes(signature[:half], "big"), int.from_bytes(signature[half:], "big"))
            self.public.verify(der, digest, ec.ECDSA(how))
        elif alg.startswith("PS"):
            self.public.verify(signature, digest, padding.PSS(padding.MGF1(HASHES[alg]), len(digest)), how)
        else:
            self.public.verify(signature, digest, padding.PKCS1v15(), how)


def create(api, name, **body):
    return Key(api.must("POST", f"/keys/{name}/create", body or {"kty": "RSA", "key_size": 2048}))


def unwrap_status(api, key, value, alg="RSA-OAEP-256"):
    """The status of an unwrap; what comes back is compared, and a 503 must say when to come again."""
    status, headers, answer = api.call("POST", key.path + "/unwrapkey", {"alg": alg, "value": value})
    if status == 200:
        check_equal(kluis.un_b64url(answer["value"]), DEK, "what comes back is what was wrapped")
    if status == 503:
        check(int(headers["Retry-After"]) >= 0, "503 says when to come again")
    return status


def refused(answer, status=400):
    check_equal(answer[0], status, f"refused: {answer[2]}")
    words = answer[2]["error"]["message"]
    check(10 < len(words) < 200 and "\n" not in words, f"in one sentence: {words!r}")


def see_capabilities(site, row):
    token = site.json("token", "list")[0]
    check_equal(tuple(token["curves"]), row["curves"], "curves that the token was seen to do")
    check_equal(tuple(token["rsaBits"]), row["sizes"], "RSA sizes")
    check_equal(token["domainWrap"], row["backup"], "key backup")
    for alg in ("RSA-OAEP", "RSA-OAEP-256", "RS256", "PS256"):
        check(alg in token["algorithms"], f"{alg} is among the algorithms")


def use_rsa(site, api):
    """Every algorithm that the probe found works, every other one is refused."""
    found = site.json("token", "list")[0]["algorithms"]
    made = api.must("POST", "/keys/kek/create", {"kty": "RSA", "key_size": 2048})
    key = Key(made)
    check_equal(api.must("GET", key.path), made, "what is read back is what was made")
    for alg in (a for a in (*OAEP, *RSA_SIGNATURES) if a not in found):
        op, length = ("wrapkey", 32) if alg in OAEP else ("sign", HASHES[alg].digest_size)
        refused(api.call("POST", f"{key.path}/{op}", {"alg": alg, "value": kluis.b64url(bytes(length))}))
    for alg in (a for a in OAEP if a in found):
        check_equal(unwrap_status(api, key, key.seal(alg, DEK), alg), 200, f"unwrap of a foreign library's {alg}")
        wrapped = api.must("POST", key.path + "/wrapkey", {"alg": alg, "value": kluis.b64url(DEK)})["value"]
        check_equal(unwrap_status(api, key, wrapped, alg), 200, f"wrap and unwrap, {alg}")
    sign(api, key, [a for a in RSA_SIGNATURES if a in found])
    return key


def sign(api, key, algs):
    for alg in algs:
        digest = os.urandom(HASHES[alg].digest_size)
        value = api.must("POST", key.path + "/sign", {"alg": alg, "value": kluis.b64url(digest)})["value"]
        try:
            key.verify(alg, digest, kluis.un_b64url(value))
        except InvalidSignature:
            check(False, f"the foreign library refuses the {alg} signature")
        for data, good in ((digest, True), (os.urandom(len(digest)), False)):
            got = api.must("POST", key.path + "/verify", {"alg": alg, "digest": kluis.b64url(data), "value": value})["value"]
            check_equal(got, good, f"{alg} verified by the service")


def use_curves(api, row):
    for curve, (alg, _) in ES.items():
        body = {"kty": "EC", "crv": curve}
        if curve in row["curves"]:
            sign(api, create(api, curve, **body), (alg,))
        else:
            refused(api.call("POST", f"/keys/no-{curve}/create", body))


def refuse_sizes(api, row):
    for size in (1024, 2047, *(s for s in ALL_SIZES if s not in row["sizes"])):
        refused(api.call("POST", "/keys/no-size/create", {"kty": "RSA", "key_size": size}))
    check_equal(api.call("GET", "/keys/no-size")[0], 404, "a refused key is not there")


def folder_stream():
    """A folder as tar makes it."""
    out, rng = io.BytesIO(), random.Random(4)
    with tarfile.open(fileobj=out, mode="w") as tar:
        for i in range(40):
            info = tarfile.TarInfo(f"data/{i}")
            info.size = rng.randrange(1 << 16)
            tar.addfile(info, io.BytesIO(rng.randbytes(info.size)))
    return out.getvalue()


def rotate_a_stream(site, api, old):
    plain, path = folder_stream(), os.path.join(site.dir, "backup")
    sealed = site.run("encrypt", "--key", f"{site.env['KLUIS_VAULT_URL']}/keys/{old.name}", data=plain, text=False).stdout
    with open(path, "wb") as f:
        f.write(sealed)
    new = Key(api.must("POST", f"/keys/{old.name}/rotate"))
    check(new.version != old.version, "a rotation makes a version")
    site.run("rewrap", path)
    api.must("PATCH", old.path, {"attributes": {"enabled": False}})
    with open(path, "rb") as f:
        check_equal(site.run("decrypt", data=f.read(), text=False).stdout == plain, True, "the re-wrapped stream opens, byte for byte")
    api.must("PATCH", old.path, {"attributes": {"enabled": True}})
    check_equal(site.run("decrypt", data=sealed, text=False).stdout == plain, True, "so does the first copy")


def feed_garbage(site, api, key):
    """The status of every damaged ciphertext is 400, one body for all, and the worker lives on."""
    rng, size, worker, words = random.Random(5), key.public.key_size // 8, site.worker(), set()
    good = key.seal("RSA-OAEP-256", DEK)
    odd = [b"\1" * (size - 1), b"\1" * (size + 1), b"\0" * size, b"\0" * (size - 1) + b"\1", b"\xff" * size]
    for i, data in enumerate([*odd, *(bytes([rng.randrange(0x20)]) + rng.randbytes(size - 1) for _ in range(50))]):
        alg = ("RSA-OAEP", "RSA-OAEP-256")[i % 2]
        status, _, answer = api.call("POST", key.path + "/unwrapkey", {"alg": alg, "value": kluis.b64url(data)})
        check_equal(status, 400, f"garbage {i}: {answer}")
        if len(data) == size:
            words.add(answer["error"]["message"])
        if i % 10 == 0:
            check_equal(unwrap_status(api, key, good), 200, "a good one in between")
    check_equal(len(words), 1, f"one sentence for all of it: {words}")
    check_equal(unwrap_status(api, key, good), 200, "a good one at the end")
    check_equal(site.worker(), worker, "the worker is still the same process")


def kill_worker(site, api, key):
    value, worker = key.seal("RSA-OAEP-256", DEK), site.worker()
    os.kill(worker, signal.SIGKILL)
    wait_until(lambda: site.worker() not in (None, worker), "a new worker is started")
    wait_until(lambda: unwrap_status(api, key, value) == 200, "unwrap works again", BACK_IN)


def reopen(site, key):
    """dev down, and dev up without any word about the token, neither as an option nor in the environment."""
    value = key.seal("RSA-OAEP", DEK)
    site.down()
    check_equal(site.pids(), [], "processes after dev down")
    site.options, site.env = [], {}
    site.up()
    check_equal(unwrap_status(kluis.Api(site), key, value, "RSA-OAEP"), 200, "unwrap after a restart")


def back_up(api, row, key):
    value = key.seal("RSA-OAEP-256", DEK)
    answer = api.call("POST", f"/keys/{key.name}/backup")
    if not row["backup"]:
        refused(answer)
        return
    check_equal(answer[0], 200, f"backup: {answer[2]}")
    purge(api, key.name)
    refused(api.call("POST", "/keys/restore", {"value": answer[2]["value"][:-8] + "AAAAAAAA"}))
    check_equal(api.must("POST", "/keys/restore", answer[2])["key"]["kid"].rsplit("/", 1)[0].rsplit("/", 1)[1], key.name, "the restored key")
    check_equal(unwrap_status(api, key, value), 200, "the restored key opens what was wrapped")


def ask_for_a_domain_key(token, site, row):
    """By its own verb, which knows the token from the configuration alone; dev up asked before."""
    r = site.run("token", "domain-key", "create", "--so-pin-file", token.path("so-pin"), check=False)
    check(r.returncode != 0 and "does not initialise" not in r.stderr, f"the token is reached and says no: {r.stderr}")
    check("has a domain key already" in r.stderr or not row["backup"], f"as it has one: {r.stderr}")


def purge(api, name):
    api.must("DELETE", f"/keys/{name}")
    api.must("DELETE", f"/deletedkeys/{name}", wanted=204)


def purge_all(token, row, api):
    before = token.objects()
    names = [k["kid"].rsplit("/", 1)[1] for k in api.must("GET", "/keys")["value"]]
    versions = sum(len(api.must("GET", f"/keys/{n}/versions")["value"]) for n in names)
    for name in names:
        purge(api, name)
    check(versions > len(names), "there are old versions too")
    check_equal(before - token.objects(), versions * row["per_key"], "objects that are gone from the token, as another program counts them")


def leave_and_return(token, site, api, key):
    value, daemon, logins = key.seal("RSA-OAEP-256", DEK), site.daemon(), token.logins()
    for _ in range(2):
        token.vanish()
        wait_until(lambda: unwrap_status(api, key, value) == 503, "unwrap says that the token is not there", BACK_IN)
        for _ in range(3):
            check_equal(unwrap_status(api, key, value), 503, "unwrap while the token is away")
        check_equal(api.call("GET", key.path)[0], 200, "the key's public half is shown all the while")
        token.restore()
        wait_until(lambda: unwrap_status(api, key, value) == 200, "unwrap works again by itself", BACK_IN)
    check_equal(site.daemon(), daemon, "the daemon is still the same process")
    check_equal(latches(site), [], "notes of a refused PIN")
    if logins is not None:
        check_equal(token.logins() - logins, 2, "logins: one for each return")


def latches(site):
    return glob.glob(os.path.join(site.dir, "state", "token-*", "pin-refused-*"))


def refuse_pin(token, site, key):
    """A wrong PIN is sent once, whatever is restarted: tokens that lock at the third still take the right one afterwards."""
    value, wrong = key.seal("RSA-OAEP", DEK), token.pin[::-1]
    token.write("pin", wrong + "\n")
    for _ in range(4):
        site.down()
        r = site.up(check=False)
        check(r.returncode != 0 and "PIN" in r.stderr, f"dev up says that the PIN was refused: {r.stderr}")
        check(wrong not in r.stderr + site.log_tail(200), "the PIN is in no message")
    site.down()
    token.write("pin", token.pin + "\n")
    for note in latches(site):
        os.unlink(note)  # as its text says; one PIN in 256 looks like the refused one without that
    site.up()
    check_equal(unwrap_status(kluis.Api(site), key, value, "RSA-OAEP"), 200, "unwrap with the right PIN")


def use_side_by_side(site, key):
    """Unwraps and signatures from six connections while two make keys and purge them."""
    value, faults = key.seal("RSA-OAEP-256", DEK), []

    def reader():
        api = kluis.Api(site)
        for _ in range(20):
            check_equal(unwrap_status(api, key, value), 200, "unwrap beside others")
            sign(api, key, ("RS256",))

    def writer(name):
        api = kluis.Api(site)
        for _ in range(2):
            create(api, name)
            purge(api, name)

    def guarded(work, *args):
        try:
            work(*args)
        except Exception as e:  # reported below
            faults.append(repr(e))

    threads = [threading.Thread(target=guarded, args=a) for a in [(reader,)] * 6 + [(writer, "come"), (writer, "go")]]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    check_equal(faults, [], "faults")


def hang_and_go_on(token, site, api, key):
    """A token that does not answer holds up its own callers for one deadline, and nobody else."""
    value, seen = key.seal("RSA-OAEP-256", DEK), []
    others, *mine = [kluis.Api(site) for _ in range(13)]
    for caller in (others, *mine):
        caller.login()  # before, as a token signs what they get
    callers = [threading.Thread(target=lambda a=a: seen.append(unwrap_status(a, key, value))) for a in mine[:4]]
    # more than there are threads that wait for a token
    callers += [threading.Thread(target=lambda a=a, i=i: seen.append(a.call("POST", f"/keys/hung-{i}/create", {"kty": "RSA"})[0]))
                for i, a in enumerate(mine[4:])]
    token.hang()
    for t in callers:
        t.start()
    longest = 0
    while any(t.is_alive() for t in callers):
        began = time.monotonic()
        for path in ("/keys", f"/keys/{key.name}/versions", "/deletedkeys", key.path):
            check_equal(others.call("GET", path)[0], 200, f"{path} while the token hangs")
        longest = max(longest, time.monotonic() - began)
    check_equal(set(seen), {503}, "what the callers of a hung token get")
    check(longest < DEADLINE_S, f"the others never waited for the token ({longest:.2f} s)")
    began = time.monotonic()
    check_equal(unwrap_status(others, key, value), 503, "whoever comes later")
    check(time.monotonic() - began < DEADLINE_S, "is told at once, not after a deadline of its own")
    token.go_on()
    wait_until(lambda: unwrap_status(api, key, value) == 200, "unwrap works again", BACK_IN)


DEADLINE_S = 3


def set_deadlines(site):
    """Shorter than the defaults, and for good: tests wait for them."""
    with open(os.path.join(site.dir, "kluis.conf"), "a", encoding="utf-8") as f:
        f.write(f"deadline = {DEADLINE_S}s\n")


def confine(site):
    """From a trial, in which the module may do what it likes with files and network, to the defaults of a configuration."""
    path = os.path.join(site.dir, "kluis.conf")
    with open(path, encoding="utf-8") as f:
        lines = [line for line in f if not line.startswith(("network = ", "files = "))]
    with open(path, "w", encoding="utf-8") as f:
        f.writelines(lines)


def steps(token, site, row):
    api = kluis.Api(site)
    yield "capabilities", lambda: see_capabilities(site, row)
    key = use_rsa(site, api)
    yield "curves", lambda: use_curves(api, row)
    yield "sizes", lambda: refuse_sizes(api, row)
    yield "stream", lambda: rotate_a_stream(site, api, key)
    yield "side by side", lambda: use_side_by_side(site, key)
    yield "garbage", lambda: feed_garbage(site, api, key)
    yield "worker killed", lambda: kill_worker(site, api, key)
    yield "backup", lambda: back_up(api, row, create(api, "saved"))
    yield "domain key", lambda: ask_for_a_domain_key(token, site, row)
    yield "reopened", lambda: (set_deadlines(site), confine(site), reopen(site, key), api.close())
    if token.can_vanish:
        yield "away and back", lambda: leave_and_return(token, site, api, key)
    if hasattr(token, "hang"):
        yield "hung", lambda: hang_and_go_on(token, site, api, key)
    yield "wrong PIN", lambda: (refuse_pin(token, site, key), api.close())
    yield "purge", lambda: purge_all(token, row, api)
    yield "audit", lambda: site.run("audit", "verify")


def run(row):
    with row["kind"]() as token:
        options = ["--pkcs11-module", token.module, "--pkcs11-uri", token.uri, "--pin-file", token.path("pin"), "--so-pin-file", token.path("so-pin")]
        if token.init_args:
            options += ["--pkcs11-init-args", token.init_args]
        if token.store:
            options += ["--pkcs11-store-dir", token.store]
        site = kluis.Site(token.path("site"), options)
        site.env, site.runner = dict(token.env), token.runner
        with site:
            try:
                for name, step in steps(token, site, row):
                    began = time.monotonic()
                    step()
                    print(f"  {name}: {time.monotonic() - began:.1f} s", flush=True)
            except BaseException:
                print(site.log_tail(40))
                raise


def main():
    if len(sys.argv) != 2 or sys.argv[1] not in ROWS:
        sys.exit(f"use: {sys.argv[0]} {'|'.join(ROWS)}")
    name = sys.argv.pop()
    kluis.main({f"test_{name}": lambda: run(ROWS[name])})


main()
