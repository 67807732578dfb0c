"""Rows about a token, a module or a session that goes away, hangs or crashes."""
import os
import subprocess

from rig import BACK_IN, Callers, Sealed, check, check_equal, create, kluis, wait_until


def survives(logins=1, allowed=(200, 503), algs=("RSA-OAEP", "RSA-OAEP-256"), same_worker=False, settings=()):
    """Callers work with three keys while the row's faults begin. Every answer is the right one or tells them to come again, and all is
    well within ten seconds, with so many logins more. Then the faults end, and nothing of them stays."""
    def run(f, row):
        if settings:
            f.set(*settings)
        api = f.api()
        keys = [create(api, f"k{i}") for i in range(3)]
        with Callers(f, keys, algs=algs) as callers:
            callers.more(200)
            before, worker, daemon = f.count("C_Login"), f.site.worker(), f.site.daemon()
            f.script(row.script)
            callers.more(200, 40, 2 * BACK_IN)
            f.script()
            callers.more(200, 40, BACK_IN)
        callers.saw_only(*allowed)
        check(f.count("C_Login") - before <= logins, f"logins: at most {logins} more, were {f.count('C_Login') - before}")
        check_equal(f.site.daemon(), daemon, "kluisd is still the same process")
        check_equal(f.latches(), [], "notes of a refused PIN")
        if same_worker:
            check_equal(f.site.worker(), worker, "the worker is still the same process")
        f.site.run("audit", "verify")
    return run


def anchor_stays(f, row):
    """Sessions die by the dozen, the one that holds the login never."""
    survives(logins=0, allowed=(200,), same_worker=True)(f, row)
    check(f.count("C_CloseSession") > 10, "sessions were closed")


def sessions_run_out(f, row):
    """Fewer sessions than workers; then none at all for the new worker, until those of the dead one have expired."""
    f.set("workers = 64")
    api = f.api()
    key = create(api, "k")
    with Callers(f, [key], 20) as callers:
        callers.more(200, 100)
    callers.saw_only(200, 429)
    check(200 in callers.statuses, "20 callers share what there is")
    logins = f.count("C_Login")
    f.script(row.script + "\nC_OpenSession +1-3 return CKR_SESSION_COUNT")
    f.kill_worker()
    Sealed(key).opens_again(api, 2 * BACK_IN)
    check_equal(f.count("C_Login") - logins, 1, "logins: none for a worker that got no session")
    ended = f.count("C_Finalize")
    f.site.down()
    check_equal(f.count("C_Finalize") - ended, 1, "an orderly end gives the sessions back")


def replug(f, row):
    """Out of its slot, and back in; but the process that saw it go is blind from then on."""
    api = f.api()
    key = create(api, "k")
    sealed = Sealed(key)
    f.script("* always return CKR_TOKEN_NOT_PRESENT")
    for _ in range(4):
        wait_until(lambda: sealed.open(api) == 503, "unwrap says that the token is not there")
    check_equal(api.call("GET", key.path)[0], 200, "the public half is shown all the while")
    f.script(row.script)
    sealed.opens_again(api)
    survives(logins=2)(f, row)


def hangs_at_start(f, row):
    """The module deadlocks while it is initialised: the others go on, the next worker serves."""
    f.set("slow-deadline = 3s")
    api = f.api()
    sealed = Sealed(create(api, "k"))
    f.script(row.script)
    f.kill_worker()
    stuck = f.site.worker()
    check_equal(sealed.open(api), 503, "unwrap meanwhile")
    check_equal(api.call("GET", sealed.key.path)[0], 200, "the public half meanwhile")
    sealed.opens_again(api, kluis.PATIENCE)
    check(not kluis.alive(stuck), "the worker that hung is gone")


def crashes_at_exit(f, row):
    """Whatever the module does when it is told to end, the service ends in order and starts again."""
    sealed = Sealed(create(f.api(), "k"))
    for fault in row.script.splitlines():
        f.script(fault)
        ends = f.count("C_Finalize")
        f.site.down()
        check_equal(f.site.pids(), [], "processes after dev down")
        check_equal(f.count("C_Finalize") - ends, 1, f"the module was told to end ({fault})")
        f.site.up()
        check_equal(sealed.open(f.api()), 200, f"unwrap after {fault}")
    f.script()
    f.site.run("audit", "verify")


def never_forks(f, row):
    """The worker has no way to fork, and takes a module that says it is initialised already."""
    names = subprocess.run(["nm", "-D", "--undefined-only", os.path.join(kluis.BIN, "kluis-tokend")], capture_output=True, text=True, check=True).stdout
    imported = {line.split()[-1].split("@")[0] for line in names.splitlines()}
    check("C_Initialize" not in imported and len(imported) > 20, "nm shows what the worker imports")
    forks = imported & {"fork", "vfork", "clone", "system", "popen", "posix_spawn", "posix_spawnp", "daemon"}
    check_equal(forks, set(), "functions that fork")
    api = f.api()
    sealed = Sealed(create(api, "k"))
    f.script(row.script)
    f.kill_worker()
    sealed.opens_again(api)
