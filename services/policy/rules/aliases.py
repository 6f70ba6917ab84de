"""Follows aliases: whether any target accepts mail, and which accounts own the alias. Pure.

relay walks the same way when it expands recipients, so that what is accepted here can be delivered there.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from services.policy.rules.address_facts import AddressFacts
from services.policy.rules.model import Snapshot
from services.policy.rules.recipients import base_key, existence, has_mailbox, is_postmaster

# Aliases within aliases, as in relay.
MAX_DEPTH = 20
# Aliases that one walk looks at. One that leads to more is taken to end well.
_MAX_ALIASES = 10_000


@dataclass(slots=True)
class AliasWalk:
    """The addresses that an address stands for, depth first."""

    snapshot: Snapshot
    # A target takes mail; an alias leads back to itself; ids of the accounts that it leads to.
    ends_well: bool = False
    leads_back: bool = False
    owners: set[str] = field(default_factory=set)
    _visited: set[str] = field(default_factory=set)

    def visit(self, address: AddressFacts, path: tuple[str, ...] = ()) -> None:
        """`path`: the aliases on the way to `address`."""
        key = base_key(address, self.snapshot)
        owner = self.snapshot.owners.get(key)
        targets = self.snapshot.aliases.get(key)
        if is_postmaster(address, self.snapshot):
            self.ends_well = True
        is_unknown, _, taker = existence(address, key, self.snapshot)
        if key in path:
            # An alias that names itself keeps a copy where there is a mailbox to keep it.
            self._end(owner, takes_mail=has_mailbox(key, address.domain, self.snapshot))
            self.leads_back = True
        elif taker is not None:
            # The catch-all has the mail, but its account does not own all addresses that nobody has.
            walk = AliasWalk(self.snapshot)
            walk.visit(taker, (*path, key))
            self.ends_well = self.ends_well or walk.ends_well
            self.leads_back = self.leads_back or walk.leads_back
        elif targets is None:
            self._end(owner, takes_mail=not is_unknown)
        elif len(path) >= MAX_DEPTH:
            self.leads_back = True
        elif len(self._visited) >= _MAX_ALIASES:
            self.ends_well = True
        elif key not in self._visited:
            self._visited.add(key)
            for target in targets:
                self.visit(target, (*path, key))

    def _end(self, owner: str | None, *, takes_mail: bool) -> None:
        if owner is not None:
            self.owners.add(owner)
        self.ends_well = self.ends_well or takes_mail
