"""What the benchmarks share: CPU by process, rounds on a quiet machine, wrk against one operation, rows of a table."""
import json
import os
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "../lib"))
import kluis

TICK = os.sysconf("SC_CLK_TCK")
CPUS = os.cpu_count() or 1
MODULE = "/usr/lib/softhsm/libsofthsm2.so"
TOOLS = os.path.join(kluis.BIN, "../tests")
CONNECTIONS = 16


def cpu_of(pid):
    """Seconds of CPU that a process has used."""
    with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as f:
        fields = f.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def busy():
    """Seconds of CPU that the whole machine has used."""
    with open("/proc/stat", encoding="ascii") as f:
        fields = [int(x) for x in f.readline().split()[1:9]]
    return (sum(fields) - fields[3] - fields[4]) / TICK


class Foreign:
    """The share of the machine that went to processes which are not part of the benchmark."""

    def __init__(self, pids):
        self.pids = pids

    def __enter__(self):
        self.start, self.busy = time.monotonic(), busy()
        self.own = self.used()
        return self

    def used(self):
        t = os.times()
        return t.user + t.system + t.children_user + t.children_system + sum(cpu_of(p) for p in self.pids)

    def __exit__(self, *unused):
        took = time.monotonic() - self.start
        self.share = max(0.0, (busy() - self.busy - (self.used() - self.own)) / (took * CPUS))


def tool(name, *args, env=None):
    out = subprocess.run([os.path.join(TOOLS, name), *map(str, args)], capture_output=True, text=True, check=True, env={**os.environ, **(env or {})})
    return json.loads(out.stdout) if out.stdout.strip() else None


class Load:
    """wrk against one operation of one key."""

    def __init__(self, site, root, operation, path, body, vault="demo"):
        self.site, self.operation, self.request = site, operation, (path, body)
        self.url = f"{site.env['KLUIS_URL']}{path}?{kluis.API}"
        api = kluis.Api(site, vault)
        files = {"BENCH_BODY": json.dumps(body), "BENCH_TOKEN": api.login()}
        self.env = {**os.environ, "BENCH_HOST": api.host, "SSL_CERT_FILE": site.env["KLUIS_CA"]}
        for name, text in files.items():
            self.env[name] = os.path.join(root, f"{operation}-{name}")
            with open(self.env[name], "w", encoding="utf-8") as f:
                f.write(text)

    def run(self, seconds, connections=CONNECTIONS):
        """{per_second, kluis_us, worker_us, p50_us, p99_us}; kluis_us is the CPU of daemon and worker together, for each request."""
        pids = [self.site.daemon(), self.site.worker()]
        before = [cpu_of(p) for p in pids]
        out = subprocess.run(["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", "-s", os.path.join(HERE, "post.lua"), self.url],
                             capture_output=True, text=True, check=True, env=self.env).stdout
        used = [cpu_of(p) - b for p, b in zip(pids, before)]
        row = json.loads(next(line for line in out.splitlines() if line.startswith("RESULT "))[7:])
        if row["bad"]:
            raise kluis.Failed(f"{self.operation}: {row['bad']} of {row['requests']} answers were not 200\n{out}")
        n = row["requests"]
        return {"per_second": n / row["microseconds"] * 1e6, "kluis_us": sum(used) / n * 1e6, "worker_us": used[1] / n * 1e6, **row}


class Table:
    def __init__(self, quick):
        self.quick, self.missed = quick, 0

    def row(self, what, raw, ours, figure, goal, met):
        self.missed += not met
        print(f"| {what} | {raw} | {ours} | {figure} | {goal} | {'yes' if met else 'no'} |", flush=True)

    def head(self):
        print("| what | raw side | kluis | figure | goal | met |\n|---|---|---|---|---|---|", flush=True)


def quiet_rounds(args, pids, body):
    """body() `rounds` times; a disturbed round is dropped and taken again, up to twice as many in all. Returns the rounds and the worst
    foreign share among those kept."""
    kept, dropped = [], []
    while len(kept) < args.rounds and len(kept) + len(dropped) < 3 * args.rounds:
        with Foreign(pids()) as foreign:
            result = body()
        (kept if foreign.share <= 0.1 else dropped).append((foreign.share, result))
    if len(kept) < args.rounds:  # a busy machine: the least disturbed ones, and the table says so
        kept = sorted(kept + dropped, key=lambda r: r[0])[:args.rounds]
    return [r for _, r in kept], max(share for share, _ in kept)


def new_key(api, name):
    version = api.must("POST", f"/keys/{name}/create", {"kty": "RSA", "key_size": 2048})["key"]["kid"].rsplit("/", 1)[1]
    return f"/keys/{name}/{version}"
