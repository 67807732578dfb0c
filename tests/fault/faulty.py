"""A `kluis dev up` site on the fault module, and keys of it as a foreign library sees them."""
import contextlib
import os
import sys

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "../lib"))
sys.path.insert(0, os.path.join(HERE, "../token/scripts"))
import fault
import kluis

HASHES = {"RSA-OAEP": hashes.SHA1(), "RSA-OAEP-256": hashes.SHA256()}


def number(jwk, member):
    return int.from_bytes(kluis.un_b64url(jwk[member]), "big")


class Key:
    """An RSA key of the service: its path, and its public half as a foreign library's object."""

    def __init__(self, bundle):
        jwk = bundle["key"]
        self.path = "/keys/" + jwk["kid"].split("/keys/")[1]
        self.name = self.path.split("/")[2]
        self.public = rsa.RSAPublicNumbers(number(jwk, "e"), number(jwk, "n")).public_key()

    def seal(self, plain, alg="RSA-OAEP-256"):
        h = HASHES[alg]
        return kluis.b64url(self.public.encrypt(plain, padding.OAEP(padding.MGF1(h), h, None)))


def create(api, name):
    return Key(api.must("POST", f"/keys/{name}/create", {"kty": "RSA", "key_size": 2048}))


def unwrap(api, key, value, alg="RSA-OAEP-256"):
    """(status, the plain text or None)."""
    status, _, answer = api.call("POST", key.path + "/unwrapkey", {"alg": alg, "value": value})
    return status, kluis.un_b64url(answer["value"]) if status == 200 else None


@contextlib.contextmanager
def site(kind=fault.Fault, **settings):
    """(token, site) of a running site; settings go to its [token main], with - for _."""
    with kind() as token:
        os.environ.update(token.env)  # a site that is started again takes it from here
        options = ["--pkcs11-module", token.module, "--pkcs11-uri", token.uri, "--pin-file", token.path("pin"),
                   "--so-pin-file", token.path("so-pin"), "--pkcs11-store-dir", token.store]
        s = kluis.Site(token.path("site"), options)
        with s:
            if settings:
                with open(os.path.join(s.dir, "kluis.conf"), "a", encoding="utf-8") as f:
                    f.writelines(f"{name.replace('_', '-')} = {value}\n" for name, value in settings.items())
                s.down()
                s.up()
            try:
                yield token, s
            except BaseException:
                print(s.log_tail(40))
                raise
