// The Azure SDK for JavaScript, unmodified, against a development site: every operation of its client of secrets.
// Environment: as azure_site.mjs. Prints one line for each check that fails and a count at the end.
import { SecretClient } from "@azure/keyvault-secrets";
import { check, collect, credential, fast, finish, refused, retryOptions, section, vault } from "./azure_site.mjs";

const secrets = new SecretClient(vault("demo"), credential, { retryOptions });
const safe = new SecretClient(vault("safe"), credential, { retryOptions });

await section("set and get", async () => {
  const expiresOn = new Date("2031-02-03T04:05:06Z");
  const notBefore = new Date("2020-01-01T00:00:00Z");
  const made = await secrets.setSecret("js-secret", "the value ☃", { contentType: "text/plain", tags: { team: "db" }, expiresOn, notBefore });
  check(made.name === "js-secret" && made.value === "the value ☃", "setSecret: name and value");
  check(made.properties.vaultUrl === vault("demo") && made.properties.version?.length === 32, "vault and version");
  check(made.properties.contentType === "text/plain" && made.properties.tags.team === "db", "content type and tags");
  check(made.properties.expiresOn.getTime() === expiresOn.getTime() && made.properties.notBefore.getTime() === notBefore.getTime(), "dates to the second");
  check(made.properties.recoveryLevel === "Recoverable+Purgeable" && made.properties.recoverableDays === 90, "recovery level");
  const got = await secrets.getSecret("js-secret");
  check(got.value === made.value && got.properties.id === made.properties.id, "getSecret");
  const second = await secrets.setSecret("js-secret", "");
  check(second.value === "" && second.properties.version !== made.properties.version, "an empty value is one");
  check((await secrets.getSecret("js-secret", { version: made.properties.version })).value === "the value ☃", "the older version");
  const big = "x".repeat(25600);
  check((await secrets.setSecret("js-big", big)).value === big, "25 KB");
  await refused(secrets.setSecret("js-big", big + "x"), 400, "BadParameter", "one byte more");
  await refused(secrets.getSecret("js-nobody"), 404, "SecretNotFound", "an unknown secret");
  await refused(secrets.getSecret("js-secret", { version: "0".repeat(32) }), 404, "SecretNotFound", "an unknown version");
  await refused(secrets.setSecret("js_bad", "x"), 400, "BadParameter", "a bad name");
});

await section("update", async () => {
  const made = await secrets.setSecret("js-update", "v", { tags: { a: "b" } });
  const changed = await secrets.updateSecretProperties("js-update", made.properties.version, { enabled: false, contentType: "changed", tags: { c: "d" } });
  check(changed.enabled === false && changed.contentType === "changed" && changed.tags.c === "d" && changed.tags.a === undefined, "updateSecretProperties");
  await refused(secrets.getSecret("js-update"), 403, "Forbidden", "a disabled secret", "SecretDisabled");
  const again = await secrets.updateSecretProperties("js-update", made.properties.version, { enabled: true, expiresOn: new Date(1000) });
  check(again.enabled === true && again.contentType === "changed", "what is not named stays");
  check((await secrets.getSecret("js-update")).value === "v", "an expired secret is answered");
});

await section("list with pages", async () => {
  for (let i = 0; i < 30; i++) await secrets.setSecret(`js-page-${i}`, `${i}`);
  const all = await collect(secrets.listPropertiesOfSecrets());
  check(all.filter((s) => s.name.startsWith("js-page-")).length === 30, "every secret once, over pages");
  check(all.every((s) => s.value === undefined), "no values");
  let pages = 0;
  const seen = [];
  for await (const page of secrets.listPropertiesOfSecrets().byPage({ maxPageSize: 7 })) {
    pages++;
    check(page.length <= 7, "no page is longer than asked");
    seen.push(...page.map((s) => s.name));
  }
  check(pages >= 5 && seen.length === all.length && new Set(seen).size === seen.length, `several pages hold what the list holds: ${pages}`);
  for (let i = 0; i < 4; i++) await secrets.setSecret("js-page-0", "again");
  const versions = await collect(secrets.listPropertiesOfSecretVersions("js-page-0"));
  check(versions.length === 5 && new Set(versions.map((v) => v.version)).size === 5, "every version once");
  check((await collect(secrets.listPropertiesOfSecretVersions("js-nobody"))).length === 0, "versions of a missing secret: none");
});

await section("delete, recover, purge", async () => {
  const made = await secrets.setSecret("js-gone", "still here");
  const deleted = await (await secrets.beginDeleteSecret("js-gone", fast)).pollUntilDone();
  check(deleted.recoveryId.endsWith("/deletedsecrets/js-gone") && deleted.value === undefined, "beginDeleteSecret: a recovery id and no value");
  check(deleted.scheduledPurgeDate - deleted.deletedOn === 90 * 86400e3, "the retention, to the second");
  await refused(secrets.getSecret("js-gone"), 404, "SecretNotFound", "a deleted secret");
  await refused(secrets.setSecret("js-gone", "x"), 409, "Conflict", "the name of a deleted secret", "ObjectIsDeletedButRecoverable");
  check((await secrets.getDeletedSecret("js-gone")).name === "js-gone", "getDeletedSecret");
  check((await collect(secrets.listDeletedSecrets())).some((s) => s.name === "js-gone"), "listDeletedSecrets");
  const back = await (await secrets.beginRecoverDeletedSecret("js-gone", fast)).pollUntilDone();
  check(back.name === "js-gone" && (await secrets.getSecret("js-gone")).properties.id === made.properties.id, "beginRecoverDeletedSecret");
  await (await secrets.beginDeleteSecret("js-gone", fast)).pollUntilDone();
  await secrets.purgeDeletedSecret("js-gone");
  await refused(secrets.getDeletedSecret("js-gone"), 404, "SecretNotFound", "a purged secret");
  await refused(secrets.purgeDeletedSecret("js-gone"), 404, "SecretNotFound", "purging it again");
  await safe.setSecret("js-safe", "kept");
  await (await safe.beginDeleteSecret("js-safe", fast)).pollUntilDone();
  await refused(safe.purgeDeletedSecret("js-safe"), 403, "Forbidden", "purge under purge protection", "PurgeProtectionEnabled");
  await (await safe.beginRecoverDeletedSecret("js-safe", fast)).pollUntilDone();
  check((await safe.getSecret("js-safe")).value === "kept", "recovered from the protected vault");
});

await section("backup and restore", async () => {
  const made = await secrets.setSecret("js-backup", "one");
  await secrets.setSecret("js-backup", "two");
  const blob = await secrets.backupSecret("js-backup");
  await refused(secrets.restoreSecretBackup(blob), 409, "Conflict", "restore beside the living secret");
  await (await secrets.beginDeleteSecret("js-backup", fast)).pollUntilDone();
  await refused(secrets.restoreSecretBackup(blob), 409, "Conflict", "restore beside the deleted one", "ObjectIsDeletedButRecoverable");
  await secrets.purgeDeletedSecret("js-backup");
  const back = await secrets.restoreSecretBackup(blob);
  check(back.name === "js-backup", "restoreSecretBackup");
  check((await secrets.getSecret("js-backup")).value === "two", "the newest version");
  check((await secrets.getSecret("js-backup", { version: made.properties.version })).value === "one", "the older one, under its id");
  check((await safe.restoreSecretBackup(blob)).vaultUrl === vault("safe"), "restored into the other vault too");
  for (const bytes of [4728, 8693])
    await refused(secrets.restoreSecretBackup(new Uint8Array(bytes)), 400, "Malformed backup blob", `${bytes} zeros`);
  const damaged = Uint8Array.from(blob);
  damaged[damaged.length >> 1] ^= 1;
  await refused(secrets.restoreSecretBackup(damaged), 400, "Malformed backup blob", "a damaged blob");
});

await section("versions of the API", async () => {
  for (const serviceVersion of ["7.0", "7.1", "7.2", "7.3", "7.4", "7.5", "7.6", "2025-07-01"])
    check((await new SecretClient(vault("demo"), credential, { retryOptions, serviceVersion }).getSecret("js-big")).name === "js-big", serviceVersion);
});

finish("@azure/keyvault-secrets");
