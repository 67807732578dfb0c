#!/usr/bin/env python3
"""Two tokens in one service, one of them behind a daemon that hangs, dies and comes back: whoever uses the other notices nothing, the
callers of the ill one wait for one deadline, and nobody restarts anything. A flood of garbage is no illness."""
import os
import sys
import threading

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "../lib"))
sys.path.insert(0, os.path.join(HERE, "../token/scripts"))
import kluis
import p11kit
from kluis import Api, check, check_equal, wait_until

DEK = b"0123456789abcdef0123456789abcdef"
RETURN_S = 10 if not os.environ.get("ASAN_OPTIONS") else kluis.PATIENCE


def wrapped(api, alg="RSA-OAEP-256"):
    """A new key and what it wraps: (path of its unwrapkey, body)."""
    kid = api.must("POST", "/keys/recovery/create", {"kty": "RSA", "key_size": 2048})["key"]["kid"]
    path = "/keys/" + kid.split("/keys/")[1]
    return path + "/unwrapkey", {"alg": alg, "value": api.must("POST", f"{path}/wrapkey", {"alg": alg, "value": kluis.b64url(DEK)})["value"]}


def unwrap(api, key):
    status, _, answer = api.call("POST", *key)
    if status == 200:
        check_equal(kluis.un_b64url(answer["value"]), DEK, "what comes back is what was wrapped")
    return status


def health(site, name):
    """What /readyz says of a token, and its own status."""
    status, _, answer = Api(site).call("GET", "/readyz", auth=False)
    return status, answer["status"], next(t for t in answer["tokens"] if t["name"] == name)


class Far:
    """A site whose second token is seen through p11-kit's remote client; with a vault on each."""

    def __enter__(self):
        self.token = p11kit.Remote()
        self.token.label = "far"
        self.token.__enter__()
        self.site = kluis.Site()
        try:
            self.site.env = dict(self.token.env)
            self.site.__enter__()
            with open(self.site.env["KLUIS_CONFIG"], "a", encoding="utf-8") as f:
                f.write(f"\n[token far]\nmodule = {self.token.module}\nuri = {self.token.uri}\n"
                        f"pin-source = {self.token.path('pin')}\nworkers = 2\ndeadline = 3s\nstart-deadline = 3s\nkeep-alive = 1s\n")
            self.site.down()
            os.environ.update(self.token.env)
            self.site.up()
            self.site.wait_ready()
            self.site.run("vault", "create", "--name", "far", "--origins", f"far.vault.localhost:{self.site.port}", "--token", "far",
                          "--retention-days", "7")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *unused):
        for name in self.token.env:
            os.environ.pop(name, None)
        self.site.__exit__()
        self.token.__exit__()


class Load:
    """Threads that unwrap on the near token until the end; what they were answered."""

    def __init__(self, site, key, threads=3):
        self.site, self.key, self.seen, self.faults, self.stop = site, key, [], [], threading.Event()
        self.threads = [threading.Thread(target=self.work) for _ in range(threads)]

    def work(self):
        try:
            api = Api(self.site)
            while not self.stop.is_set():
                self.seen.append(unwrap(api, self.key))
        except Exception as e:  # the main thread tells
            self.faults.append(repr(e))

    def __enter__(self):
        for t in self.threads:
            t.start()
        return self

    def __exit__(self, *unused):
        self.stop.set()
        for t in self.threads:
            t.join()

    def more(self, n=30):
        before = len(self.seen)
        wait_until(lambda: len(self.seen) >= before + n or self.faults, "the near token's callers are served")


def test_a_hung_daemon_costs_its_own_callers_one_deadline():
    with Far() as far:
        site, daemon = far.site, far.site.daemon()
        near_key, far_key = wrapped(Api(site)), wrapped(Api(site, "far"))
        with Load(site, near_key) as load:
            for _ in range(2):
                api = Api(site, "far")
                check_equal(unwrap(api, far_key), 200, "the far token serves")
                far.token.hang()
                check_equal(unwrap(api, far_key), 503, "a call to the hung token ends by itself")
                status, word, token = health(site, "far")
                check_equal((status, word), (200, "degraded"), "the service is still ready, and says that something is wrong")
                check(token["circuit"] in ("open", "half-open"), f"the circuit of the hung token is not closed: {token}")
                load.more()
                for _ in range(5):
                    check_equal(unwrap(api, far_key), 503, "further callers are refused")
                load.more()
                check_equal(health(site, "main")[2]["state"], "ready", "the other token")
                far.token.go_on()
                wait_until(lambda: unwrap(api, far_key) == 200, "the far token serves again", RETURN_S)  # pylint: disable=cell-var-from-loop
        check_equal(load.faults, [], "faults of the near token's callers")
        check_equal(set(load.seen), {200}, "what the near token's callers were answered")
        check_equal(site.daemon(), daemon, "kluisd is still the same process")


def test_a_daemon_that_dies_and_returns():
    with Far() as far:
        site, daemon = far.site, far.site.daemon()
        far_key, api = wrapped(Api(site, "far")), Api(site, "far")
        for _ in range(2):
            far.token.vanish()
            # nobody calls: the keep-alive notices
            wait_until(lambda: health(site, "far")[2]["state"] == "down", "the loss is noticed without a call")
            check_equal(unwrap(api, far_key), 503, "unwrap while the token is away")
            far.token.restore()
            wait_until(lambda: unwrap(api, far_key) == 200, "unwrap works again", RETURN_S)
        check_equal(site.daemon(), daemon, "kluisd is still the same process")


def test_health_is_told_everywhere(site):
    site.down()  # now the token has keys when it starts
    site.up()
    shown = site.json("token", "show", "--name", "main")
    check_equal(shown["circuit"], "closed", "the circuit of a token that is well")
    check(shown["lastCanary"] > 0, "a token with keys has passed a canary at its start")
    token = health(site, "main")[2]
    check(0 <= token["canaryAge"] < kluis.PATIENCE, f"/readyz says how old the canary is: {token}")
    _, _, raw = Api(site).exchange("GET", "/metrics")
    rows = dict(line.rsplit(" ", 1) for line in raw.decode().splitlines() if not line.startswith("#"))
    check_equal(rows['kluis_token_circuit{token="main"}'], "0", "the circuit in the metrics")
    check(int(rows['kluis_token_canary_age_seconds{token="main"}']) < kluis.PATIENCE, "the canary's age in the metrics")
    copy = wait_until(lambda: site.json("token", "show", "--name", "main")["lastCopy"], "a proved copy of the token's folder is made")
    check(copy > 0, "and its time is told")


def test_garbage_is_no_illness(site):
    api = Api(site)
    path, body = wrapped(api, "RSA-OAEP")
    before = site.json("token", "show", "--name", "main")
    answers, threads = [], []

    def flood():
        mine = Api(site)
        for _ in range(1000 if kluis.FULL else 250):
            bad = b"\0" + os.urandom(255)
            answers.append(mine.call("POST", path, {"alg": "RSA-OAEP", "value": kluis.b64url(bad)})[0])

    for _ in range(4):
        threads.append(threading.Thread(target=flood))
        threads[-1].start()
    good = 0
    while any(t.is_alive() for t in threads):
        check_equal(unwrap(api, (path, body)), 200, "a good ciphertext among the garbage")
        good += 1
    for t in threads:
        t.join()
    check(good > 0, "good requests were served while the garbage came")
    check_equal(set(answers), {400}, "what garbage is answered")
    after = site.json("token", "show", "--name", "main")
    check_equal((after["circuit"], after["restarts"], after["generation"]), ("closed", before["restarts"], before["generation"]),
                "circuit, restarts and generation of the token")


kluis.main(globals())
