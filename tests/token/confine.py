#!/usr/bin/env python3
"""A worker whose module was taken over: what it tries must fail, and the log must name what was refused."""
import os
import shutil
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "../lib"))
sys.path.insert(0, os.path.join(HERE, "scripts"))
import kluis
import softhsm
from kluis import check, check_equal, wait_until

NOSY, EPERM, EACCES = os.environ["KLUIS_NOSY"], 1, 13
# Whatever the configuration says of files and network.
NEVER = ("raw", "packet", "fork", "spawn", "exec", "ptrace", "memory", "mem-file", "signal", "dumpable", "core", "setuid", "namespace", "io_uring", "mode")
PRIVATE = ("kluis.db", "server-key.pem", "audit.log", "audit.head", "state/kluisd.lock")


class Nosy(softhsm.SoftHsm):
    """SoftHSM behind the module that tries things; what came of them is `seen`."""

    def start(self):
        super().start()
        os.mkdir(self.path("report"))
        self.real = self.module
        os.mkdir(self.path("lib"))
        self.module = shutil.copy(NOSY, self.path("lib/nosy.so"))
        self.env.update(KLUIS_NOSY_MODULE=self.real, KLUIS_NOSY_REPORT=self.write("report/lines", ""), KLUIS_NOSY_VICTIM=str(os.getpid()),
                        KLUIS_NOSY_FILES=":".join([*(self.path("site", name) for name in PRIVATE), self.path("pin"), self.path("so-pin"), "/etc/hostname"]))

    def seen(self):
        with open(self.path("report/lines"), encoding="utf-8") as f:
            lines = [line.split() for line in f]
        return {name.removeprefix(self.dir + "/"): int(error) for name, error in lines[:[n for n, _ in lines].index("done")]}

    def clear(self):
        self.write("report/lines", "")  # the same file, as a rule may hold for it


def configure(site, remove=(), add=()):
    """Change the [token] section, which is the last one."""
    path = os.path.join(site.dir, "kluis.conf")
    with open(path, encoding="utf-8") as f:
        lines = [line for line in f.read().splitlines() if line.split(" = ")[0] not in remove]
    with open(path, "w", encoding="utf-8") as f:
        f.write("\n".join([*lines, *add]) + "\n")


def restart(site, check_result=True):
    site.down()
    return site.up(check=check_result)


def trial(token, options=()):
    site = kluis.Site(token.path("site"), ["--pkcs11-module", token.module, "--pkcs11-uri", token.uri, "--pin-file", token.path("pin"),
                                           "--pkcs11-store-dir", token.store, *options])
    os.environ.update(token.env)  # dev up remembers only variables of tokens that it knows
    return site


def test_a_module_that_was_taken_over():
    with Nosy() as token, trial(token) as site:
        # dev up opens files and network for a trial
        seen = token.seen()
        for name in set(NEVER) - {"mem-file"}:
            check(seen[name] != 0, f"{name} is refused, whatever is configured: {seen}")
        check_equal((seen["inet"], seen["unix"], seen["site/kluis.db"]), (0, 0, 0), "a trial's module has network and files")

        # the defaults of a configuration
        token.clear()
        configure(site, remove=("network", "files"))
        restart(site)
        seen = token.seen()
        for name in (*NEVER, "inet", "inet6", *(f"site/{name}" for name in PRIVATE), "pin"):
            check(seen[name] != 0, f"{name} is refused by default: {seen}")
        check_equal((seen["unix"], seen["/etc/hostname"], seen["so-pin"]), (0, 0, 0), "local daemons and other files are not closed by default")
        log = site.log_tail(200)
        for words in ("system call socket; if it needs it, write network = yes", "system call ptrace; if it needs it, write syscalls = ptrace",
                      "system call fork", "system call execve"):
            check(words in log or words == "system call fork" and "system call clone" in log, f"the log says {words!r}: {log}")

        # only what is listed
        token.clear()
        configure(site, add=(f"files = {token.path('softhsm2.conf')}", f"files = {token.path('report')}"))
        restart(site)
        seen = token.seen()
        check_equal((seen["so-pin"], seen["create"], seen["site/kluis.db"]), (EACCES,) * 3, "files that are not listed")
        check_equal(seen["/etc/hostname"], 0, "/etc is readable")
        check(not os.path.exists("/tmp/kluis-nosy-was-here") or seen["create"] != 0, "nothing was made in /tmp")
        key = kluis.Api(site).must("POST", "/keys/k/create", {"kty": "RSA"})
        check("kid" in key["key"], "the token works all the same")

        # one more call, by name
        token.clear()
        configure(site, add=("syscalls = io_uring_setup kill",))
        restart(site)
        seen = token.seen()
        check_equal(seen["signal"], 0, "a call that is listed")
        check(seen["io_uring"] != EPERM, "another one that is listed reaches the kernel")
        check(seen["ptrace"] != 0, "not the others")


def test_what_every_worker_gives_up():
    with kluis.Site() as site:
        for pid in (site.worker(), site.daemon()):
            with open(f"/proc/{pid}/status", encoding="utf-8") as f:
                status = dict(line.rstrip("\n").split(":\t", 1) for line in f if ":\t" in line)
            check_equal(status["NoNewPrivs"], "1", "no new privileges")
            check_equal(status["CoreDumping"], "0", "not dumping")
            with open(f"/proc/{pid}/limits", encoding="utf-8") as f:
                core = next(line.split() for line in f if line.startswith("Max core file size"))
            check_equal(core[4:6], ["0", "0"], "core file size")
            # what may not be dumped belongs to root, whoever runs it; root's own shows by ptrace only
            check_equal(os.stat(f"/proc/{pid}/mem").st_uid, 0, "not dumpable")
        with open(f"/proc/{site.worker()}/status", encoding="utf-8") as f:
            check("Seccomp:\t2\n" in f.read(), "the worker's system calls are filtered")
        with open(os.path.join(site.dir, "kluis.conf"), encoding="utf-8") as f:
            check("files = " in f.read(), "a site of its own closes files to the module")


def refused_start(site, token, why, **change):
    configure(site, **change)
    site.down()
    # dev up would wait as for a token that comes back: the state says it at once
    proc = subprocess.Popen([kluis.KLUIS, "dev", "up", "--dir", site.dir], env={**os.environ, **site.env}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: why in site.log_tail(50), f"the log says {why!r}: {site.log_tail(10)}")
    finally:
        proc.terminate()
        proc.wait()
    site.down()


def test_a_file_that_is_not_to_be_trusted():
    with Nosy() as token:
        module = shutil.copy(token.real, token.path("lib/module.so"))
        digest = subprocess.run(["sha256sum", module], capture_output=True, check=True, text=True).stdout.split()[0]
        token.module = module
        with trial(token) as site:
            key = kluis.Api(site).must("POST", "/keys/k/create", {"kty": "RSA"})
            check("kid" in key["key"], "a module of our own, in our own folder")
            refused_start(site, token, "module-sha256 says otherwise", add=("module-sha256 = " + digest[::-1],))
            configure(site, remove=("module-sha256",), add=("module-sha256 = " + digest,))
            site.up()
            for path in (module, token.path("lib")):
                mode = os.stat(path).st_mode
                for bits in (0o002, 0o020):
                    os.chmod(path, mode | bits)
                    refused_start(site, token, f"others can write to {path}")
                    os.chmod(path, mode)
            if os.geteuid() == 0:
                os.chown(token.path("lib"), 65534, -1)
                refused_start(site, token, "must belong to root or to the service's user")
                os.chown(token.path("lib"), 0, -1)
            site.up()
            refused_start(site, token, "there is no system call", add=("syscalls = no_such_call",))
            configure(site, remove=("syscalls",))
            refused_start(site, token, "/does/not/exist", remove=("files",), add=("files = /does/not/exist",))


def test_a_user_of_its_own():
    """Only root can give a worker one; for others the setting is refused with a clear sentence."""
    with Nosy() as token:
        token.module = token.real
        with trial(token) as site:
            if os.geteuid() != 0:
                refused_start(site, token, "only for a service that root started", add=("user = nobody",))
                return
            refused_start(site, token, "chown -R nobody", add=("user = nobody",))
            refused_start(site, token, "there is no such user", remove=("user",), add=("user = no-such-user",))
            refused_start(site, token, "is root", remove=("user",), add=("user = root",))
            configure(site, remove=("user",), add=("user = nobody",))
            # the token is under mkdtemp's folder: the user must get there
            subprocess.run(["chown", "-R", "nobody", token.store], check=True)
            for path in (token.dir, token.path("softhsm2.conf")):
                os.chmod(path, 0o755)
            site.up()
            with open(f"/proc/{site.worker()}/status", encoding="utf-8") as f:
                uids = next(line for line in f if line.startswith("Uid:")).split()[1:]
            check_equal(set(uids) & {"0"}, set(), "the worker is not root")
            key = kluis.Api(site).must("POST", "/keys/k/create", {"kty": "RSA"})
            check("kid" in key["key"], "it makes keys")
            own = os.path.join(site.dir, "state", "token-main")
            check_equal(str(os.stat(own).st_uid), uids[0], "its state folder is its own")
            token.write("pin", "wrong\n")
            site.down()
            check("PIN" in site.up(check=False).stderr, "a refused PIN is told")
            check(os.listdir(own)[0].startswith("pin-refused-"), "and remembered in a folder that it reaches by a descriptor only")
            site.down()


kluis.main(globals())
