"""What the navigation offers, and to which role."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

# Each role may do what those before it may.
ROLES = ("sender", "reader", "operator", "admin")


@dataclass(frozen=True, slots=True)
class Entry:
    """One link of the navigation. `role`: the least role that may see its page."""

    title: str
    path: str
    role: str = "reader"


def may(role: str, needed: str) -> bool:
    """Whether somebody with `role` may do what needs the role `needed`. An unknown role may do nothing."""
    return role in ROLES and ROLES.index(role) >= ROLES.index(needed)


def offered(entries: Iterable[Entry], role: str) -> list[Entry]:
    """The entries for a role, in their order."""
    return [entry for entry in entries if may(role, entry.role)]
