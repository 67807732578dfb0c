"""Rows about the wrong key, a lost key and a wrong answer."""
import json
import threading

from rig import ALGS, BACK_IN, Callers, Sealed, check, check_equal, create, kluis, sign, wait_until
from checks_life import survives


def token_algorithms(f):
    return f.site.json("token", "list")[0]["algorithms"]


def names(api):
    return sorted(k["kid"].rsplit("/", 1)[1] for k in api.must("GET", "/keys")["value"])


def other_handles(f, row):
    """Handles that mean another key for a while, and then for as long as the worker lives."""
    survives(logins=2)(f, row)
    api = f.api()
    keys = [create(api, f"more{i}") for i in range(2)]
    with Callers(f, keys) as callers:
        callers.more(200)
        f.script("C_DecryptInit 1-p permute-handles\nC_SignInit 1-p permute-handles")
        callers.more(200, 40, 2 * BACK_IN)
    callers.saw_only(200, 503)


def one_creation_at_a_time(f, row):
    """Keys are made by many callers at once, while others unwrap; the module ends the process when two creations meet."""
    api = f.api()
    key, made = create(api, "k"), []
    f.script(row.script)
    with Callers(f, [key]) as callers:
        def make(n):
            made.append(create(f.api(), f"made{n}"))
        threads = [threading.Thread(target=make, args=(n,)) for n in range(6)]
        worker = f.site.worker()
        for t in threads:
            t.start()
        for t in threads:
            t.join()
    check_equal(len(made), 6, "keys made")
    check_equal(f.site.worker(), worker, "the worker is still the same process")
    callers.saw_only(200)
    f.kill_worker()
    for k in made:
        Sealed(k).opens_again(api)


def finds_once(f, row):
    """A search takes half a second: nobody waits for one but the first user of a key that the worker does not know."""
    api = f.api()
    keys = [create(api, f"k{i}") for i in range(3)]
    sealed = [Sealed(k, alg) for k in keys for alg in ALGS]
    f.restart()
    api = f.api()
    check(all(s.open(api) == 200 for s in sealed), "each key once")
    f.script(row.script)
    before = f.count("C_FindObjectsInit")
    for _ in range(20):
        check(all(s.open(api) == 200 and sign(api, s.key) == 200 for s in sealed), "each key works")
    check_equal(f.count("C_FindObjectsInit") - before, 0, "searches on the token for keys that are known")


def empty_token(f, row):
    """The token shows nothing, to the running service and to one that starts: nothing is given up, nothing is made anew."""
    api = f.api()
    keys = [create(api, f"k{i}") for i in range(3)]
    sealed = [Sealed(k) for k in keys]
    deleted = create(api, "deleted")
    api.must("DELETE", "/keys/deleted")
    secret_keys = f.tool("--list-objects", "--type", "secrkey").stdout.count("Secret Key Object")
    gone, made = f.count("C_DestroyObject"), f.count("C_GenerateKey")
    f.script(row.script)
    f.kill_worker()
    for _ in range(3):
        check_equal({s.open(api) for s in sealed}, {503}, "unwrap with keys that the token does not show")
    check_equal(names(api), ["k0", "k1", "k2"], "the list of keys")
    check_equal(api.call("GET", keys[0].path)[0], 200, "a key's public half")
    check_equal(api.call("GET", "/deletedkeys/deleted")[0], 200, "a deleted key")
    r = f.restart(good=False)
    check(r.returncode != 0 and "token" in r.stderr, f"a service that starts says what is wrong with the token: {r.stderr}")
    now = f.tool("--list-objects", "--type", "secrkey").stdout.count("Secret Key Object")
    check_equal((secret_keys > 0, now), (True, secret_keys), "the service's secret keys on the token, as they were")
    f.site.down()
    f.script()
    f.site.up()
    api = f.api()
    check(all(s.open(api) == 200 for s in sealed), "all keys work again")
    check_equal(names(api), ["k0", "k1", "k2"], "the list of keys afterwards")
    api.must("POST", "/deletedkeys/deleted/recover")
    Sealed(deleted).opens_again(api)
    check(f.count("C_DestroyObject") - gone <= f.count("C_GenerateKeyPair") * 2 + f.count("C_GenerateKey") - made, "only keys of probes were destroyed")
    f.site.run("audit", "verify")


def twice_on_the_token(f, row):
    """A second key under the id of the first, as an administrator's tool makes it: neither is used. Shown twice by a module it is one."""
    api = f.api()
    key, other = create(api, "k"), create(api, "other")
    sealed, fine = Sealed(key), Sealed(other)
    ids = key_ids(f)
    f.script(row.script)
    f.kill_worker()
    sealed.opens_again(api)
    f.script()
    for ident in ids:
        r = f.tool("--keypairgen", "--key-type", "rsa:2048", "--id", ident, "--label", "second")
        check_equal(r.returncode, 0, r.stderr)
    f.kill_worker()
    wait_until(lambda: api.call("GET", "/readyz", auth=False)[0] == 200 or "not ready", "the worker is there")
    for _ in range(5):
        check(sealed.open(api) != 200 and fine.open(api) != 200, "no key whose id two keys have does anything")
    check_equal(sealed.open(api), 503, "and that is not the caller's fault")
    for kind in ("privkey", "pubkey"):
        for ident in ids:
            r = f.tool("--delete-object", "--type", kind, "--id", ident, "--label", "second")
            check_equal(r.returncode, 0, r.stderr)
    f.kill_worker()
    sealed.opens_again(api)
    fine.opens_again(api)


def key_ids(f):
    """CKA_ID of the token's RSA decryption keys."""
    ids, usage = [], ""
    for block in f.tool("--list-objects", "--type", "privkey").stdout.split("Private Key Object"):
        lines = dict(line.strip().split(":", 1) for line in block.splitlines() if ":" in line)
        usage = lines.get("Usage", "")
        if "decrypt" in usage:
            ids.append(lines["ID"].strip())
    check_equal(len(ids), 2, "keys that decrypt on the token")
    return ids


def refuses_oaep(f, row):
    """RSA-OAEP-256 works by raw RSA where the token has no SHA-256 in OAEP; where it has neither, nobody can wrap under it."""
    api = f.api()
    key = create(api, "k")
    check_equal({Sealed(key, alg).open(api) for alg in ALGS}, {200}, "both algorithms on a token without OAEP for SHA-256")
    f.script(row.script)
    f.restart()
    api = f.api()
    check("RSA-OAEP" in token_algorithms(f) and "RSA-OAEP-256" not in token_algorithms(f), f"the token's algorithms: {token_algorithms(f)}")
    check_equal(Sealed(key, "RSA-OAEP").open(api), 200, "the algorithm that it has")
    for op in ("wrapkey", "encrypt"):
        status, _, answer = api.call("POST", f"{key.path}/{op}", {"alg": "RSA-OAEP-256", "value": kluis.b64url(b"x" * 32)})
        check_equal(status, 400, f"{op} under what cannot be undone: {answer}")
        check("RSA-OAEP-256" in json.dumps(answer) or "support" in json.dumps(answer), f"and it says why: {answer}")
    check_equal(Sealed(key).open(api), 400, "unwrap")


def plainest_parameters(f, row):
    """On a module that takes only the plainest parameters, OAEP is done by the token itself."""
    check("RSA-OAEP" in f.site.json("token", "list")[0]["algorithms"], row.must)
    api = f.api()
    key = create(api, "k")
    before = f.count("C_DecryptInit")
    check_equal(Sealed(key, "RSA-OAEP").open(api), 200, "unwrap")
    check_equal(f.count("C_DecryptInit") - before, 1, "operations for one unwrap: the token's own OAEP did it")


def leading_zeros(f, row):
    """A hundred data keys with zeros in front, by both algorithms, and raw blocks that begin with two zeros in 1 of 256."""
    api = f.api()
    key = create(api, "k")
    for n in range(100):
        plain = b"\0" * (n % 4) + bytes([n]) + b"z" * (31 - n % 4)
        for alg in ALGS:
            check_equal(Sealed(key, alg, plain).open(api), 200, f"unwrap {n}")
    for n in range(40):
        check_equal(sign(api, key), 200, f"signature {n}")


def survives_throttle(f, row):
    """DEVICE_ERROR for good data, now and then, from a token that is well; also where raw RSA cannot tell good data from bad."""
    survives(logins=0, allowed=(200, 429), same_worker=True)(f, row)
    f.script("* always hide-mechanism CKM_RSA_X_509")
    f.restart()
    api = f.api()
    key = create(api, "native")
    with Callers(f, [key], 2, ("RSA-OAEP",)) as callers:
        callers.more(200)
        f.script("* always hide-mechanism CKM_RSA_X_509\n" + row.script)
        callers.more(200, 100, 2 * BACK_IN)
    check(400 not in callers.statuses, f"good data is never called bad: {callers.statuses}")


def gives_keys_back(f, row):
    """Handles are shuffled at the module's whim while eight callers use four keys."""
    api = f.api()
    keys = [create(api, f"k{i}") for i in range(4)]
    with Callers(f, keys, 8) as callers:
        callers.more(200)
        f.script(row.script)
        callers.more(200, 100, 3 * BACK_IN)
        f.script()
        callers.more(200, 40, BACK_IN)
    callers.saw_only(200, 429, 503)


def old_backups_open(f, row):
    """A backup of before, after the token does OAEP in another way and has another domain key; and one made then, after both went back."""
    api = f.api()
    key = create(api, "k")
    sealed = [Sealed(key, alg) for alg in ALGS]
    old = api.must("POST", "/keys/k/backup")
    f.script(row.script)
    f.restart()
    f.site.run("token", "domain-key", "rotate", "--so-pin-file", f.token.path("so-pin"))
    f.restart()
    api = f.api()
    check_equal({s.open(api) for s in sealed}, {200}, "unwrap with the key, done in another way")
    for blob in (old, api.must("POST", "/keys/k/backup")):
        api.must("DELETE", "/keys/k")
        api.must("DELETE", "/deletedkeys/k", wanted=204)
        api.must("POST", "/keys/restore", blob)
        check_equal({s.open(api) for s in sealed}, {200}, "unwrap with the restored key")
        f.script()
        f.restart()
        api = f.api()
    check_equal({s.open(api) for s in sealed}, {200}, "unwrap as in the beginning")
    f.site.run("audit", "verify")
