#!/usr/bin/env python3
"""with_token.py KIND COMMAND...: run a command with a fresh token around it, for trying things by hand.

The command finds PKCS11_MODULE, PKCS11_URI, PIN_FILE, SO_PIN_FILE and, where the module wants one, PKCS11_INIT_ARGS in its environment.
"""
import subprocess
import sys

import fault
import nss
import opencryptoki
import p11kit
import softhsm
import tpm2

KINDS = {"softhsm": softhsm.SoftHsm, "nss": nss.Nss, "opencryptoki": opencryptoki.OpenCryptoki, "tpm2": tpm2.Tpm2,
         "p11kit-remote": p11kit.Remote, "p11kit-proxy": p11kit.Proxy, "spy": softhsm.Spy, "fault": fault.Fault}


def main():
    if len(sys.argv) < 3 or sys.argv[1] not in KINDS:
        sys.exit(f"use: {sys.argv[0]} {'|'.join(KINDS)} COMMAND...")
    with KINDS[sys.argv[1]]() as t:
        env = {**t.environment(), "PKCS11_MODULE": t.module, "PKCS11_URI": t.uri, "PIN_FILE": t.path("pin"), "SO_PIN_FILE": t.path("so-pin")}
        if t.init_args:
            env["PKCS11_INIT_ARGS"] = t.init_args
        sys.exit(subprocess.run([*t.runner, *sys.argv[2:]], env=env, check=False).returncode)


if __name__ == "__main__":
    main()
