#!/usr/bin/env python3
"""Debian's libmongocrypt itself, unmodified: its KMS state machine makes a data key under a key of ours, encrypts and decrypts with it, and
re-wraps it after a rotation. This file is only the driver around it: it carries bytes between the library and a TLS connection, as MongoDB's
drivers do, and plays the collection of data keys."""
import ctypes
import os
import socket
import ssl
import struct
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
import kluis
from kluis import check, check_equal

ERROR, NEED_KEYS, NEED_KMS, READY = 0, 3, 4, 5  # mongocrypt_ctx_state_t
LIBRARY = ctypes.CDLL("libmongocrypt.so.0")
HANDLES = ("new", "status_new", "binary_new", "binary_new_from_data", "binary_data", "ctx_new", "ctx_next_kms_ctx")
RESULTS = {"status_message": ctypes.c_char_p, **dict.fromkeys(("ctx_state", "binary_len", "kms_ctx_bytes_needed"), ctypes.c_uint32)}

class Refused(Exception):
    """What the library says is wrong."""


def call(name, *args):
    """A function of the library. Handles are passed as pointers; most give success or failure."""
    function = getattr(LIBRARY, "mongocrypt_" + name)
    function.restype = ctypes.c_void_p if name in HANDLES else RESULTS.get(name, ctypes.c_bool)
    return function(*(ctypes.c_void_p(a) if isinstance(a, int) and a > 1 << 20 else a for a in args))


def bson(document):
    """A document of strings, bytes (as subtype), and documents."""
    out = b""
    for name, value in document.items():
        head = name.encode() + b"\0"
        if isinstance(value, dict):
            out += b"\3" + head + bson(value)
        elif isinstance(value, tuple):
            out += b"\5" + head + struct.pack("<iB", len(value[1]), value[0]) + value[1]
        else:
            text = value.encode() + b"\0"
            out += b"\2" + head + struct.pack("<i", len(text)) + text
    return struct.pack("<i", len(out) + 5) + out + b"\0"


def elements(data):
    """(type, name, value) of each element of a document, the value as bytes."""
    at = 4
    while data[at] != 0:
        kind, end = data[at], data.index(0, at + 1)
        name, at = data[at + 1:end].decode(), end + 1
        size = {1: 8, 7: 12, 8: 1, 9: 8, 10: 0, 16: 4, 18: 8}.get(kind)
        if size is None:
            n = struct.unpack_from("<i", data, at)[0]
            size = {2: n + 4, 3: n, 4: n, 5: n + 5}[kind]
        yield kind, name, data[at:at + size]
        at += size


def unbson(data):
    """A document back; arrays as lists, numbers and dates as numbers, and all of it as bytes under the name 'raw'."""
    readers = {2: lambda p: p[4:-1].decode(), 3: unbson, 4: lambda p: [v for k, v in unbson(p).items() if k != "raw"], 5: lambda p: (p[4], p[5:])}
    found = {name: readers.get(kind, lambda p: int.from_bytes(p, "little"))(value) for kind, name, value in elements(data)}
    return {**found, "raw": data}


def updated(old, new):
    """A document with the elements of another set in it, as a database does."""
    rows = {name: (kind, value) for document in (old, new) for kind, name, value in elements(document["raw"])}
    inside = b"".join(bytes([kind]) + name.encode() + b"\0" + value for name, (kind, value) in rows.items())
    return unbson(struct.pack("<i", len(inside) + 5) + inside + b"\0")


class Crypt:
    """One mongocrypt_t with the credentials of the site's client."""

    def __init__(self, site, secret=None):
        self.site = site
        with open(site.env["KLUIS_CLIENT_SECRET_FILE"], encoding="utf-8") as f:
            secret = secret or f.read().strip()
        self.handle = call("new")
        self.kept = []
        self.requests = []
        provider = {"tenantId": site.env["KLUIS_TENANT"], "clientId": site.env["KLUIS_CLIENT_ID"], "clientSecret": secret,
                    "identityPlatformEndpoint": f"127.0.0.1:{site.port}"}
        self.must("setopt_kms_providers", self.handle, self.binary(bson({"azure": provider})))
        self.must("init", self.handle)

    def binary(self, data):
        kept = ctypes.create_string_buffer(data, len(data))
        self.kept.append(kept)
        return call("binary_new_from_data", ctypes.c_void_p(ctypes.addressof(kept)), ctypes.c_uint32(len(data)))

    def must(self, name, *args):
        if not call(name, *args):
            self.fail("ctx_status" if name.startswith("ctx_") else "status", args[0])

    def fail(self, how, handle):
        status = call("status_new")
        call(how, handle, status)
        raise Refused(call("status_message", status, None).decode())

    def out(self, name, handle):
        """The bytes that a function of the library gives."""
        b = call("binary_new")
        self.must(name, handle, b)
        return ctypes.string_at(call("binary_data", b), call("binary_len", b))

    def run(self, initialise, argument, options=(), keys=()):
        """One operation from its beginning to its result: `keys` are the data keys that the collection holds."""
        ctx = call("ctx_new", self.handle)
        for name, *values in options:
            self.must(name, ctx, *values)
        self.must(initialise, ctx, *argument)
        while True:
            state = call("ctx_state", ctx)
            if state == NEED_KEYS:
                self.out("ctx_mongo_op", ctx)
                for key in keys:
                    self.must("ctx_mongo_feed", ctx, self.binary(key))
                self.must("ctx_mongo_done", ctx)
            elif state == NEED_KMS:
                while kms := call("ctx_next_kms_ctx", ctx):
                    self.serve(kms)
                self.must("ctx_kms_done", ctx)
            elif state == READY:
                return unbson(self.out("ctx_finalize", ctx))
            else:
                check_equal(state, ERROR, "a state that has to do with keys")
                self.fail("ctx_status", ctx)

    def serve(self, kms):
        """One request of the library over TLS; the connection must end exactly where the library has read enough."""
        endpoint = ctypes.c_char_p()
        if not call("kms_ctx_endpoint", kms, ctypes.byref(endpoint)):
            self.fail("kms_ctx_status", kms)
        host, port = endpoint.value.decode().rsplit(":", 1)
        message = self.out("kms_ctx_message", kms)
        self.requests.append(message.decode())
        context = ssl.create_default_context(cafile=self.site.env["KLUIS_CA"])
        with socket.create_connection(("127.0.0.1", int(port)), timeout=kluis.PATIENCE) as raw, context.wrap_socket(raw, server_hostname=host) as s:
            s.sendall(message)
            while (wanted := call("kms_ctx_bytes_needed", kms)) > 0:
                data = s.recv(min(wanted, 1024))
                check(data != b"", "the answer is whole")
                if not call("kms_ctx_feed", kms, self.binary(data)):
                    self.fail("kms_ctx_status", kms)
            try:
                check_equal(s.recv(1), b"", "not a byte more than Content-Length says")
            except ssl.SSLEOFError:
                pass

    def data_key(self, endpoint, name, version=None):
        master = {"provider": "azure", "keyVaultEndpoint": endpoint, "keyName": name, **({"keyVersion": version} if version else {})}
        return self.run("ctx_datakey_init", (), [("ctx_setopt_key_encryption_key", self.binary(bson(master)))])

    def encrypt(self, key, text):
        options = [("ctx_setopt_key_id", self.binary(key["_id"][1])),
                   ("ctx_setopt_algorithm", b"AEAD_AES_256_CBC_HMAC_SHA_512-Random", -1)]
        return self.run("ctx_explicit_encrypt_init", (self.binary(bson({"v": text})),), options, [key["raw"]])["v"]

    def decrypt(self, key, value):
        return self.run("ctx_explicit_decrypt_init", (self.binary(bson({"v": value})),), keys=[key["raw"]])["v"]


def refused(action, *words):
    try:
        action()
    except Refused as e:
        for word in words:
            check(word in str(e), f"{word} in: {e}")
        return
    raise kluis.Failed(f"was not refused: {words}")


def test_data_keys(site):
    only = {"kty": "RSA", "key_size": 2048, "key_ops": ["wrapKey", "unwrapKey"]}
    # the endpoint must contain a dot; by 127.0.0.1 it is the protected vault
    for endpoint, api in ((f"127.0.0.1:{site.port}", kluis.Api(site, vault="safe")), (f"demo.vault.localhost:{site.port}", kluis.Api(site))):
        first = api.must("POST", "/keys/csfle/create", only)["key"]["kid"].rsplit("/", 1)[1]
        maker = Crypt(site)
        pinned, newest = maker.data_key(endpoint, "csfle", first), maker.data_key(endpoint, "csfle")
        login, wrap, bare = maker.requests[0], maker.requests[1], maker.requests[2]
        check("/oauth2/v2.0/token" in login and len(maker.requests) == 3, "one login for both")
        check(f"POST /keys/csfle/{first}/wrapkey?api-version=7.1 " in wrap and "RSA-OAEP-256" in wrap and "Connection:close" in wrap, "wrapKey")
        check("POST /keys/csfle//wrapkey?api-version=7.1 " in bare, "no version: an empty segment")
        check(f"Host:{endpoint.rsplit(':', 1)[0]}\r\n" in wrap, "Host without its port")
        for key in (pinned, newest):
            secret = maker.encrypt(key, "a field")
            check_equal((secret[0], Crypt(site).decrypt(key, secret)), (6, "a field"), "another process decrypts it")
        rotation(site, api, pinned, newest)


def rotation(site, api, pinned, newest):
    """After a rotation what names its version opens; what names none does not, until it is wrapped anew, like with the real service."""
    crypt = Crypt(site)
    pinned_field, newest_field = crypt.encrypt(pinned, "pinned"), crypt.encrypt(newest, "newest")
    api.must("POST", "/keys/csfle/rotate")
    check_equal(Crypt(site).decrypt(pinned, pinned_field), "pinned", "a data key that names its version")
    refused(lambda: Crypt(site).decrypt(newest, newest_field), "HTTP status=400", "BadParameter", "The parameter is incorrect.")
    crypt = Crypt(site)
    master = {"provider": "azure", "keyVaultEndpoint": pinned["masterKey"]["keyVaultEndpoint"], "keyName": "csfle"}
    again = crypt.run("ctx_rewrap_many_datakey_init", (crypt.binary(bson({})),),
                      [("ctx_setopt_key_encryption_key", crypt.binary(bson(master)))], [pinned["raw"]])["v"][0]
    again = updated(pinned, again)
    check(again["_id"] == pinned["_id"] and again["keyMaterial"] != pinned["keyMaterial"], "the data key is wrapped anew")
    check_equal(Crypt(site).decrypt(again, pinned_field), "pinned", "by the new version")
    api.must("PATCH", "/keys/csfle/" + pinned["masterKey"]["keyVersion"], {"attributes": {"enabled": False}})
    check_equal(Crypt(site).decrypt(again, pinned_field), "pinned", "also when the old one is disabled")
    refused(lambda: Crypt(site).decrypt(pinned, pinned_field), "HTTP status=403", "KeyDisabled", "not allowed on a disabled key")


def test_refusals(site):
    kluis.Api(site).must("POST", "/keys/signer/create", {"kty": "RSA", "key_ops": ["sign", "verify"]})
    demo = f"demo.vault.localhost:{site.port}"
    refused(lambda: Crypt(site, "wrong").data_key(demo, "signer"), "AADSTS7000215")
    refused(lambda: Crypt(site).data_key(demo, "none"), "HTTP status=404", "KeyNotFound")
    refused(lambda: Crypt(site).data_key(demo, "signer"), "HTTP status=403", "KeyOperationForbidden")


kluis.main(globals())
