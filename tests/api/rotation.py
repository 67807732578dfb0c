#!/usr/bin/env python3
"""Rotation policies and events: what is accepted, what happens when its time comes, whatever the service was doing then, and who is told."""
import json
import os
import signal
import struct
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
import kluis
from kluis import check, check_equal, wait_until
from receiver import Receiver

SHIM = os.path.join(kluis.BIN, "../tests/libmoved-clock.so")
DAY = 86400
NUDGE = 61  # housekeeping looks once a minute
EC = {"kty": "EC", "crv": "P-256"}
NOTIFY = {"trigger": {"timeBeforeExpiry": "P30D"}, "action": {"type": "Notify"}}


def rotate(trigger, when):
    return {"trigger": {trigger: when}, "action": {"type": "Rotate"}}


def policy(*actions, expiry=None):
    return {"lifetimeActions": list(actions), "attributes": {"expiryTime": expiry} if expiry else {}}


class MovedSite(kluis.Site):
    """A site whose clocks the test moves, with a receiver in its configuration."""

    def __init__(self, receiver=None, settings=()):
        super().__init__()
        self.clock_file = os.path.join(self.dir, "moved-clock")
        self.moved = self.booted = 0
        self.receiver, self.settings = receiver, settings
        with open(self.clock_file, "wb") as f:
            f.write(bytes(16))

    def run(self, *args, **more):
        if args[:2] == ("dev", "up"):
            more["extra_env"] = {"LD_PRELOAD": SHIM, "MOVED_CLOCK": self.clock_file, **(more.get("extra_env") or {}),
                                 "ASAN_OPTIONS": "verify_asan_link_order=0:" + os.environ.get("ASAN_OPTIONS", "")}
        return super().run(*args, **more)

    def __enter__(self):
        super().__enter__()
        if self.receiver is not None:
            self.down()
            with open(self.env["KLUIS_CONFIG"], "a", encoding="utf-8") as f:
                f.write(f"\n[events]\nurl = {self.receiver.url}\nca-file = {self.receiver.ca_file}\nsecret-file = {self.receiver.secret_file}\n"
                        "retry-first = 50ms\nretry-most = 200ms\n" + "".join(f"{line}\n" for line in self.settings))
            self.up()
        return self

    def move(self, seconds):
        """The wall clock goes on, or back, by so much; the time since boot only on, and by a minute at least: then housekeeping looks."""
        self.moved += seconds
        self.booted += max(seconds, NUDGE)
        with open(self.clock_file, "r+b", buffering=0) as f:
            os.pwrite(f.fileno(), struct.pack("=q", self.booted), 8)
            os.pwrite(f.fileno(), struct.pack("=q", self.moved), 0)

    def audited(self, operation, name=None):
        with open(self.config_value("audit", "path"), encoding="utf-8") as f:
            rows = [json.loads(line) for line in f if f'"{operation}"' in line]
        return [r for r in rows if r.get("operationName") == operation and (name is None or f"/{name}/" in r["properties"]["id"])]


def versions(api, name):
    return api.must("GET", f"/keys/{name}/versions")["value"]


def settled(site, api, seconds):
    """Time goes on, and housekeeping has looked since: a marker key of its own was noticed."""
    site.marker = getattr(site, "marker", 0) + 1
    now = int(time.time()) + site.moved
    name = f"marker{site.marker}"
    api.close()  # idle for longer than the service waits, as its clock goes
    api.login()
    api.must("POST", f"/keys/{name}/create", {**EC, "attributes": {"exp": now + seconds + 31 * DAY}})
    site.move(seconds + 2 * DAY)
    api.close()
    wait_until(lambda: site.audited("KeyNearExpiryEventGridNotification", name), f"{name} was noticed{site.log_tail()}")
    api.login()


def test_what_a_policy_may_say(site):
    api = kluis.Api(site)
    api.must("POST", "/keys/k/create", EC)
    path = "/keys/k/rotationpolicy"
    check_equal(api.must("GET", path), {"id": f"https://{api.host}/keys/k/rotationpolicy", "lifetimeActions": [NOTIFY], "attributes": {}}, "a key without a policy")
    good = [
        (policy(rotate("timeAfterCreate", "P90D")), [rotate("timeAfterCreate", "P90D"), NOTIFY], None),
        (policy(rotate("timeBeforeExpiry", "P30D"), expiry="P90D"), [rotate("timeBeforeExpiry", "P30D"), NOTIFY], "P90D"),
        (policy({"trigger": {"timeBeforeExpiry": "P7D"}, "action": {"type": "notify"}}, expiry="P28D"),
         [{"trigger": {"timeBeforeExpiry": "P7D"}, "action": {"type": "Notify"}}], "P28D"),
        (policy({"trigger": {"timeAfterCreate": "P7D", "timeBeforeExpiry": None}, "action": {"type": "ROTATE"}}), [rotate("timeAfterCreate", "P7D"), NOTIFY], None),
        (policy({"trigger": {"timeAfterCreate": "P1Y10D", "timeBeforeExpiry": ""}, "action": {"type": "Rotate"}}, NOTIFY, expiry="P2Y"),
         [rotate("timeAfterCreate", "P1Y10D"), NOTIFY], "P2Y"),
        (policy(rotate("timeAfterCreate", "PT168H")), [rotate("timeAfterCreate", "PT168H"), NOTIFY], None),
        (policy(rotate("timeAfterCreate", "P3M")), [rotate("timeAfterCreate", "P3M"), NOTIFY], None),
        ({}, [NOTIFY], None),
    ]
    for body, actions, expiry in good:
        answer = api.must("PUT", path, body)
        check_equal(answer["lifetimeActions"], actions, f"{body}")
        check_equal(answer["attributes"].get("expiryTime"), expiry, f"{body}")
        check(answer["attributes"]["created"] <= answer["attributes"]["updated"], "times")
        check_equal(api.must("GET", path), answer, "read back")
    kept = api.must("GET", path)
    bad = [
        policy(rotate("timeAfterCreate", "P6D")), policy(rotate("timeAfterCreate", "PT167H")), policy(rotate("timeBeforeExpiry", "P30D")),
        policy(expiry="P27D"), policy(rotate("timeAfterCreate", "P84D"), expiry="P90D"), policy(rotate("timeBeforeExpiry", "P6D"), expiry="P90D"),
        policy(rotate("timeBeforeExpiry", "P84D"), expiry="P90D"), policy(rotate("timeAfterCreate", "P10D"), rotate("timeAfterCreate", "P11D")),
        policy(NOTIFY, NOTIFY), policy({"trigger": {"timeAfterCreate": "P10D"}, "action": {"type": "Notify"}}),
        policy({"trigger": {"timeAfterCreate": "P10D", "timeBeforeExpiry": "P10D"}, "action": {"type": "Rotate"}}, expiry="P90D"),
        policy({"trigger": {}, "action": {"type": "Rotate"}}), policy({"trigger": {"timeAfterCreate": "P10D"}}), policy({"action": {"type": "Rotate"}}),
        policy({"trigger": {"timeAfterCreate": "P10D"}, "action": {"type": "Destroy"}}), policy({"trigger": {"timeAfterCreate": 10}, "action": {"type": "Rotate"}}),
        policy("Rotate"), {"lifetimeActions": {}}, {"attributes": []}, policy(rotate("timeAfterCreate", "P0D")),
    ] + [policy(rotate("timeAfterCreate", text)) for text in (
        "90D", "P", "PT", "P90", "P-90D", "p90d", "P90DT", "P1D1Y", "P9999999999999999999D", "P101Y", "P1.5Y", "P90D ", " P90D", "P1Y1Y", "P" + "0" * 40 + "90D", "PT1Y")]
    for body in bad:
        status, _, answer = api.call("PUT", path, body)
        check_equal((status, answer["error"]["code"]), (400, "BadParameter"), f"{body}")
    check_equal(api.must("GET", path), kept, "refused policies change nothing")
    for method, body in (("GET", None), ("PUT", policy(NOTIFY))):
        status, _, answer = api.call(method, "/keys/none/rotationpolicy", body)
        check_equal((status, answer["error"]["code"]), (404, "KeyNotFound"), f"{method} of no key")
    check_equal(api.call("PUT", path, None)[0], 400, "without a body")
    api.must("DELETE", "/keys/k")
    check_equal(api.call("GET", path)[0], 404, "of a deleted key")
    api.must("POST", "/deletedkeys/k/recover")
    check_equal(api.must("GET", path), kept, "and of the recovered one")


def test_release_is_refused(site):
    api = kluis.Api(site)
    kid = api.must("POST", "/keys/k/create", EC)["key"]["kid"].rsplit("/", 1)[1]
    for path in (f"/keys/k/{kid}/release", "/keys/k/release"):
        status, _, answer = api.call("POST", path, {"target": "a.b.c"})
        check_equal((status, answer["error"]["innererror"]["code"]), (403, "KeyOperationForbidden"), path)
        check_equal(api.call("POST", path, {})[0], 400, "without a target")
    check_equal(api.call("POST", "/keys/none/release", {"target": "a.b.c"})[0], 404, "of no key")
    for body in ({**EC, "attributes": {"exportable": True}}, {**EC, "release_policy": {"data": "e30"}}):
        check_equal(api.call("POST", "/keys/other/create", body)[0], 400, f"{body}")


def test_rotates_when_due_and_once():
    with MovedSite() as site:
        api = kluis.Api(site)
        for name in ("after", "before", "off", "none"):
            api.must("POST", f"/keys/{name}/create", {**EC, "key_ops": ["sign"], "tags": {"a": name}})
        api.must("PUT", "/keys/after/rotationpolicy", policy(rotate("timeAfterCreate", "P60D"), expiry="P90D"))
        api.must("PUT", "/keys/before/rotationpolicy", policy(rotate("timeBeforeExpiry", "P30D"), expiry="P100D"))
        api.must("PUT", "/keys/off/rotationpolicy", policy(rotate("timeAfterCreate", "P60D")))
        api.must("PATCH", "/keys/off", {"attributes": {"enabled": False}})
        first = api.must("POST", "/keys/before/rotate")
        check_equal(first["attributes"]["exp"], first["attributes"]["created"] + 100 * DAY, "a rotation by hand has the policy's expiry")
        settled(site, api, 50 * DAY)
        check_equal([len(versions(api, n)) for n in ("after", "before", "off", "none")], [1, 2, 1, 1], "52 days: nothing is due")
        settled(site, api, 9 * DAY)
        check_equal([len(versions(api, n)) for n in ("after", "before", "off", "none")], [2, 2, 1, 1], "63 days: one is due, a disabled key is not")
        newest = api.must("GET", "/keys/after")
        check_equal((newest["key"]["key_ops"], newest["tags"], newest["key"]["crv"]), (["sign"], {"a": "after"}, "P-256"), "the new version is like the old one")
        check_equal(newest["attributes"]["exp"], newest["attributes"]["created"] + 90 * DAY, "and expires as the policy says")
        settled(site, api, 10 * DAY)
        check_equal([len(versions(api, n)) for n in ("after", "before", "off", "none")], [2, 3, 1, 1], "75 days: the other trigger")
        check_equal([len(site.audited("KeyRotateIfDue", n)) for n in ("after", "before")], [1, 1], "each rotation has its record")
        downtime(site, api)
        check_equal(site.json("audit", "verify")["intact"], True, "the log is whole")


def downtime(site, api):
    """Years without a service: one rotation when it is back, not one for each period that was missed."""
    site.down()
    site.move(1000 * DAY)
    site.up()
    api.close()
    wait_until(lambda: len(site.audited("KeyRotateIfDue", "after")) == 2, "due while the service was down")
    settled(site, api, 1)
    check_equal([len(versions(api, n)) for n in ("after", "before")], [3, 4], "one version for all that was missed")
    site.move(-1000 * DAY)
    settled(site, api, 1)
    check_equal([len(versions(api, n)) for n in ("after", "before")], [3, 4], "a clock that is put back rotates nothing")


def test_killed_while_rotating():
    """kill -9 at moments around a rotation that is due: never two new versions, and at the end one, with one record at least."""
    rounds = 30 if kluis.FULL else 5
    with MovedSite() as site:
        api = kluis.Api(site)
        api.must("POST", "/keys/k/create", {"kty": "RSA"})
        api.must("PUT", "/keys/k/rotationpolicy", policy(rotate("timeAfterCreate", "P30D")))
        for i in range(rounds):
            site.move(31 * DAY)
            time.sleep(0.05 * (i % 8))  # where the blow falls: housekeeping looks twice a second
            os.kill(site.daemon(), signal.SIGKILL)
            wait_until(lambda: site.daemon() is None, "killed")
            site.up()
            site.wait_ready()
            wait_until(lambda n=i + 1: len({r["properties"]["id"] for r in site.audited("KeyRotateIfDue", "k")}) == n, f"round {i}: recorded{site.log_tail()}")
            api = kluis.Api(site)
            check_equal(len(versions(api, "k")), i + 2, f"round {i}: one version for one period")


def test_events_reach_their_receiver():
    with kluis.tempfile.TemporaryDirectory() as folder, Receiver(folder) as r, MovedSite(r) as site:
        api = kluis.Api(site)
        made = api.must("POST", "/keys/k/create", {**EC, "attributes": {"exp": int(time.time()) + 40 * DAY}})
        event = r.wait("KeyNewVersionCreated", "k")[0]
        kid = made["key"]["kid"]
        check_equal(event["data"], {"Id": kid, "VaultName": "demo", "ObjectType": "Key", "ObjectName": "k", "Version": kid.rsplit("/", 1)[1],
                                    "NBF": None, "EXP": made["attributes"]["exp"]}, "data")
        check_equal((event["eventType"], event["dataVersion"], event["metadataVersion"]), ("Microsoft.KeyVault.KeyNewVersionCreated", "1", "1"), "schema")
        check(event["topic"].endswith("/vaults/demo") and event["eventTime"].endswith("Z"), "topic and time")
        check_equal(r.handshakes, ["Microsoft.EventGrid.SubscriptionValidationEvent"], "asked before, once")
        api.must("PUT", "/secrets/s", {"value": "x", "attributes": {"exp": int(time.time()) + 40 * DAY}})
        r.wait("SecretNewVersionCreated", "s")
        outage(site, api, r)
        near_and_past(site, api, r)
        check_equal(r.bad_signatures, 0, "every delivery is signed")


def outage(site, api, r):
    """Nothing is lost while the receiver answers badly, is away, or the service is killed meanwhile."""
    r.status = 503
    api.must("POST", "/keys/late/create", EC)
    wait_until(lambda: r.got("KeyNewVersionCreated", "late", 503), "tried")
    r.__exit__()
    os.kill(site.daemon(), signal.SIGKILL)
    wait_until(lambda: site.daemon() is None, "killed")
    site.up()
    r.status = 200
    r.__enter__()
    delivered = r.wait("KeyNewVersionCreated", "late")
    check_equal({e["id"] for e in r.events if e["subject"] == "late"}, {delivered[0]["id"]}, "always under the same id")
    check_equal(len(r.handshakes), 1, "who agreed is not asked again")
    r.status = 400
    api = kluis.Api(site)
    api.must("POST", "/keys/bad/create", EC)
    wait_until(lambda: r.got("KeyNewVersionCreated", "bad", 400), "refused")
    r.status = 200
    api.must("POST", "/keys/next/create", EC)
    r.wait("KeyNewVersionCreated", "next")
    check_equal(r.got("KeyNewVersionCreated", "bad"), [], "what is refused for good does not come again")


def near_and_past(site, api, r):
    settled(site, api, 12 * DAY)
    near = r.wait("KeyNearExpiry", "k")
    r.wait("SecretNearExpiry", "s")
    check_equal(r.got("KeyExpired", "k"), [], "not past yet")
    settled(site, api, 30 * DAY)
    r.wait("KeyExpired", "k")
    r.wait("SecretExpired", "s")
    settled(site, api, 30 * DAY)
    for kind, name in (("KeyNearExpiry", "k"), ("KeyExpired", "k"), ("SecretNearExpiry", "s"), ("SecretExpired", "s")):
        check_equal(len(r.got(kind, name)), 1, f"{kind} of {name} comes once")
        check_equal(len(site.audited(f"{kind}EventGridNotification", name)), 1, f"{kind} of {name} is recorded once")
    check(near[0]["data"]["EXP"] > 0, "EXP")


def test_cloud_events():
    with kluis.tempfile.TemporaryDirectory() as folder, Receiver(folder) as r:
        r.agree = False
        with MovedSite(r, ["format = cloud-events"]) as site:
            api = kluis.Api(site)
            wait_until(lambda: r.handshakes, "asked")
            api.must("POST", "/keys/k/create", EC)
            wait_until(lambda: len(r.handshakes) > 2, "asked again")
            check_equal(r.events, [], "nothing is sent to who did not agree")
            r.agree = True
            event = r.wait("KeyNewVersionCreated", "k")[0]
            check_equal((event["specversion"], event["type"], event["subject"], event["content_type"]),
                        ("1.0", "Microsoft.KeyVault.KeyNewVersionCreated", "k", "application/cloudevents+json; charset=utf-8"), "CloudEvents 1.0")
            check(event["source"].endswith("/vaults/demo") and event["id"] and event["time"], "members")
            check_equal((set(r.handshakes), r.bad_signatures), ({"localhost"}, 0), "origin and signatures")


def test_commands(site):
    site.run("key", "create", "--vault-name", "demo", "--name", "k", "--kty", "EC")
    named = ("--vault-name", "demo", "--name", "k")
    check_equal(site.json("key", "rotation-policy", "show", *named)["lifetimeActions"], [NOTIFY], "show")
    site.run("key", "rotation-policy", "update", *named, "--rotate-after", "P90D", "--expiry-time", "P1Y")
    shown = site.json("key", "rotation-policy", "update", *named, "--notify-before", "P7D")
    check_equal(shown["lifetimeActions"], [rotate("timeAfterCreate", "P90D"), {"trigger": {"timeBeforeExpiry": "P7D"}, "action": {"type": "Notify"}}], "what is not named stays")
    check_equal(shown["attributes"]["expiryTime"], "P1Y", "expiry too")
    shown = site.json("key", "rotation-policy", "update", *named, "--rotate-after", "none", "--expiry-time", "none", "--notify-before", "none")
    check_equal((shown["lifetimeActions"], "expiryTime" in shown["attributes"]), ([NOTIFY], False), "none takes away")
    whole = policy(rotate("timeBeforeExpiry", "P30D"), expiry="P2Y")
    file = os.path.join(site.dir, "policy.json")
    with open(file, "w", encoding="utf-8") as f:
        json.dump(whole, f)
    for option in (("--value", json.dumps(whole)), ("--value", file), ("--file", file)):
        shown = site.json("key", "rotation-policy", "update", *named, *option)
        check_equal((shown["lifetimeActions"][0], shown["attributes"]["expiryTime"]), (rotate("timeBeforeExpiry", "P30D"), "P2Y"), option[0])
    table = site.run("key", "rotation-policy", "show", *named, "-o", "table").stdout
    check("RotateBefore" in table and "P30D" in table and "P2Y" in table, f"table: {table}")
    for words, wanted in ((("destroy",), 2), (("update",), 2), (("update", "--rotate-after", "P90D", "--rotate-before", "P90D"), 2), (("update", "--rotate-after", "soon"), 1)):
        r = site.run("key", "rotation-policy", words[0], *named, *words[1:], check=False)
        check_equal(r.returncode, wanted, f"{words}: {r.stderr}")
    first = site.json("key", "show", *named)["key"]["kid"]
    check(site.json("key", "rotate", *named)["key"]["kid"] != first, "rotate")


kluis.main(globals())
