"""A site whose clocks stand apart from the machine's (moved_clock.c)."""
import os
import sqlite3
import struct

import kluis

SHIM = os.path.join(kluis.BIN, "../tests/libmoved-clock.so")


class MovedSite(kluis.Site):
    """Its wall clock and its count of time since boot are what `move` says."""

    def __init__(self):
        super().__init__()
        self.clock_file = os.path.join(self.dir, "moved-clock")
        with open(self.clock_file, "wb") as f:
            f.write(bytes(16))
        self.wall = self.boot = 0

    def run(self, *args, **more):
        if args[:2] == ("dev", "up"):
            more["extra_env"] = {"LD_PRELOAD": SHIM, "MOVED_CLOCK": self.clock_file, **(more.get("extra_env") or {}),
                                 "ASAN_OPTIONS": "verify_asan_link_order=0:" + os.environ.get("ASAN_OPTIONS", "")}
        return super().run(*args, **more)

    def move(self, wall, boot):
        """The wall clock last: what passes must never look like a jump ahead."""
        self.wall, self.boot = self.wall + wall, self.boot + boot
        with open(self.clock_file, "r+b", buffering=0) as f:
            os.pwrite(f.fileno(), struct.pack("=q", self.boot), 8)
            os.pwrite(f.fileno(), struct.pack("=q", self.wall), 0)

    def counted(self):
        """The seconds that the service has noted as passed."""
        with sqlite3.connect(f"file:{self.config_value('service', 'database')}?mode=ro", uri=True) as db:
            row = db.execute("SELECT value FROM note WHERE name = 'trusted-clock'").fetchone()
        db.close()
        return int(row[0].split()[1]) if row else 0

    def reconciled(self):
        with open(os.path.join(self.dir, "kluisd.log"), encoding="utf-8", errors="replace") as f:
            return sum(" reconciled " in line for line in f)
