#!/usr/bin/env python3
"""Shows that each check can fail: a small clean tree passes, and each planted fault is found."""
import os
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
GUARDED = "#ifndef KL_T_H\n#define KL_T_H\n\n{}\n\n#endif\n"
LONG = "int kl_long(int x);\n\nint kl_long(int x)\n{\n" + "    x++;\n" * 60 + "    return x;\n}\n"

# check -> [(file, its text, words that the finding must hold)]
FAULTS = {
    "layers": [
        ("base/a.c", '#include "keyvault/x.h"\n', "base/ may not include keyvault/x.h"),
        ("pkcs11/a.c", '#include "wrap/x.h"\n', "pkcs11/ may not include wrap/x.h"),
        ("keyvault/a.c", '#include "pkcs11/proto.h"\n', "keyvault/ may not include pkcs11/proto.h"),
        ("wrap/a.c", '#include "keyvault/x.h"\n', "wrap/ may not include"),
        ("wrap/a.c", '#include "pkcs11/token.h"\n', "wrap/ may not include"),
        ("cli/a.c", '#include "pkcs11/token.h"\n', "cli/ may not include"),
        ("base/a.c", '#include "buf.h"\n', "lacks its folder"),
        ("keyvault/a.c", "#include <p11-kit/pkcs11.h>\n", "only pkcs11/worker/ may"),
        ("pkcs11/a.c", "void *f(void)\n{\n    return dlopen(0, 1);\n}\n", "only pkcs11/worker/ may"),
        ("keyvault/a.c", "#include <curl/curl.h>\n", "only base/ may"),
        ("keyvault/README.md", None, "keyvault/README.md:1: missing"),
    ],
    "headers": [
        ("base/t.h", GUARDED.format("size_t kl_t(void);"), "does not compile by itself"),
        ("base/t.h", "struct kl_t {\n    int x;\n};\n", "does not compile by itself, twice"),
    ],
    "format": [("base/a.c", "int kl_a( void ){return 1;}\n", "not as clang-format 14 writes it")],
    "functions": [
        ("base/a.c", LONG, "kl_long has 64 lines"),
        ("base/a.c", "\n" * 601, "file of 601 lines"),
        ("tests/checks/waivers.txt", "base/none.c kl_none gone\n", "needs no waiver any more"),
    ],
    "banned": [
        ("base/a.c", "void f(char *a)\n{\n    strcpy(a, g());\n}\n", "strcpy"),
        ("cli/a.c", "int f(void)\n{\n    return system (0);\n}\n", "system"),
        ("tests/unit/a.c", "int f(char *a)\n{\n    return atoi(a);\n}\n", "atoi"),
    ],
    "vendors": [
        ("pkcs11/worker/a.c", 'bool f(const char *m)\n{\n    return strcmp(m, "SoftHSM v2") == 0;\n}\n', "SoftHSM"),
        ("keyvault/a.c", "static bool is_luna;\n", "luna"),
    ],
    "shell": [("conf/x", "#!/usr/bin/env bash\nrm $1/a\n", "SC2086"), ("tests/a.sh", "if then\n", "SC10")],
    "words": [
        ("base/a.c", "/* TO" "DO: later */\n", "without an owner"),
        ("README.md", "This is not imple" "mented.\n", "not there"),
        ("conf/a.conf", "path = /ho" "me/someone/x\n", "path of one machine"),
    ],
}
# A clean tree, with the words where they do no harm.
CLEAN = {
    "base/ok.h": "/* size_t, strcpy( and dlopen( in a comment are nobody's business */\n" + GUARDED.format("#include <stddef.h>\n\nsize_t kl_ok(const char *s);"),
    "base/ok.c": '#include "base/ok.h"\n\nsize_t kl_ok(const char *s)\n{\n    return s ? sizeof "system(" : 0;\n}\n',
    "keyvault/ok.c": '#include "pkcs11/token.h"\n#include "keyvault/x.h"\n',
    "pkcs11/worker/ok.c": "#include <p11-kit/pkcs11.h>\n",
    "base/README.md": "b\n", "pkcs11/README.md": "p\n", "keyvault/README.md": "k\n", "wrap/README.md": "w\n", "cli/README.md": "c\n",
}


def run(check, files):
    with tempfile.TemporaryDirectory() as root:
        for path, text in files.items():
            if text is None:
                continue
            os.makedirs(os.path.dirname(os.path.join(root, path)) or root, exist_ok=True)
            with open(os.path.join(root, path), "w", encoding="utf-8") as f:
                f.write(text)
        with open(os.path.join(HERE, "../../.clang-format"), encoding="utf-8") as f, \
                open(os.path.join(root, ".clang-format"), "w", encoding="utf-8") as g:
            g.write(f.read())
        r = subprocess.run([sys.executable, os.path.join(HERE, "checks.py"), check, root], capture_output=True, text=True, check=False)
        return r.returncode, r.stdout + r.stderr


def main():
    check = sys.argv[1]
    code, out = run(check, CLEAN)
    if code != 0:
        print(f"the clean tree does not pass check.{check}:\n{out}")
        return 1
    for path, text, words in FAULTS[check]:
        code, out = run(check, {**CLEAN, path: text})
        if code != 1 or words not in out:
            print(f"check.{check} did not find '{words}' planted in {path}; it said ({code}):\n{out}")
            return 1
    print(f"check.{check} finds {len(FAULTS[check])} of {len(FAULTS[check])} planted faults")
    return 0


if __name__ == "__main__":
    sys.exit(main())
