"""What the rows share: a site on the fault module whose script is rewritten while it runs, and callers that notice every wrong answer."""
import os
import re
import signal
import subprocess
import sys
import threading
import time

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, utils

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[1:1] = [os.path.join(HERE, up) for up in ("..", "../../lib", "../../token/scripts")]
import faulty
import kluis
from fault import Fault
from kluis import check, check_equal, wait_until

BACK_IN = 10 if not os.environ.get("ASAN_OPTIONS") else kluis.PATIENCE  # seconds until a token that is well again serves
ALGS = ("RSA-OAEP", "RSA-OAEP-256")


class Rig:
    """`with Rig() as f:`. Everything of it lies in one folder, and ends with the block."""

    def __init__(self, script="", module="libkluis-fault.so", options=()):
        self.token = Fault()
        self.token.module_name = module
        self.first_script, self.options = script, options

    def __enter__(self):
        self.token.__enter__()
        try:
            at = self.token.path
            os.environ.update(self.token.env)
            # without a store folder: the worker that proves copies of it would read the script and be counted too
            options = ["--pkcs11-module", self.token.module, "--pkcs11-uri", self.token.uri, "--pin-file", at("pin"), "--so-pin-file", at("so-pin"),
                       *self.options]
            self.site = kluis.Site(at("site"), options)
            self.script(self.first_script)
            self.site.up()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *unused):
        try:
            for pid in self.site.pids():
                os.kill(pid, signal.SIGCONT)
            self.site.__exit__()
        finally:
            self.token.__exit__()

    def set(self, *lines):
        """Settings of the token's section, which is the last; takes a restart."""
        names = {line.split(" =")[0] for line in lines}
        path = os.path.join(self.site.dir, "kluis.conf")
        self.site.down()
        with open(path, encoding="utf-8") as f:
            kept = [line for line in f.read().splitlines() if line.split(" =")[0] not in names]
        with open(path, "w", encoding="utf-8") as f:
            f.writelines(line + "\n" for line in [*kept, *lines])
        self.site.up()

    def script(self, text=""):
        """Other faults from the next call on; none by default. `FUNCTION +2 …` and `FUNCTION +2-5 …` mean the second (to fifth) call
        from now, once over all lives of the worker."""
        def from_now(m):
            now = self.count(m[1])
            return f"{m[1]} {now + int(m[2])}" + (f"-{now + int(m[3])}" if m[3] else "") + "g"
        self.token.script(*re.sub(r"^(\w+) \+(\d+)(?:-(\d+))?", from_now, text, flags=re.M).splitlines())

    def count(self, function):
        return self.token.calls(function)

    def restart(self, good=True):
        """dev down, dev up."""
        self.site.down()
        return self.site.up(check=good)

    def kill_worker(self):
        worker = self.site.worker()
        os.kill(worker, signal.SIGKILL)
        wait_until(lambda: self.site.worker() not in (None, worker), "a new worker is started")

    def api(self):
        return kluis.Api(self.site)

    def tool(self, *words, pin=None, module=None):
        """pkcs11-tool, another program on the same token: beside the faults or, with their module, amid them."""
        words = ["pkcs11-tool", "--module", module or self.token.real, "--token-label", self.token.label, "--login", "--pin", pin or self.token.pin, *words]
        return subprocess.run(words, capture_output=True, text=True, check=False, timeout=kluis.PATIENCE)

    def set_pin(self, pin):
        self.token.write("pin", pin + "\n")

    def latches(self):
        """Notes of a refused PIN."""
        return [os.path.join(here, n) for here, _, names in os.walk(os.path.join(self.site.dir, "state")) for n in names if n.startswith("pin-refused")]


def create(api, name):
    return faulty.create(api, name)


class Sealed:
    """A plain text that only the key opens."""

    def __init__(self, key, alg="RSA-OAEP-256", plain=None):
        self.key, self.alg, self.plain = key, alg, plain or b"\0\0" + os.urandom(30)
        self.value = key.seal(self.plain, alg)

    def open(self, api):
        """The status of an unwrap. What comes back is compared, and whoever is sent away must be told when to come again."""
        status, headers, answer = api.call("POST", self.key.path + "/unwrapkey", {"alg": self.alg, "value": self.value})
        if status == 200:
            check_equal(kluis.un_b64url(answer["value"]), self.plain, f"what {self.alg} gives back is what was wrapped")
        if status in (429, 503):
            check(int(headers["Retry-After"]) >= 0, f"{status} says when to come again")
        return status

    def opens_again(self, api, seconds=BACK_IN):
        wait_until(lambda: self.open(api) == 200, "unwrap works again", seconds)


def sign(api, key):
    """The status of a signature, which is verified."""
    digest = os.urandom(32)
    status, _, answer = api.call("POST", key.path + "/sign", {"alg": "RS256", "value": kluis.b64url(digest)})
    if status == 200:
        try:
            key.public.verify(kluis.un_b64url(answer["value"]), digest, padding.PKCS1v15(), utils.Prehashed(hashes.SHA256()))
        except InvalidSignature:
            check(False, "a signature is one of the key that was asked for")
    return status


class Callers:
    """Threads that unwrap and sign with several keys until the block ends. Each answer is compared; statuses are counted."""

    def __init__(self, f, keys, count=4, algs=ALGS):
        self.jobs = [Sealed(k, alg) for k in keys for alg in algs]
        self.statuses, self.faults, self.lock, self.stopped = {}, [], threading.Lock(), False
        apis = [f.api() for _ in range(count)]
        for a in apis:
            a.login()  # before, as the token signs what they get
        self.threads = [threading.Thread(target=self.run, args=(a, i)) for i, a in enumerate(apis)]

    def run(self, api, turn):
        try:
            while not self.stopped:
                job = self.jobs[turn % len(self.jobs)]
                status = sign(api, job.key) if turn % 5 == 4 else job.open(api)
                with self.lock:
                    self.statuses[status] = self.statuses.get(status, 0) + 1
                if status != 200:
                    time.sleep(0.02)  # as a caller does that was told to come again
                turn += 1
        except Exception as e:  # raised by whoever waits
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
