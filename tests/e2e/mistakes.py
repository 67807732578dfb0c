#!/usr/bin/env python3
"""What an operator gets wrong when a token is plugged in, one mistake after the other on one site that never got ready: each ends
with one sentence on the last line that says what is wrong and where, leaves nothing running, and can be put right by saying it again.
"""
import os
import shutil
import socket
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
import kluis
from kluis import check, check_equal

MODULE = "/usr/lib/softhsm/libsofthsm2.so"


class Bench:
    """A folder with SoftHSM tokens `one`, and `twin` twice, and PIN files; and the site that is to use one of them."""

    def __init__(self, folder):
        self.folder = folder
        os.mkdir(self.path("tokens"))
        self.write("softhsm2.conf", f"directories.tokendir = {self.path('tokens')}\nobjectstore.backend = file\n")
        self.write("pin", "483920")
        self.write("wrong-pin", "111111")
        self.write("empty-pin", "")
        os.environ["SOFTHSM2_CONF"] = self.path("softhsm2.conf")
        for label in ("one", "twin", "twin"):
            subprocess.run(["softhsm2-util", "--init-token", "--free", "--label", label, "--pin", "483920", "--so-pin", "920483"], check=True, capture_output=True)
        self.site = kluis.Site(folder=self.path("site"))

    def path(self, name):
        return os.path.join(self.folder, name)

    def write(self, name, text):
        with open(self.path(name), "w", encoding="utf-8") as f:
            f.write(text)
        return self.path(name)

    def up(self, module=MODULE, uri="pkcs11:token=one", pin="pin"):
        self.site.options = ["--pkcs11-module", module, "--pkcs11-uri", uri, "--pin-file", self.path(pin)]
        return self.site.up(check=False)

    def refused(self, words, code=1, **more):
        """The site does not come up, and the last line holds all these words."""
        r = self.up(**more)
        check_equal(r.returncode, code, f"exit code of {more}: {r.stderr}")
        last = r.stderr.strip().splitlines()[-1]
        check(last.startswith("kluis dev up: ") and last.endswith("."), f"a sentence: {last}")
        for word in words:
            check(word in last, f"{more}: {word!r} is in: {last}")
        check_equal(self.site.pids(), [], "nothing is left running")


def test_mistakes():
    with tempfile.TemporaryDirectory(prefix="kluis-test.", dir=kluis.scratch_root()) as folder:
        bench = Bench(folder)
        try:
            run(bench)
        finally:
            bench.site.__exit__()


def run(bench):
    bench.refused([bench.path("absent.so"), "No such file"], module=bench.path("absent.so"))
    bench.refused([bench.write("text.so", "no module"), "cannot be loaded"], module=bench.path("text.so"))
    bench.refused([bench.path("no-pin"), "No such file"], pin="no-pin")
    bench.refused(["'one'", "'twin'", "pkcs11:token=three"], uri="pkcs11:token=three")
    bench.refused(["uri must begin with pkcs11:", "kluis.conf:"], uri="token=one")
    bench.refused(["2 tokens match pkcs11:token=twin", "serial="], uri="pkcs11:token=twin")
    bench.refused([bench.path("empty-pin"), "is empty"], pin="empty-pin")
    bench.refused(["refused its PIN", "correct what pin-source names"], pin="wrong-pin")
    bench.refused(["refused this PIN before", "pin-refused-"], pin="wrong-pin")
    module = bench.path("writable.so")
    shutil.copy(MODULE, module)
    os.chmod(module, 0o777)
    bench.refused([module, "others can write", "chmod go-w"], module=module)
    with socket.create_server(("127.0.0.1", bench.site.port)):
        bench.refused([str(bench.site.port), "taken by another program"])
        taken, bench.site.port = bench.site.port, kluis.free_port()
        check_equal(bench.up().returncode, 0, "with another port and everything right, the same folder becomes a site")
        check(str(taken) not in bench.site.env["KLUIS_URL"], "it lives on the new port")
    check_equal(kluis.Api(bench.site).call("POST", "/keys/k/create", {"kty": "RSA"})[0], 200, "and makes keys")
    bench.site.down()
    bench.refused(["pkcs11:token=one", "make another site"], code=4, uri="pkcs11:token=twin")


kluis.main(globals())
