#!/usr/bin/env python3
"""PINs: every source of one, where none may be found afterwards, and that none is sent once too often."""
import base64
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "../lib"))
sys.path.insert(0, os.path.join(HERE, "scripts"))
import fault
import kluis
import softhsm
from kluis import check, check_equal, wait_until

PIECE, SHADOW = 1 << 24, 1 << 34
KLUISD = os.path.join(os.path.dirname(kluis.KLUIS), "kluisd")


def configure(site, **settings):
    """Set keys of the [token] section, which is the last one."""
    path = os.path.join(site.dir, "kluis.conf")
    with open(path, encoding="utf-8") as f:
        lines = [line for line in f.read().splitlines() if line.split(" = ")[0].replace("-", "_") not in settings]
    with open(path, "w", encoding="utf-8") as f:
        f.write("\n".join([*lines, *(f"{k.replace('_', '-')} = {v}" for k, v in settings.items() if v)]) + "\n")


def read_pin(site):
    with open(os.path.join(site.dir, "pin"), encoding="ascii") as f:
        return f.read().strip()


class Daemon:
    """kluisd started by hand, with what a service manager would hand it."""

    def __init__(self, site, fd=None, env=None):
        self.log = open(os.path.join(site.dir, "kluisd.log"), "ab")  # pylint: disable=consider-using-with
        # pylint: disable-next=consider-using-with
        self.process = subprocess.Popen([KLUISD, "--config", os.path.join(site.dir, "kluis.conf")], stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log,
                                        pass_fds=[] if fd is None else [fd], env={**os.environ, **site.env, **(env or {})})

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.process.terminate()
        self.process.wait()
        self.log.close()


def forms(pin):
    raw = pin.encode()
    return {raw, raw.hex().encode(), base64.b64encode(raw).rstrip(b"="), raw.decode().encode("utf-16-le")}


def maps(pid):
    with open(f"/proc/{pid}/maps", encoding="utf-8") as f:
        for line in f:
            span, rights = line.split()[:2]
            if rights[0] == "r":
                yield [int(x, 16) for x in span.split("-")]


def pieces(pid):
    """The mappings in pieces that overlap by more than a PIN; not the terabytes of a sanitizer's shadow."""
    for start, end in list(maps(pid)):
        for at in range(start, end, PIECE) if end - start < SHADOW else ():
            yield at, min(at + PIECE + 1024, end)


def in_memory(pid, pin):
    """Addresses of the PIN in any readable mapping. Root sees all; to others, even its own user, the process must be closed."""
    try:
        with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
            found = []
            for start, end in pieces(pid):
                try:
                    memory.seek(start)
                    data = memory.read(end - start)
                except (OSError, OverflowError, ValueError):
                    continue
                found += [start + m.start() for form in forms(pin) for m in re.finditer(re.escape(form), data or b"")]
            return sorted(set(found))
    except PermissionError:
        check(os.geteuid() != 0, "only root may look into a process that is closed")
        return []


def flags_of(pid, address):
    """VmFlags of the mapping at an address."""
    here = False
    with open(f"/proc/{pid}/smaps", encoding="utf-8") as f:
        for line in f:
            span = re.match(r"([0-9a-f]+)-([0-9a-f]+) ", line)
            if span:
                here = int(span[1], 16) <= address < int(span[2], 16)
            elif here and line.startswith("VmFlags:"):
                return line.split()[1:]
    return []


def look_outside(site, pin, words):
    """Arguments and environments of everything that runs, and every file of the site but the PIN's own."""
    for pid in filter(str.isdigit, os.listdir("/proc")):
        for part in ("cmdline", "environ"):
            try:
                with open(f"/proc/{pid}/{part}", "rb") as f:
                    data = f.read()
            except OSError:
                continue
            check(not any(form in data for form in forms(pin)), f"{words}: the PIN is in {part} of {pid}")
    for here, _, names in os.walk(site.dir):
        for name in names:
            path = os.path.join(here, name)
            if name == "pin" or not os.path.isfile(path):
                continue
            with open(path, "rb") as f:
                data = f.read()
            check(not any(form in data for form in forms(pin)), f"{words}: the PIN is in {path}")


def look(site, pin, words):
    daemon, worker = site.daemon(), site.worker()
    check_equal(in_memory(daemon, pin), [], f"{words}: the PIN in kluisd's memory")
    check_equal(in_memory(worker, pin), [], f"{words}: the PIN in the worker's memory")
    look_outside(site, pin, words)


def settle():
    time.sleep(0.1)  # what the promise allows


def test_a_pin_is_nowhere_afterwards(site):
    pin = read_pin(site)
    settle()
    look(site, pin, "file")
    if os.geteuid() == 0:
        check(in_memory(os.getpid(), pin) != [], "the search finds a PIN that is there: in this test itself")
    site.down()

    read_end, write_end = os.pipe()
    os.write(write_end, pin.encode() + b"\n")
    os.close(write_end)
    configure(site, pin_source=f"fd:{read_end}")
    with Daemon(site, fd=read_end):
        os.close(read_end)
        site.wait_ready()
        settle()
        look(site, pin, "fd")
        worker = site.worker()
        os.kill(worker, signal.SIGABRT)
        wait_until(lambda: site.worker() not in (None, worker) and site.ready(), "a new worker reads the same descriptor again")
        check_equal([n for n in (*os.listdir("."), *os.listdir(site.dir)) if n.startswith("core") or n.endswith(".core")], [], "core files")

    credentials = os.path.join(site.dir, "credentials")
    os.mkdir(credentials, 0o700)
    shutil.copy(os.path.join(site.dir, "pin"), os.path.join(credentials, "pin"))
    configure(site, pin_source="credential:pin")
    with Daemon(site, env={"CREDENTIALS_DIRECTORY": credentials}):
        site.wait_ready()
        settle()
        look(site, pin, "credential")


def test_relogin_keeps_the_pin_in_one_locked_place(site):
    pin = read_pin(site)
    site.down()
    configure(site, relogin="yes")
    site.up()
    settle()
    check_equal(in_memory(site.daemon(), pin), [], "the PIN in kluisd's memory")
    if os.geteuid() == 0:
        places = in_memory(site.worker(), pin)
        check_equal(len(places), 1, "places of the PIN in the worker that is to keep it")
        flags = flags_of(site.worker(), places[0])
        with open(f"/proc/{site.worker()}/maps", encoding="utf-8") as f:
            sanitized = "libasan" in f.read()  # which makes mlock do nothing
        check("dd" in flags and ("lo" in flags or sanitized), f"its page is locked in memory and left out of cores: {flags}")


def state(site):
    answer = kluis.Api(site).call("GET", "/readyz", auth=False)
    return answer[2]["tokens"][0]["state"]


def type_at_terminal(site, *keys):
    """kluis token login at a terminal: its exit code and everything that the terminal showed."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ.update(site.env)
        os.execv(kluis.KLUIS, [kluis.KLUIS, "token", "login", "--name", "main", "-o", "json"])
    shown = b""
    for key in keys:
        while not shown.rstrip().endswith(b":"):
            shown += os.read(terminal, 4096)
        os.write(terminal, key)
    try:
        while True:
            shown += os.read(terminal, 4096)
    except OSError:
        pass
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), shown


def test_a_token_waits_for_its_pin(site):
    pin, api = read_pin(site), kluis.Api(site)
    api.must("POST", "/keys/kept/create", {"kty": "RSA"})
    site.down()
    configure(site, pin_source="prompt")
    os.rename(os.path.join(site.dir, "pin"), os.path.join(site.dir, "..", "pin-of-" + os.path.basename(site.dir)))
    pin_file = os.path.join(site.dir, "..", "pin-of-" + os.path.basename(site.dir))
    try:
        with Daemon(site):
            wait_until(lambda: site.daemon() and serving(site) and state(site) == "pin-wanted", "the token waits")
            api = kluis.Api(site)
            check_equal(api.call("GET", "/readyz", auth=False)[0], 503, "a service whose token waits is not ready")
            refuse_strangers(site, api)

            stop, found = threading.Event(), []
            watcher = threading.Thread(target=watch, args=(site, pin, stop, found))
            watcher.start()
            wrong = subprocess.run([kluis.KLUIS, "token", "login", "--name", "main", "--pin-file", "-"], input="000000\n", capture_output=True, text=True,
                                   check=False, env={**os.environ, **site.env})
            check_equal(wrong.returncode, 4, f"a wrong PIN: {wrong.stderr}")
            check("refused its PIN" in wrong.stderr and "000000" not in wrong.stderr, f"it says so without the PIN: {wrong.stderr}")
            wait_until(lambda: state(site) == "pin-wanted", "the token asks again")
            again = site.run("token", "login", "--name", "main", "--pin-file", "-", data="000000\n", check=False)
            check("refused this PIN before" in again.stderr, f"the same PIN is not sent again: {again.stderr}")
            wait_until(lambda: state(site) == "pin-wanted", "the token asks again")

            code, shown = type_at_terminal(site, pin.encode() + b"\n")
            check_equal(code, 0, f"the PIN, typed: {shown}")
            check(pin.encode() not in shown, "the terminal never shows it")
            settle()
            stop.set()
            watcher.join()
            check_equal(found, [], "the PIN in arguments or environments meanwhile")
            look(site, pin, "prompt")
            check_equal(state(site), "ready", "the token")
            check("kid" in kluis.Api(site).must("GET", "/keys/kept")["key"], "its keys are there")
            check_equal(site.run("token", "login", "--name", "main", "--pin-file", pin_file, check=False).returncode, 4, "a token that waits for none")

            os.kill(site.worker(), signal.SIGKILL)
            wait_until(lambda: state(site) == "pin-wanted", "a new worker asks anew, as nobody kept the PIN")
            with open(pin_file, "rb") as f:
                r = subprocess.run([kluis.KLUIS, "token", "login", "--name", "main", "--pin-fd", str(f.fileno())], pass_fds=[f.fileno()], capture_output=True,
                                   text=True, check=False, env={**os.environ, **site.env})
            check_equal(r.returncode, 0, f"the PIN from a descriptor: {r.stderr}")
            check_equal(state(site), "ready", "the token")
            settle()
            look(site, pin, "second login")
    finally:
        os.unlink(pin_file)


def serving(site):
    try:
        kluis.Api(site).call("GET", "/healthz", auth=False)
        return True
    except OSError:
        return False


def watch(site, pin, stop, found):
    while not stop.is_set():
        for pid in filter(str.isdigit, os.listdir("/proc")):
            for part in ("cmdline", "environ"):
                try:
                    with open(f"/proc/{pid}/{part}", "rb") as f:
                        if pin.encode() in f.read():
                            found.append((part, pid))
                except OSError:
                    pass


def refuse_strangers(site, api):
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    path = "/kluis/v1/tokens/main/login"
    for body, wanted in (("pin=1234", 401), (f"client_id={api.client_id}&pin=1234", 401), (f"client_id={api.client_id}&client_secret=wrong&pin=1234", 401),
                         (f"client_id={api.client_id}&client_secret={api.client_secret}", 400)):
        status = api.exchange("POST", path, body, form)[0]
        check_equal(status, wanted, f"login with {body.split('=')[0]} only")
    status = api.exchange("POST", path.replace("main", "other"), f"client_id={api.client_id}&client_secret={api.client_secret}&pin=1234", form)[0]
    check_equal(status, 404, "a token that is not there")
    status = api.exchange("POST", path, f"client_id={api.client_id}&client_secret={api.client_secret}&pin={'9' * 300}", form)[0]
    check_equal(status, 400, "a PIN that is too long")
    check_equal(state(site), "pin-wanted", "the token waits all the same")


def trial(token):
    os.environ.update(token.env)
    return kluis.Site(token.path("site"), ["--pkcs11-module", token.module, "--pkcs11-uri", token.uri, "--pin-file", token.path("pin"),
                                           "--pkcs11-store-dir", token.store])


def unwrap_status(api, key, value):
    return api.call("POST", f"{key}/unwrapkey", {"alg": "RSA-OAEP-256", "value": value})[0]


def test_a_lost_login_is_renewed_where_the_worker_may_keep_the_pin():
    for relogin in ("yes", "no"):
        with fault.Fault() as token, trial(token) as site:
            configure(site, relogin=relogin, store_copies="0")  # a copy's proof logs in too
            site.down()
            site.up()
            api = kluis.Api(site)
            key = "/keys/" + api.must("POST", "/keys/k/create", {"kty": "RSA"})["key"]["kid"].split("/keys/")[1]
            value = api.must("POST", f"{key}/wrapkey", {"alg": "RSA-OAEP-256", "value": kluis.b64url(b"x" * 32)})["value"]
            check_equal(unwrap_status(api, key, value), 200, "unwrap")
            before, worker = token.logins(), site.worker()
            token.script("C_DecryptInit 1p logout")
            if relogin == "yes":
                check_equal(unwrap_status(api, key, value), 200, "unwrap after the token lost the login")
                check_equal(site.worker(), worker, "the worker is the same")
            else:
                wait_until(lambda: unwrap_status(api, key, value) == 200, "a new worker logs in")
            check_equal(token.logins() - before, 1, f"logins, relogin = {relogin}")


def test_the_last_tries_belong_to_people():
    with fault.Fault() as token:
        with trial(token) as site:
            right = token.pin
            token.script("* always pin-count", f"pin {right}")
            for wrong in ("111111", "222222", "333333", "444444"):
                site.down()
                token.write("pin", wrong + "\n")
                said = site.up(check=False).stderr
                check("PIN" in said and wrong not in said, f"dev up says that it is the PIN: {said}")
            check_equal(token.logins() - 1, 2, "wrong PINs that reached a token of three tries")
            site.down()


class Keypad(softhsm.SoftHsm):
    """A token with a protected authentication path."""

    def start(self):
        super().start()
        self.env.update(KLUIS_NOSY_MODULE=self.module, KLUIS_NOSY_KEYPAD=self.write("typed", self.pin))
        self.module = shutil.copy(os.environ["KLUIS_NOSY"], self.path("keypad.so"))


def test_a_token_with_a_keypad_of_its_own():
    with Keypad() as token:
        try:
            with trial(token) as site:
                check("kid" in kluis.Api(site).must("POST", "/keys/k/create", {"kty": "RSA"})["key"], "whatever pin-source says, it gets no PIN from us")
                site.down()
                configure(site, pin_source="protected")
                os.unlink(token.path("pin"))
                site.up()
                check("kid" in kluis.Api(site).must("POST", "/keys/m/create", {"kty": "RSA"})["key"], "pin-source = protected")
                site.down()
                token.write("typed", "000000")
                for _ in range(2):
                    check("PIN" in site.up(check=False).stderr, "a PIN that was typed wrong")
                    site.down()
        finally:
            del os.environ["KLUIS_NOSY_KEYPAD"]


kluis.main(globals())
