"""Addresses with a tag: `user+tag@example.com` is `user@example.com` if the domain has the delimiter `+`."""

from __future__ import annotations

from collections.abc import Iterator


def untagged(key: str, delimiter: str) -> Iterator[str]:
    """Yields the possible untagged forms of an address, the longest first. Yields nothing without a delimiter. `key` is
    an address in the form of `Address.local_key`. A quoted local part has no tag.
    """
    local, at, domain = key.rpartition("@")
    if not delimiter or not at or local.startswith('"'):
        return
    end = local.rfind(delimiter)
    while end > 0:
        yield f"{local[:end]}@{domain}"
        end = local.rfind(delimiter, 0, end)
