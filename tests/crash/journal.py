"""What the load was told, so that a restarted service can be held to it.

Each thread owns some key names. Before a request it notes what it will ask, after the answer what it was told; the file lies outside
the site. A request without an answer may have happened or not; an acknowledged one must have.
"""
import json
import threading


class Key:
    """What is known of one name. `maybe` holds the states that unanswered requests may have led to."""

    def __init__(self, name, kind):
        self.name, self.kind = name, kind
        self.state = "absent"  # absent, active, deleted
        self.maybe = set()
        self.versions = []  # acknowledged versions
        self.wraps = []  # (version, plaintext, wrapped), acknowledged
        self.blob = None  # (backup blob, versions then)
        self.unsure_versions = False

    def states(self):
        return {self.state} | self.maybe


class Journal:
    def __init__(self, path):
        self.file = open(path, "a", encoding="utf-8", buffering=1)
        self.lock = threading.Lock()
        self.acknowledged = 0

    def note(self, what, key, **more):
        with self.lock:
            self.file.write(json.dumps({"what": what, "key": key.name, **more}) + "\n")
            if what == "done":
                self.acknowledged += 1
