"""The part of the package azure.keyvault that Debian's az needs and Debian does not ship; see README.md beside the folder azure. Beside it
stand Debian's own azure.keyvault.keys, .secrets and .certificates, which this package makes visible again."""
from pkgutil import extend_path

__path__ = extend_path(__path__, __name__)

from .key_vault_client import KeyVaultAuthentication, KeyVaultClient  # noqa: E402

__all__ = ["KeyVaultAuthentication", "KeyVaultClient"]
