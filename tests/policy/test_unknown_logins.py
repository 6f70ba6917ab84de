"""A login that no account has is refused like a wrong password."""

from __future__ import annotations

import pytest
from argon2 import PasswordHasher

from services.policy.credentials import CredentialChecker, Credentials
from services.policy.failures import FailureLimits
from services.policy.rules.authentication import CredentialOutcome
from services.policy.state.memory import MemoryStore
from tests.policy.world import snapshot

HASH = PasswordHasher(time_cost=1, memory_cost=64).hash(b"right")


@pytest.mark.parametrize(
    "accounts", [[], [{"id": "1", "login": "alice", "password_hash": HASH}]], ids=["none", "another"]
)
async def test_an_unknown_login_is_refused(accounts: list[dict[str, str]]) -> None:
    checker = CredentialChecker(FailureLimits(MemoryStore()))
    try:
        for _ in range(2):
            given = Credentials("PLAIN", b"", b"nobody", b"right")
            assert await checker.check(given, snapshot({"accounts": accounts}), "192.0.2.1", "192.0.2.0/24") == (
                CredentialOutcome.REFUSED,
                None,
            )
    finally:
        checker.close()
