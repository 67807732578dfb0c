#!/usr/bin/env python3
"""Random sequences of operations on a real service against the reference model of soft delete. 24 sequences of 100 steps; 10,000 with
KLUIS_FULL=1, KLUIS_JOBS sites side by side, resumable (what is done is noted in KLUIS_MODEL_DONE). A divergence is shrunk to few steps.

    run.py                  the planted fault, then sequences of a new seed, which is printed
    run.py --seed S         the batch of sequences that S stands for
"""
import argparse
import os
import random
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import world
from kluis import BIN, FULL, Failed
from moved import MovedSite
from soft_delete import DAY, KINDS, OK, World

STEPS = 100
CELLS = 24  # sequences of one batch: two vaults each, all on one site, whose time and crashes they share
YEARS = 3650 * DAY
SHRINK_SECONDS = 300


# --- plans ---

def moment(dice, walls):
    """Something that happens to the whole site. Amounts of time keep hours away from any date: days, and two hours each time."""
    what = dice.choices(("wall", "pass", "restart"), (3, 4, 2))[0]
    if what == "wall":
        to = dice.choice([w for w in (-YEARS, 0, YEARS) if w != walls[0]])
        jump, walls[0] = to - walls[0], to
        return "wall", jump
    if what == "pass":
        return "pass", dice.choice((1, 2, 6, 7, 9, 30, 91)) * DAY + 7200
    return ("restart",)


WEIGHTS = {"set": 22, "enable": 6, "delete": 16, "recover": 9, "purge": 12, "backup": 6, "restore": 9, "vault": 7, "protect": 3, "vdelete": 4,
           "vrecover": 4, "vpurge": 2}


def one_step(dice, cell, serials):
    vault = f"m{cell}-{dice.choice('xy')}"
    other = vault[:-1] + dice.choice("xy")
    what = dice.choices(list(WEIGHTS), list(WEIGHTS.values()))[0]
    key = vault, dice.choice(list(KINDS)), dice.choice("ab")
    if what in ("delete", "recover", "purge", "backup"):
        return what, *key
    if what == "set":
        return what, *key, next(serials)
    return {"enable": ("enable", *key, dice.random() < 0.5), "restore": ("restore", *key, other), "protect": ("protect", vault, dice.random() < 0.6),
            "vault": ("vault", vault, dice.choice((7, 10, 90)), dice.random() < 0.5)}.get(what, (what, vault))


def plan(seed, cells=CELLS):
    """The steps of a batch in their order: each cell's own, and between them what happens to all."""
    dice, serials, walls = random.Random(seed), iter(range(1, 1 << 40)), [0]
    steps = [("vault", f"m{c}-x", dice.choice((7, 10, 90)), dice.random() < 0.5) for c in range(cells)]
    for _ in range(STEPS - 1):
        steps += [one_step(dice, c, serials) for c in range(cells)]
        if dice.random() < 0.12:
            steps.append(moment(dice, walls))
        if dice.random() < 0.06:
            steps.append(("crash", one_step(dice, dice.randrange(cells), serials)))
    return steps


# --- running, shrinking ---

def carry_out(steps, world_class=World):
    """None, or (number of steps until it diverged, words)."""
    with MovedSite() as site:
        driver = world.Driver(site, world_class)
        for i, step in enumerate(steps):
            try:
                driver.step(step)
            except Failed as e:
                return i + 1, f"{e}"
    return None


def cell_of(step):
    inner = step[1] if step[0] == "crash" else step
    return inner[1].split("-")[0] if inner[0] not in ("wall", "pass", "restart") else None


def shrink(steps, world_class=World):
    """Fewer steps that diverge still: the cell at fault alone, then without whatever can go."""
    fault, end = carry_out(steps, world_class), time.monotonic() + SHRINK_SECONDS
    if not fault:
        return steps, "it does not diverge again"
    steps = steps[:fault[0]]
    own = [s for s in steps if cell_of(s) in (None, cell_of(steps[-1]))]
    again = cell_of(steps[-1]) and carry_out(own, world_class)
    if again:
        steps, fault = own[:again[0]], again
    size = max(1, len(steps) // 2)
    while time.monotonic() < end:
        at = 0
        while at < len(steps) and time.monotonic() < end:
            fewer = steps[:at] + steps[at + size:]
            again = carry_out(fewer, world_class) if fewer else None
            if again:
                steps, fault = fewer[:again[0]], again
            else:
                at += size
        if size == 1:
            break
        size //= 2
    return steps, fault[1]


class TooEager(World):
    """A wrong model: protection ends when a vault is recovered. Nobody noticed: then the comparison sees nothing."""

    def do_vrecover(self, vault):
        answer = super().do_vrecover(vault)
        if answer == OK:
            self.vaults[vault].protected = False
        return answer


def planted():
    """The harness finds a fault in the model, and shrinks it."""
    steps = [("vault", "m0-x", 7, True), ("set", "m0-x", "secrets", "a", 1), ("pass", DAY + 7200), ("delete", "m0-x", "secrets", "a"), ("vault", "m1-x", 7, True),
             ("vdelete", "m0-x"), ("set", "m1-x", "secrets", "b", 2), ("vrecover", "m0-x"), ("restart",)]
    few, words = shrink(steps, TooEager)
    wanted = [("vault", "m0-x", 7, True), ("vdelete", "m0-x"), ("vrecover", "m0-x")]
    if few != wanted:
        print(f"FAILED: a planted fault is shrunk to {few}: {words}")
        sys.exit(1)
    print(f"ok: a planted fault is found and shrunk from {len(steps)} steps to {len(few)}: {words}", flush=True)


def batch(seed, cells):
    start, steps = time.monotonic(), plan(seed, cells)
    fault = carry_out(steps)
    if not fault:
        print(f"ok seed {seed}: {cells} sequences of {STEPS} steps, {time.monotonic() - start:.0f} s", flush=True)
        return
    print(f"FAILED seed {seed} at step {fault[0]} of {len(steps)}: {fault[1]}\nreplay: {sys.argv[0]} --seed {seed} --cells {cells}\nshrinking", flush=True)
    few, words = shrink(steps)
    print("\n".join(f"  {s!r}," for s in few) + f"\n{words}", flush=True)
    sys.exit(1)


def full(seed, batches):
    """Batches in processes of their own; those noted as done are not run again."""
    noted = os.environ.get("KLUIS_MODEL_DONE") or os.path.join(BIN, "../model-done")
    rows = []
    if os.path.exists(noted):
        with open(noted, encoding="ascii") as f:
            rows = f.read().split()
    seed = int(rows[0]) if rows else seed
    print(f"seeds from {seed}, {max(0, len(rows) - 1)} of {batches} batches done before; noted in {noted}", flush=True)
    if not rows:
        with open(noted, "w", encoding="ascii") as f:
            print(seed, file=f)
    waiting, running, failed = [s for s in range(seed + 1, seed + 1 + batches) if str(s) not in rows[1:]], {}, 0
    while waiting or running:
        while waiting and len(running) < int(os.environ.get("KLUIS_JOBS") or os.cpu_count()):
            s = waiting.pop(0)
            running[s] = subprocess.Popen([sys.executable, os.path.abspath(__file__), "--seed", str(s)])
        pid, status = os.wait()
        s = next(n for n, p in running.items() if p.pid == pid)
        running.pop(s).returncode = status
        failed += status != 0
        if status == 0:
            with open(noted, "a", encoding="ascii") as f:
                print(s, file=f)
    print(f"{batches - failed} of {batches} batches without a divergence")
    sys.exit(1 if failed else 0)


def main():
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--seed", type=int)
    words.add_argument("--cells", type=int, default=CELLS)
    words.add_argument("--batches", type=int, default=(10000 + CELLS - 1) // CELLS)
    given = words.parse_args()
    if given.seed is not None:
        batch(given.seed, given.cells)
        return
    seed = int(os.environ.get("KLUIS_SEED") or random.SystemRandom().randrange(1 << 32))
    planted()
    if FULL:
        full(seed, given.batches)
    print(f"seed {seed}", flush=True)
    batch(seed, given.cells)


main()
