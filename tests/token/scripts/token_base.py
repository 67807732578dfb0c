"""One fresh PKCS#11 token in a folder of its own: what all kinds share.

A kind's `start` makes the token and says how it is reached: `module`, `env` (variables that its module reads), `init_args` (the string
for C_Initialize) and `runner` (words in front of every program that uses it). Nothing outside the folder is touched; `stop` ends the
daemons that were started and removes the folder. A program or module that is not there is a failure: tests/packages.txt lists them.
"""
import os
import shutil
import signal
import subprocess
import tempfile
import time

PATIENCE = 60
PLACES = [f"{lib}/{sub}" for lib in ("/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib", "/usr/lib64")
          for sub in ("", "softhsm/", "pkcs11/", "opencryptoki/")]
TOOLS = {**os.environ, "PATH": os.environ.get("PATH", "") + ":/usr/sbin:/sbin"}
# Variables of a caller's own tokens must not leak into a fresh one.
for variable in ("SOFTHSM2_CONF", "PKCS11_INIT_ARGS", "P11_KIT_SERVER_ADDRESS", "DBUS_SESSION_BUS_ADDRESS", "XDG_CONFIG_HOME"):
    TOOLS.pop(variable, None)


def find_module(name):
    for place in PLACES:
        if os.path.exists(place + name):
            return place + name
    raise FileNotFoundError(f"the PKCS#11 module {name} is not installed")


def wait_for(condition, words):
    end = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"not within {PATIENCE} s: {words}")
        time.sleep(0.02)


class Token:
    label, pin, so_pin = "kluis", "648219", "75310246"
    module = None
    init_args = None
    store = None  # where a module that never syncs keeps its objects, as the module sees it
    can_vanish = False

    def __init__(self, folder=None):
        self.owned = folder is None
        self.dir = folder or tempfile.mkdtemp(prefix="kt.")  # short: Unix sockets live in it
        self.env, self.runner, self.daemons = {}, [], []

    @property
    def uri(self):
        return f"pkcs11:token={self.label}"

    def __enter__(self):
        try:
            self.start()
            for name, value in (("pin", self.pin), ("so-pin", self.so_pin)):
                with open(os.open(self.path(name), os.O_CREAT | os.O_WRONLY, 0o600), "w", encoding="ascii") as f:
                    f.write(value + "\n")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *unused):
        while self.daemons:
            self.end(self.daemons[-1])
        if self.owned:
            shutil.rmtree(self.dir, ignore_errors=True)

    def start(self):
        raise NotImplementedError

    def path(self, *names):
        return os.path.join(self.dir, *names)

    def write(self, name, text):
        os.makedirs(os.path.dirname(self.path(name)), exist_ok=True)
        with open(self.path(name), "w", encoding="utf-8") as f:
            f.write(text)
        return self.path(name)

    def environment(self):
        return {**TOOLS, **self.env}

    def tool(self, *words, data=None):
        """Run a token tool inside the token's environment; its output, or a failure that says what it said."""
        r = subprocess.run([*self.runner, *words], input=data, capture_output=True, text=True, check=False, env=self.environment(), timeout=PATIENCE)
        if r.returncode != 0:
            raise RuntimeError(f"{' '.join(words)}: exit {r.returncode}: {r.stdout}{r.stderr}")
        return r.stdout

    def daemon(self, *words, env=None):
        """Start a daemon in a process group of its own."""
        with open(self.path("daemons.log"), "ab") as log:
            # pylint: disable-next=consider-using-with
            p = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, env={**self.environment(), **(env or {})})
        self.daemons.append(p)
        return p

    def end(self, p):
        self.daemons.remove(p)
        for sign in (signal.SIGCONT, signal.SIGTERM):
            self.signal(p, sign)
        try:
            p.wait(3)
        except subprocess.TimeoutExpired:
            pass
        self.signal(p, signal.SIGKILL)  # whoever of the group is left
        p.wait()

    @staticmethod
    def signal(p, sign):
        try:
            os.killpg(p.pid, sign)
        except ProcessLookupError:
            pass

    def logins(self):
        """How often a program logged in, as far as the token tells."""
        return None

    def objects(self):
        """How many private and public keys the token holds, as another program sees it."""
        out = self.tool("pkcs11-tool", "--module", self.module, "--token-label", self.label, "--login", "--pin", self.pin, "--list-objects")
        return sum(line.startswith(("Private Key Object", "Public Key Object")) for line in out.splitlines())
