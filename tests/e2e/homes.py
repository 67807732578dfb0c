"""One service on several tokens: vaults with several homes, copies of keys, failover, a home that was away when a key was made."""
import os
import signal
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
import kluis
from kluis import Api, Site, b64url, check, check_equal, un_b64url, wait_until

DEADLINE = 4  # seconds a token may take for an operation, as these tests configure it


def two():
    return Site(options=["--tokens", "2"])


def quick(site):
    """A shorter deadline of the tokens, so that a hang costs the test little."""
    with open(site.env["KLUIS_CONFIG"], encoding="utf-8") as f:
        text = f.read()
    with open(site.env["KLUIS_CONFIG"], "w", encoding="utf-8") as f:
        f.write(text.replace("\nworkers =", f"\ndeadline = {DEADLINE}s\nworkers ="))
    site.down()
    site.up()


def token(site, name):
    return next(t for t in site.json("token", "list") if t["name"] == name)


def vault(site, name, tokens, *more):
    return site.json("vault", "create", "--name", name, "--origins", f"{name}.vault.localhost:{site.port}", "--token", tokens,
                     "--retention-days", "7", *more)


def wrap(api, key, data):
    return api.must("POST", f"/keys/{key}/wrapkey", {"alg": "RSA-OAEP-256", "value": b64url(data)})


def unwrap(api, answer):
    path = answer["kid"].split("/keys/")[1]
    return un_b64url(api.must("POST", f"/keys/{path}/unwrapkey", {"alg": "RSA-OAEP-256", "value": answer["value"]})["value"])


def homes(site, vault_name, key):
    return site.json("key", "show", "--vault-name", vault_name, "--name", key)["kluis"].get("tokens")


class Away:
    """A token that is gone as long as the context lasts: its objects are moved out of the store, its worker is killed."""

    def __init__(self, site, name):
        self.site, self.name = site, name
        self.store = os.path.join(site.dir, "softhsm")
        self.label = {"main": b"kluis", "second": b"kluis-2"}[name]

    def folder(self):
        for entry in os.listdir(self.store):
            path = os.path.join(self.store, entry, "token.object")
            with open(path, "rb") as f:
                padded = self.label.ljust(32, b" ")
                if padded in f.read():
                    return entry
        raise kluis.Failed(f"no token labelled {self.label} in {self.store}")

    def __enter__(self):
        pid = token(self.site, self.name)["workerPid"]
        self.entry = self.folder()
        os.rename(os.path.join(self.store, self.entry), os.path.join(self.site.dir, self.entry))
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: token(self.site, self.name)["state"] != "ready", "the token is known to be away")
        return self

    def __exit__(self, *unused):
        os.rename(os.path.join(self.site.dir, self.entry), os.path.join(self.store, self.entry))


def test_a_vault_on_two_tokens_keeps_every_key_on_both():
    with two() as site:
        made = vault(site, "pair", "main,second")
        check_equal(made["tokens"], ["main", "second"], "homes of the new vault")
        check_equal(site.json("vault", "show", "--name", "pair")["tokens"], ["main", "second"], "homes as shown")
        key = site.json("key", "create", "--vault-name", "pair", "--name", "kek")
        check_equal(key["kluis"]["tokens"], ["main", "second"], "homes of a new key")
        rotated = site.json("key", "rotate", "--vault-name", "pair", "--name", "kek")
        check_equal(rotated["kluis"]["tokens"], ["main", "second"], "homes of a new version")
        signer = site.json("key", "create", "--vault-name", "pair", "--name", "signer", "--kty", "EC")
        check_equal(signer["kluis"]["tokens"], ["main", "second"], "homes of an EC key")
        fixed = site.json("key", "create", "--vault-name", "pair", "--name", "stays", "--no-backup")
        check("tokens" not in fixed["kluis"], "a fixed key has one home")
        blob = os.path.join(site.dir, "kek.blob")
        site.run("key", "backup", "--vault-name", "pair", "--name", "kek", "--file", blob)
        check_equal(made["profile"], "domain-backed", "profile")
        vault(site, "heir", "second,main")
        restored = site.json("key", "restore", "--vault-name", "heir", "--file", blob)
        check_equal(restored["kluis"]["tokens"], ["second", "main"], "homes of a restored key, in its vault's order")
        for bad in ("main,main", "main,nobody", "nobody"):
            r = site.run("vault", "create", "--name", "odd", "--origins", f"odd.vault.localhost:{site.port}", "--token", bad, check=False)
            check(r.returncode != 0, f"--token {bad} is refused")


def test_secrets_are_read_and_made_while_the_first_token_is_away():
    """The keys of vaults that seal secrets are wrapped by a key that has homes too."""
    with two() as site:
        for name in ("pair", "blank"):
            vault(site, name, "main,second")
        Api(site, "pair").must("PUT", "/secrets/s", {"value": "of before"})
        site.down()
        site.up()
        site.wait_ready()
        with Away(site, "main"):
            check_equal(Api(site, "pair").must("GET", "/secrets/s")["value"], "of before", "a secret whose vault key nobody has in memory")
            blank = Api(site, "blank")
            blank.must("PUT", "/secrets/first", {"value": "made meanwhile"})
            check_equal(blank.must("GET", "/secrets/first")["value"], "made meanwhile", "the first secret of a vault")
        wait_until(lambda: token(site, "main")["state"] == "ready", "the token is back")
        site.down()
        site.up()
        site.wait_ready()
        check_equal(Api(site, "blank").must("GET", "/secrets/first")["value"], "made meanwhile", "after a restart with both tokens")


def test_a_killed_worker_and_a_hung_one_cost_at_most_one_deadline():
    with two() as site:
        quick(site)
        vault(site, "pair", "main,second")
        api = Api(site, "pair")
        site.json("key", "create", "--vault-name", "pair", "--name", "kek")
        wrapped = wrap(api, "kek", b"k" * 32)
        check_equal(unwrap(api, wrapped), b"k" * 32, "with both homes")
        before = token(site, "second")["calls"]
        for _ in range(20):
            unwrap(api, wrapped)
        check(token(site, "second")["calls"] < before + 20, "while both are there the preferred home does the work")
        os.kill(token(site, "main")["workerPid"], signal.SIGKILL)
        for _ in range(50):
            check_equal(unwrap(api, wrapped), b"k" * 32, "right after the death of a worker")
        wait_until(lambda: token(site, "main")["state"] == "ready", "the worker is replaced")
        pid = token(site, "main")["workerPid"]
        os.kill(pid, signal.SIGSTOP)
        try:
            start = time.monotonic()
            check_equal(unwrap(api, wrapped), b"k" * 32, "while a worker hangs")
            first = time.monotonic() - start
            check(first < DEADLINE, f"the first caller waits less than one deadline: {first:.1f} s")
            start = time.monotonic()
            for _ in range(20):
                check_equal(unwrap(api, wrapped), b"k" * 32, "while a worker hangs, again")
            rest = time.monotonic() - start
            check(rest < 5 * DEADLINE, f"later callers are sent to the other home at once, where 20 shares of the deadline are 40 s: {rest:.1f} s")
            check(len(wrap(api, "kek", b"n" * 32)["value"]) > 300, "wrapKey is proved by the home that is there")
        finally:
            try:
                os.kill(pid, signal.SIGCONT)
            except ProcessLookupError:
                pass  # the service has replaced it


def test_many_callers_lose_nothing_while_homes_come_and_go():
    with two() as site:
        vault(site, "pair", "main,second")
        site.json("key", "create", "--vault-name", "pair", "--name", "kek")
        wrapped = wrap(Api(site, "pair"), "kek", b"k" * 32)
        stop, wrong, done = threading.Event(), [], []

        def caller():
            api = Api(site, "pair")
            while not stop.is_set():
                try:
                    if unwrap(api, wrapped) != b"k" * 32:
                        wrong.append("a wrong key")
                except kluis.Failed as e:
                    wrong.append(str(e))
                done.append(1)

        threads = [threading.Thread(target=caller) for _ in range(6)]
        for t in threads:
            t.start()
        try:
            for name in ("main", "second", "main"):
                os.kill(token(site, name)["workerPid"], signal.SIGKILL)
                wait_until(lambda name=name: token(site, name)["state"] == "ready", f"{name} is back")
        finally:
            stop.set()
            for t in threads:
                t.join()
        check(done and not wrong, f"{len(done)} unwraps, faults: {wrong[:3]}")


def test_a_home_that_was_away_gets_its_copies_later():
    with two() as site:
        vault(site, "pair", "main,second")
        site.json("key", "create", "--vault-name", "pair", "--name", "old")
        old = wrap(Api(site, "pair"), "old", b"o" * 32)
        with Away(site, "main"):
            api = Api(site, "pair")  # a new login, too
            check_equal(unwrap(api, old), b"o" * 32, "an old key, by its second home")
            made = site.json("key", "create", "--vault-name", "pair", "--name", "new")
            check_equal(made["kluis"]["token"], "second", "made where it can be")
            check("tokens" not in made["kluis"], "with one home so far")
            new = wrap(api, "new", b"n" * 32)
            site.json("key", "set-attributes", "--vault-name", "pair", "--name", "old", "--tags", "a=b")
            site.run("key", "delete", "--vault-name", "pair", "--name", "old", "--yes")
            site.json("key", "recover", "--vault-name", "pair", "--name", "old")
            site.down()
            site.up()  # nor does a start need the first token
            check_equal(unwrap(Api(site, "pair"), new), b"n" * 32, "after a restart without the first token")
        wait_until(lambda: homes(site, "pair", "new") == ["main", "second"], "reconciliation copies the key to the home that came back")
        with Away(site, "second"):
            check_equal(unwrap(Api(site, "pair"), new), b"n" * 32, "by the copy alone")


def test_the_list_of_homes_can_be_changed_later():
    with two() as site:
        made = vault(site, "grows", "main")
        check_equal(made["tokens"], ["main"], "one home")
        for name in ("a", "b"):
            site.json("key", "create", "--vault-name", "grows", "--name", name)
        check_equal(homes(site, "grows", "a"), None, "one home")
        changed = site.json("vault", "update", "--name", "grows", "--token", "second,main")
        check_equal(changed["tokens"], ["second", "main"], "the list is changed")
        for name in ("a", "b"):
            check_equal(homes(site, "grows", name), ["second", "main"], f"key {name} is copied, and asks the new home first")
        site.down()
        site.up()
        check_equal(site.json("vault", "show", "--name", "grows")["tokens"], ["second", "main"], "kept over a restart")
        check_equal(homes(site, "grows", "a"), ["second", "main"], "homes kept over a restart")


def on_tokens(site):
    """How many private keys each token has, counted by a tool that is not ours."""
    import subprocess
    counts = {}
    for name, label in (("main", "kluis"), ("second", "kluis-2")):
        with open(os.path.join(site.dir, "pin"), encoding="ascii") as f:
            pin = f.read().strip()
        out = subprocess.run(["pkcs11-tool", "--module", "/usr/lib/softhsm/libsofthsm2.so", "--token-label", label, "--login", "--pin",
                              "env:HOMES_PIN", "--list-objects", "--type", "privkey"], capture_output=True, text=True, check=True,
                             env={**os.environ, "HOMES_PIN": pin, "SOFTHSM2_CONF": site.env["SOFTHSM2_CONF"]}).stdout
        counts[name] = out.count("Private Key Object")
    return counts


def test_purge_destroys_every_copy():
    with two() as site:
        vault(site, "pair", "main,second")
        before = on_tokens(site)
        site.json("key", "create", "--vault-name", "pair", "--name", "kek")
        between = on_tokens(site)
        check_equal({t: between[t] - before[t] for t in before}, {"main": 1, "second": 1}, "one object on each token")
        site.run("key", "delete", "--vault-name", "pair", "--name", "kek", "--yes")
        site.run("key", "purge", "--vault-name", "pair", "--name", "kek", "--yes")
        check_equal(on_tokens(site), before, "nothing is left on either")


def test_two_tokens_of_one_label_need_serials():
    with two() as site:
        site.down()
        config = site.env["KLUIS_CONFIG"]
        with open(config, encoding="utf-8") as f:
            good = f.read()
        for bad, words in ((good.replace("uri = pkcs11:token=kluis-2", "uri = pkcs11:token=kluis"), "same module and uri"),
                           (good.replace("uri = pkcs11:token=kluis-2", "uri = pkcs11:token=kluis;model=SoftHSM%20v2"), "one and the same")):
            with open(config, "w", encoding="utf-8") as f:
                f.write(bad)
            r = site.up(check=False)
            check(r.returncode != 0, f"refused: {words}")
            check(words in r.stderr + site.log_tail(30), f"and says why: {words}: {r.stderr}")
        with open(config, "w", encoding="utf-8") as f:
            f.write(good)
        site.up()


if __name__ == "__main__":
    kluis.main(globals())
