"""A real site whose clock can be moved, driven by the steps of soft_delete.py and held to its World after each of them."""
import http.client
import os
import random
import signal
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
import kluis
from kluis import Failed, check, check_equal, wait_until
from moved import MovedSite
from soft_delete import ACTIVE, DAY, DELETED, KINDS, World

NUDGE = 61  # the sweeper looks once a minute


class Late(Failed):
    """Something is there that should be gone."""


class Driver:
    """One site and its World; `step` does one step in both."""

    def __init__(self, site, world_class=World, seed=0):
        self.site, self.world = site, world_class()
        self.random = random.Random(seed)
        self.ids, self.blobs = {}, {}  # version ids by serial; the last backup of each object
        self.service = kluis.Api(site, None)
        self.vaults, self.objects = set(), set()  # that any step named

    def call(self, vault, method, path, body=None):
        """(status, inner or outer error code or None, answer); one connection for all vaults."""
        if not self.service.token:
            self.service.login()
        host = f"{vault}.vault.localhost:{self.site.port}" if vault else None
        status, _, answer = self.service.call(method, path, body, host=host)
        error = (answer or {}).get("error") or {}
        return status, (error.get("innererror") or {}).get("code") or error.get("code"), answer

    # --- a step as a request: (vault or None, method, path, body) ---

    def request(self, step):
        return getattr(self, "ask_" + step[0])(*step[1:])

    def ask_set(self, vault, kind, name, serial):
        tags = {"n": str(serial)}
        if kind == "secrets":
            return vault, "PUT", f"/secrets/{name}", {"value": f"value {serial}", "tags": tags}
        return vault, "POST", f"/keys/{name}/create", {"kty": "EC", "crv": "P-256", "tags": tags}

    def ask_enable(self, vault, kind, name, flag):
        newest = "" if kind == "keys" else "/" + self.newest_id(vault, kind, name)
        return vault, "PATCH", f"/{kind}/{name}{newest}", {"attributes": {"enabled": flag}}

    def newest_id(self, vault, kind, name):
        v = self.world.vaults.get(vault)
        o = v.objects.get((kind, name)) if v else None
        return self.ids.get(o.versions[-1].serial, "0" * 32) if o else "0" * 32

    def ask_delete(self, vault, kind, name):
        return vault, "DELETE", f"/{kind}/{name}", None

    def ask_recover(self, vault, kind, name):
        return vault, "POST", f"/deleted{kind}/{name}/recover", None

    def ask_purge(self, vault, kind, name):
        return vault, "DELETE", f"/deleted{kind}/{name}", None

    def ask_backup(self, vault, kind, name):
        return vault, "POST", f"/{kind}/{name}/backup", None

    def ask_restore(self, vault, kind, name, source):
        return vault, "POST", f"/{kind}/restore", {"value": self.blobs[(source, kind, name)]}

    def ask_vault(self, vault, retention, protected):
        return None, "PUT", f"/kluis/v1/vaults/{vault}", {"origins": [f"{vault}.vault.localhost:{self.site.port}"], "softDeleteRetentionInDays": retention,
                                                         "enablePurgeProtection": protected}

    def ask_protect(self, vault, flag):
        return None, "PATCH", f"/kluis/v1/vaults/{vault}", {"enablePurgeProtection": flag}

    def ask_vdelete(self, vault):
        return None, "DELETE", f"/kluis/v1/vaults/{vault}", None

    def ask_vrecover(self, vault):
        return None, "POST", f"/kluis/v1/deletedvaults/{vault}/recover", None

    def ask_vpurge(self, vault):
        return None, "DELETE", f"/kluis/v1/deletedvaults/{vault}", None

    # --- steps ---

    def step(self, step):
        if step[0] in ("wall", "pass", "restart", "crash"):
            getattr(self, "all_" + step[0])(*step[1:])
            return
        self.vaults.add(step[1])
        if len(step) > 3 and step[2] in KINDS:
            self.objects.add(step[2:4])
        if step[0] == "restore" and (step[4], step[2], step[3]) not in self.blobs:
            return  # nothing to restore yet
        request = self.request(step)
        wanted = self.world.do(step)
        status, code, answer = self.call(*request)
        check_equal((status, code), wanted, f"{step}: {answer}")
        self.learn(step, status, answer)
        self.compare(step[1], step[2:4] if len(step) > 3 and step[2] in KINDS else None)

    def learn(self, step, status, answer):
        if status != 200:
            return
        if step[0] == "set":
            check(step[4] not in self.ids, "a serial is used once")
            self.ids[step[4]] = id_of(answer)
        elif step[0] == "backup":
            self.blobs[step[1:]] = answer["value"]

    def all_wall(self, seconds):
        self.site.move(seconds, 0)
        self.world.do(("wall", seconds))
        self.settle([self.world])
        self.compare_all()

    def all_pass(self, seconds):
        self.site.move(seconds, seconds)
        self.world.do(("pass", seconds))
        self.settle([self.world])
        self.compare_all()

    def settle(self, worlds):
        """The sweeper has seen the time as it is. Once a minute it notes the time, then purges: at its second note it has done so."""
        self.service.close()  # which was idle for too long
        for _ in range(2):
            self.wait_counted(worlds, time.monotonic() + kluis.PATIENCE)

    def wait_counted(self, worlds, end):
        """A minute, and once more if the token was busy in it."""
        while True:
            self.site.move(NUDGE, NUDGE)
            for world in worlds:
                world.do(("pass", NUDGE))
            patience = time.monotonic() + 5
            while time.monotonic() < patience:
                if self.site.counted() >= self.site.boot:
                    return
                time.sleep(0.02)
            check(time.monotonic() < end, "the service counts the time that passed")

    def all_restart(self):
        self.service.close()
        self.site.down()
        self.begin()

    def all_crash(self, step):
        """kill -9 while `step` is under way: afterwards it has happened or it has not."""
        before = self.world.copy()
        possible = step[0] != "restore" or (step[4], step[2], step[3]) in self.blobs
        answers = []
        if possible and not self.service.token:
            self.service.login()
        request = self.request(step) if possible else None
        api = kluis.Api(self.site, request[0] if possible else None)
        api.token = self.service.token

        def send():
            try:
                answers.append(api.call(*request[1:]))
            except (OSError, http.client.HTTPException, ValueError):
                pass
        thread = threading.Thread(target=send if possible else lambda: None)
        thread.start()
        thread.join(self.random.random() * 0.03)
        os.kill(self.site.daemon(), signal.SIGKILL)
        thread.join()
        self.service.close()
        wait_until(lambda: not self.site.daemon() and not self.site.worker(), "all is gone")
        if possible:
            self.world.do(step)
        self.begin([self.world, before] if not answers else [self.world], step if possible else None, answers)

    def begin(self, candidates=None, step=None, answers=()):
        """Start, and find which of the candidates is true."""
        done = self.site.reconciled()
        self.site.up()
        wait_until(lambda: self.site.reconciled() > done, "reconciled")
        self.service = kluis.Api(self.site, None)
        candidates = candidates or [self.world]
        for world in candidates:
            world.do(("restart",))
        self.settle(candidates)
        if step and step[0] == "set":
            self.adopt(step)
        if step and step[0] == "backup":
            self.keep_backup(step, answers, candidates)
        faults = []
        for self.world in candidates:
            try:
                self.compare_all()
                return
            except Failed as e:
                faults.append(str(e))
        raise Failed(f"after a start, {step} under way: " + " | ".join(faults))

    def keep_backup(self, step, answers, candidates):
        """One whose answer was lost is no backup."""
        if answers and answers[0][0] == 200:
            self.blobs[step[1:]] = answers[0][2]["value"]
            return
        self.blobs.pop(step[1:], None)
        for world in candidates:
            world.backups.pop(step[1:], None)

    def adopt(self, step):
        """The id of a version whose making was not answered."""
        status, _, answer = self.call(step[1], "GET", f"/{step[2]}/{step[3]}")
        if status == 200 and answer.get("tags", {}).get("n") == str(step[4]):
            self.ids[step[4]] = id_of(answer)

    # --- comparing ---

    def compare_all(self, minutes=3):
        """A purge by date that finds the token busy comes again a minute later."""
        self.service.login()
        try:
            for vault in sorted(self.vaults):
                self.compare(vault, None)
        except Late:
            if minutes == 0:
                raise
            self.settle([self.world])
            self.compare_all(minutes - 1)

    def compare(self, vault, key):
        """The vault, with this object or all, as the World has it."""
        v = self.world.vaults.get(vault)
        state = v.state if v else None
        active = self.look(None, f"/kluis/v1/vaults/{vault}", state == ACTIVE)
        deleted = self.look(None, f"/kluis/v1/deletedvaults/{vault}", state == DELETED)
        if state == DELETED:
            self.compare_dates(vault, v, v.retention, deleted)
        if state != ACTIVE:
            return
        check_equal((active["softDeleteRetentionInDays"], active["enablePurgeProtection"]), (v.retention, v.protected), f"{vault}: its settings")
        for kind, name in [key] if key else sorted(self.objects):
            self.compare_object(vault, v, kind, name)

    def look(self, vault, path, there):
        status, _, answer = self.call(vault, "GET", path)
        if status == 200 and not there:
            raise Late(f"{vault} GET {path} is there: {answer}")
        check_equal(status, 200 if there else 404, f"{vault} GET {path}: {answer}")
        return answer

    def compare_object(self, vault, v, kind, name):
        o = v.objects.get((kind, name))
        state = o.state if o else None
        deleted = self.look(vault, f"/deleted{kind}/{name}", state == DELETED)
        if state == DELETED:
            self.compare_dates(f"{vault}/{kind}/{name}", o, v.retention, deleted)
        # the list of versions, as a disabled secret shows itself nowhere else
        listed = {id_of(row): row for row in self.call(vault, "GET", f"/{kind}/{name}/versions")[2].get("value", [])}
        wanted = {self.ids.get(x.serial): (str(x.serial), x.enabled) for x in o.versions} if state == ACTIVE else {}
        got = {i: (row["tags"]["n"], row["attributes"]["enabled"]) for i, row in listed.items()}
        check_equal(got, wanted, f"{vault}/{kind}/{name}: its versions")

    def compare_dates(self, what, life, retention, answer):
        check_equal(answer["scheduledPurgeDate"] - answer["deletedDate"], retention * DAY, f"{what}: its retention")
        off = answer["deletedDate"] - (time.time() + life.deleted_wall)
        check(-3600 < off < 60, f"{what}: deleted at another time than now, by {off:.0f} s")


def id_of(answer):
    return (answer.get("key", {}).get("kid") or answer.get("kid") or answer["id"]).rsplit("/", 1)[1]
