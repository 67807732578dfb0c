"""p11-kit over SoftHSM: its remote client (a network HSM's nearest relative here), and its proxy, which shows two tokens."""
import os
import signal

from nss import Nss
from softhsm import SoftHsm
from token_base import Token, find_module, wait_for


class Remote(Token):
    can_vanish = True

    def start(self):
        self.backend = SoftHsm(self.dir)
        self.backend.label = self.label
        self.backend.start()
        self.module = find_module("p11-kit-client.so")
        self.env["P11_KIT_SERVER_ADDRESS"] = "unix:path=" + self.path("line")
        self.restore()

    def vanish(self):
        self.end(self.server)
        if os.path.exists(self.path("line")):
            os.unlink(self.path("line"))

    def restore(self):
        self.server = self.daemon("p11-kit", "server", "-f", "-n", self.path("line"), "-p", self.backend.module, self.uri, env=self.backend.env)
        wait_for(lambda: os.path.exists(self.path("line")), "the server listens")

    def hang(self):
        self.signal(self.server, signal.SIGSTOP)

    def go_on(self):
        self.signal(self.server, signal.SIGCONT)


class Proxy(Token):
    """Ignores a user's configuration when the user is root: then everything runs as uid 1000 of a user namespace."""

    def start(self):
        soft, other = SoftHsm(self.path("soft")), Nss(self.path("nss"))
        other.label = "second"  # pkcs11-tool takes the first label that begins so
        for t in (soft, other):
            os.mkdir(t.dir)
            t.start()
        self.module, self.store = find_module("p11-kit-proxy.so"), soft.store
        self.write("config/pkcs11/pkcs11.conf", "user-config: only\n")
        self.write("config/pkcs11/modules/soft.module", f"module: {soft.module}\ncritical: yes\n")
        self.write("config/pkcs11/modules/other.module", f"module: {other.module}\ncritical: yes\nx-init-reserved: {other.init_args}\n")
        self.env = {**soft.env, **other.env, "XDG_CONFIG_HOME": self.path("config")}
        if os.geteuid() == 0:
            self.runner = ["unshare", "--user", "--map-user=1000", "--map-group=1000", "--"]
