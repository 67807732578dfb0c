"""KeyVaultClient as az 2.45 calls it: one row for each operation below, and one function that sends any of them. Bodies and answers are the
models of Debian's python3-azure. The token is asked for as the service's challenge says, once its resource has proved to be the vault's own."""
import inspect
import re
import types
import uuid
from urllib.parse import quote, urlsplit

import requests

# name, method, path, (model of the body, its members), model of the answer, what it does. A list answers with its items. A member with "=" may
# be left out. Members and parameters are called as az calls them.
OPERATIONS = [[field.strip() for field in row.split("|")] for row in """
get_keys | GET | /keys | maxresults= | KeyListResult | List keys.
get_key_versions | GET | /keys/{key_name}/versions | maxresults= | KeyListResult | List the versions of a key.
get_deleted_keys | GET | /deletedkeys | maxresults= | DeletedKeyListResult | List deleted keys.
get_key | GET | /keys/{key_name}/{key_version} | | KeyBundle | Get the public part and attributes of a key.
get_deleted_key | GET | /deletedkeys/{key_name} | | DeletedKeyBundle | Get a deleted key.
delete_key | DELETE | /keys/{key_name} | | DeletedKeyBundle | Delete a key with all its versions, recoverably.
purge_deleted_key | DELETE | /deletedkeys/{key_name} | | | Destroy a deleted key for good.
recover_deleted_key | POST | /deletedkeys/{key_name}/recover | | KeyBundle | Make a deleted key usable again.
backup_key | POST | /keys/{key_name}/backup | | BackupKeyResult | Get a sealed backup of a key.
restore_key | POST | /keys/restore | KeyRestoreParameters: key_bundle_backup | KeyBundle | Restore a key from a backup.
create_key | POST | /keys/{key_name}/create | KeyCreateParameters: kty key_size= key_ops= key_attributes= tags= curve= | KeyBundle | Make a key, or a new version of one.
get_secrets | GET | /secrets | maxresults= | SecretListResult | List secrets, without their values.
get_secret_versions | GET | /secrets/{secret_name}/versions | maxresults= | SecretListResult | List the versions of a secret.
get_deleted_secrets | GET | /deletedsecrets | maxresults= | DeletedSecretListResult | List deleted secrets.
set_secret | PUT | /secrets/{secret_name} | SecretSetParameters: value tags= content_type= secret_attributes= | SecretBundle | Set a secret, or a new version of one.
update_secret | PATCH | /secrets/{secret_name}/{secret_version} | SecretUpdateParameters: content_type= secret_attributes= tags= | SecretBundle | Change attributes of a secret.
get_secret | GET | /secrets/{secret_name}/{secret_version} | | SecretBundle | Get a secret.
get_deleted_secret | GET | /deletedsecrets/{secret_name} | | DeletedSecretBundle | Get a deleted secret, without its value.
delete_secret | DELETE | /secrets/{secret_name} | | DeletedSecretBundle | Delete a secret with all its versions, recoverably.
purge_deleted_secret | DELETE | /deletedsecrets/{secret_name} | | | Destroy a deleted secret for good.
recover_deleted_secret | POST | /deletedsecrets/{secret_name}/recover | | SecretBundle | Make a deleted secret usable again.
backup_secret | POST | /secrets/{secret_name}/backup | | BackupSecretResult | Get a sealed backup of a secret.
restore_secret | POST | /secrets/restore | SecretRestoreParameters: secret_bundle_backup | SecretBundle | Restore a secret from a backup.
get_certificates | GET | /certificates | maxresults= include_pending= | CertificateListResult | List certificates.
get_certificate_versions | GET | /certificates/{certificate_name}/versions | maxresults= | CertificateListResult | List the versions of a certificate.
get_deleted_certificates | GET | /deletedcertificates | maxresults= include_pending= | DeletedCertificateListResult | List deleted certificates.
get_certificate | GET | /certificates/{certificate_name}/{certificate_version} | | CertificateBundle | Get a certificate.
get_deleted_certificate | GET | /deletedcertificates/{certificate_name} | | DeletedCertificateBundle | Get a deleted certificate.
delete_certificate | DELETE | /certificates/{certificate_name} | | DeletedCertificateBundle | Delete a certificate with its key and secret, recoverably.
purge_deleted_certificate | DELETE | /deletedcertificates/{certificate_name} | | | Destroy a deleted certificate for good.
recover_deleted_certificate | POST | /deletedcertificates/{certificate_name}/recover | | CertificateBundle | Make a deleted certificate usable again.
create_certificate | POST | /certificates/{certificate_name}/create | CertificateCreateParameters: certificate_policy= certificate_attributes= tags= | CertificateOperation | Make a key and a certificate for it.
update_certificate | PATCH | /certificates/{certificate_name}/{certificate_version} | CertificateUpdateParameters: certificate_policy= certificate_attributes= tags= | CertificateBundle | Change attributes or the policy of a certificate.
import_certificate | POST | /certificates/{certificate_name}/import | CertificateImportParameters: base64_encoded_certificate password= certificate_policy= certificate_attributes= tags= | CertificateBundle | Import a certificate with its private key.
backup_certificate | POST | /certificates/{certificate_name}/backup | | BackupCertificateResult | Get a sealed backup of a certificate.
restore_certificate | POST | /certificates/restore | CertificateRestoreParameters: certificate_bundle_backup | CertificateBundle | Restore a certificate from a backup.
merge_certificate | POST | /certificates/{certificate_name}/pending/merge | CertificateMergeParameters: x509_certificates certificate_attributes= tags= | CertificateBundle | Merge what the CA has signed with the key here.
get_certificate_operation | GET | /certificates/{certificate_name}/pending | | CertificateOperation | Get the creation of a certificate.
update_certificate_operation | PATCH | /certificates/{certificate_name}/pending | CertificateOperationUpdateParameter: cancellation_requested | CertificateOperation | Cancel the creation of a certificate.
delete_certificate_operation | DELETE | /certificates/{certificate_name}/pending | | CertificateOperation | Forget the creation of a certificate.
get_certificate_contacts | GET | /certificates/contacts | | Contacts | List the contacts of a vault.
set_certificate_contacts | PUT | /certificates/contacts | Contacts: contact_list= | Contacts | Set the contacts of a vault.
delete_certificate_contacts | DELETE | /certificates/contacts | | Contacts | Remove the contacts of a vault.
get_certificate_issuers | GET | /certificates/issuers | maxresults= | CertificateIssuerListResult | List certificate issuers.
set_certificate_issuer | PUT | /certificates/issuers/{issuer_name} | CertificateIssuerSetParameters: provider credentials= organization_details= attributes= | IssuerBundle | Set a certificate issuer.
get_certificate_issuer | GET | /certificates/issuers/{issuer_name} | | IssuerBundle | Get a certificate issuer.
delete_certificate_issuer | DELETE | /certificates/issuers/{issuer_name} | | IssuerBundle | Remove a certificate issuer.
""".strip().splitlines()]

TIMEOUT = (10, 120)  # seconds to connect, and to wait for a byte


class KeyVaultAuthentication:
    """How az gives its tokens: get_token(authority, resource, scope) -> (scheme, token, …)."""

    def __init__(self, get_token):
        self.get_token = get_token


class KeyVaultClient:
    """All operations take vault_base_url first; see OPERATIONS."""

    def __init__(self, credentials, api_version="7.0"):
        self.credentials, self.api_version = credentials, api_version
        self.session = requests.Session()
        self.tokens = {}  # of a vault
        # az switches the check of certificates off here, if it is told to
        self._client = types.SimpleNamespace(config=types.SimpleNamespace(connection=types.SimpleNamespace(verify=True)))

    def request(self, method, vault, url, params=None, body=None):
        """One request, twice when it is challenged; the answer as a dictionary, {} for none."""
        response = self.send(method, url, params, None, self.tokens.get(vault))
        if response.status_code == 401:
            self.tokens[vault] = self.answer_challenge(vault, response.headers.get("WWW-Authenticate", ""))
            response = self.send(method, url, params, body, self.tokens[vault])
        elif body is not None:
            response = self.send(method, url, params, body, self.tokens[vault])
        if response.status_code >= 300:
            from azure.keyvault.v7_0.models import KeyVaultErrorException
            raise KeyVaultErrorException(response)
        return response.json() if response.content else {}

    def send(self, method, url, params, body, token):
        headers = {"Accept": "application/json", "x-ms-client-request-id": str(uuid.uuid4()), "User-Agent": "AZURECLI/kluis-az"}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        options = {} if self._client.config.connection.verify else {"verify": False}
        return self.session.request(method, url, params=params, json=body, headers=headers, timeout=TIMEOUT, allow_redirects=False, **options)

    def answer_challenge(self, vault, challenge):
        """A token for the resource of the challenge, which must be the vault's parent domain: no token for anybody else."""
        words = dict(re.findall(r'(\w+)="([^"]*)"', challenge))
        authority, resource = words.get("authorization") or words.get("authorization_uri"), words.get("resource")
        if not authority or not resource:
            raise ValueError(f"{vault} refuses the request without saying where to log in")
        if not urlsplit(vault).netloc.endswith("." + urlsplit(resource).netloc):
            raise ValueError(f"{vault} asks for a token for {resource}, which is not its own")
        return self.credentials.get_token(authority, resource, None)[1]


def model(name):
    from azure.keyvault.v7_0 import models
    return getattr(models, name)


def body_of(parameters, given):
    kind, names = parameters
    if kind is None:
        return None
    policy = given.get("certificate_policy")
    if isinstance(policy, dict):  # as az reads it from a file
        given["certificate_policy"] = model("CertificatePolicy").from_dict(policy)
    return model(kind)(**{n: given[n] for n in names}).serialize()


def pages(client, vault, answer, result):
    """All items of a list; a link to the next page must lead to the same vault, as it is asked with its token."""
    items = []
    while True:
        page = model(result).deserialize(answer)
        items += page.value or []
        if not page.next_link:
            return items
        if urlsplit(page.next_link)[:2] != urlsplit(vault)[:2]:
            raise ValueError(f"{vault} continues its list at {page.next_link}, which is not its own")
        answer = client.request("GET", vault, page.next_link)


def operation(name, method, path, members, result, summary):
    """The method of KeyVaultClient that a row describes."""
    kind, _, names = members.rpartition(": ")
    in_path = re.findall(r"{(\w+)}", path)
    optional = [n.rstrip("=") for n in names.split() if n.endswith("=")]
    required = [n for n in names.split() if not n.endswith("=")]
    order = ["self", "vault_base_url", *in_path, *required]
    plain, empty = inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.empty
    signature = inspect.Signature([inspect.Parameter(n, plain, default=empty) for n in order] +
                                  [inspect.Parameter(n, plain, default=None) for n in optional])
    parameters = (kind or None, required + optional)

    def call(*args, **kwargs):
        # az hands over what it knows beside that, such as the --id that it has taken apart
        bound = signature.bind(*args, **{n: v for n, v in kwargs.items() if n in signature.parameters})
        bound.apply_defaults()
        given = bound.arguments
        client, vault = given["self"], given["vault_base_url"].rstrip("/")
        url = vault + path.format(**{n: quote(given[n] or "", safe="") for n in in_path})
        query = {"api-version": client.api_version}
        if not kind:
            query.update({n: given[n] for n in optional if given[n] is not None})
        answer = client.request(method, vault, url, query, body_of(parameters, given))
        if result.endswith("ListResult"):
            return pages(client, vault, answer, result)
        return model(result).deserialize(answer) if result else None

    call.__name__, call.__signature__ = name, signature
    call.__doc__ = "\n".join([summary, ""] + [f":param {n}: {n.replace('_', ' ')}" for n in [*order[1:], *optional]])
    return call


for row in OPERATIONS:
    setattr(KeyVaultClient, row[0], operation(*row))
