#!/usr/bin/env python3
"""A full disk under the whole site: clear errors, nothing acknowledged is lost, and everything works again once there is room. The
site lies on a small memory file system that is mounted in a mount name space of our own, so nothing stays mounted."""
import os
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
import kluis
from kluis import check, check_equal, wait_until

DEK = b"0123456789abcdef0123456789abcdef"
SIZE = 48 << 20


def enter_name_space():
    """Run this file again where mounting is allowed: as root in a new mount name space, otherwise in a user name space too."""
    if os.environ.get("KLUIS_MOUNTS") == "own":
        return
    options = ["--mount", "--propagation", "private"] if os.geteuid() == 0 else ["--mount", "--map-root-user"]
    os.execvpe("unshare", ["unshare", *options, sys.executable, os.path.abspath(sys.argv[0]), *sys.argv[1:]], {**os.environ, "KLUIS_MOUNTS": "own"})


def fill(path):
    """Take all room that is left."""
    with open(path, "wb", buffering=0) as f:
        for block in (1 << 20, 4096, 1):
            try:
                while True:
                    f.write(b"\0" * block)
            except OSError:
                pass


def test_full_disk():
    with tempfile.TemporaryDirectory() as root:
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", root], check=True)
        try:
            with kluis.Site(folder=os.path.join(root, "site")) as site:
                run(site, os.path.join(root, "filler"))
        finally:
            subprocess.run(["umount", "--lazy", root], check=True)


def run(site, filler):
    api = kluis.Api(site)
    wrapped = {}
    for n in range(3):
        version = api.must("POST", f"/keys/full{n}/create", {"kty": "RSA", "key_size": 2048})["key"]["kid"].rsplit("/", 1)[1]
        wrapped[f"/keys/full{n}/{version}"] = api.must("POST", f"/keys/full{n}/{version}/wrapkey", {"alg": "RSA-OAEP-256", "value": kluis.b64url(DEK)})["value"]

    def unwraps(path):
        status, _, answer = api.call("POST", path + "/unwrapkey", {"alg": "RSA-OAEP-256", "value": wrapped[path]})
        check(status != 200 or kluis.un_b64url(answer["value"]) == DEK, "an answer is right or it is an error")
        return status

    fill(filler)
    acknowledged = []
    for n in range(6):
        status, _, answer = api.call("POST", f"/keys/late{n}/create", {"kty": "EC", "crv": "P-256"})
        check(status == 200 or status >= 500, f"create on a full disk: {status} {answer}")
        if status == 200:
            acknowledged.append(f"late{n}")
        else:
            check(len(answer["error"]["message"]) > 10, "the error says something")
    check(len(acknowledged) < 6, "a full disk is noticed")
    for path in wrapped:
        check(unwraps(path) in (200, 500, 503), "unwrap on a full disk is right or refused")
    status, _, _ = api.call("GET", "/healthz", auth=False)
    check_equal(status, 200, "the daemon is alive")

    os.unlink(filler)
    wait_until(lambda: all(unwraps(path) == 200 for path in wrapped), "every unwrap works once there is room", 10)
    wait_until(lambda: api.call("POST", "/keys/after/create", {"kty": "RSA", "key_size": 2048})[0] == 200, "create works once there is room", 15)
    for name in acknowledged:
        check_equal(api.call("GET", f"/keys/{name}")[0], 200, f"the acknowledged key {name}")
    site.down()
    site.up()
    api.close()
    for path in wrapped:
        check_equal(unwraps(path), 200, "unwrap after a restart")
    for name in acknowledged:
        check_equal(api.call("GET", f"/keys/{name}")[0], 200, f"the acknowledged key {name} after a restart")
    site.run("audit", "verify")


if __name__ == "__main__":
    enter_name_space()
    kluis.main(globals())
