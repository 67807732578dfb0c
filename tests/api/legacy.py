#!/usr/bin/env python3
"""What a vault allows beside the usual when it is asked to: RSA1_5, and older versions for who names none."""
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
import kluis
from kluis import check, check_equal

OAEP, OLD = "RSA-OAEP-256", "RSA1_5"
VAULT = "/kluis/v1/vaults/"


def number(jwk, name):
    return int.from_bytes(kluis.un_b64url(jwk[name]), "big")


def sealed(jwk, block):
    """The block to the power of e: what nobody else would pad."""
    n = number(jwk, "n")
    return kluis.b64url(pow(int.from_bytes(block, "big"), number(jwk, "e"), n).to_bytes(len(kluis.un_b64url(jwk["n"])), "big"))


def good_block(text, k=256, filler=b"\xa5"):
    return b"\x00\x02" + filler * (k - 3 - len(text)) + b"\x00" + text


def test_rsa15_round_trips(site):
    api = kluis.Api(site)
    for size in (2048, 3072):
        jwk = api.must("POST", f"/keys/k{size}/create", {"kty": "RSA", "key_size": size})["key"]
        path = "/keys/" + jwk["kid"].split("/keys/")[1]
        for text in (b"x", bytes(32), b"\xff" * 16, os.urandom(size // 8 - 11)):
            for there, back in (("encrypt", "decrypt"), ("wrapkey", "unwrapkey")):
                wrapped = api.must("POST", f"{path}/{there}", {"alg": OLD, "value": kluis.b64url(text)})["value"]
                check_equal(kluis.un_b64url(api.must("POST", f"{path}/{back}", {"alg": OLD, "value": wrapped})["value"]), text, f"{size} {there}")
        check_equal(api.call("POST", f"{path}/encrypt", {"alg": OLD, "value": kluis.b64url(bytes(size // 8 - 10))})[0], 400, "too long")
        check_equal(kluis.un_b64url(api.must("POST", f"{path}/decrypt", {"alg": OLD, "value": sealed(jwk, good_block(b"foreign", size // 8))})["value"]),
                    b"foreign", "padded by somebody else")


def test_wrong_paddings_look_like_good_ones(site):
    """Each broken block decrypts with 200 to something of a length that a good block could have had: the same each time and on each worker,
    another for each ciphertext; nothing in log or audit tells it apart."""
    api = kluis.Api(site)
    jwk = api.must("POST", "/keys/k/create", {"kty": "RSA"})["key"]
    good = good_block(b"sixteen byte key")
    broken = {
        "first byte": b"\x01" + good[1:], "second byte": b"\x00\x01" + good[2:], "no separator": b"\x00\x02" + b"\xa5" * 254,
        "separator too early": b"\x00\x02" + b"\xa5" * 7 + b"\x00" + b"\xa5" * 246, "separator first": b"\x00\x02\x00" + b"\xa5" * 253,
        "zero": bytes(255) + b"\x00", "one": bytes(255) + b"\x01", "signature": b"\x00\x01" + b"\xff" * 253 + b"\x00",
    }
    seen = set()
    for words, block in broken.items():
        value = sealed(jwk, block)
        answers = {api.must("POST", "/keys/k/decrypt", {"alg": OLD, "value": value})["value"] for _ in range(6)}
        check_equal(len(answers), 1, f"{words}: the same each time")
        text = kluis.un_b64url(answers.pop())
        check(len(text) <= 245, f"{words}: {len(text)} bytes")
        seen.add(text)
    check(len(seen) >= len(broken) - 1, "each its own")
    lengths = {len(kluis.un_b64url(api.must("POST", "/keys/k/decrypt", {"alg": OLD, "value": sealed(jwk, b"\x00\x01" + os.urandom(254))})["value"])) for _ in range(24)}
    check(len(lengths) > 8, f"lengths are spread: {sorted(lengths)}")
    for value in (kluis.b64url(bytes(255)), kluis.b64url(bytes(257)), kluis.b64url(b"\xff" * 256)):
        check_equal(api.call("POST", "/keys/k/decrypt", {"alg": OLD, "value": value})[0], 400, "what is no number below the modulus is public")
    site.down()
    site.up()
    api = kluis.Api(site)
    again = {kluis.un_b64url(api.must("POST", "/keys/k/decrypt", {"alg": OLD, "value": sealed(jwk, b)})["value"]) for b in broken.values()}
    check_equal(again, seen, "the same after a restart")


def test_rsa15_is_an_opt_in(site):
    service, demo, safe = kluis.Api(site, None), kluis.Api(site), kluis.Api(site, "safe")
    for api in (demo, safe):
        api.must("POST", "/keys/k/create", {"kty": "RSA"})
    wrap = {"alg": OLD, "value": kluis.b64url(b"0123456789abcdef")}
    status, _, answer = safe.call("POST", "/keys/k/wrapkey", wrap)
    check_equal((status, answer["error"]["code"]), (400, "BadParameter"), "not on this vault")
    value = demo.must("POST", "/keys/k/wrapkey", wrap)["value"]
    check_equal((service.must("GET", VAULT + "demo")["allowRsa15"], service.must("GET", VAULT + "safe")["allowRsa15"]), (True, False), "shown")
    service.must("PATCH", VAULT + "demo", {"allowRsa15": False})
    for operation in ("wrapkey", "encrypt", "unwrapkey", "decrypt"):
        check_equal(demo.call("POST", f"/keys/k/{operation}", {"alg": OLD, "value": value if operation[0] in "ud" else wrap["value"]})[0], 400, f"switched off: {operation}")
    check_equal(site.json("vault", "update", "--name", "demo", "--allow-rsa1-5", "true")["allowRsa15"], True, "on again")
    check_equal(demo.must("POST", "/keys/k/unwrapkey", {"alg": OLD, "value": value})["value"], wrap["value"], "and what there was opens")
    backups(site, demo, wrap)


def backups(site, demo, wrap):
    """A key that a backup was made under serves no RSA1_5 any more, also after a rotation and a restart."""
    value = demo.must("POST", "/keys/k/wrapkey", wrap)["value"]
    file = os.path.join(site.dir, "backup.klrc")
    subprocess.run([kluis.KLUIS, "encrypt", "--key", f"https://{demo.host}/keys/k", "--out", file], input=b"data", env={**os.environ, **site.env}, check=True, capture_output=True)
    for operation, given in (("unwrapkey", value), ("decrypt", value), ("wrapkey", wrap["value"]), ("encrypt", wrap["value"])):
        status, _, answer = demo.call("POST", f"/keys/k/{operation}", {"alg": OLD, "value": given})
        check_equal(status, 400, f"{operation} under a key of backups")
        check("backups" in answer["error"]["message"], "and why")
    demo.must("POST", "/keys/k/rotate")
    site.down()
    site.up()
    demo = kluis.Api(site)
    check_equal(demo.call("POST", "/keys/k/wrapkey", wrap)[0], 400, "nor its next version")
    back = subprocess.run([kluis.KLUIS, "decrypt", file], env={**os.environ, **site.env}, check=True, capture_output=True).stdout
    check_equal(back, b"data", "the backup opens")
    demo.must("POST", "/keys/free/create", {"kty": "RSA"})
    demo.must("POST", "/keys/free/wrapkey", wrap)


def test_older_versions(site):
    """Off: as Key Vault, an unversioned unwrap knows the newest version only. On: older enabled ones are tried, and nothing tells how many."""
    service, api = kluis.Api(site, None), kluis.Api(site)
    secret = kluis.b64url(bytes(range(32)))
    first = api.must("POST", "/keys/k/create", {"kty": "RSA"})["key"]["kid"]
    value = api.must("POST", "/keys/k/wrapkey", {"alg": OAEP, "value": secret})["value"]
    for _ in range(2):
        api.must("POST", "/keys/k/rotate")
    open_it = {"alg": OAEP, "value": value}
    refused = api.call("POST", "/keys/k/unwrapkey", open_it)
    check_equal(refused[0], 400, "off")
    check_equal(site.json("vault", "update", "--name", "demo", "--unwrap-older-versions", "true")["unwrapOlderVersions"], True, "on")
    for operation in ("unwrapkey", "decrypt"):
        answer = api.must("POST", f"/keys/k/{operation}", open_it)
        check_equal((answer["value"], answer["kid"]), (secret, first), f"{operation} by the version that made it")
    newest = api.must("GET", "/keys/k")["key"]["kid"].rsplit("/", 1)[1]
    check_equal(api.call("POST", f"/keys/k/{newest}/unwrapkey", open_it)[0], 400, "a version that is named is the only one tried")
    garbage = api.call("POST", "/keys/k/unwrapkey", {"alg": OAEP, "value": kluis.b64url(b"\x01" * 256)})
    check_equal((garbage[0], garbage[2]), (refused[0], refused[2]), "what none opens gets the answer of one that does not")
    api.must("PATCH", "/keys/k/" + first.rsplit("/", 1)[1], {"attributes": {"enabled": False}})
    closed = api.call("POST", "/keys/k/unwrapkey", open_it)
    check_equal((closed[0], closed[2]), (refused[0], refused[2]), "nor does a disabled version open it")
    service.must("PATCH", VAULT + "demo", {"unwrapOlderVersions": False})
    check_equal(api.call("POST", "/keys/k/unwrapkey", open_it)[0], 400, "off again")


kluis.main(globals())
