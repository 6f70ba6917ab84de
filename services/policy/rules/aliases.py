"""Follows aliases: finds whether any target accepts mail, and which accounts own the alias. This module is pure.

relay expands recipients in the same way, so that it can deliver all mail that is accepted here.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from services.policy.rules.address_facts import AddressFacts
from services.policy.rules.model import Snapshot
from services.policy.rules.recipients import base_key, existence, has_mailbox, is_postmaster

# The deepest chain of aliases, as in relay.
MAX_DEPTH = 20
# The largest number of aliases that are followed for one address. If there are more, the address counts as accepting
# mail.
_MAX_ALIASES = 10_000


@dataclass(slots=True)
class AliasWalk:
    """Follows the aliases of an address, depth first."""

    snapshot: Snapshot
    # Whether a target accepts mail, whether an alias leads back to itself, and the ids of the accounts to which the
    # alias leads.
    ends_well: bool = False
    leads_back: bool = False
    owners: set[str] = field(default_factory=set)
    _visited: set[str] = field(default_factory=set)

    def visit(self, address: AddressFacts, path: tuple[str, ...] = ()) -> None:
        """Follows an address to its final targets. `path` has the aliases on the way to `address`."""
        key = base_key(address, self.snapshot)
        owner = self.snapshot.owners.get(key)
        targets = self.snapshot.aliases.get(key)
        if is_postmaster(address, self.snapshot):
            self.ends_well = True
        is_unknown, _, taker = existence(address, key, self.snapshot)
        if key in path:
            # An alias that has itself as a target delivers a copy to its own mailbox, if there is one.
            self._end(owner, takes_mail=has_mailbox(key, address.domain, self.snapshot))
            self.leads_back = True
        elif taker is not None:
            # The catch-all gets the mail, but its account does not own all unknown addresses.
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
