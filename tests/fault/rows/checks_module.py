"""Rows about modules that are installed wrongly, change what they call things, or say what is not so."""
import os

from rig import Sealed, check, check_equal, create, sign


def serves(f, row):
    """The main things work, before and after a restart, with the row's fault from the first call on."""
    api = f.api()
    sealed = Sealed(create(api, "k"))
    check_equal((sealed.open(api), sign(api, sealed.key)), (200, 200), row.must)
    f.restart()
    api = f.api()
    check_equal((sealed.open(api), sign(api, sealed.key)), (200, 200), row.must + " (after a restart)")


def impostor(f, row):
    """The same through a module that lacks C_GetInterface, beside a library that exports one which must not be called."""
    serves(f, row)


def says_what_to_look_at(f, row):
    """A module that does not initialise gives no reason: the message names it, the call, the user, and what to check."""
    f.script(row.script)
    r = f.restart(good=False)
    told = r.stderr + f.site.log_tail(100)
    check(r.returncode != 0, "dev up fails")
    for words in (f.token.module, "CKR_GENERAL_ERROR", f"uid {os.geteuid()}", "configuration"):
        check(words in told, f"the message says {words!r}: {told}")
    f.site.down()
    f.script()
    f.site.up()


def label_binds(f, row):
    """Another slot, another serial number: the label says which token it is. A URI that names a serial number means it."""
    api = f.api()
    sealed = Sealed(create(api, "k"))
    f.script(row.script)
    f.kill_worker()
    sealed.opens_again(api)
    f.restart()
    sealed.opens_again(f.api())
    f.site.down()
    conf = os.path.join(f.site.dir, "kluis.conf")
    with open(conf, encoding="utf-8") as file:
        text = file.read()
    with open(conf, "w", encoding="utf-8") as file:
        file.write(text.replace(f"uri = {f.token.uri}", f"uri = {f.token.uri};serial=11112222"))
    r = f.site.up(check=False)
    check(r.returncode != 0 and "serial=11112222" in r.stderr, f"dev up names the token that it does not find: {r.stderr}")


def limits_are_hints(f, row):
    """Nonsense in the limits, and a cap below what they say."""
    for fault in row.script.splitlines():
        f.script(fault)
        f.restart()
        sealed = Sealed(create(f.api(), f"k{f.count('C_OpenSession')}"))
        check_equal(sealed.open(f.api()), 200, fault)
