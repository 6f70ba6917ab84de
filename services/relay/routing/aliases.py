"""Aliases and roles: computes the addresses that a recipient stands for. Their depth and number are bounded, and loops
end. This module is pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from libs.smtp.value import fast_value
from services.relay.configuration.model import Configuration, key_of
from services.relay.routing.existing import base_of, catch_all, domain_of, has_mailbox
from services.relay.routing.rules import is_own_role

ROLES = (b"postmaster", b"mailer-daemon")
# The deepest chain of aliases.
MAX_DEPTH = 20
# The largest number of addresses that the recipients of one message may stand for.
MAX_ADDRESSES = 10_000
# Marks the external postmasters while a recipient is expanded. No address is empty.
_EXTERNAL = b""


@fast_value(frozen=True, slots=True)
class Expanded:
    """One recipient after expansion."""

    # The recipient as it was submitted.
    submitted: bytes
    # The addresses that it stands for: only the submitted one when it is neither alias nor role.
    targets: tuple[bytes, ...] = ()
    # What replaced the recipient: external_postmasters, postmaster, catch_all, alias, or the id of an alias. It is
    # empty when the recipient stands for itself.
    by: str = ""
    # The enhanced code and the text that say why the recipient stands for no address. Then there are no targets.
    fault: tuple[str, str] | None = None

    @property
    def replaced(self) -> bool:
        return bool(self.by)


def stands_for_itself(configuration: Configuration, recipient: bytes) -> bool:
    """Returns whether the recipient certainly stands for itself: there are no aliases, there is no catch-all, and it is
    not a role.
    """
    return not configuration.has_aliases and not _is_role(recipient)


def expand(configuration: Configuration, recipients: Sequence[bytes]) -> list[Expanded]:
    """Expands each recipient once, in order. A target that an earlier recipient already gave is left out (C56)."""
    addresses_seen: set[bytes] = set()
    expansions: list[Expanded] = []
    room = MAX_ADDRESSES
    plain = not configuration.has_aliases
    for recipient in dict.fromkeys(recipients):
        if plain and not _is_role(recipient):
            if _is_new(identity(configuration, recipient), addresses_seen):
                expansions.append(Expanded(recipient, (recipient,)))
            continue
        expanded = expand_one(configuration, recipient, room)
        fresh = tuple(target for target in expanded.targets if _is_new(identity(configuration, target), addresses_seen))
        room -= len(fresh)
        if fresh or expanded.fault or expanded.replaced:
            expansions.append(Expanded(recipient, fresh, expanded.by, expanded.fault))
    return expansions


def _is_new(key: bytes, seen: set[bytes]) -> bool:
    """Returns whether the address is new. It counts as seen from now on."""
    if key in seen:
        return False
    seen.add(key)
    return True


def identity(configuration: Configuration, address: bytes) -> bytes:
    """Returns a key that is the same for two forms of one recipient. Addresses of our domains are compared without
    case, all others exactly.
    """
    key = key_of(address)
    if key in configuration.account_addresses:
        return key
    local = configuration.local_domains.get(domain_of(key))
    return key if local is not None and has_mailbox(configuration, local, base_of(configuration, key)) else address


def expand_one(configuration: Configuration, recipient: bytes, room: int = MAX_ADDRESSES) -> Expanded:
    """Returns the addresses that one recipient stands for, without repetitions."""
    start: tuple[bytes, ...] = (recipient,)
    by = ""
    if is_postmaster(configuration, recipient):
        postmasters = configuration.external_postmasters
        if postmasters:
            start, by = postmasters, "external_postmasters"
        elif recipient.rpartition(b"@")[2].decode("ascii", "replace") not in configuration.local_domains:
            # An address without a domain, or at the hostname only, cannot be an account.
            start = (named_postmaster(configuration) or recipient,)
            by = "postmaster" if start[0] != recipient else ""
    walk = _Walk(configuration, room)
    for address in start:
        walk.visit(address, (_EXTERNAL,) if by == "external_postmasters" else (), 0)
    if walk.fault is not None:
        return Expanded(recipient, (), by or walk.by or "alias", walk.fault)
    targets = tuple(walk.targets)
    if not targets:
        return Expanded(recipient, (), by or walk.by or "alias", ("5.4.6", "the alias leads back to itself"))
    by = by or walk.by
    return Expanded(recipient, targets, by if targets != (recipient,) else "")


def is_postmaster(configuration: Configuration, recipient: bytes) -> bool:
    """Returns whether the address is postmaster@ or mailer-daemon@ with a local domain or our own hostname, or
    `postmaster` alone (RFC 5321 4.5.1; F20).
    """
    local_part, at, domain = recipient.rpartition(b"@")
    if not at:
        return recipient.lower() == b"postmaster"
    name = domain.decode("ascii", "replace")
    role = local_part.lower()
    return (role in ROLES and name in configuration.local_domains) or is_own_role(configuration, role, name)


def named_postmaster(configuration: Configuration) -> bytes | None:
    """Returns the address of the first postmaster that is an alias or has a mailbox, or None when there is none. The
    gateway's own domain is searched first, and then the other local domains in the order of their names.
    """
    domains = sorted(configuration.local_domains, key=lambda domain: (domain != configuration.hostname, domain))
    for domain in domains:
        address = b"postmaster@" + domain.encode()
        if address in configuration.aliases or has_mailbox(configuration, configuration.local_domains[domain], address):
            return address
    return None


def postmasters(configuration: Configuration) -> tuple[bytes, ...]:
    """Returns the addresses that get reports that cannot be returned to a sender."""
    if configuration.external_postmasters:
        return configuration.external_postmasters
    named = named_postmaster(configuration)
    return (named,) if named else ()


@dataclass(slots=True)
class _Walk:
    """The expansion of one recipient. It is depth first, so that the targets keep the order in which they were
    configured.
    """

    configuration: Configuration
    room: int
    targets: dict[bytes, None] = field(default_factory=dict)
    by: str = ""
    fault: tuple[str, str] | None = None
    done: set[bytes] = field(default_factory=set)

    def visit(self, address: bytes, path: tuple[bytes, ...], depth: int) -> None:
        if self.fault is not None:
            return
        if (
            self.configuration.external_postmasters
            and _EXTERNAL not in path
            and is_postmaster(self.configuration, address)
        ):
            # An alias may lead to a role, and the external postmasters get the mail of every role.
            if _EXTERNAL not in self.done:
                self.done.add(_EXTERNAL)
                for postmaster in self.configuration.external_postmasters:
                    self.visit(postmaster, (*path, _EXTERNAL), depth)
            return
        key = base_of(self.configuration, key_of(address))
        alias = self.configuration.aliases.get(key)
        if alias is None and self._goes_to_catch_all(address, key, path, depth):
            return
        if alias is None or key in path:
            # An alias that has itself as a target delivers a copy to its own mailbox, if there is one.
            if alias is None or self._has_mailbox(key):
                self._add(address)
            return
        if key in self.done:
            return
        self.done.add(key)
        self.by = self.by or alias.id
        if depth >= MAX_DEPTH:
            self.fault = ("5.4.6", f"the chain of aliases is more than {MAX_DEPTH} deep")
            return
        for target in alias.targets:
            self.visit(target, (*path, key), depth + 1)

    def _goes_to_catch_all(self, address: bytes, key: bytes, path: tuple[bytes, ...], depth: int) -> bool:
        """Expands the catch-all of the domain in place of an address that does not exist. Returns whether it did so."""
        taker = catch_all(self.configuration, key)
        if not taker or key_of(taker) == key or key in path or is_postmaster(self.configuration, address):
            return False
        self.by = self.by or "catch_all"
        self.visit(taker, (*path, key), depth + 1)
        return True

    def _has_mailbox(self, key: bytes) -> bool:
        local = self.configuration.local_domains.get(domain_of(key))
        return local is not None and has_mailbox(self.configuration, local, key)

    def _add(self, address: bytes) -> None:
        self.targets.setdefault(address)
        if len(self.targets) > self.room:
            self.fault = ("5.2.4", f"the aliases of the recipients stand for more than {MAX_ADDRESSES} addresses")


def _is_role(recipient: bytes) -> bool:
    return recipient.rpartition(b"@")[0].lower() in ROLES or b"@" not in recipient
