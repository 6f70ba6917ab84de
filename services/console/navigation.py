"""The entries of the navigation, and the roles that see them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

# Each role may do everything that the earlier roles may do.
ROLES = ("sender", "reader", "operator", "admin")


@dataclass(frozen=True, slots=True)
class Entry:
    """One link of the navigation. `role` is the lowest role that may see its page."""

    title: str
    path: str
    role: str = "reader"


def may(role: str, needed: str) -> bool:
    """Returns whether a user with `role` may do things that need the role `needed`. An unknown role may do nothing."""
    return role in ROLES and ROLES.index(role) >= ROLES.index(needed)


def offered(entries: Iterable[Entry], role: str) -> list[Entry]:
    """Returns the entries for a role, in their order."""
    return [entry for entry in entries if may(role, entry.role)]
