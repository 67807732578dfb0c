// The Azure SDK for JavaScript, unmodified, against a development site: every operation of its client of certificates.
// Environment: as azure_site.mjs, and CA_KEY and CA_PEM: files of an authority that signs a request by openssl. Prints one line for each
// check that fails and a count at the end.
import { execFileSync } from "node:child_process";
import { createHash, X509Certificate } from "node:crypto";
import { mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { CertificateClient } from "@azure/keyvault-certificates";
import { KeyClient } from "@azure/keyvault-keys";
import { SecretClient } from "@azure/keyvault-secrets";
import { check, collect, credential, env, fast, finish, refused, retryOptions, same, section, vault } from "./azure_site.mjs";

const certificates = new CertificateClient(vault("demo"), credential, { retryOptions });
const safe = new CertificateClient(vault("safe"), credential, { retryOptions });
const secrets = new SecretClient(vault("demo"), credential, { retryOptions });
const keys = new KeyClient(vault("demo"), credential, { retryOptions });
const self = { issuerName: "Self", subject: "cn=MyCert", keyType: "EC", keyCurveName: "P-256" };
const make = async (client, name, policy = self, options = {}) => (await client.beginCreateCertificate(name, policy, { ...fast, ...options })).pollUntilDone();
const folder = mkdtempSync(join(tmpdir(), "kluis-certificates-"));
const openssl = (...args) => execFileSync("openssl", args, { cwd: folder, stdio: ["ignore", "pipe", "ignore"] });

await section("create, signed by itself", async () => {
  const made = await make(certificates, "js-self", { issuerName: "Self", subject: "CN=js.example.org", subjectAlternativeNames: { dnsNames: ["js.example.org"] }, validityInMonths: 6 },
                          { tags: { team: "db" } });
  const x = new X509Certificate(Buffer.from(made.cer));
  check(x.subject === "CN=js.example.org" && x.verify(x.publicKey) && x.checkHost("js.example.org") === "js.example.org", "a certificate that verifies");
  check(same(made.properties.x509Thumbprint, createHash("sha1").update(x.raw).digest()), "its thumbprint");
  check(made.properties.tags.team === "db" && made.policy.validityInMonths === 6 && made.policy.issuerName === "Self", "tags and policy");
  check(made.properties.recoverableDays === 90 && made.properties.enabled === true && made.properties.expiresOn > new Date(), "attributes");
  check(made.policy.exportable === false, "nothing said: the key stays on the token");
  const op = await certificates.getCertificateOperation("js-self", fast);
  check(op.getOperationState().certificateOperation.status === "completed", "the operation is completed");
  const key = await keys.getKey("js-self");
  check(key.properties.managed === true && key.id === made.keyId, "the key behind it");
  const secret = await secrets.getSecret("js-self");
  check(secret.properties.managed === true && secret.properties.certificateKeyId === made.keyId && secret.properties.id === made.secretId, "the secret behind it");
  const again = await make(certificates, "js-self", { issuerName: "Self", subject: "CN=second" });
  check(again.properties.version !== made.properties.version, "a second version");
  check((await certificates.getCertificateVersion("js-self", made.properties.version)).properties.version === made.properties.version, "getCertificateVersion");
  check((await collect(certificates.listPropertiesOfCertificateVersions("js-self"))).length === 2, "listPropertiesOfCertificateVersions");
  await refused(certificates.getCertificate("js-nobody"), 404, "CertificateNotFound", "an unknown certificate");
  await refused(certificates.beginCreateCertificate("js_bad", self, fast), 400, "BadParameter", "a bad name");
});

await section("list with pages", async () => {
  for (let i = 0; i < 27; i++) await make(certificates, `js-page-${i}`);
  const all = await collect(certificates.listPropertiesOfCertificates());
  check(all.filter((c) => c.name.startsWith("js-page-")).length === 27, "every certificate once, over pages");
  check(new Set(all.map((c) => c.name)).size === all.length, "and none twice");
});

await section("request and merge", async () => {
  await certificates.beginCreateCertificate("js-merge", { issuerName: "Unknown", certificateTransparency: false, subject: "cn=MyCert" }, fast);
  const csr = (await certificates.getCertificateOperation("js-merge", fast)).getOperationState().certificateOperation.csr;
  writeFileSync(join(folder, "r.csr"), `-----BEGIN CERTIFICATE REQUEST-----\n${Buffer.from(csr).toString("base64").replace(/(.{64})/g, "$1\n")}\n-----END CERTIFICATE REQUEST-----\n`);
  openssl("x509", "-req", "-in", "r.csr", "-CA", env.CA_PEM, "-CAkey", env.CA_KEY, "-days", "5", "-out", "r.pem", "-set_serial", "7");
  const pem = readFileSync(join(folder, "r.pem"), "utf8");
  const merged = await certificates.mergeCertificate("js-merge", [Buffer.from(pem.replace(/-----[A-Z ]*-----|\n/g, ""))]);
  check(new X509Certificate(Buffer.from(merged.cer)).serialNumber === "07", "mergeCertificate");
  check((await certificates.getCertificate("js-merge")).properties.version === merged.properties.version, "it is there");
  const waiting = await certificates.beginCreateCertificate("js-cancel", { issuerName: "Unknown", subject: "cn=MyCert" }, fast);
  await waiting.cancelOperation();
  check((await certificates.getCertificateOperation("js-cancel", fast)).getOperationState().certificateOperation.cancellationRequested === true, "cancelOperation");
  await certificates.deleteCertificateOperation("js-cancel");
  await refused(certificates.getCertificateOperation("js-cancel", fast), 404, "PendingCertificateNotFound", "deleteCertificateOperation");
});

await section("import", async () => {
  openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "i.key", "-out", "i.pem", "-subj", "/CN=imported", "-days", "9");
  openssl("pkcs12", "-export", "-in", "i.pem", "-inkey", "i.key", "-out", "i.pfx", "-passout", "pass:a password");
  const raw = new X509Certificate(readFileSync(join(folder, "i.pem"))).raw;
  const pfx = await certificates.importCertificate("js-pfx", new Uint8Array(readFileSync(join(folder, "i.pfx"))), { password: "a password" });
  check(same(pfx.cer, raw), "importCertificate, PKCS#12");
  await refused(certificates.importCertificate("js-pfx2", new Uint8Array(readFileSync(join(folder, "i.pfx"))), { password: "x" }), 400, "BadParameter", "a wrong password");
  const bundle = readFileSync(join(folder, "i.key"), "utf8") + readFileSync(join(folder, "i.pem"), "utf8");
  const pem = await certificates.importCertificate("js-pem", new Uint8Array(Buffer.from(bundle)), { policy: { contentType: "application/x-pem-file" } });
  check(same(pem.cer, raw), "importCertificate, PEM");
  const value = (await secrets.getSecret("js-pem")).value;
  check(value.includes("BEGIN PRIVATE KEY") && value.includes("BEGIN CERTIFICATE"), "its secret has key and certificate");
  const p12 = Buffer.from((await secrets.getSecret("js-pfx")).value, "base64");
  writeFileSync(join(folder, "o.pfx"), p12);
  check(openssl("pkcs12", "-in", "o.pfx", "-nodes", "-passin", "pass:").includes("BEGIN PRIVATE KEY"), "and so has that of PKCS#12, without a password");
});

await section("update and policy", async () => {
  const made = await make(certificates, "js-update");
  const changed = await certificates.updateCertificateProperties("js-update", made.properties.version, { enabled: false, tags: { a: "b" } });
  check(changed.properties.enabled === false && changed.properties.tags.a === "b", "updateCertificateProperties");
  await refused(secrets.getSecret("js-update"), 403, "Forbidden", "the secret of a disabled certificate", "SecretDisabled");
  const policy = await certificates.updateCertificatePolicy("js-update", { ...self, subject: "cn=Other" });
  const kept = await certificates.getCertificatePolicy("js-update");
  check(kept.subject === "cn=Other" && kept.keyCurveName === "P-256", `updateCertificatePolicy: ${JSON.stringify([policy, kept])}`);
});

await section("issuers and contacts", async () => {
  const made = await certificates.createIssuer("js-issuer", "Test", { accountId: "me", password: "secret", organizationId: "o", administratorContacts: [{ firstName: "A", lastName: "B", email: "a@b.c", phone: "1" }] });
  check(made.provider === "Test" && made.accountId === "me", "createIssuer");
  check((await certificates.updateIssuer("js-issuer", { provider: "Other" })).provider === "Other", "updateIssuer");
  check((await certificates.getIssuer("js-issuer")).administratorContacts[0].email === "a@b.c", "getIssuer");
  check((await collect(certificates.listPropertiesOfIssuers())).some((i) => (i.id ?? "").endsWith("/issuers/js-issuer")), "listPropertiesOfIssuers");
  check((await certificates.deleteIssuer("js-issuer")).provider === "Other", "deleteIssuer");
  await refused(certificates.getIssuer("js-issuer"), 404, "CertificateIssuerNotFound", "a deleted issuer");
  const contacts = await certificates.setContacts([{ email: "a@b.c", name: "a", phone: "1" }]);
  check(contacts[0].email === "a@b.c" && (await certificates.getContacts())[0].name === "a", "setContacts, getContacts");
  await certificates.deleteContacts();
  await refused(certificates.getContacts(), 404, "ContactsNotFound", "deleteContacts");
});

await section("delete, recover, purge", async () => {
  const made = await make(certificates, "js-gone");
  const deleted = await (await certificates.beginDeleteCertificate("js-gone", fast)).pollUntilDone();
  check(deleted.recoveryId.endsWith("/deletedcertificates/js-gone"), "beginDeleteCertificate: a recovery id");
  check(deleted.scheduledPurgeDate - deleted.deletedOn === 90 * 86400e3, "the retention, to the second");
  await refused(certificates.getCertificate("js-gone"), 404, "CertificateNotFound", "a deleted certificate");
  await refused(secrets.getSecret("js-gone"), 404, "SecretNotFound", "its secret");
  await refused(keys.getKey("js-gone"), 404, "KeyNotFound", "its key");
  await refused(certificates.beginCreateCertificate("js-gone", self, fast), 409, "Conflict", "the name of a deleted certificate", "ObjectIsDeletedButRecoverable");
  check((await collect(certificates.listDeletedCertificates())).some((c) => c.name === "js-gone"), "listDeletedCertificates");
  check((await collect(secrets.listDeletedSecrets())).length === 0 && (await collect(keys.listDeletedKeys())).length === 0, "no managed ones among the deleted");
  const back = await (await certificates.beginRecoverDeletedCertificate("js-gone", fast)).pollUntilDone();
  check(back.properties.version === made.properties.version && (await secrets.getSecret("js-gone")).value.length > 0, "beginRecoverDeletedCertificate");
  await (await certificates.beginDeleteCertificate("js-gone", fast)).pollUntilDone();
  await certificates.purgeDeletedCertificate("js-gone");
  await refused(certificates.getDeletedCertificate("js-gone"), 404, "CertificateNotFound", "a purged certificate");
  await make(safe, "js-safe");
  await (await safe.beginDeleteCertificate("js-safe", fast)).pollUntilDone();
  await refused(safe.purgeDeletedCertificate("js-safe"), 403, "Forbidden", "purge under purge protection", "PurgeProtectionEnabled");
});

await section("backup and restore", async () => {
  const made = await make(certificates, "js-backup");
  const blob = await certificates.backupCertificate("js-backup");
  await refused(certificates.restoreCertificateBackup(blob), 409, "Conflict", "a restore while it is there");
  await (await certificates.beginDeleteCertificate("js-backup", fast)).pollUntilDone();
  await certificates.purgeDeletedCertificate("js-backup");
  const back = await certificates.restoreCertificateBackup(blob);
  check(back.properties.version === made.properties.version && same(back.cer, made.cer), "restoreCertificateBackup");
  check((await keys.getKey("js-backup")).id === made.keyId, "with its key");
  await refused(certificates.restoreCertificateBackup(new Uint8Array(4728)), 400, "Malformed backup blob", "zeros");
});

finish("azure_certificates");
