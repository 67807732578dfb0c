"""Keys from outside: attached where an HSM team made them, imported as JSON Web Keys, imported under a key of the token (BYOK)."""
import hashlib
import json
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
import kluis
from kluis import Api, b64url, check, check_equal, un_b64url

MODULE = "/usr/lib/softhsm/libsofthsm2.so"


def openssl(*args, data=None):
    return subprocess.run(["openssl", *args], input=data, capture_output=True, check=True).stdout


def tool(site, *args, check_exit=True):
    """OpenSC's pkcs11-tool on the site's token, with the user's PIN: the HSM team's own hands."""
    with open(os.path.join(site.dir, "pin"), encoding="ascii") as f:
        pin = f.read().strip()
    r = subprocess.run(["pkcs11-tool", "--module", MODULE, "--token-label", "kluis", "--login", "--pin", "env:TEAM_PIN", *args],
                       capture_output=True, text=True, check=False, env={**os.environ, "TEAM_PIN": pin, "SOFTHSM2_CONF": site.env["SOFTHSM2_CONF"]})
    if check_exit:
        check_equal(r.returncode, 0, f"pkcs11-tool {args}: {r.stderr}")
    return r.stdout


def private_keys(site):
    return tool(site, "--list-objects", "--type", "privkey").count("Private Key Object")


def round_trip(api, name):
    answer = api.must("POST", f"/keys/{name}/wrapkey", {"alg": "RSA-OAEP-256", "value": b64url(b"x" * 32)})
    path = answer["kid"].split("/keys/")[1]
    back = api.must("POST", f"/keys/{path}/unwrapkey", {"alg": "RSA-OAEP-256", "value": answer["value"]})
    check_equal(un_b64url(back["value"]), b"x" * 32, f"{name} wraps and unwraps")


def attach(site, name, uri, *more, check_exit=True):
    return site.run("key", "attach", "--vault-name", "demo", "--name", name, "--pkcs11-uri", uri, *more, "-o", "json", check=check_exit)


def test_a_key_of_the_hsm_team_is_served_and_left_alone(site):
    api = Api(site)
    tool(site, "--keypairgen", "--key-type", "rsa:2048", "--id", "0102", "--label", "ceremony")
    tool(site, "--keypairgen", "--key-type", "rsa:3072", "--id", "000102030405060708090a0b0c0d0e0f", "--label", "sixteen")
    tool(site, "--keypairgen", "--key-type", "EC:prime256v1", "--id", "0103", "--label", "signer")
    before = private_keys(site)
    made = json.loads(attach(site, "team", "pkcs11:token=kluis;object=ceremony;type=private").stdout)
    check_equal(made["kluis"]["profile"], "fixed", "profile")
    check_equal(made["kluis"]["origin"], "attached", "origin")
    check_equal(made["kluis"]["destroyOnPurge"], False, "the token object outlives the key")
    round_trip(api, "team")
    check_equal(json.loads(attach(site, "sixteen", "pkcs11:id=%00%01%02%03%04%05%06%07%08%09%0a%0b%0c%0d%0e%0f").stdout)["kluis"]["origin"],
                "attached", "by an id like ours")
    round_trip(api, "sixteen")
    signer = json.loads(attach(site, "signer", "pkcs11:id=%01%03;object=signer").stdout)
    check_equal(sorted(signer["key"]["key_ops"]), ["sign", "verify"], "an EC key signs")
    digest = hashlib.sha256(b"message").digest()
    signature = api.must("POST", "/keys/signer/sign", {"alg": "ES256", "value": b64url(digest)})["value"]
    check(api.must("POST", "/keys/signer/verify", {"alg": "ES256", "digest": b64url(digest), "value": signature})["value"], "the signature is good")
    for uri, words in (("pkcs11:object=ceremony", "served already"), ("pkcs11:token=kluis;id=%01%02", "served already"),
                       ("pkcs11:object=nobody", "has the key"), ("pkcs11:token=other;object=ceremony", "has the key"),
                       ("pkcs11:token=kluis", "id= or object="), ("pkcs11:object=ceremony?pin-value=1234", "PIN"), ("file:x", "PKCS#11 URI")):
        r = attach(site, "again", uri, check_exit=False)
        check(r.returncode != 0 and words in r.stderr, f"{uri} is refused with '{words}': {r.stderr}")
    site.down()
    site.up()
    api = Api(site)
    round_trip(api, "team")
    round_trip(api, "sixteen")
    report = api.must("POST", "/keys/signer/sign", {"alg": "ES256", "value": b64url(digest)})
    check("value" in report, "after a restart the EC key is found again")
    for name in ("team", "sixteen", "signer"):
        site.run("key", "delete", "--vault-name", "demo", "--name", name, "--yes")
        site.run("key", "purge", "--vault-name", "demo", "--name", name, "--yes")
    check_equal(private_keys(site), before, "a purge leaves attached keys on the token")
    check_equal(json.loads(attach(site, "anew", "pkcs11:object=ceremony", "--destroy-on-purge").stdout)["kluis"]["destroyOnPurge"], True,
                "attached again, to be destroyed")
    round_trip(api, "anew")
    site.run("key", "delete", "--vault-name", "demo", "--name", "anew", "--yes")
    site.run("key", "purge", "--vault-name", "demo", "--name", "anew", "--yes")
    check_equal(private_keys(site), before - 1, "--destroy-on-purge destroys it")
    check("ceremony" not in tool(site, "--list-objects"), "with its public half")


def test_keys_that_are_not_kept_safe_are_refused(site):
    tool(site, "--keypairgen", "--key-type", "rsa:2048", "--id", "21", "--label", "leaky", "--extractable")
    tool(site, "--keypairgen", "--key-type", "rsa:1024", "--id", "22", "--label", "weak")
    tool(site, "--keypairgen", "--key-type", "rsa:2048", "--id", "23", "--label", "twin")
    tool(site, "--keypairgen", "--key-type", "rsa:2048", "--id", "24", "--label", "twin")
    for label, words in (("leaky", "EXTRACTABLE"), ("weak", "2048 to 4096"), ("twin", "several")):
        r = attach(site, label, f"pkcs11:object={label}", check_exit=False)
        check(r.returncode != 0 and words in r.stderr, f"{label}: '{words}': {r.stderr}")
        check_equal(Api(site).call("GET", f"/keys/{label}")[0], 404, "no key was made")


def jwk_of(pem):
    """A private key as a JSON Web Key, by Python's cryptography: not our code."""
    from cryptography.hazmat.primitives.serialization import load_pem_private_key
    key = load_pem_private_key(pem, None)
    n = key.private_numbers()

    def number(value, width=None):
        return b64url(value.to_bytes(width or (value.bit_length() + 7) // 8, "big"))

    if hasattr(n, "dmp1"):
        p = n.public_numbers
        return {"kty": "RSA", "n": number(p.n), "e": number(p.e), "d": number(n.d), "p": number(n.p), "q": number(n.q), "dp": number(n.dmp1),
                "dq": number(n.dmq1), "qi": number(n.iqmp)}
    p, width = n.public_numbers, (key.curve.key_size + 7) // 8
    names = {"secp256r1": "P-256", "secp384r1": "P-384", "secp521r1": "P-521"}
    return {"kty": "EC", "crv": names[key.curve.name], "x": number(p.x, width), "y": number(p.y, width), "d": number(n.private_value, width)}


def test_json_web_keys_are_imported(site):
    api = Api(site)
    pems = {"rsa": openssl("genrsa", "2048"), "rsa4096": openssl("genrsa", "4096"),
            **{f"ec{c}": openssl("genpkey", "-algorithm", "EC", "-pkeyopt", f"ec_paramgen_curve:P-{c}") for c in (256, 384, 521)}}
    for name, pem in pems.items():
        jwk = jwk_of(pem)
        made = api.must("PUT", f"/keys/{name}", {"key": jwk, "tags": {"from": "outside"}})
        check_equal(made["kluis"]["origin"], "software-import", f"{name}: origin")
        check_equal(made["tags"], {"from": "outside"}, f"{name}: tags")
        public = ("n", "e") if jwk["kty"] == "RSA" else ("crv", "x", "y")
        check_equal({m: made["key"][m] for m in public}, {m: jwk[m] for m in public}, f"{name}: public half")
        check(not set(made["key"]) & {"d", "p", "q", "dp", "dq", "qi", "key_hsm"}, f"{name}: nothing private comes back")
        status, _, answer = api.call("PUT", f"/keys/{name}-again", {"key": jwk})
        check_equal(status, 409, f"{name} twice: {answer}")
    round_trip(api, "rsa")
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import padding
    from cryptography.hazmat.primitives.serialization import load_pem_private_key
    wrapped = api.must("POST", "/keys/rsa/wrapkey", {"alg": "RSA-OAEP", "value": b64url(b"y" * 32)})["value"]
    oaep = padding.OAEP(padding.MGF1(hashes.SHA1()), hashes.SHA1(), None)
    check_equal(load_pem_private_key(pems["rsa"], None).decrypt(un_b64url(wrapped), oaep), b"y" * 32, "it is the very key that was sent")
    broken = jwk_of(openssl("genrsa", "2048"))
    for change in ({"d": b64url(os.urandom(256))}, {"p": None}, {"n": b64url(os.urandom(256))}, {"kty": "oct"}, {"e": ""}):
        bad = {k: v for k, v in {**broken, **change}.items() if v is not None}
        status, _, answer = api.call("PUT", "/keys/broken", {"key": bad})
        check_equal(status, 400, f"{list(change)}: {answer}")
    short = jwk_of(openssl("genrsa", "1024"))
    check_equal(api.call("PUT", "/keys/broken", {"key": short})[0], 400, "1024 bits")
    check_equal(api.call("GET", "/keys/broken")[0], 404, "nothing was made of any of them")
    with open(os.path.join(site.dir, "audit.log"), "rb") as f:
        audit = f.read()
    check(b'"keyOrigin":"software-import"' in audit, "the audit record says where the key came from")
    for secret in (jwk_of(pems["rsa"])["d"], jwk_of(pems["ec256"])["d"]):
        for folder, _, files in os.walk(site.dir):
            for file in files:
                with open(os.path.join(folder, file), "rb") as f:
                    data = f.read()
                check(secret.encode() not in data and un_b64url(secret) not in data, f"no private number in {file}")


def byok(kid, kek_jwk, pem, aes=None, change=None):
    """What Key Vault's BYOK tools make: RSA-OAEP(SHA-1) of an AES key, then AES-KWP of the PKCS#8."""
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import padding, rsa
    from cryptography.hazmat.primitives.keywrap import aes_key_wrap_with_padding
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key
    der = load_pem_private_key(pem, None).private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    aes = aes or os.urandom(32)
    kek = rsa.RSAPublicNumbers(int.from_bytes(un_b64url(kek_jwk["e"]), "big"), int.from_bytes(un_b64url(kek_jwk["n"]), "big")).public_key()
    cipher = kek.encrypt(aes, padding.OAEP(padding.MGF1(hashes.SHA1()), hashes.SHA1(), None)) + aes_key_wrap_with_padding(aes, der)
    blob = {"schema_version": "1.0.0", "header": {"kid": kid, "alg": "dir", "enc": "CKM_RSA_AES_KEY_WRAP"}, "ciphertext": b64url(cipher),
            "generator": "a test"}
    blob.update(change or {})
    return json.dumps(blob).encode()


def test_byok_blobs_are_imported(site):
    api = Api(site)
    kek = api.must("POST", "/keys/exchange/create", {"kty": "RSA-HSM", "key_size": 3072, "key_ops": ["import"]})
    check_equal(kek["key"]["key_ops"], ["import"], "a key to import others under")
    check_equal(kek["kluis"]["profile"], "fixed", "which never leaves its token")
    for op in ("wrapkey", "encrypt", "sign"):
        body = {"alg": "RS256" if op == "sign" else "RSA-OAEP-256", "value": b64url(b"z" * 32)}
        check_equal(api.call("POST", f"/keys/exchange/{op}", body)[0], 403, f"and does nothing else: {op}")
    check_equal(api.call("POST", "/keys/odd/create", {"kty": "RSA", "key_ops": ["import", "sign"]})[0], 400, "import stands alone")
    check_equal(api.call("POST", "/keys/odd/create", {"kty": "EC", "key_ops": ["import"]})[0], 400, "import is for RSA")
    pem = openssl("genrsa", "2048")
    blob = byok(kek["key"]["kid"], kek["key"], pem)
    made = api.must("PUT", "/keys/brought", {"key": {"kty": "RSA-HSM", "key_ops": ["wrapKey", "unwrapKey"], "key_hsm": b64url(blob)}})
    check_equal(made["key"]["n"], jwk_of(pem)["n"], "the key that was wrapped")
    check_equal((made["key"]["kty"], made["key"]["key_ops"]), ("RSA-HSM", ["wrapKey", "unwrapKey"]), "as it was asked for")
    check_equal(made["kluis"]["origin"], "software-import", "this token cannot unwrap it inside, and the key says so")
    round_trip(api, "brought")
    ec = openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384")
    made = api.must("PUT", "/keys/brought-ec", {"key": {"kty": "EC-HSM", "key_hsm": b64url(byok(kek["key"]["kid"], kek["key"], ec))}})
    check_equal(made["key"]["crv"], "P-384", "an EC key")
    path = os.path.join(site.dir, "key.byok")
    fresh = openssl("genrsa", "3072")
    with open(path, "wb") as f:
        f.write(byok(kek["key"]["kid"], kek["key"], fresh))
    shown = site.json("key", "import", "--vault-name", "demo", "--name", "by-file", "--byok-file", path)
    check_equal(shown["key"]["n"], jwk_of(fresh)["n"], "by the command line")
    other = openssl("genrsa", "2048")
    good = json.loads(byok(kek["key"]["kid"], kek["key"], other))
    cipher = bytearray(un_b64url(good["ciphertext"]))
    cipher[-5] ^= 1
    texts = set()
    for words, change in (("a flipped bit at the end", {"ciphertext": b64url(bytes(cipher))}),
                          ("a cut", {"ciphertext": b64url(un_b64url(good["ciphertext"])[:400])}),
                          ("garbage", {"ciphertext": b64url(os.urandom(384 + 1232))}),
                          ("too short", {"ciphertext": b64url(b"abc")}),
                          ("another schema", {"schema_version": "2.0.0"}),
                          ("no such key", {"header": {**good["header"], "kid": kek["key"]["kid"].replace("exchange", "nobody")}}),
                          ("a key for other things", {"header": {**good["header"], "kid": made["key"]["kid"]}})):
        status, _, answer = api.call("PUT", "/keys/refused", {"key": {"kty": "RSA-HSM", "key_hsm": b64url(json.dumps({**good, **change}).encode())}})
        check(status in (400, 403, 404), f"{words}: {status} {answer}")
        if words in ("a flipped bit at the end", "a cut", "garbage", "too short"):
            texts.add(answer["error"]["message"])
    check_equal(len(texts), 1, f"what is wrong inside is told in one way: {texts}")
    check_equal(api.call("GET", "/keys/refused")[0], 404, "nothing was made")


def test_pem_files_are_imported_by_the_command_line(site):
    for name, pem in (("pem-rsa", openssl("genrsa", "2048")), ("pem-old", openssl("genrsa", "-traditional", "2048")),
                      ("pem-ec", openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"))):
        path = os.path.join(site.dir, name)
        with open(path, "wb") as f:
            f.write(pem)
        made = site.json("key", "import", "--vault-name", "demo", "--name", name, "--pem-file", path)
        jwk = jwk_of(pem)
        public = "n" if jwk["kty"] == "RSA" else "x"
        check_equal(made["key"][public], jwk[public], name)
        check_equal(made["kluis"]["origin"], "software-import", name)
    encrypted = openssl("genpkey", "-algorithm", "RSA", "-aes256", "-pass", "pass:top", "-pkeyopt", "rsa_keygen_bits:2048")
    path, secret = os.path.join(site.dir, "locked"), os.path.join(site.dir, "word")
    with open(path, "wb") as f:
        f.write(encrypted)
    for word, good in ((b"wrong", False), (b"top", True)):
        with open(secret, "wb") as f:
            f.write(word)
        r = site.run("key", "import", "--vault-name", "demo", "--name", "locked", "--pem-file", path, "--pem-password-file", secret, check=False)
        check_equal(r.returncode == 0, good, f"password {word}: {r.stderr}")


if __name__ == "__main__":
    kluis.main(globals())
