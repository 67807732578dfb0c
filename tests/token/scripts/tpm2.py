"""tpm2-pkcs11 on a simulated TPM: simulator, resource broker, and a message bus for the broker."""
import os

from token_base import Token, find_module, wait_for


class Tpm2(Token):
    can_vanish = True
    tcti = "tabrmd:bus_type=session"

    def start(self):
        self.module = find_module("libtpm2_pkcs11.so.1")
        os.mkdir(self.path("tpm"))
        os.mkdir(self.path("store"))
        self.env = {"DBUS_SESSION_BUS_ADDRESS": "unix:path=" + self.path("bus"), "TPM2_PKCS11_STORE": self.path("store"),
                    "TPM2_PKCS11_TCTI": self.tcti, "TPM2_PKCS11_LOG_LEVEL": "0", "TSS2_LOG": "all+NONE", "TPM2TOOLS_TCTI": self.tcti}
        self.daemon("dbus-daemon", "--session", "--nofork", "--nopidfile", "--address=" + self.env["DBUS_SESSION_BUS_ADDRESS"])
        wait_for(lambda: os.path.exists(self.path("bus")), "the message bus listens")
        self.restore()
        # Locked at the fourth fault, and for long. Each vanish is a fault too, as a TPM counts power cuts: two of them leave room for one
        # wrong PIN.
        self.tool("tpm2_dictionarylockout", "--setup-parameters", "--max-tries=4", "--recovery-time=1000", "--lockout-recovery-time=1000")
        self.tool("tpm2_ptool", "init", "--path", self.path("store"))
        self.tool("tpm2_ptool", "addtoken", "--pid", "1", "--label", self.label, "--sopin", self.so_pin, "--userpin", self.pin, "--path", self.path("store"))

    def vanish(self):
        for p in (self.broker, self.tpm):
            self.end(p)
        for name in ("tpm.sock", "tpm.sock.ctrl"):
            if os.path.exists(self.path(name)):
                os.unlink(self.path(name))

    def restore(self):
        # the broker finds the control socket by its name: the other's with .ctrl
        self.tpm = self.daemon("swtpm", "socket", "--tpm2", "--tpmstate", "dir=" + self.path("tpm"), "--flags", "not-need-init,startup-clear",
                               "--server", "type=unixio,path=" + self.path("tpm.sock"), "--ctrl", "type=unixio,path=" + self.path("tpm.sock.ctrl"))
        wait_for(lambda: os.path.exists(self.path("tpm.sock.ctrl")), "the TPM simulator listens")
        self.broker = self.daemon("tpm2-abrmd", "--session", "--max-connections=100", "--max-transients=100", "--tcti=swtpm:path=" + self.path("tpm.sock"),
                                  *(["--allow-root"] if os.geteuid() == 0 else []))
        wait_for(self.broker_is_up, "the resource broker is on the bus")

    def broker_is_up(self):
        try:
            self.tool("dbus-send", "--session", "--print-reply", "--dest=org.freedesktop.DBus", "/", "org.freedesktop.DBus.GetNameOwner",
                      "string:com.intel.tss2.Tabrmd")
            return True
        except RuntimeError:
            return False
