"""Addresses with a tag: `user+tag@example.com` is `user@example.com` where the domain has the delimiter `+`."""

from __future__ import annotations

from collections.abc import Iterator


def untagged(key: str, delimiter: str) -> Iterator[str]:
    """The addresses that an address may be a tagged form of, the longest first. Empty without a delimiter.

    `key`: an address as `Address.local_key` gives it. A quoted local part has no tag.
    """
    local, at, domain = key.rpartition("@")
    if not delimiter or not at or local.startswith('"'):
        return
    end = local.rfind(delimiter)
    while end > 0:
        yield f"{local[:end]}@{domain}"
        end = local.rfind(delimiter, 0, end)
