"""Addresses of the contract as parties with their keys, remembered for a bounded number of them. Pure."""

from __future__ import annotations

from functools import lru_cache

from libs.smtp.address import Address, from_wire
from services.policy.rules.model import NOBODY, Party


def party_of(address: Address) -> Party:
    if address.is_null:
        return NOBODY
    return Party(
        wire=address.wire(),
        local=address.local.lower(),
        domain=address.domain,
        local_key=address.local_key(),
        matching_key=address.matching_key(),
    )


@lru_cache(maxsize=16_384)
def party(wire: bytes) -> Party:
    """The party of a contract's `bytes` field. Raises ValueError for what is no canonical address."""
    return party_of(from_wire(wire))
