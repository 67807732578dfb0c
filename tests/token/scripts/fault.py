"""SoftHSM behind the fault module (tests/fault/README.md): a token that breaks as its script says."""
import os

from softhsm import SoftHsm

HERE = os.path.dirname(os.path.abspath(__file__))
MODULES = os.path.join(os.environ.get("KLUIS_BIN") or os.path.join(HERE, "../../../build/bin"), "../tests")


class Fault(SoftHsm):
    module_name = "libkluis-fault.so"

    def start(self):
        super().start()
        self.real = self.module  # the same token without faults, for a second look
        self.module = os.path.realpath(os.path.join(MODULES, self.module_name))
        self.env.update(KLUIS_FAULT_MODULE=self.real, KLUIS_FAULT_SCRIPT=self.path("script"))
        self.script()

    def script(self, *lines):
        """These rules from now on, instead of those before; none = no faults. A running worker follows with its next call."""
        text = "".join(line + "\n" for line in lines)
        os.replace(self.write("script.new", text), self.path("script"))

    def calls(self, function):
        """How often a function was called since the token was made, over all lives of the worker."""
        try:
            with open(self.path("script.count"), encoding="ascii") as f:
                return next(int(line.split()[1]) for line in f if line.split()[:1] == [function])
        except FileNotFoundError:
            return 0

    def logins(self):
        return self.calls("C_Login")


class Fault240(Fault):
    """The same without the symbol C_GetInterface, as a module of PKCS#11 2.40."""
    module_name = "libkluis-fault-240.so"
