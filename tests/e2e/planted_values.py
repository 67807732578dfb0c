#!/usr/bin/env python3
"""Values of secrets are nowhere but in the answers: 1,000 of them, short and long, set, read, listed, backed up and restored, are found
neither in any file of the site nor, a tenth of a second after the last answer, in the memory of a process of it."""
import base64
import json
import os
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
import kluis
from kluis import check, check_equal

MARK = "kluisVALUE"
COUNT = 1000
PIECE = 1 << 22


def values():
    """Each with its own random part behind a common mark, so that one search finds all; a tenth of them several times in 20 KB."""
    for i in range(COUNT):
        word = MARK + os.urandom(12).hex()
        yield word if i % 10 else " ".join([word] * 500) + "\"\n\u2603"


def forms(text):
    """How the mark could be written: itself, or in base64 at any of the three offsets."""
    raw = text.encode()
    out = {raw, raw.hex().encode()}
    for pad in range(3):
        coded = base64.b64encode(b"x" * pad + raw)
        out.add(coded[4 if pad else 0:len(coded) // 4 * 4 - 4])
    return out


def hits_in(read, wanted):
    """Places of the forms in what read() gives piece by piece."""
    tail, found = b"", []
    while True:
        piece = read()
        if not piece:
            return found
        data = tail + piece
        for form in wanted:
            at = data.find(form)
            if at >= 0:
                found.append(data[max(0, at - 16):at + 60])
        tail = data[-64:]


def memory_hits(pid, wanted):
    found, size = [], 0
    with open(f"/proc/{pid}/maps", encoding="ascii", errors="replace") as maps, open(f"/proc/{pid}/mem", "rb", buffering=0) as mem:
        for line in maps:
            parts = line.split()
            if "r" not in parts[1][:1] or parts[-1] in ("[vvar]", "[vsyscall]"):
                continue
            start, end = (int(x, 16) for x in parts[0].split("-"))
            tail = b""
            for at in range(start, end, PIECE):
                try:
                    data = os.pread(mem.fileno(), min(PIECE, end - at), at)
                except OSError:
                    break
                size += len(data)
                for form in wanted:
                    place = (tail + data).find(form)
                    if place >= 0:
                        found.append((parts[0], parts[-1] if len(parts) > 5 else "anonymous", (tail + data)[max(0, place - 24):place + 60]))
                tail = data[-64:]
    check(size > 1 << 20, f"memory of process {pid} was read")
    return found


def look_into_memory(site, words):
    wanted = forms(MARK)
    for pid in site.pids():
        check_equal(memory_hits(pid, wanted), [], f"{words}: values in the memory of process {pid}")


def look_into_files(site):
    wanted, files = forms(MARK), 0
    for here, _, names in os.walk(site.dir):
        for name in names:
            path = os.path.join(here, name)
            if os.path.isfile(path):
                files += 1
                with open(path, "rb") as f:
                    check_equal(hits_in(lambda f=f: f.read(PIECE), wanted), [], f"values in {os.path.relpath(path, site.dir)}")
    check(files > 5, "files were looked at")


def watch_files(site, stop, found):
    """Journals and temporary files live for moments only."""
    wanted = forms(MARK)
    folder = os.path.dirname(site.config_value("service", "database"))
    while not stop.is_set():
        for name in os.listdir(folder):
            path = os.path.join(folder, name)
            try:
                if os.path.isfile(path) and not name.endswith(".log"):
                    with open(path, "rb") as f:
                        found += hits_in(lambda f=f: f.read(PIECE), wanted)
            except OSError:
                pass


def settle():
    time.sleep(0.1)  # what the promise is about, not a wait for an outcome


def test_the_search_finds_what_is_there(site):
    """Red once, always: the same search in this very process, and in a file."""
    planted = MARK + "0123456789"
    kept = bytearray(base64.b64encode(planted.encode()))
    check(memory_hits(os.getpid(), forms(MARK)), "the search finds a value in memory")
    check(len(kept) > 0, "still held")
    path = os.path.join(site.dir, "planted")
    with open(path, "w", encoding="utf-8") as f:
        f.write("x" * 5000 + planted)
    with open(path, "rb") as f:
        check(hits_in(lambda: f.read(4096), forms(MARK)), "and in a file, across pieces")


def test_planted_values(site):
    api = kluis.Api(site)
    others = [kluis.Api(site) for _ in range(3)]
    all_values = list(values())
    stop, found = threading.Event(), []
    watcher = threading.Thread(target=watch_files, args=(site, stop, found))
    watcher.start()
    try:
        for i, value in enumerate(all_values):
            api.must("PUT", f"/secrets/s{i}", {"value": value, "tags": {"n": str(i)}})
        settle()
        look_into_memory(site, "after 1,000 sets")
        for i, value in enumerate(all_values):
            check_equal(others[i % 3].must("GET", f"/secrets/s{i}")["value"], value, f"value {i}")
        settle()
        look_into_memory(site, "after 1,000 gets")
    finally:
        stop.set()
        watcher.join()
    check_equal(found, [], "values in the database or its journal, at any moment")
    for i in range(0, COUNT, 100):
        blob = api.must("POST", f"/secrets/s{i}/backup")["value"]
        check_equal(hits_in(iter([kluis.un_b64url(blob), b""]).__next__, forms(MARK)), [], "values in a backup")
        api.must("DELETE", f"/secrets/s{i}")
        api.must("DELETE", f"/deletedsecrets/s{i}", wanted=204)
        api.must("POST", "/secrets/restore", {"value": blob})
    # requests that are refused leave nothing behind either
    api.call("PUT", "/secrets/bad_name", {"value": all_values[0]})
    api.call("PUT", "/secrets/s1", {"value": MARK + "x" * 30000})
    api.call("PUT", "/secrets/s1", '{"value":"' + MARK + '", broken')
    api.call("PUT", "/secrets/s1", {"value": MARK}, headers={"Authorization": "Bearer no"})
    api.call("PUT", "/secrets/s1", json.dumps({"value": MARK, "attributes": {"enabled": MARK}}))
    settle()
    look_into_memory(site, "after backup, restore and refusals")
    look_into_files(site)


kluis.main(globals())
