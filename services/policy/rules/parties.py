"""Addresses of the contract as parties: their keys, and what they are under a snapshot. Pure.

Remembered for a bounded number of them. Only what follows from address and snapshot is kept here, never what a session
has proved (C69).
"""

from __future__ import annotations

import json

from libs.smtp.address import Address, from_wire, is_fqdn
from services.policy.rules.lookup import Lookup, Question
from services.policy.rules.model import Snapshot
from services.policy.rules.party import NOBODY, Party, matching_key
from services.policy.rules.recipients import is_account, is_postmaster, is_unknown

_REMEMBERED = 20_000


def party_of(address: Address) -> Party:
    """With its keys alone."""
    if address.is_null:
        return NOBODY
    return Party(
        wire=address.wire(),
        local=address.local.lower(),
        domain=address.domain,
        local_key=address.local_key(),
        matching_key=address.matching_key(),
    )


def party(wire: bytes, snapshot: Snapshot) -> Party:
    """The party of a contract's `bytes` field. Raises ValueError for what is no canonical address."""
    known = snapshot.parties
    found = known.get(wire)
    if found is None:
        found = _under(snapshot, party_of(from_wire(wire)))
        if len(known) >= _REMEMBERED:
            known.clear()
        known[wire] = found
    return found


def _under(snapshot: Snapshot, bare: Party) -> Party:
    tables, domain = snapshot.access, bare.domain
    key = matching_key(bare, snapshot.local_domains)
    is_ours = domain in snapshot.local_domains or domain in snapshot.relay_domains
    return Party(
        bare.wire,
        bare.local,
        domain,
        bare.local_key,
        bare.matching_key,
        is_ours=is_ours,
        is_postmaster=is_postmaster(bare, snapshot),
        is_unknown=is_unknown(bare, snapshot),
        is_account=is_account(bare, snapshot),
        is_owned=bare.local_key in snapshot.owners,
        is_short=bool(domain) and not domain.startswith("[") and not is_fqdn(domain),
        # The null sender has no domain, and no rule is on it.
        as_sender=tables.senders.get(key, ()) + tables.domains.get(domain, ()) if domain else (),
        as_recipient=tables.recipients.get(key, ()) if domain else (),
        domain_questions=(
            () if not domain or domain.startswith("[") or is_ours else (Question(Lookup.SENDER_DOMAIN, domain),)
        ),
        quoted=json.dumps(bare.wire.decode("utf-8", "replace")),
    )
