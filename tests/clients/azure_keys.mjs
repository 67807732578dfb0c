// The Azure SDK for JavaScript, unmodified, against a development site: every key operation that a client of Key Vault uses.
// Environment: the site's DIR/env, and NODE_EXTRA_CA_CERTS. Prints one line for each check that fails and a count at the end.
import { createHash, randomBytes } from "node:crypto";
import { ManagedIdentityCredential } from "@azure/identity";
import { CryptographyClient, KeyClient } from "@azure/keyvault-keys";
import { check, collect, credential, env, fast, finish, origin, principal, refused, retryOptions, same, secret, section, vault } from "./azure_site.mjs";

// The demo vault keeps the SDK's check of the challenge's resource switched on.
const keys = new KeyClient(vault("demo"), credential, { retryOptions });
const safe = new KeyClient(vault("safe"), credential, { retryOptions });

// For a key, or for an id, whose key the SDK fetches first.
const crypto = (key) => new CryptographyClient(key, credential, { retryOptions });

await section("create and read", async () => {
  const made = await keys.createRsaKey("js-rsa", { keySize: 2048, tags: { team: "backup" } });
  check(made.name === "js-rsa" && made.keyType === "RSA", "createRsaKey: name and type");
  check(made.properties.vaultUrl === vault("demo"), `its vault is the origin that the client used: ${made.properties.vaultUrl}`);
  check(made.properties.version?.length === 32, "a version of 32 characters");
  check(made.properties.enabled === true, "a new key is enabled");
  check(made.properties.recoverableDays === 90, "the demo vault keeps deleted keys for 90 days");
  check(made.properties.recoveryLevel === "Recoverable+Purgeable", `its recovery level: ${made.properties.recoveryLevel}`);
  check(made.properties.tags.team === "backup", "tags come back");
  check(made.key.n.length === 256 && made.key.d === undefined, "a modulus of 2048 bits and no private part");
  const got = await keys.getKey("js-rsa");
  check(got.id === made.id && same(got.key.n, made.key.n), "getKey gives the same key");
  const exact = await keys.getKey("js-rsa", { version: made.properties.version });
  check(exact.id === made.id, "getKey of a version");
  const ec = await keys.createEcKey("js-ec", { curve: "P-256" });
  check(ec.keyType === "EC" && ec.key.crv === "P-256" && ec.key.x.length === 32, "createEcKey P-256");
  const kept = await safe.createRsaKey("js-safe", { keySize: 2048 });
  check(kept.properties.recoveryLevel === "Recoverable", `recovery level under purge protection: ${kept.properties.recoveryLevel}`);
  await refused(keys.getKey("js-nobody"), 404, "KeyNotFound", "an unknown key");
});

await section("wrap, unwrap, encrypt, decrypt", async () => {
  const client = crypto((await keys.getKey("js-rsa")).id);
  const dek = randomBytes(32);
  for (const algorithm of ["RSA-OAEP-256", "RSA-OAEP"]) {
    const wrapped = await client.wrapKey(algorithm, dek);
    check(wrapped.result.length === 256 && !same(wrapped.result, dek), `wrapKey ${algorithm}`);
    const back = await client.unwrapKey(algorithm, wrapped.result);
    check(same(back.result, dek), `unwrapKey ${algorithm}`);
    const sealed = await client.encrypt({ algorithm, plaintext: Buffer.from("a small secret") });
    const open = await client.decrypt({ algorithm, ciphertext: sealed.result });
    check(Buffer.from(open.result).toString() === "a small secret", `encrypt and decrypt ${algorithm}`);
    await refused(client.unwrapKey(algorithm, randomBytes(256).fill(0, 0, 1)), 400, "BadParameter", `garbage unwrapped by ${algorithm}`);
  }
  const newest = new CryptographyClient(`${vault("demo")}/keys/js-rsa`, credential, { retryOptions });
  const wrapped = await newest.wrapKey("RSA-OAEP-256", dek);
  check(wrapped.keyID.startsWith(`${vault("demo")}/keys/js-rsa/`), "an id without version wraps with the newest and says which");
});

await section("sign and verify", async () => {
  const digest = createHash("sha256").update("signed").digest();
  const rsa = crypto((await keys.getKey("js-rsa")).id);
  for (const algorithm of ["RS256", "PS256"]) {
    const { result } = await rsa.sign(algorithm, digest);
    check((await rsa.verify(algorithm, digest, result)).result === true, `${algorithm} verifies`);
    result[10] ^= 1;
    check((await rsa.verify(algorithm, digest, result)).result === false, `${algorithm} with a flipped bit does not`);
  }
  const ec = crypto((await keys.getKey("js-ec")).id);
  const { result } = await ec.sign("ES256", digest);
  check(result.length === 64, "ES256 is r and s, 32 bytes each");
  check((await ec.verify("ES256", digest, result)).result === true, "ES256 verifies");
  const data = await ec.signData("ES256", Buffer.from("whole data"));
  check((await ec.verifyData("ES256", Buffer.from("whole data"), data.result)).result === true, "signData and verifyData");
});

await section("both halves, here and there", async () => {
  const key = await keys.getKey("js-rsa");
  const dek = randomBytes(32);
  // A JWK alone makes a client that never asks the service: what it wraps must open there.
  const offline = new CryptographyClient(key.key);
  for (const algorithm of ["RSA-OAEP"]) {
    const { result } = await offline.wrapKey(algorithm, dek);
    check(same((await crypto(key).unwrapKey(algorithm, result)).result, dek), `wrapped offline by ${algorithm}`);
    const sealed = await offline.encrypt({ algorithm, plaintext: dek });
    check(same((await crypto(key.id).decrypt({ algorithm, ciphertext: sealed.result })).result, dek), `encrypted offline by ${algorithm}`);
  }
  for (const algorithm of ["RS256", "RS384", "RS512"]) {
    const { result } = await crypto(key).signData(algorithm, Buffer.from("whole data"));
    check((await offline.verifyData(algorithm, Buffer.from("whole data"), result)).result === true, `${algorithm} verified offline`);
  }
  for (const [name, curve, algorithm, hash, size] of [["js-ec-384", "P-384", "ES384", "sha384", 96], ["js-ec-521", "P-521", "ES512", "sha512", 132]]) {
    const ec = await keys.createEcKey(name, { curve });
    const digest = createHash(hash).update("signed").digest();
    const { result } = await crypto(ec).sign(algorithm, digest);
    check(result.length === size && (await crypto(ec.id).verify(algorithm, digest, result)).result === true, algorithm);
    result[0] ^= 1;
    check((await crypto(ec.id).verify(algorithm, digest, result)).result === false, `${algorithm} with a flipped bit`);
  }
  const old = await crypto(key.id).encrypt({ algorithm: "RSA1_5", plaintext: Buffer.from("for old clients") });
  check(Buffer.from((await crypto(key.id).decrypt({ algorithm: "RSA1_5", ciphertext: old.result })).result).toString() === "for old clients", "RSA1_5, which the vault allows");
});

await section("rotate and versions", async () => {
  const before = await keys.getKey("js-rsa");
  const old = crypto(before.id);
  const dek = randomBytes(32);
  const wrapped = await old.wrapKey("RSA-OAEP-256", dek);
  const rotated = await keys.rotateKey("js-rsa");
  check(rotated.properties.version !== before.properties.version, "rotateKey makes a new version");
  check(rotated.keyType === "RSA" && rotated.key.n.length === 256, "of the same kind");
  check(same((await old.unwrapKey("RSA-OAEP-256", wrapped.result)).result, dek), "the old version still unwraps");
  await refused(crypto(rotated.id).unwrapKey("RSA-OAEP-256", wrapped.result), 400, "BadParameter", "the new version with the old wrap");
  const versions = await collect(keys.listPropertiesOfKeyVersions("js-rsa"));
  check(versions.length === 2, `two versions are listed: ${versions.length}`);
});

await section("update", async () => {
  const made = await keys.createRsaKey("js-update", { keySize: 2048 });
  const expiresOn = new Date("2030-01-02T03:04:05Z");
  const changed = await keys.updateKeyProperties("js-update", made.properties.version, { enabled: false, expiresOn, tags: { a: "b" } });
  check(changed.properties.enabled === false && changed.properties.tags.a === "b", "updateKeyProperties");
  check(changed.properties.expiresOn.getTime() === expiresOn.getTime(), "expiry to the second");
  await refused(crypto(made.id).unwrapKey("RSA-OAEP-256", randomBytes(256)), 403, "Forbidden", "a disabled key does nothing", "KeyDisabled");
  const enabled = await keys.updateKeyProperties("js-update", { enabled: true });
  check(enabled.properties.enabled === true, "updateKeyProperties of the newest version");
  const noWrap = await keys.updateKeyProperties("js-update", { keyOps: ["sign", "verify"] });
  check(noWrap.keyOperations.join() === "sign,verify", "key operations");
  // The SDK itself refuses what the key's own operations lack, so ask with a client that has not seen them.
  await keys.updateKeyProperties("js-update", { keyOps: ["wrapKey", "unwrapKey"] });
  const unaware = crypto(made.id);
  await unaware.unwrapKey("RSA-OAEP-256", (await unaware.wrapKey("RSA-OAEP-256", randomBytes(32))).result);
  await keys.updateKeyProperties("js-update", { keyOps: ["sign", "verify"] });
  await refused(unaware.unwrapKey("RSA-OAEP-256", randomBytes(256)), 403, "Forbidden", "an operation that the key does not allow", "KeyOperationForbidden");
});

await section("dates", async () => {
  const early = new Date(Date.now() + 3600e3);
  const late = new Date(Date.now() - 3600e3);
  const made = await keys.createKey("js-dates", "RSA-HSM", { keySize: 2048, keyOps: ["encrypt", "decrypt", "sign"], notBefore: late });
  check(made.keyType === "RSA-HSM" && made.keyOperations.join() === "encrypt,decrypt,sign", "createKey with operations, on a token");
  check(Math.abs(made.properties.notBefore - late) < 1000 && made.properties.expiresOn === undefined, "notBefore and no expiresOn");
  const digest = createHash("sha256").update("signed").digest();
  const fresh = crypto(made); // has seen dates that allow everything
  const sealed = await fresh.encrypt({ algorithm: "RSA-OAEP-256", plaintext: digest });
  await keys.updateKeyProperties("js-dates", { expiresOn: late });
  await refused(fresh.sign("RS256", digest), 403, "Forbidden", "an expired key does not sign", "KeyExpired");
  await refused(fresh.encrypt({ algorithm: "RSA-OAEP-256", plaintext: digest }), 403, "Forbidden", "nor encrypt", "KeyExpired");
  check(same((await fresh.decrypt({ algorithm: "RSA-OAEP-256", ciphertext: sealed.result })).result, digest), "but decrypts");
  const changed = await keys.updateKeyProperties("js-dates", { expiresOn: new Date("2037-01-01T00:00:00Z"), notBefore: early, tags: { only: "this" } });
  check(changed.properties.tags.only === "this" && Math.abs(changed.properties.notBefore - early) < 1000, "both dates and tags");
  await refused(fresh.sign("RS256", digest), 403, "Forbidden", "a key before its time", "KeyNotYetValid");
  check((await keys.updateKeyProperties("js-dates", { enabled: true })).properties.tags.only === "this", "what is not named stays");
});

await section("list with pages", async () => {
  for (let i = 0; i < 7; i++) await keys.createEcKey(`js-page-${i}`, { curve: "P-256" });
  const all = await collect(keys.listPropertiesOfKeys());
  const names = all.map((k) => k.name);
  check(names.filter((n) => n.startsWith("js-page-")).length === 7, "every key is listed once");
  let pages = 0;
  const seen = [];
  for await (const page of keys.listPropertiesOfKeys().byPage({ maxPageSize: 3 })) {
    pages++;
    check(page.length <= 3, "no page is longer than asked");
    seen.push(...page.map((k) => k.name));
  }
  check(pages >= 4, `several pages: ${pages}`);
  for (let i = 0; i < 4; i++) await keys.rotateKey("js-page-0");
  const versions = [];
  for await (const page of keys.listPropertiesOfKeyVersions("js-page-0").byPage({ maxPageSize: 2 })) {
    check(page.length <= 2, "no page of versions is longer than asked");
    versions.push(...page.map((k) => k.version));
  }
  check(versions.length === 5 && new Set(versions).size === 5, "every version once");
  check((await collect(keys.listPropertiesOfKeyVersions("js-nobody"))).length === 0, "versions of a missing key: none");
  check(seen.sort().join() === names.sort().join(), "the pages hold what the list holds");
});

await section("delete, recover, purge", async () => {
  const made = await keys.createRsaKey("js-gone", { keySize: 2048 });
  const dek = randomBytes(32);
  const wrapped = await crypto(made.id).wrapKey("RSA-OAEP-256", dek);
  const deleted = await (await keys.beginDeleteKey("js-gone", fast)).pollUntilDone();
  check(deleted.properties.recoveryId.includes("/deletedkeys/js-gone"), "beginDeleteKey: a recovery id");
  check(deleted.properties.scheduledPurgeDate > deleted.properties.deletedOn, "and dates");
  await refused(keys.getKey("js-gone"), 404, "KeyNotFound", "a deleted key");
  await refused(keys.createRsaKey("js-gone"), 409, "Conflict", "the name of a deleted key", "ObjectIsDeletedButRecoverable");
  check((await keys.getDeletedKey("js-gone")).name === "js-gone", "getDeletedKey");
  check((await collect(keys.listDeletedKeys())).some((k) => k.name === "js-gone"), "listDeletedKeys");
  const back = await (await keys.beginRecoverDeletedKey("js-gone", fast)).pollUntilDone();
  check(back.name === "js-gone", "beginRecoverDeletedKey");
  check(same((await crypto(made.id).unwrapKey("RSA-OAEP-256", wrapped.result)).result, dek), "a recovered key unwraps");
  await (await keys.beginDeleteKey("js-gone", fast)).pollUntilDone();
  await keys.purgeDeletedKey("js-gone");
  await refused(keys.getDeletedKey("js-gone"), 404, "KeyNotFound", "a purged key");
  await refused(keys.purgeDeletedKey("js-gone"), 404, "KeyNotFound", "purging it again");
  await (await safe.beginDeleteKey("js-safe", fast)).pollUntilDone();
  await refused(safe.purgeDeletedKey("js-safe"), 403, "Forbidden", "purge under purge protection", "PurgeProtectionEnabled");
  await (await safe.beginRecoverDeletedKey("js-safe", fast)).pollUntilDone();
  check((await safe.getKey("js-safe")).name === "js-safe", "recovered from the protected vault");
});

await section("backup and restore", async () => {
  const made = await keys.createRsaKey("js-backup", { keySize: 2048 });
  const dek = randomBytes(32);
  const wrapped = await crypto(made.id).wrapKey("RSA-OAEP-256", dek);
  await keys.rotateKey("js-backup");
  const blob = await keys.backupKey("js-backup");
  check(blob.length > 256, "backupKey gives a blob");
  await refused(keys.restoreKeyBackup(blob), 409, "Conflict", "restore beside the living key");
  await (await keys.beginDeleteKey("js-backup", fast)).pollUntilDone();
  await refused(keys.restoreKeyBackup(blob), 409, "Conflict", "restore beside the deleted key", "ObjectIsDeletedButRecoverable");
  await keys.purgeDeletedKey("js-backup");
  await keys.restoreKeyBackup(blob);
  const versions = await collect(keys.listPropertiesOfKeyVersions("js-backup"));
  check(versions.length === 2, "all versions are back");
  check(same((await crypto(made.id).unwrapKey("RSA-OAEP-256", wrapped.result)).result, dek), "the restored version unwraps, under its old id");
  const elsewhere = await safe.restoreKeyBackup(blob);
  check(elsewhere.properties.vaultUrl === vault("safe"), "restored into the other vault too");
  const damaged = Uint8Array.from(blob);
  damaged[damaged.length >> 1] ^= 1;
  await refused(safe.restoreKeyBackup(damaged), 400, "Malformed backup blob", "a damaged blob");
});

await section("random bytes", async () => {
  for (const count of [1, 32, 128]) check((await keys.getRandomBytes(count)).length === count, `getRandomBytes ${count}`);
  await refused(keys.getRandomBytes(129), 400, "BadParameter", "more than the service gives");
});

await section("other origins", async () => {
  // The SDK's check of the challenge's resource cannot pass for what has no parent domain.
  const open = { retryOptions, disableChallengeResourceVerification: true };
  const mine = await keys.getKey("js-rsa");
  for (const [host, client] of [["localhost", keys], ["127.0.0.1", safe]]) {
    const url = `https://${host}:${origin.port}`;
    const there = new KeyClient(url, credential, open);
    const made = await there.createRsaKey("js-origin", { keySize: 2048 });
    check(made.id.startsWith(`${url}/keys/js-origin/`), `ids begin with the origin that was used: ${made.id}`);
    check(same((await client.getKey("js-origin")).key.n, made.key.n), `${url} is the vault that it should be`);
    const local = new CryptographyClient(made.id, credential, open);
    const dek = randomBytes(32);
    check(same((await local.unwrapKey("RSA-OAEP-256", (await local.wrapKey("RSA-OAEP-256", dek)).result)).result, dek), `wrap and unwrap at ${host}`);
    check((await collect(there.listPropertiesOfKeys())).length === (await collect(client.listPropertiesOfKeys())).length, "the same list");
    const deleted = await (await there.beginDeleteKey("js-origin", fast)).pollUntilDone();
    check(deleted.properties.recoveryId === `${url}/deletedkeys/js-origin`, "recoveryId too");
  }
  check(same((await new KeyClient(env.KLUIS_URL, credential, open).getKey("js-rsa")).key.n, mine.key.n), "one vault, two names");
});

await section("credentials", async () => {
  try {
    await new KeyClient(vault("demo"), principal(env.KLUIS_CLIENT_ID, "wrong"), { retryOptions }).getKey("js-rsa");
    check(false, "a wrong secret was taken");
  } catch (e) {
    check(/AADSTS7000215/.test(e.message), `the identity service's words: ${e.message}`);
  }
  env.IDENTITY_ENDPOINT = `${env.KLUIS_URL}/metadata/identity/oauth2/token`;
  env.IDENTITY_HEADER = `${env.KLUIS_CLIENT_ID}:${secret}`;
  const managed = new KeyClient(vault("demo"), new ManagedIdentityCredential(), { retryOptions });
  check((await managed.getKey("js-rsa")).name === "js-rsa", "ManagedIdentityCredential");
});

await section("without the right to read", async () => {
  const { token } = await credential.getToken("https://vault.localhost/.default");
  const admin = async (method, path, body) =>
    (await fetch(env.KLUIS_URL + path, { method, body: JSON.stringify(body), headers: { authorization: `Bearer ${token}`, "content-type": "application/json" } })).json();
  const who = await admin("POST", "/kluis/v1/principals", { name: "js-wrapper", roles: [] });
  await admin("PUT", `/kluis/v1/vaults/demo/policies/${who.objectId}`, { permissions: { keys: ["wrapKey", "unwrapKey"] } });
  const limited = principal(who.clientId, who.clientSecret);
  await refused(new KeyClient(vault("demo"), limited, { retryOptions }).getKey("js-rsa"), 403, "Forbidden", "get", "ForbiddenByPolicy");
  const client = new CryptographyClient(`${vault("demo")}/keys/js-rsa`, limited, { retryOptions });
  const dek = randomBytes(32);
  for (const algorithm of ["RSA-OAEP", "RSA-OAEP-256"])
    check(same((await client.unwrapKey(algorithm, (await client.wrapKey(algorithm, dek)).result)).result, dek), `${algorithm}, both halves remote`);
  await refused(client.sign("RS256", dek), 403, "Forbidden", "sign", "ForbiddenByPolicy");
});

await section("versions of the API", async () => {
  for (const serviceVersion of ["7.0", "7.1", "7.2", "7.3", "7.4", "7.5", "7.6", "2025-07-01"])
    check((await new KeyClient(vault("demo"), credential, { retryOptions, serviceVersion }).getKey("js-rsa")).name === "js-rsa", serviceVersion);
});

finish("@azure/keyvault-keys");
