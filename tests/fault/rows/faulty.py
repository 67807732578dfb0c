"""A site whose token is SoftHSM behind the fault module, whose script the test rewrites while it runs, and callers that notice every
wrong answer. The other side of each operation is the cryptography package."""
import os
import signal
import sys
import threading
import time

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa, utils

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[1:1] = [os.path.join(HERE, "../../lib"), os.path.join(HERE, "../../token/scripts")]
import kluis
import softhsm
from kluis import check, check_equal, wait_until

BUILD = os.path.dirname(kluis.BIN)
BACK_IN = 10 if not os.environ.get("ASAN_OPTIONS") else kluis.PATIENCE  # seconds until a token that is well again serves
HASHES = {"RSA-OAEP": hashes.SHA1(), "RSA-OAEP-256": hashes.SHA256()}


class Key:
    """A key of the service with its public half as a foreign library's object."""

    def __init__(self, bundle):
        jwk = bundle["key"]
        self.kid = jwk["kid"]
        self.path = "/" + self.kid.split("/", 3)[3]
        self.name = self.path.split("/")[2]
        self.public = rsa.RSAPublicNumbers(*(int.from_bytes(kluis.un_b64url(jwk[m]), "big") for m in "en")).public_key()

    def seal(self, alg, data):
        return kluis.b64url(self.public.encrypt(data, padding.OAEP(padding.MGF1(HASHES[alg]), HASHES[alg], None)))

    def signed(self, digest, signature):
        try:
            self.public.verify(signature, digest, padding.PKCS1v15(), utils.Prehashed(hashes.SHA256()))
        except InvalidSignature:
            return False
        return True


class Faulty:
    """`with Faulty() as f:`. Everything of it lies in one folder, and ends with the block."""

    def __init__(self, script="", settings=(), module="libkluis-fault.so", options=()):
        self.site = kluis.Site(options=options)
        self.first_script, self.settings = script, settings
        self.token = softhsm.SoftHsm(os.path.join(self.site.dir, "t"))
        self.module = os.path.join(BUILD, "tests", module)
        self.path = os.path.join(self.site.dir, "script")

    def __enter__(self):
        try:
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def start(self):
        os.mkdir(self.token.dir)
        self.token.__enter__()
        os.environ.update(self.token.env, KLUIS_FAULT_MODULE=self.token.module, KLUIS_FAULT_SCRIPT=self.path)
        self.script(self.first_script)
        at = self.token.path
        self.site.options += ["--pkcs11-module", self.module, "--pkcs11-uri", self.token.uri, "--pin-file", at("pin"),
                              "--so-pin-file", at("so-pin"), "--pkcs11-store-dir", self.token.store]
        self.site.up()
        if self.settings:
            self.set(*self.settings)

    def __exit__(self, *unused):
        try:
            for pid in self.site.pids():
                kluis_continue(pid)
            self.site.__exit__()
        finally:
            self.token.__exit__()

    def set(self, *lines):
        """More settings of the token's section, which is the last; takes a restart."""
        self.site.down()
        with open(os.path.join(self.site.dir, "kluis.conf"), "a", encoding="utf-8") as f:
            f.writelines(line + "\n" for line in lines)
        self.site.up()

    def script(self, text=""):
        """Other faults from the next call on; none by default."""
        with open(self.path + ".new", "w", encoding="utf-8") as f:
            f.write(text + "\n")
        os.rename(self.path + ".new", self.path)

    def count(self, function):
        """Calls that the module got, over all lives of the worker."""
        try:
            with open(self.path + ".count", encoding="ascii") as f:
                return next((int(line.split()[1]) for line in f if line.startswith(function + " ")), 0)
        except FileNotFoundError:
            return 0

    def restart(self, check_it=True):
        self.site.down()
        return self.site.up(check=check_it)

    def api(self):
        return kluis.Api(self.site)

    def log(self):
        with open(os.path.join(self.site.dir, "kluisd.log"), encoding="utf-8", errors="replace") as f:
            return f.read()

    def latches(self):
        folder = os.path.join(self.site.dir, "state")
        return [os.path.join(folder, n) for n in os.listdir(folder) if n.startswith("pin-refused")]


def kluis_continue(pid):
    try:
        os.kill(pid, signal.SIGCONT)
    except ProcessLookupError:
        pass


def create(api, name, **body):
    return Key(api.must("POST", f"/keys/{name}/create", body or {"kty": "RSA", "key_size": 2048}))


def unwrap(api, key, value, plain, alg="RSA-OAEP-256"):
    """The status; a 200 with another plaintext than `plain` ends the test."""
    status, headers, answer = api.call("POST", key.path + "/unwrapkey", {"alg": alg, "value": value})
    if status == 200:
        check_equal(kluis.un_b64url(answer["value"]), plain, f"what {alg} gives back is what was wrapped")
    if status in (429, 503):
        check(int(headers["Retry-After"]) >= 0, f"{status} says when to come again")
    return status


def sign(api, key):
    digest = os.urandom(32)
    status, _, answer = api.call("POST", key.path + "/sign", {"alg": "RS256", "value": kluis.b64url(digest)})
    if status == 200:
        check(key.signed(digest, kluis.un_b64url(answer["value"])), "a signature is one of the key that was asked for")
    return status


class Callers:
    """Threads that unwrap and sign with several keys until they are told to stop. Each answer is compared; statuses are counted."""

    def __init__(self, f, keys, count=4):
        self.jobs = [(k, alg, k.seal(alg, p), p) for k in keys for alg in HASHES for p in [b"\0\0" + os.urandom(30)]]
        self.statuses, self.faults, self.lock, self.stopped = {}, [], threading.Lock(), False
        apis = [f.api() for _ in range(count)]
        for a in apis:
            a.login()  # before, as the token signs what they get
        self.threads = [threading.Thread(target=self.run, args=(a, i)) for i, a in enumerate(apis)]

    def run(self, api, turn):
        try:
            while not self.stopped:
                key, alg, value, plain = self.jobs[turn % len(self.jobs)]
                status = sign(api, key) if turn % 5 == 4 else unwrap(api, key, value, plain, alg)
                with self.lock:
                    self.statuses[status] = self.statuses.get(status, 0) + 1
                if status != 200:
                    time.sleep(0.02)  # the poll of a caller that was told to come again
                turn += 1
        except Exception as e:  # reported by whoever waits
            self.faults.append(e)

    def __enter__(self):
        for t in self.threads:
            t.start()
        return self

    def __exit__(self, *unused):
        self.stopped = True
        for t in self.threads:
            t.join()
        if self.faults:
            raise self.faults[0]

    def more(self, status, n=20, seconds=kluis.PATIENCE):
        """Until n more answers have this status."""
        wanted = self.statuses.get(status, 0) + n
        wait_until(lambda: self.faults or self.statuses.get(status, 0) >= wanted, f"{n} more answers {status}: {self.statuses}", seconds)
        if self.faults:
            raise self.faults[0]

    def saw_only(self, *allowed):
        check(set(self.statuses) <= set(allowed), f"statuses are of {allowed}: {self.statuses}")
