#!/usr/bin/env python3
"""`kluis token test` and `token bench` on every token that runs here: trials.py KIND. The report is what is known of that token, and
nothing is left on it, whatever ends the run."""
import json
import os
import signal
import subprocess
import sys
import tempfile

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

NO_WRAPPING = {"wraps": "note", "export-fixed": "not asked", "export-domain-backed": "not asked", "loosen": "not asked",
               "weaker-unwrap": "not asked"}

# What is not "ok". A token that gets better makes the test fail: then the row, and doc/qualify.md, are to be changed.
ROWS = {
    "softhsm": (softhsm.SoftHsm, {}),
    "spy": (softhsm.Spy, {}),
    "p11kit-proxy": (p11kit.Proxy, {}),
    "p11kit-remote": (p11kit.Remote, NO_WRAPPING),
    "nss": (nss.Nss, {"trusted-by-user": "limit", "export-fixed": "limit", "export-domain-backed": "limit", "loosen": "limit", "weaker-unwrap": "limit"}),
    "opencryptoki": (opencryptoki.OpenCryptoki, {"sign-ec": "note", "export-domain-backed": "not asked", "loosen": "not asked",
                                                 "weaker-unwrap": "not asked"}),
    "tpm2": (tpm2.Tpm2, {**NO_WRAPPING, "wraps": "not asked", "wrapping-key": "not asked", "trusted-by-user": "not asked", "sizes": "note",
                         "mac": "limit", "fixed-stays": "limit"}),
}
RUNS_TO_KILL = 8 if kluis.FULL else 3


class Trial:
    """The command line on a token, without any service."""

    def __init__(self, token):
        self.token = token
        self.state = tempfile.mkdtemp(prefix="state.", dir=token.dir)

    def words(self, verb, *more, pin="pin"):
        t = self.token
        args = ["--pkcs11-module", t.module, "--pkcs11-uri", t.uri, "--pin-file", t.path(pin)]
        if t.init_args:
            args += ["--pkcs11-init-args", t.init_args]
        return [*t.runner, kluis.KLUIS, "token", verb, *args, *more]

    def env(self):
        env = {k: v for k, v in self.token.environment().items() if not k.startswith("KLUIS_")}
        return {**env, "XDG_STATE_HOME": self.state}

    def run(self, verb, *more, wanted=0, pin="pin"):
        r = subprocess.run(self.words(verb, *more, pin=pin), capture_output=True, text=True, check=False, env=self.env(), timeout=2 * kluis.PATIENCE)
        check_equal(r.returncode, wanted, f"exit code of token {verb}: {r.stderr}")
        return r

    def start(self, verb, *more):
        return subprocess.Popen(self.words(verb, *more), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=self.env(), start_new_session=True)


def end_group(p, sign):
    """A signal for the command line and what it started, as a terminal sends it; then wait until none of them is left."""
    try:
        os.killpg(p.pid, sign)
    except ProcessLookupError:
        pass
    p.wait()

    def gone():
        try:
            os.killpg(p.pid, 0)
        except ProcessLookupError:
            return True
        return False
    wait_until(gone, "every process of the run has ended")


def qualify(trial, odd):
    report = json.loads(trial.run("test", "-o", "json").stdout)
    probes = {p["name"]: p for p in report["probes"]}
    odd = {"domain-key": "note", **odd}
    check_equal({n: p["verdict"] for n, p in probes.items() if p["verdict"] != "ok"}, odd, "what is not ok")
    check_equal(report["verdict"], "fit with limits" if "limit" in odd.values() else "fit", "the verdict")
    for p in report["probes"]:
        check(p["asked"] and p["means"] and (p["answered"] or p["verdict"] == "not asked"), f"a whole row: {p}")
    check_equal(report["token"]["label"], trial.token.label, "the token that was asked")
    table = trial.run("test", "-o", "table")
    check("Means for kluis" in table.stdout and "Verdict: fit" in table.stderr, "for people: rows and a verdict")


def measure(trial):
    report = json.loads(trial.run("bench", "--seconds", "1", "--workers", "4", "-o", "json").stdout)
    check_equal([r["workers"] for r in report["rows"]], [1, 2, 4], "rows")
    check(all(r["perSecond"] > 0 and r["failures"] == 0 and r["p50Ms"] <= r["p99Ms"] for r in report["rows"]), f"rates: {report}")
    best = max(r["perSecond"] for r in report["rows"])
    chosen = next(r for r in report["rows"] if r["workers"] == report["recommended"])
    check(chosen["perSecond"] >= 0.95 * best, f"the recommended row is near the best: {report}")
    check(all(r["perSecond"] < 0.95 * best for r in report["rows"] if r["workers"] < chosen["workers"]), "and no smaller one is")


def interrupt(trial, before):
    """After Ctrl-C nothing is left. After kill -9 nothing is left once it was run again."""
    for sign in (signal.SIGINT, signal.SIGKILL):
        for i in range(RUNS_TO_KILL):
            p = trial.start("test")
            try:
                p.wait(0.1 + 0.3 * i)  # a run takes from half a second to several, by token
            except subprocess.TimeoutExpired:
                pass
            end_group(p, sign)
            if sign == signal.SIGINT:
                check_equal(trial.token.objects(), before, "objects after Ctrl-C")
        # openCryptoki's daemon may need a moment to see that a client was killed; until then it shows no token
        wait_until(lambda: subprocess.run(trial.words("test"), capture_output=True, check=False, env=trial.env()).returncode == 0, "a whole run")
        check_equal(trial.token.objects(), before, "objects after the next whole run")


def refuse_pin(trial):
    trial.token.write("wrong", "999999\n")
    logins = trial.token.logins()
    for _ in range(4):
        r = trial.run("test", wanted=4, pin="wrong")
        check("PIN" in r.stderr and "999999" not in r.stderr + r.stdout, f"a refused PIN is said, not shown: {r.stderr}")
    if logins is not None:
        check_equal(trial.token.logins() - logins, 1, "logins with it")
    trial.run("test")  # a token that locks at the third refusal would say so here


def main():
    kind, odd = ROWS[sys.argv.pop(1)]

    def test_trials():
        with kind() as token:
            trial = Trial(token)
            before = token.objects()
            qualify(trial, odd)
            measure(trial)
            check_equal(token.objects(), before, "objects after whole runs")
            interrupt(trial, before)
            refuse_pin(trial)
            check_equal(token.objects(), before, "objects at the end")

    kluis.main({"test_trials": test_trials})


if __name__ == "__main__":
    main()
