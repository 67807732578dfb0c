"""One service on several tokens: vaults with several homes, copies of keys, failover, a home that was away when a key was made."""
import base64
import json
import os
import signal
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
import kluis
from kluis import Api, Failed, Site, b64url, check, check_equal, un_b64url, wait_until

SLOW_DEADLINE = 10  # seconds: the default of [token] deadline, after which a hung worker is replaced


def workers(site):
    """{token: pid of its kluis-tokend}, by what the service says."""
    return {t["name"]: t["pid"] for t in Api(site, None).must("GET", "/kluis/v1/tokens")["value"] if t.get("pid")}


def vault(site, name, *tokens):
    return site.json("vault", "create", "--name", name, "--origins", f"{name}.vault.localhost:{site.port}", "--token", ",".join(tokens),
                     "--retention-days", "7")


def wrap(api, key, data):
    return api.must("POST", f"/keys/{key}/wrapkey", {"alg": "RSA-OAEP-256", "value": b64url(data)})


def unwrap(api, answer):
    path = answer["kid"].split("/keys/")[1]
    return un_b64url(api.must("POST", f"/keys/{path}/unwrapkey", {"alg": "RSA-OAEP-256", "value": answer["value"]})["value"])


def two(options=()):
    return Site(options=["--tokens", "2", *options])


def test_a_vault_on_two_tokens_keeps_every_key_on_both():
    with two() as site:
        made = vault(site, "pair", "main", "second")
        check_equal(made["tokens"], ["main", "second"], "homes of the new vault")
        check_equal(site.json("vault", "show", "--name", "pair")["tokens"], ["main", "second"], "homes as shown")
        key = site.json("key", "create", "--vault-name", "pair", "--name", "kek")
        check_equal(key["kluis"]["tokens"], ["main", "second"], "homes of a new key")
        rotated = site.json("key", "rotate", "--vault-name", "pair", "--name", "kek")
        check_equal(rotated["kluis"]["tokens"], ["main", "second"], "homes of a new version")
        signer = site.json("key", "create", "--vault-name", "pair", "--name", "signer", "--kty", "EC")
        check_equal(signer["kluis"]["tokens"], ["main", "second"], "homes of an EC key")
        fixed = site.json("key", "create", "--vault-name", "pair", "--name", "stays", "--no-backup")
        check("tokens" not in fixed["kluis"], "a fixed key has one home")


if __name__ == "__main__":
    kluis.main(globals())
