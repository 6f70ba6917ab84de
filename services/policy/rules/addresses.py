"""The addresses of requests: their keys, and the facts about them under a snapshot. This module is pure.

The facts are cached for a bounded number of addresses. The cache contains only facts that follow from address and
snapshot, and never facts that a session has proved (C69).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import lru_cache

from libs.smtp.address import Address, from_wire, is_fqdn
from services.policy.rules import recipients
from services.policy.rules.address_facts import NULL_ADDRESS, AddressFacts
from services.policy.rules.aliases import AliasWalk
from services.policy.rules.configuration import AccessRule
from services.policy.rules.lookup import Lookup, Question
from services.policy.rules.model import Snapshot

_REMEMBERED = 20_000
# New addresses are mostly at domains that were met before.
_is_fqdn = lru_cache(maxsize=4096)(is_fqdn)
_NO_OWNERS: frozenset[str] = frozenset()
_IS_PLAIN = re.compile(rb"[ !#-\[\]-~]*").fullmatch


def bare_facts(address: Address) -> AddressFacts:
    """Returns the facts that need no snapshot."""
    if address.is_null:
        return NULL_ADDRESS
    text, local = str(address), address.local.lower()
    # Most local parts are already in lower case, and it is slow to quote them a second time.
    key = text if local == address.local and local.isascii() else address.local_key()
    return AddressFacts(wire=text.encode(), local=local, domain=address.domain, key=key)


def facts_of_address(wire: bytes, snapshot: Snapshot) -> AddressFacts:
    """Returns the facts about an address of a request. Raises ValueError when it is not an address."""
    known_addresses = snapshot.known_addresses
    address_facts = known_addresses.get(wire)
    if address_facts is None:
        address_facts = _under(snapshot, bare_facts(from_wire(wire)))
        if len(known_addresses) >= _REMEMBERED:
            known_addresses.clear()
        known_addresses[wire] = address_facts
    return address_facts


def _on_address(table: Mapping[str, tuple[AccessRule, ...]], key: str, base: str) -> tuple[AccessRule, ...]:
    """Returns the rules on an address, and those on its untagged form."""
    return table.get(key, ()) if key == base else table.get(key, ()) + table.get(base, ())


def _under(snapshot: Snapshot, bare: AddressFacts) -> AddressFacts:
    tables, domain, key = snapshot.access, bare.domain, bare.key
    is_ours = domain in snapshot.local_domains or domain in snapshot.relay_domains
    # A domain of ours exists, and so does the gateway's own name.
    is_foreign = bool(domain) and not domain.startswith("[") and not is_ours and domain != snapshot.profile.hostname
    base = recipients.base_key(bare, snapshot)
    is_unknown, is_verified, taker = recipients.existence(bare, base, snapshot)
    is_postmaster = recipients.is_postmaster(bare, snapshot)
    owner = snapshot.owners.get(base)
    owners = _NO_OWNERS if owner is None else frozenset((owner,))
    is_dead_alias = leads_back = False
    if taker is not None or base in snapshot.aliases:
        walk = AliasWalk(snapshot)
        walk.visit(bare)
        owners |= walk.owners
        is_dead_alias, leads_back = not walk.ends_well and not is_postmaster, walk.leads_back
    return AddressFacts(
        bare.wire,
        bare.local,
        domain,
        key,
        is_ours=is_ours,
        is_postmaster=is_postmaster,
        is_unknown=is_unknown,
        ends_nowhere=is_dead_alias and not leads_back,
        leads_back=is_dead_alias and leads_back,
        is_account=recipients.is_account(bare, base, snapshot),
        is_verified=is_verified,
        is_routed=recipients.is_routed(bare, snapshot),
        owners=owners,
        is_short=bool(domain) and not domain.startswith("[") and not _is_fqdn(domain),
        # The null sender has no domain, and no rule matches it.
        as_sender=_on_address(tables.senders, key, base) + tables.of_domain(domain) if domain else (),
        as_recipient=_on_address(tables.recipients, key, base) if domain else (),
        domain_questions=(Question(Lookup.SENDER_DOMAIN, domain),) if is_foreign else (),
        quoted=_quoted(bare.wire),
    )


def _quoted(wire: bytes) -> str:
    """Returns the address as JSON. Most addresses need no escapes."""
    if _IS_PLAIN(wire):
        return f'"{wire.decode("ascii")}"'
    return json.dumps(wire.decode("utf-8", "replace"))
