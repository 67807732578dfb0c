// The Azure SDK for JavaScript, unmodified, against a development site: every key operation that a client of Key Vault uses.
// Environment: the site's DIR/env, and NODE_EXTRA_CA_CERTS. Prints one line for each check that fails and a count at the end.
import dns from "node:dns";
import { readFileSync } from "node:fs";
import { createHash, randomBytes } from "node:crypto";
import { ClientSecretCredential } from "@azure/identity";
import { CryptographyClient, KeyClient } from "@azure/keyvault-keys";

// Names below .localhost are this machine (RFC 6761); the C library of a bare system does not know that.
const systemLookup = dns.lookup;
dns.lookup = (name, options, done) =>
  systemLookup(name.endsWith(".localhost") ? "127.0.0.1" : name, options, done);

const env = process.env;
const origin = new URL(env.KLUIS_URL);
const vault = (name) => `https://${name}.vault.localhost:${origin.port}`;
const secret = readFileSync(env.KLUIS_CLIENT_SECRET_FILE, "utf8").trim();
const credential = new ClientSecretCredential(env.KLUIS_TENANT, env.KLUIS_CLIENT_ID, secret, {
  authorityHost: env.KLUIS_URL,
  disableInstanceDiscovery: true,
});
const retryOptions = { maxRetries: 0 };
// The demo vault keeps the SDK's check of the challenge's resource switched on.
const keys = new KeyClient(vault("demo"), credential, { retryOptions });
const safe = new KeyClient(vault("safe"), credential, { retryOptions });
const fast = { intervalInMs: 50 };

let checks = 0;
const failures = [];

function check(condition, words) {
  checks++;
  if (!condition) {
    failures.push(words);
    console.log(`FAILED: ${words}`);
  }
}

async function refused(promise, status, code, words) {
  try {
    await promise;
    check(false, `${words}: was not refused`);
  } catch (e) {
    check(e.statusCode === status, `${words}: status ${status}, got ${e.statusCode} ${e.message}`);
    check(e.code === code || e.details?.error?.code === code, `${words}: code ${code}, got ${e.code}`);
  }
}

async function collect(pages) {
  const all = [];
  for await (const item of pages) all.push(item);
  return all;
}

async function section(name, body) {
  try {
    await body();
  } catch (e) {
    check(false, `${name}: ${e.statusCode ?? ""} ${e.stack}`);
  }
}

const crypto = (id) => new CryptographyClient(id, credential, { retryOptions });
const same = (a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)) === 0;

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
  await refused(crypto(made.id).unwrapKey("RSA-OAEP-256", randomBytes(256)), 403, "Forbidden", "a disabled key does nothing");
  const enabled = await keys.updateKeyProperties("js-update", { enabled: true });
  check(enabled.properties.enabled === true, "updateKeyProperties of the newest version");
  const noWrap = await keys.updateKeyProperties("js-update", { keyOps: ["sign", "verify"] });
  check(noWrap.keyOperations.join() === "sign,verify", "key operations");
  // The SDK itself refuses what the key's own operations lack, so ask with a client that has not seen them.
  await keys.updateKeyProperties("js-update", { keyOps: ["wrapKey", "unwrapKey"] });
  const unaware = crypto(made.id);
  await unaware.unwrapKey("RSA-OAEP-256", (await unaware.wrapKey("RSA-OAEP-256", randomBytes(32))).result);
  await keys.updateKeyProperties("js-update", { keyOps: ["sign", "verify"] });
  await refused(unaware.unwrapKey("RSA-OAEP-256", randomBytes(256)), 403, "Forbidden", "an operation that the key does not allow");
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
  await refused(keys.createRsaKey("js-gone"), 409, "Conflict", "the name of a deleted key");
  check((await keys.getDeletedKey("js-gone")).name === "js-gone", "getDeletedKey");
  check((await collect(keys.listDeletedKeys())).some((k) => k.name === "js-gone"), "listDeletedKeys");
  const back = await (await keys.beginRecoverDeletedKey("js-gone", fast)).pollUntilDone();
  check(back.name === "js-gone", "beginRecoverDeletedKey");
  check(same((await crypto(made.id).unwrapKey("RSA-OAEP-256", wrapped.result)).result, dek), "a recovered key unwraps");
  await (await keys.beginDeleteKey("js-gone", fast)).pollUntilDone();
  await keys.purgeDeletedKey("js-gone");
  await refused(keys.getDeletedKey("js-gone"), 404, "KeyNotFound", "a purged key");
  await (await safe.beginDeleteKey("js-safe", fast)).pollUntilDone();
  await refused(safe.purgeDeletedKey("js-safe"), 403, "Forbidden", "purge under purge protection");
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
  await refused(keys.restoreKeyBackup(blob), 409, "Conflict", "restore beside the deleted key");
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

console.log(`@azure/keyvault-keys: ${checks - failures.length} of ${checks} checks passed`);
process.exit(failures.length ? 1 : 0);
