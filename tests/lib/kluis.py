"""What the Python tests share: a site of `kluis dev up` in its own folder and port, a raw HTTPS client that knows nothing of kluis' own
client code, and a runner that counts checks.

A test file ends with `kluis.main(globals())`; each function named test_… is one case and gets a running Site if it takes one
argument. Every wait has a deadline; nothing sleeps and hopes.
"""
import base64
import http.client
import inspect
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
import traceback
import urllib.parse

BIN = os.path.abspath(os.environ.get("KLUIS_BIN") or os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../build/bin"))
KLUIS = os.path.join(BIN, "kluis")
FULL = os.environ.get("KLUIS_FULL") == "1"
API = "api-version=7.4"
# Sanitized builds on a busy machine are slow; a wait that hits this is a failure, whatever the cause.
PATIENCE = 90


# An ended test takes its site down like a failed one.
signal.signal(signal.SIGTERM, lambda *unused: sys.exit(143))


class Failed(Exception):
    pass


class Counter:
    checks = 0


def check(condition, words):
    """One counted check; `words` say what must hold."""
    Counter.checks += 1
    if not condition:
        raise Failed(words)


def check_equal(got, wanted, words):
    check(got == wanted, f"{words}: wanted {wanted!r}, got {got!r}")


def wait_until(condition, words, seconds=PATIENCE):
    """Poll until condition() is true; its value. Failed after `seconds`."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise Failed(f"not within {seconds} s: {words}")
        time.sleep(0.05)


def b64url(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def un_b64url(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def scratch_root():
    """A memory file system when there is a roomy one: a token makes dozens of small writes for each key."""
    for root in (os.environ.get("KLUIS_TEST_ROOT"), "/dev/shm"):
        if root and os.access(root, os.W_OK) and shutil.disk_usage(root).free > 256 << 20:
            return root
    return tempfile.gettempdir()


def alive(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as f:
            return f.read().rsplit(")", 1)[1].split()[0] not in "ZX"
    except OSError:
        return False


def processes():
    """[(pid, parent, name, command line)] of everything that runs."""
    rows = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as f:
                stat = f.read()
            with open(f"/proc/{pid}/cmdline", encoding="utf-8", errors="replace") as f:
                line = f.read().replace("\0", " ").strip()
        except OSError:
            continue
        rest = stat.rsplit(")", 1)[1].split()
        if rest[0] not in "ZX":
            rows.append((int(pid), int(rest[1]), stat.split("(", 1)[1].rsplit(")", 1)[0], line))
    return rows


class Site:
    """One development site. `with Site() as s:` brings it up and takes it down, whatever happens."""

    def __init__(self, folder=None, options=()):
        self.owned = folder is None
        self.dir = folder or tempfile.mkdtemp(prefix="kluis-test.", dir=scratch_root())
        self.port = free_port()
        self.options = list(options)
        self.runner = []  # words in front of what starts a worker: some tokens are only seen from inside a namespace
        self.env = {}

    def __enter__(self):
        try:
            self.up()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *unused):
        try:
            self.run("dev", "down", "--dir", self.dir, check=False)
        finally:
            for pid in self.pids():
                os.kill(pid, signal.SIGKILL)
            if self.owned and not os.environ.get("KLUIS_KEEP"):
                shutil.rmtree(self.dir, ignore_errors=True)

    def run(self, *args, check=True, data=None, timeout=PATIENCE, extra_env=None, text=True):
        """The kluis command line with the site's environment."""
        runner = self.runner if args[:2] in (("dev", "up"), ("token", "domain-key"), ("token", "test"), ("token", "bench")) else []
        r = subprocess.run([*runner, KLUIS, *args], input=data, capture_output=True, text=text, timeout=timeout, check=False,
                           env={**os.environ, **self.env, **(extra_env or {})})
        if check and r.returncode != 0:
            raise Failed(f"kluis {' '.join(args)}: exit {r.returncode}: {r.stderr}{self.log_tail()}")
        return r

    def json(self, *args, **more):
        return json.loads(self.run(*args, "-o", "json", **more).stdout)

    def up(self, check=True):
        r = self.run("dev", "up", "--dir", self.dir, "--port", str(self.port), *self.options, check=check)
        if r.returncode == 0:
            out = subprocess.run(["sh", "-c", '. "$0/env"; exec env -0', self.dir], capture_output=True, check=True, text=True).stdout
            seen = dict(row.split("=", 1) for row in out.split("\0") if "=" in row)
            self.env = {k: v for k, v in seen.items() if os.environ.get(k) != v and k not in ("_", "PWD", "SHLVL", "OLDPWD")}
        return r

    def down(self):
        self.run("dev", "down", "--dir", self.dir)

    def log_tail(self, lines=12):
        out = []
        for here, _, files in os.walk(self.dir):
            for name in files:
                if name.endswith(".log") and "audit" not in name:
                    with open(os.path.join(here, name), encoding="utf-8", errors="replace") as f:
                        out += [f"  {name}: {line}" for line in f.readlines()[-lines:]]
        return "\n" + "".join(out)

    def pids(self):
        """Everything that runs for this site: what names its folder, and the children of those."""
        rows = processes()
        found = {pid for pid, _, _, line in rows if self.dir + "/" in line and pid != os.getpid()}
        found |= {pid for pid, parent, _, _ in rows if parent in found}
        return sorted(found)

    def daemon(self):
        """The pid of kluisd, or None."""
        return next((pid for pid, _, name, line in processes() if name.startswith("kluisd") and self.dir + "/" in line), None)

    def worker(self):
        """The pid of the one kluis-tokend, or None."""
        daemon = self.daemon()
        return next((pid for pid, parent, name, _ in processes() if parent == daemon and name.startswith("kluis-tokend")), None)

    def ready(self):
        try:
            return Api(self).call("GET", "/readyz", auth=False)[0] == 200
        except OSError:
            return False

    def wait_ready(self, seconds=PATIENCE):
        wait_until(self.ready, "/readyz is 200", seconds)

    def config_value(self, section, key):
        current = None
        with open(self.env["KLUIS_CONFIG"], encoding="utf-8") as f:
            for line in f:
                line = line.strip()
                if line.startswith("["):
                    current = line.strip("[]").split()[0]
                elif current == section and "=" in line and line.split("=")[0].strip() == key:
                    value = line.split("=", 1)[1].strip()
                    return os.path.join(os.path.dirname(self.env["KLUIS_CONFIG"]), value)
        raise Failed(f"the configuration has no [{section}] {key}")


class Api:
    """Raw requests to a site: one connection, kept alive. Not shared between threads."""

    def __init__(self, site, vault="demo", timeout=PATIENCE):
        env = site.env
        self.base = urllib.parse.urlsplit(env["KLUIS_URL"])
        self.host = f"{vault}.vault.localhost:{self.base.port}" if vault else self.base.netloc
        self.context = ssl.create_default_context(cafile=env["KLUIS_CA"])
        self.tenant, self.client_id = env["KLUIS_TENANT"], env["KLUIS_CLIENT_ID"]
        with open(env["KLUIS_CLIENT_SECRET_FILE"], encoding="utf-8") as f:
            self.client_secret = f.read().strip()
        self.timeout = timeout
        self.connection = None
        self.token = None

    def close(self):
        if self.connection:
            self.connection.close()
        self.connection = None

    def exchange(self, method, path, body=None, headers=None):
        """One request as given: (status, headers, bytes). Opens the connection when there is none; closes it on any fault."""
        if not self.connection:
            self.connection = http.client.HTTPSConnection("127.0.0.1", self.base.port, context=self.context, timeout=self.timeout)
        try:
            self.connection.request(method, path, body, headers or {})
            answer = self.connection.getresponse()
            data = answer.read()
        except (OSError, http.client.HTTPException) as e:
            self.close()
            raise e if isinstance(e, OSError) else ConnectionError(repr(e)) from e
        if answer.will_close:
            self.close()
        return answer.status, answer.headers, data

    def login(self):
        form = urllib.parse.urlencode({"grant_type": "client_credentials", "client_id": self.client_id, "client_secret": self.client_secret,
                                       "scope": "https://vault.localhost/.default"})
        status, _, data = self.exchange("POST", f"/{self.tenant}/oauth2/v2.0/token", form,
                                        {"Content-Type": "application/x-www-form-urlencoded", "Host": self.base.netloc})
        if status != 200:
            raise Failed(f"login: {status} {data!r}")
        self.token = json.loads(data)["access_token"]
        return self.token

    def call(self, method, path, body=None, auth=True, host=None, headers=None):
        """A JSON request: (status, headers, parsed JSON or None). Paths of the data plane get an api-version."""
        if auth and not self.token:
            self.login()
        if path.startswith(("/keys", "/deletedkeys", "/secrets", "/deletedsecrets")) and "api-version" not in path:
            path += ("&" if "?" in path else "?") + API
        given = {"Host": host or self.host, **({"Authorization": f"Bearer {self.token}"} if auth else {}), **(headers or {})}
        text = None
        if body is not None:
            text = body if isinstance(body, (str, bytes)) else json.dumps(body)
            given.setdefault("Content-Type", "application/json")
        status, answered, data = self.exchange(method, path, text, given)
        return status, answered, json.loads(data) if data else None

    def must(self, method, path, body=None, wanted=200):
        status, _, answer = self.call(method, path, body)
        check_equal(status, wanted, f"{method} {path} {answer}")
        return answer


def main(names):
    """Run the test_… functions of a file; exit 1 when one failed."""
    failed = 0
    wanted = sys.argv[1:]
    cases = [(n, f) for n, f in names.items() if n.startswith("test_") and callable(f) and (not wanted or n in wanted)]
    for name, function in cases:
        before, start = Counter.checks, time.monotonic()
        try:
            if len(inspect.signature(function).parameters) == 1:
                with Site() as site:
                    try:
                        function(site)
                    except BaseException:
                        print(site.log_tail(40))
                        raise
            else:
                function()
            print(f"ok {name}: {Counter.checks - before} checks, {time.monotonic() - start:.1f} s", flush=True)
        except Failed as e:
            failed += 1
            print(f"FAILED {name}: {e}", flush=True)
        except Exception:  # any fault of a test is a failure, with its place
            failed += 1
            print(f"FAILED {name}:\n{traceback.format_exc()}", flush=True)
    print(f"{len(cases) - failed} of {len(cases)} cases passed, {Counter.checks} checks")
    sys.exit(1 if failed or not cases or not Counter.checks else 0)
