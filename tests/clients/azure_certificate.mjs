// ClientCertificateCredential of the Azure SDK. It signs one assertion and sends it for ten minutes, once for each token that it lacks.
// Environment: as azure_site.mjs says, and KLUIS_SIGNER_ID, KLUIS_SIGNER_PEM: a principal and the certificate and key that it logs in with.
import { ClientCertificateCredential } from "@azure/identity";
import { KeyClient } from "@azure/keyvault-keys";
import { check, env, finish, origin, retryOptions, vault } from "./azure_site.mjs";

const credential = new ClientCertificateCredential(env.KLUIS_TENANT, env.KLUIS_SIGNER_ID, { certificatePath: env.KLUIS_SIGNER_PEM },
  { authorityHost: env.KLUIS_URL, disableInstanceDiscovery: true, retryOptions });
const claims = (token) => JSON.parse(Buffer.from(token.token.split(".")[1], "base64url"));

const seen = new Set();
for (const scope of ["https://vault.localhost/.default", `https://localhost:${origin.port}/.default`, `${vault("demo")}/.default`,
  "https://vault.azure.net/.default"]) {
  const token = await credential.getToken(scope);
  seen.add(token.token);
  check(claims(token).appidacr === "2", `${scope}: the token says that a key was used`);
}
check(seen.size === 4, "four tokens were asked for with one assertion");

const keys = new KeyClient(vault("demo"), credential, { disableChallengeResourceVerification: true, retryOptions });
const key = await keys.createRsaKey("by-certificate", { keySize: 2048 });
check((await keys.getKey("by-certificate")).properties.version === key.properties.version, "a key made and read");
finish("azure_certificate");
