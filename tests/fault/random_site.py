#!/usr/bin/env python3
"""Random fault scripts under a whole service: kluisd must not die, no unwrap may give another plain text, no signature may be wrong, and what
was acknowledged (a key, a new version, a wrap) must hold once the token is well again. test_random.c plays far more scripts through the
token layer alone. KLUIS_SCRIPTS = how many, KLUIS_SEED = the first."""
import os
import random
import subprocess
import sys
import threading

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import faulty
import kluis
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, utils
from kluis import check, check_equal, wait_until

SEED = int(os.environ.get("KLUIS_SEED") or str(random.SystemRandom().randrange(1 << 32)), 0)
SCRIPTS = int(os.environ.get("KLUIS_SCRIPTS") or (3000 if kluis.FULL else 12))
MAKER = os.path.join(kluis.BIN, "../tests/fault_scripts")
MAY_COME = (200, 400, 404, 409, 429, 500, 503)


class Caller(threading.Thread):
    """A few operations under one script. What they were promised is kept."""

    def __init__(self, site, seed, keys, trust_native):
        super().__init__(daemon=True)
        self.api, self.chance, self.keys = kluis.Api(site), random.Random(seed), list(keys)
        self.algs = ("RSA-OAEP", "RSA-OAEP-256") if trust_native else ("RSA-OAEP-256",)
        self.made, self.wraps, self.fault, self.good = [], [], None, 0

    def ask(self, path, body):
        status, _, answer = self.api.call("POST", path, body)
        check(status in MAY_COME, f"{path}: {status} {answer}")
        self.good += status == 200
        return answer if status == 200 else None

    def unwrap(self, key):
        alg, plain = self.chance.choice(self.algs), self.chance.randbytes(32)
        answer = self.ask(key.path + "/unwrapkey", {"alg": alg, "value": key.seal(plain, alg)})
        check(answer is None or kluis.un_b64url(answer["value"]) == plain, f"{alg} gave another plain text")

    def wrap(self, key):
        plain = self.chance.randbytes(32)
        answer = self.ask(key.path + "/wrapkey", {"alg": "RSA-OAEP-256", "value": kluis.b64url(plain)})
        if answer:
            self.wraps.append((key, answer["value"], plain))

    def sign(self, key):
        digest = self.chance.randbytes(32)
        answer = self.ask(key.path + "/sign", {"alg": "PS256", "value": kluis.b64url(digest)})
        if answer:
            key.public.verify(kluis.un_b64url(answer["value"]), digest, padding.PSS(padding.MGF1(hashes.SHA256()), 32),
                              utils.Prehashed(hashes.SHA256()))

    def create(self, key):
        del key
        name = f"k{self.chance.randrange(1 << 40):x}"
        answer = self.ask(f"/keys/{name}/create", {"kty": "RSA", "key_size": 2048})
        self.made += [faulty.Key(answer)] if answer else []

    def rotate(self, key):
        answer = self.ask(f"/keys/{key.name}/rotate", None)
        self.made += [faulty.Key(answer)] if answer else []

    def run(self):
        try:
            for _ in range(5):
                step = self.chance.choice((self.unwrap, self.unwrap, self.unwrap, self.wrap, self.sign, self.create, self.rotate))
                step(self.chance.choice(self.keys))
        except Exception as e:  # reported by the main thread
            self.fault = e
        finally:
            self.api.close()


def fits(api, key, value, plain):
    status, got = faulty.unwrap(api, key, value)
    check(status != 200 or got == plain, "what comes back is what went in")
    return status == 200


def forget_pin_latch(site):
    """A script may have the right PIN refused: the operator's part."""
    for here, _, files in os.walk(site.dir):
        for name in files:
            if name.startswith("pin-refused"):
                os.unlink(os.path.join(here, name))


def run_script(token, site, api, seed, keys):
    text = subprocess.run([MAKER, str(seed)], capture_output=True, text=True, check=True).stdout
    callers = [Caller(site, seed * 4 + n, keys, "# spoils" not in text) for n in range(3)]
    for c in callers:
        c.api.login()  # a login needs the token too
    token.script(*text.splitlines())
    for c in callers:
        c.start()
    for c in callers:
        c.join()
    token.script()
    forget_pin_latch(site)
    faults = [repr(c.fault) for c in callers if c.fault]
    check(not faults, f"KLUIS_SEED={seed} KLUIS_SCRIPTS=1: {faults}\n{text}")
    plain = os.urandom(32)
    for key in [*keys, *(k for c in callers for k in c.made)]:
        wait_until(lambda k=key: fits(api, k, k.seal(plain), plain), f"KLUIS_SEED={seed}: an acknowledged key works\n{text}")
    for c in callers:
        for key, value, was in c.wraps:
            wait_until(lambda k=key, v=value, w=was: fits(api, k, v, w), f"KLUIS_SEED={seed}: an acknowledged wrap opens\n{text}")
    return sum(c.good for c in callers)


def test_random_scripts():
    print(f"KLUIS_SEED={SEED}, {SCRIPTS} scripts", flush=True)
    with faulty.site(deadline="2s", slow_deadline="10s", retry_limit="1s") as (token, site):
        api, good = kluis.Api(site), 0
        api.login()
        before = token.calls("C_Decrypt")
        keys, daemon = [faulty.create(api, f"known-{n}") for n in range(3)], site.daemon()
        for seed in range(SEED, SEED + SCRIPTS):
            good += run_script(token, site, api, seed, keys)
            check_equal(site.daemon(), daemon, f"KLUIS_SEED={seed}: kluisd still runs")
            check(not os.path.getsize(token.path("script.crash")), f"KLUIS_SEED={seed}: no worker crashed by itself")
        check(token.calls("C_Decrypt") > before + SCRIPTS, "the operations go through the fault module")
        check(good > SCRIPTS, f"operations that were done in spite of faults: {good}")
        site.run("audit", "verify")


kluis.main(globals())
