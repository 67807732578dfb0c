"""Identifiers of keys, secrets and certificates as az takes them with --id."""
from urllib.parse import urlsplit


class KeyVaultIdentifier:
    """https://HOST[:PORT]/COLLECTION/NAME[/VERSION] taken apart: vault, collection, name, version ("" without one)."""

    def __init__(self, uri, collection=None):
        parts = urlsplit(uri)
        segments = [s for s in parts.path.split("/") if s]
        if parts.scheme != "https" or not parts.netloc or len(segments) not in (2, 3):
            raise ValueError(f"'{uri}' is not an identifier: wanted https://VAULT/{collection or 'keys'}/NAME[/VERSION]")
        if collection and segments[0] != collection:
            raise ValueError(f"'{uri}' names one of the {segments[0]}, wanted one of the {collection}")
        self.vault = f"https://{parts.netloc}"
        self.collection, self.name = segments[:2]
        self.version = segments[2] if len(segments) == 3 else ""
        self.base_id = f"{self.vault}/{self.collection}/{self.name}"
        self.id = f"{self.base_id}/{self.version}" if self.version else self.base_id

    def __str__(self):
        return self.id
