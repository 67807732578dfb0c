"""The names of models that az asks for, from Debian's python3-azure. Where two packages have one name, that of certificates is meant:
az builds certificate policies from them."""
from enum import Enum

from azure.keyvault.keys._generated.v7_1.models import *  # noqa: F401,F403
from azure.keyvault.secrets._generated.v7_1.models import *  # noqa: F401,F403
from azure.keyvault.certificates._generated.v7_1.models import *  # noqa: F401,F403


class KeyVaultErrorException(Exception):
    """A refusal of the service. az prints inner_exception.error.message and looks at response.status_code."""

    def __init__(self, response):
        self.response = response
        try:
            answer = response.json()["error"]
            self.error = Error(answer)
        except (ValueError, KeyError, TypeError):
            self.error = Error({"code": str(response.status_code), "message": f"The vault answered {response.status_code} {response.reason}"})
        self.inner_exception = self
        self.message = self.error.message
        super().__init__(self.message)


class Error:
    """Code and message of an answer."""

    def __init__(self, answer):
        self.code, self.message = answer.get("code"), answer.get("message")


# Managed storage accounts: az loads the names at its start; no service but the cloud has them.
class SasTokenType(str, Enum):
    account = "account"
    service = "service"


class SasDefinitionAttributes:
    """Only its name is wanted."""


class StorageAccountAttributes:
    """Only its name is wanted."""
