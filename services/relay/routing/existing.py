"""Finds which addresses of our domains exist, and which are tagged forms of others. This module is pure.

policy decides at RCPT by the same rules (`services/policy/rules/recipients.py`), so that relay can deliver the mail
that policy accepts.
"""

from __future__ import annotations

from libs.smtp.tagged import untagged
from services.relay.configuration.model import Configuration, ExistingRecipients, LocalDomain

_BY_NAME = (ExistingRecipients.ACCOUNTS, ExistingRecipients.LIST)


def domain_of(key: bytes) -> str:
    """Returns the domain of an address. The result is empty when it has none."""
    _, at, domain = key.rpartition(b"@")
    return domain.decode("ascii", "backslashreplace") if at else ""


def base_of(configuration: Configuration, key: bytes) -> bytes:
    """Returns the untagged form of an address (its `key_of`). Returns the address itself when it has no tag, or when it
    is configured with the tag.
    """
    local = configuration.local_domains.get(domain_of(key))
    if local is None or not local.delimiter or _is_named(configuration, local, key):
        return key
    for text in untagged(key.decode(), local.delimiter):
        base = text.encode()
        if _is_named(configuration, local, base):
            return base
    return key


def has_mailbox(configuration: Configuration, local: LocalDomain, base: bytes) -> bool:
    """Returns whether the mailbox of the local domain accepts mail for an address (`base_of`), as far as the
    configuration shows.
    """
    if local.recipients not in _BY_NAME or base in configuration.account_addresses:
        return True
    return local.recipients is ExistingRecipients.LIST and base in configuration.listed_recipients


def catch_all(configuration: Configuration, base: bytes) -> bytes:
    """Returns the catch-all address that accepts the mail of an address (`base_of`). The result is empty when there is
    none.
    """
    local = configuration.local_domains.get(domain_of(base))
    if local is None or not local.catch_all or base in configuration.aliases:
        return b""
    return b"" if has_mailbox(configuration, local, base) else local.catch_all


def _is_named(configuration: Configuration, local: LocalDomain, key: bytes) -> bool:
    if key in configuration.aliases or key in configuration.account_addresses:
        return True
    return local.recipients is ExistingRecipients.LIST and key in configuration.listed_recipients
