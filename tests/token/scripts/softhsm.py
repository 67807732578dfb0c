"""SoftHSM 2, and OpenSC's call logger in front of it."""
import os

from token_base import Token, find_module


class SoftHsm(Token):
    can_vanish = True

    def start(self):
        self.store = self.path("store")
        os.mkdir(self.store)
        self.env["SOFTHSM2_CONF"] = self.write("softhsm2.conf", f"directories.tokendir = {self.store}\nobjectstore.backend = file\nlog.level = ERROR\n")
        self.module = find_module("libsofthsm2.so")
        self.tool("softhsm2-util", "--init-token", "--free", "--label", self.label, "--pin", self.pin, "--so-pin", self.so_pin)

    def vanish(self):
        os.rename(self.path("store"), self.path("away"))
        os.mkdir(self.path("store"))

    def restore(self):
        os.rmdir(self.path("store"))
        os.rename(self.path("away"), self.path("store"))


class Spy(SoftHsm):
    """Every call goes to spy.log, with its values."""

    def start(self):
        super().start()
        self.env.update(PKCS11SPY=self.module, PKCS11SPY_OUTPUT=self.path("spy.log"))
        self.module = find_module("pkcs11-spy.so")

    def logins(self):
        with open(self.path("spy.log"), encoding="utf-8", errors="replace") as f:
            return sum(line.endswith(": C_Login\n") for line in f)
