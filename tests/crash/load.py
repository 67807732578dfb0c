"""The load of the crash test: threads that create, rotate, wrap, back up, delete, recover, purge and restore keys, each on its own names."""
import os
import random
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
import kluis
from journal import Key

# Answers that promise nothing and may come while a worker is being replaced.
TRY_AGAIN = (429, 503)


class Lost(Exception):
    """The connection broke: nobody knows whether the request happened."""


class Thread(threading.Thread):
    def __init__(self, number, site, journal, seed):
        super().__init__(daemon=True)
        self.number, self.site, self.journal = number, site, journal
        self.random = random.Random(seed)
        self.keys, self.made = [], 0
        self.stop, self.fault = threading.Event(), None
        self.api = None

    def restart(self):
        """A fresh thread that goes on with the same names."""
        t = Thread(self.number, self.site, self.journal, self.random.random())
        t.keys, t.made = self.keys, self.made
        return t

    def run(self):
        try:
            self.api = kluis.Api(self.site, timeout=60)
            while not self.stop.is_set():
                self.step()
        except (Lost, OSError):
            pass  # the daemon is gone, which is the point
        except Exception as e:  # anything else is a finding
            self.fault = e
        finally:
            if self.api:
                self.api.close()

    def ask(self, key, what, method, path, body=None, wanted=(200,), leads_to=None):
        """A noted request: the answer, or None when the service asked to come again."""
        self.journal.note("will", key, ask=what)
        if leads_to:
            key.maybe.add(leads_to)
        try:
            status, _, answer = self.api.call(method, path, body)
        except OSError as e:
            raise Lost(str(e)) from e
        if status in TRY_AGAIN:
            time.sleep(0.05)
            return None  # like a lost answer it may have happened: `maybe` stays
        if status not in wanted:
            raise kluis.Failed(f"{what} {key.name}: {status} {answer}")
        self.journal.note("done", key, did=what)
        if leads_to:
            key.state, key.maybe = leads_to, set()
        return answer or {}

    def step(self):
        sure = [k for k in self.keys if not k.maybe and not k.unsure_versions]
        active = [k for k in sure if k.state == "active"]
        deleted = [k for k in sure if k.state == "deleted"]
        choices = [(self.create, 2 if len(active) < 4 else 1)]
        if active:
            choices += [(lambda: self.wrap(self.random.choice(active)), 6), (lambda: self.rotate(self.random.choice(active)), 1),
                        (lambda: self.back_up(self.random.choice(active)), 1), (lambda: self.delete(self.random.choice(active)), 1)]
        if deleted:
            choices += [(lambda: self.recover(self.random.choice(deleted)), 1), (lambda: self.purge_and_restore(self.random.choice(deleted)), 1)]
        self.random.choices([c for c, _ in choices], [w for _, w in choices])[0]()

    def create(self):
        self.made += 1
        kind = "RSA" if self.random.random() < 0.4 else "EC"
        key = Key(f"t{self.number}-{self.made}", kind)
        self.keys.append(key)
        body = {"kty": "RSA", "key_size": 2048} if kind == "RSA" else {"kty": "EC", "crv": "P-256"}
        answer = self.ask(key, "create", "POST", f"/keys/{key.name}/create", body, leads_to="active")
        if answer:
            key.versions.append(answer["key"]["kid"].rsplit("/", 1)[1])

    def rotate(self, key):
        key.unsure_versions = True
        answer = self.ask(key, "rotate", "POST", f"/keys/{key.name}/rotate")
        if answer:
            key.unsure_versions = False
            key.versions.append(answer["key"]["kid"].rsplit("/", 1)[1])

    def wrap(self, key):
        version = self.random.choice(key.versions)
        if key.kind == "EC":
            digest = kluis.b64url(self.random.randbytes(32))
            self.ask(key, "sign", "POST", f"/keys/{key.name}/{version}/sign", {"alg": "ES256", "value": digest})
            return
        dek = self.random.randbytes(32)
        answer = self.ask(key, "wrap", "POST", f"/keys/{key.name}/{version}/wrapkey", {"alg": "RSA-OAEP-256", "value": kluis.b64url(dek)})
        if answer:
            key.wraps.append((version, dek, answer["value"]))

    def back_up(self, key):
        answer = self.ask(key, "backup", "POST", f"/keys/{key.name}/backup")
        if answer:
            key.blob = (answer["value"], list(key.versions))

    def delete(self, key):
        self.ask(key, "delete", "DELETE", f"/keys/{key.name}", leads_to="deleted")

    def recover(self, key):
        self.ask(key, "recover", "POST", f"/deletedkeys/{key.name}/recover", leads_to="active")

    def purge_and_restore(self, key):
        """A purge loses the versions that no backup holds; what the backup holds comes back by a restore."""
        if self.ask(key, "purge", "DELETE", f"/deletedkeys/{key.name}", wanted=(204,), leads_to="absent") is None:
            return
        if not key.blob:
            key.versions, key.wraps = [], []
            return
        blob, versions = key.blob
        key.versions = list(versions)  # its own: the list beside the blob is what the blob holds
        key.wraps = [w for w in key.wraps if w[0] in versions]
        self.ask(key, "restore", "POST", "/keys/restore", {"value": blob}, leads_to="active")
