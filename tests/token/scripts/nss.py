"""NSS softokn: wants its folder in the string of C_Initialize."""
import os

from token_base import Token, find_module


class Nss(Token):
    # The store hashes its password anew for each use of a key, 10,000 rounds unless told otherwise when it is made.
    rounds = "1"

    def start(self):
        os.mkdir(self.path("db"))
        self.env["NSS_MAX_MP_PBE_ITERATION_COUNT"] = self.rounds
        self.module = find_module("libsoftokn3.so")
        self.init_args = f"configdir='sql:{self.path('db')}' dbTokenDescription='{self.label}'"
        self.tool("certutil", "-N", "-d", "sql:" + self.path("db"), "-f", self.write("db.pin", self.pin + "\n"))

    def objects(self):
        """Private keys only: certutil lists no public ones."""
        lines = self.tool("sh", "-c", 'certutil -K -d "$0" -f "$1" 2>&1 || true', "sql:" + self.path("db"), self.path("db.pin")).splitlines()
        return sum(line.startswith("<") for line in lines)
