"""Where az looks for the texts of its help."""
from azure.keyvault.key_vault_client import KeyVaultClient

__all__ = ["KeyVaultClient"]
