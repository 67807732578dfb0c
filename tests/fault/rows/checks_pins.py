"""Rows about the PIN: whatever happens, a token's tries belong to people."""
import os

from rig import Sealed, check, check_equal, create, kluis, wait_until


def refused_once(f, row):
    """The right PIN is refused after the token came back: sent once, then left to an operator, who says "once more" by removing a file."""
    api = f.api()
    sealed = Sealed(create(api, "k"))
    logins = f.count("C_Login")
    f.script(row.script)
    wait_until(lambda: f.latches(), "the refusal is noted")
    for _ in range(20):
        check_equal(sealed.open(api), 503, "unwrap while the PIN waits for an operator")
    r = f.restart(good=False)
    check(r.returncode != 0 and "PIN" in r.stderr, f"dev up says that the PIN was refused: {r.stderr}")
    check_equal(f.count("C_Login") - logins, 1, "logins, callers and restarts notwithstanding")
    for note in f.latches():
        os.unlink(note)
    f.restart()
    sealed.opens_again(f.api())
    check_equal(f.count("C_Login") - logins, 2, "logins after the operator's word")


def stale_pin(f, row):
    """A token that locks at the third wrong PIN survives any number of starts with a stale one, and the last try is nobody's but a person's."""
    api = f.api()
    sealed = Sealed(create(api, "k"))
    f.script(row.script)
    f.set_pin("000000")
    logins = f.count("C_Login")
    for _ in range(4):
        r = f.restart(good=False)
        check(r.returncode != 0 and "PIN" in r.stderr, f"dev up says that the PIN was refused: {r.stderr}")
        check("000000" not in r.stderr + f.site.log_tail(100), "and does not show it")
    check_equal(f.count("C_Login") - logins, 1, "logins with the stale PIN")
    f.site.down()
    f.set_pin(f.token.pin)
    for note in f.latches():
        os.unlink(note)
    check_equal(f.tool("--list-objects", pin="111111", module=f.token.module).returncode == 0, False, "a person's own mistake")
    logins = f.count("C_Login")
    r = f.site.up(check=False)
    check(r.returncode != 0 and "last PIN try" in r.stderr, f"dev up leaves the last try alone: {r.stderr}")
    check_equal(f.count("C_Login"), logins, "logins with one try left")
    f.site.down()
    check_equal(f.tool("--list-objects", module=f.token.module).returncode, 0, "a person logs in")
    f.site.up()
    sealed.opens_again(f.api(), kluis.PATIENCE)
