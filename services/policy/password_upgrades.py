"""New hashes of passwords whose present hash came from another system, until config_api has them.
This module is pure.
"""

from __future__ import annotations

from dataclasses import dataclass

from services.policy.rules.configuration import Account

_MOST = 1_000


@dataclass(frozen=True, slots=True)
class PasswordUpgrade:
    """A hash that will replace the present hash of the account."""

    account: Account
    new_hash: str


class PasswordUpgrades:
    """The upgrades that wait, one for each account. If there is no space, the account is upgraded at a later login."""

    def __init__(self) -> None:
        self._waiting: dict[str, PasswordUpgrade] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, account: Account, new_hash: str) -> None:
        if len(self._waiting) < _MOST:
            self._waiting[account.id] = PasswordUpgrade(account, new_hash)

    def take(self) -> list[PasswordUpgrade]:
        """Removes and returns all upgrades that wait."""
        waiting, self._waiting = self._waiting, {}
        return list(waiting.values())
