"""openCryptoki's software token with its daemon. Folders and group are compiled in, so everything runs in a mount and an IPC namespace
where ours lie over them."""
import os
import stat

from token_base import Token, find_module, wait_for

SLOT = "3"
FACTORY_SO_PIN = "87654321"

# Within the new namespaces: cover the compiled-in places, then become the daemon.
COVER = """
set -e
mount --bind "$1/etc" /etc/opencryptoki
mount --bind "$1/lib" /var/lib/opencryptoki
mount --bind "$1/run" /run
mount --bind "$1/group" /etc/group
mount -t tmpfs none /dev/shm
exec pkcsslotd -f
"""

# A program that enters them loses its working folder: it goes back.
ENTER = """#!/bin/sh
exec nsenter --target {pid} --mount --ipc {more} sh -c 'cd "$0" 2>/dev/null || cd /; exec "$@"' "$PWD" "$@"
"""


class OpenCryptoki(Token):
    store = "/var/lib/opencryptoki/swtok"

    def start(self):
        self.module = find_module("libopencryptoki.so")
        for folder in ("etc", "lib/swtok/TOK_OBJ", "run/lock/opencryptoki/swtok"):
            os.makedirs(self.path(folder))
        self.write("etc/opencryptoki.conf", f"version opencryptoki-3.1\nslot {SLOT}\n{{\nstdll = libpkcs11_sw.so\n}}\n")
        with open("/etc/group", encoding="utf-8") as f:
            self.write("group", "".join(line for line in f if not line.startswith("pkcs11:")) + "pkcs11:x:0:\n")
        root = os.geteuid() == 0
        p = self.daemon("unshare", *([] if root else ["--user", "--map-root-user"]), "--mount", "--ipc", "--propagation", "private",
                        "sh", "-c", COVER, "cover", self.dir)
        wait_for(lambda: stat.S_ISSOCK(self.mode("run/pkcsslotd.socket")), "pkcsslotd listens")
        enter = self.write("enter", ENTER.format(pid=p.pid, more="" if root else "--user --preserve-credentials"))
        os.chmod(enter, 0o700)
        self.runner = [enter]
        self.tool("pkcsconf", "-c", SLOT, "-I", data=f"{FACTORY_SO_PIN}\n{self.label}\n")
        self.tool("pkcsconf", "-c", SLOT, "-P", "-S", FACTORY_SO_PIN, "-n", self.so_pin)
        self.tool("pkcsconf", "-c", SLOT, "-u", "-S", self.so_pin, "-n", self.pin)

    def mode(self, name):
        try:
            return os.stat(self.path(name)).st_mode
        except FileNotFoundError:
            return 0
