// What the scripts that drive the Azure SDK share: a development site's addresses and credentials, and counted checks.
// Environment: the site's DIR/env, and NODE_EXTRA_CA_CERTS.
import dns from "node:dns";
import { readFileSync } from "node:fs";
import { ClientSecretCredential } from "@azure/identity";

// Names below .localhost are this machine (RFC 6761); the C library of a bare system does not know that.
const systemLookup = dns.lookup;
dns.lookup = (name, options, done) =>
  systemLookup(name.endsWith(".localhost") ? "127.0.0.1" : name, options, done);

export const env = process.env;
export const origin = new URL(env.KLUIS_URL);
export const vault = (name) => `https://${name}.vault.localhost:${origin.port}`;
export const secret = readFileSync(env.KLUIS_CLIENT_SECRET_FILE, "utf8").trim();
export const principal = (id, password) =>
  new ClientSecretCredential(env.KLUIS_TENANT, id, password, { authorityHost: env.KLUIS_URL, disableInstanceDiscovery: true });
export const credential = principal(env.KLUIS_CLIENT_ID, secret);
export const retryOptions = { maxRetries: 0 };
export const fast = { intervalInMs: 50 };

let checks = 0;
const failures = [];

export function check(condition, words) {
  checks++;
  if (!condition) {
    failures.push(words);
    console.log(`FAILED: ${words}`);
  }
}

export async function refused(promise, status, code, words, inner) {
  try {
    await promise;
    check(false, `${words}: was not refused`);
  } catch (e) {
    check(e.name === "RestError" && e.statusCode === status, `${words}: status ${status}, got ${e.statusCode} ${e.message}`);
    check(e.code === code, `${words}: code ${code}, got ${e.code}`);
    const found = e.details?.error?.innerError?.code;
    check(found === inner, `${words}: inner code ${inner}, got ${found}`);
  }
}

export async function collect(pages) {
  const all = [];
  for await (const item of pages) all.push(item);
  return all;
}

export async function section(name, body) {
  try {
    await body();
  } catch (e) {
    check(false, `${name}: ${e.statusCode ?? ""} ${e.stack}`);
  }
}

export const same = (a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)) === 0;

export function finish(name) {
  console.log(`${name}: ${checks - failures.length} of ${checks} checks passed`);
  process.exit(failures.length ? 1 : 0);
}
