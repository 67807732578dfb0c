#!/usr/bin/env python3
"""The house rules that a machine can check. `checks.py NAME ROOT` looks at the tree ROOT, prints one
line for each finding (FILE:LINE: what) and exits 1 if there was one. NAME is a row of CHECKS.

selftest.py plants one bad file for each rule and sees the check fail.
"""
import os
import re
import shutil
import subprocess
import sys
import tempfile

FOLDERS = ["base", "pkcs11", "keyvault", "wrap", "cli", "tests"]
OURS = FOLDERS[:-1]
SKIPPED = {"node_modules", "__pycache__", "CMakeFiles"}

# Which of our headers a folder may include; the longest matching folder counts.
MAY_INCLUDE = {
    "base": ["base/"],
    "pkcs11": ["base/", "pkcs11/"],
    "pkcs11/worker": ["base/", "pkcs11/"],
    "keyvault": ["base/", "keyvault/", "pkcs11/token.h"],
    "wrap": ["base/", "wrap/"],
    "cli": ["base/", "wrap/", "cli/"],
}
# Outside interfaces that live in one place: (what it looks like, the only folders that may hold it).
ONLY_IN = [
    (r'#\s*include\s*[<"]p11-kit/', ["pkcs11/worker"]),
    (r"\bdlm?open\s*\(", ["pkcs11/worker"]),
    (r'#\s*include\s*[<"]curl/', ["base"]),
    (r'#\s*include\s*[<"](event2/|evhttp|event\.h)', ["base"]),
    (r'#\s*include\s*[<"]sqlite3', ["keyvault/store"]),
]
# What must not be called, and why.
BANNED = {
    "strcpy stpcpy strcat sprintf vsprintf gets": "no bound; use snprintf or base/buf",
    "strncpy strncat": "may lack the final NUL; use snprintf or base/buf",
    "system popen": "goes through a shell",
    "atoi atol atoll atof": "no error; use strtol with checks",
    "alloca": "unbounded stack",
    "rand srand random srandom drand48 rand_r": "not for keys, and tests want a printed seed",
    "strtok tmpnam tempnam mktemp": "not safe with threads or races",
    "ctime asctime gmtime localtime strerror": "shared buffer; use the _r form",
    "setjmp longjmp": "jumps past the clean-up",
}
TESTS_MAY = {"system", "popen", "strerror"}
MAX_FUNCTION_LINES = 60
MAX_FILE_LINES = 600
WORDS = [
    (r"\b(T[O]DO|FIX[M]E|X[X]X|HA[C]K)\b(?!\([a-z]+\))", "work left over without an owner"),
    (r"\bnot (yet )?implemented\b|(?i:\bst[u]b(s|bed)?\b|\bdummy\b|\bplace" + "holder\b)", "a piece that is not there"),
    (r"/(ho[m]e|Us[e]rs|wo[r]k|fa[r]m)/", "a path of one machine"),
]


# Code asks what a token does, or for a flag of the one table of quirks; help texts and comments may say where something was seen.
VENDORS = re.compile(r"soft_?hsm|opencryptoki|softtok|softokn|\bnss|nshield|luna|yubi|utimaco|thales|cloudhsm|nethsm|kryoptic|wolfp|tpm2|opensc|safenet", re.I)
MAY_NAME_VENDORS = {"pkcs11/worker/quirk.c", "pkcs11/token_conf.c"}


def walk(root, folders, endings):
    """Relative paths of all files below the folders whose names end so."""
    for folder in folders:
        for here, dirs, files in os.walk(os.path.join(root, folder)):
            dirs[:] = sorted(d for d in dirs if d not in SKIPPED and not d.startswith("build"))
            for name in sorted(files):
                if name.endswith(endings):
                    yield os.path.relpath(os.path.join(here, name), root)


def read(root, path):
    with open(os.path.join(root, path), encoding="utf-8", errors="replace") as f:
        return f.read()


def code_only(text):
    """C source with comments and the insides of string and character constants blanked, line by line."""
    def blank(m):
        s = m.group(0)
        if s.startswith("/"):
            return re.sub(r"[^\n]", " ", s)
        return s[0] + s[0]
    return re.sub(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])+\'', blank, text, flags=re.S)


def folder_rule(path):
    best = ""
    for folder in MAY_INCLUDE:
        if path.startswith(folder + "/") and len(folder) > len(best):
            best = folder
    return best


def check_layers(root):
    for path in walk(root, OURS, (".c", ".h")):
        text = read(root, path)
        rule = folder_rule(path)
        for n, line in enumerate(text.splitlines(), 1):
            m = re.match(r'\s*#\s*include\s*"([^"]+)"', line)
            if m and "/" not in m.group(1):
                yield f'{path}:{n}: include "{m.group(1)}" lacks its folder'
            elif m and not any(m.group(1).startswith(a) for a in MAY_INCLUDE[rule]):
                yield f"{path}:{n}: {rule}/ may not include {m.group(1)}"
        # the names inside include lines are strings, which code_only would blank
        lines = [raw if re.match(r"\s*#\s*include", raw) else code
                 for raw, code in zip(text.splitlines(), code_only(text).splitlines())]
        for n, line in enumerate(lines, 1):
            for pattern, allowed in ONLY_IN:
                if re.search(pattern, line) and not any(path.startswith(a + "/") for a in allowed):
                    yield f"{path}:{n}: only {' and '.join(allowed)}/ may: {line.strip()}"
    for folder in OURS:
        if os.path.isdir(os.path.join(root, folder)) and not os.path.isfile(os.path.join(root, folder, "README.md")):
            yield f"{folder}/README.md:1: missing"


def check_headers(root):
    packages = ["libcrypto", "jansson", "libevent", "p11-kit-1"]
    flags = subprocess.run(["pkg-config", "--cflags"] + packages, check=True, capture_output=True, text=True).stdout.split()
    with tempfile.TemporaryDirectory() as tmp:
        for path in walk(root, FOLDERS, (".h",)):
            source = os.path.join(tmp, "twice.c")
            with open(source, "w", encoding="utf-8") as f:
                f.write(f'#include "{path}"\n#include "{path}"\nint main(void)\n{{\n    return 0;\n}}\n')
            r = subprocess.run([os.environ.get("CC", "cc"), "-std=c11", "-D_GNU_SOURCE", '-DKLUIS_VERSION="0"', "-Wall", "-Wextra", "-Werror",
                                "-fsyntax-only", "-I", root] + flags + [source], capture_output=True, text=True, check=False)
            if r.returncode:
                first = next((line for line in r.stderr.splitlines() if "error" in line), r.stderr.strip())
                yield f"{path}:1: does not compile by itself, twice: {first}"


def check_format(root):
    tool = shutil.which("clang-format-14") or shutil.which("clang-format")
    if not tool:
        yield "clang-format:1: version 14 is not installed"
        return
    files = list(walk(root, FOLDERS, (".c", ".h")))
    r = subprocess.run([tool, "--dry-run", "-Werror", "--style=file"] + files, cwd=root, capture_output=True, text=True, check=False)
    seen = set()
    for line in r.stderr.splitlines():
        m = re.match(r"([^:]+:\d+):\d+: error", line)
        if m and m.group(1).split(":")[0] not in seen:
            seen.add(m.group(1).split(":")[0])
            yield f"{m.group(1)}: not as clang-format 14 writes it"
    if r.returncode and not seen:
        yield f"clang-format:1: {r.stderr.strip()[:200]}"


def waivers(root):
    """tests/checks/waivers.txt: FILE FUNCTION-or-* reason."""
    path = os.path.join(root, "tests/checks/waivers.txt")
    rows = set()
    if os.path.exists(path):
        with open(path, encoding="utf-8") as f:
            rows = {tuple(line.split()[:2]) for line in f if line.strip() and not line.startswith("#")}
    return rows


def check_functions(root):
    waived, used = waivers(root), set()
    for path in walk(root, FOLDERS, (".c", ".h")):
        lines = read(root, path).count("\n")
        if lines > MAX_FILE_LINES:
            used.add((path, "*"))
            if (path, "*") not in waived:
                yield f"{path}:{lines}: file of {lines} lines, limit {MAX_FILE_LINES}"
    files = "\n".join(walk(root, FOLDERS, (".c",)))
    r = subprocess.run(["ctags", "-L", "-", "--fields=+ne", "--kinds-C=f", "-f", "-"], cwd=root, input=files, check=True, capture_output=True, text=True)
    for row in r.stdout.splitlines():
        m = re.match(r"(\S+)\t(\S+)\t.*\tline:(\d+)\b.*\tend:(\d+)", row)
        if not m:
            continue
        name, path, start, end = m.group(1), m.group(2), int(m.group(3)), int(m.group(4))
        if end - start + 1 > MAX_FUNCTION_LINES:
            used.add((path, name))
            if (path, name) not in waived:
                yield f"{path}:{start}: {name} has {end - start + 1} lines, limit {MAX_FUNCTION_LINES}"
    for path, name in sorted(waived - used):
        yield f"tests/checks/waivers.txt:1: {path} {name} needs no waiver any more"


def check_banned(root):
    why = {name: reason for names, reason in BANNED.items() for name in names.split()}
    pattern = re.compile(r"(?<![\w.>])(" + "|".join(sorted(why, key=len, reverse=True)) + r")\s*\(")
    for path in walk(root, FOLDERS, (".c", ".h")):
        for n, line in enumerate(code_only(read(root, path)).splitlines(), 1):
            for m in pattern.finditer(line):
                if not (path.startswith("tests/") and m.group(1) in TESTS_MAY):
                    yield f"{path}:{n}: {m.group(1)}: {why[m.group(1)]}"


def check_vendors(root):
    for path in walk(root, ["base", "pkcs11", "keyvault", "wrap"], (".c", ".h")):
        code = re.sub(r"/\*.*?\*/|//[^\n]*", lambda m: re.sub(r"[^\n]", " ", m.group(0)), read(root, path), flags=re.S)
        for n, line in enumerate(code.splitlines(), 1):
            m = VENDORS.search(line)
            if m and path not in MAY_NAME_VENDORS:
                yield f"{path}:{n}: {m.group(0)}: a vendor's name; what is special about its tokens is a row of pkcs11/worker/quirk.c"


def check_words(root):
    endings = (".c", ".h", ".md", ".txt", ".cmake", ".sh", ".py", ".js", ".json", ".conf", ".service")
    top = [name for name in sorted(os.listdir(root)) if os.path.isfile(os.path.join(root, name)) and name.endswith(endings)]
    for path in top + list(walk(root, FOLDERS + ["conf", "cmake"], endings)):
        if path.startswith("tests/fixtures/") or path.endswith("package-lock.json"):
            continue
        for n, line in enumerate(read(root, path).splitlines(), 1):
            for pattern, why in WORDS:
                m = re.search(pattern, line)
                if m:
                    yield f"{path}:{n}: {m.group(0)}: {why}"


def check_shell(root):
    """shellcheck over every shell script of ours, found by its first line or its name."""
    scripts = []
    for path in walk(root, FOLDERS + ["conf", ".ci"], ("",)):
        with open(os.path.join(root, path), "rb") as f:
            first = f.readline()
        if path.endswith(".sh") or re.match(rb"#!.*\b(ba)?sh\b", first):
            scripts.append(path)
    if not scripts:
        return
    r = subprocess.run(["shellcheck", "-f", "gcc"] + scripts, cwd=root, capture_output=True, text=True, check=False)
    yield from (line for line in (r.stdout + r.stderr).splitlines() if line.strip())


CHECKS = {
    "layers": check_layers,
    "headers": check_headers,
    "format": check_format,
    "functions": check_functions,
    "banned": check_banned,
    "vendors": check_vendors,
    "words": check_words,
    "shell": check_shell,
}


def main():
    if len(sys.argv) != 3 or sys.argv[1] not in CHECKS:
        print(f"use: checks.py {'|'.join(CHECKS)} ROOT", file=sys.stderr)
        return 2
    findings = list(CHECKS[sys.argv[1]](os.path.abspath(sys.argv[2])))
    print("\n".join(findings) if findings else f"check.{sys.argv[1]}: clean")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
