"""Checks logins and passwords: argon2id off the event loop, successes remembered briefly, failures limited."""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
import hmac
import os
import time
import unicodedata
from collections import OrderedDict
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import field

import structlog
from argon2 import PasswordHasher, Type, extract_parameters
from argon2.exceptions import InvalidHashError, VerificationError, VerifyMismatchError

from libs.smtp.value import value
from services.policy.failures import FailureLimits
from services.policy.rules.authentication import MECHANISMS, CredentialOutcome, account_of, login_key
from services.policy.rules.configuration import Account
from services.policy.rules.model import Snapshot

log = structlog.get_logger(__name__)

_THREADS = 2
# Checks that wait or run; a check takes some 50 ms, so that nobody waits much longer than a second or two.
_MAX_WAITING = 64
_REMEMBERED_SECONDS = 60.0
_REMEMBERED = 10_000


@value(frozen=True, slots=True)
class Credentials:
    """As the client gave them; never kept, logged, or shown."""

    mechanism: str
    authorization_identity: bytes = field(repr=False)
    login: bytes = field(repr=False)
    password: bytes = field(repr=False)


def _composed(text: bytes) -> bytes:
    """In NFC, as logins and passwords are kept: keyboards differ in it (RFC 8265 3.3.2, 4.2.2). Else as it came."""
    if text.isascii():
        return text
    try:
        return unicodedata.normalize("NFC", text.decode()).encode()
    except UnicodeDecodeError:
        return text


class CredentialChecker:
    """One process's checks."""

    def __init__(self, failures: FailureLimits) -> None:
        self._failures = failures
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="argon2")
        self._waiting = 0
        # Keyed digest of (account's hash, password) to when it is forgotten; the key dies with the process.
        self._key = os.urandom(32)
        self._remembered: OrderedDict[bytes, float] = OrderedDict()
        self._typical_of: Mapping[str, Account] | None = None
        self._typical_hash = ""
        # Hashes to check unknown logins against, by their parameters.
        self._decoys: dict[object, str] = {}

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)

    def forget(self) -> None:
        """At every new snapshot: an account may be gone."""
        self._remembered.clear()

    async def check(
        self, given: Credentials, snapshot: Snapshot, client: str
    ) -> tuple[CredentialOutcome, Account | None]:
        """The account that the credentials prove. `client` is the key of the client's counters.

        An unknown login takes as long as a wrong password. Never raises.
        """
        login = _composed(given.login).decode("utf-8", "replace")
        account = account_of(login, snapshot)
        # However an account is named, its failures are counted together.
        login = account.login if account is not None else login_key(login)
        if given.mechanism not in MECHANISMS:
            return CredentialOutcome.REFUSED, None
        if await self._failures.exceeded(client, login):
            return CredentialOutcome.TOO_MANY_FAILURES, None
        identity = _composed(given.authorization_identity).decode("utf-8", "replace")
        outcome = await self._verify(account, _composed(given.password), snapshot.accounts)
        if outcome is CredentialOutcome.ACCEPTED and identity and account_of(identity, snapshot) is not account:
            # Nobody may act for another here (RFC 4616 2).
            outcome = CredentialOutcome.REFUSED
        if outcome is CredentialOutcome.REFUSED:
            await self._failures.record(client, login)
        return outcome, account if outcome is CredentialOutcome.ACCEPTED else None

    async def _verify(
        self, account: Account | None, password: bytes, accounts: Mapping[str, Account]
    ) -> CredentialOutcome:
        remembered = b""
        if account is not None:
            remembered = hmac.digest(self._key, account.password_hash.encode() + b"\0" + password, "sha256")
            until = self._remembered.get(remembered)
            if until is not None and time.monotonic() < until:
                return CredentialOutcome.ACCEPTED
        if self._waiting >= _MAX_WAITING:
            return CredentialOutcome.UNAVAILABLE
        self._waiting += 1
        try:
            password_hash = account.password_hash if account is not None else ""
            matches = await asyncio.get_running_loop().run_in_executor(
                self._pool, self._matches, password_hash, password, self._typical(accounts)
            )
        except (InvalidHashError, VerificationError, MemoryError, RuntimeError) as error:
            log.error("password_check_failed", reason=type(error).__name__, account=account.id if account else "")
            return CredentialOutcome.UNAVAILABLE
        finally:
            self._waiting -= 1
        if account is None or not matches:
            return CredentialOutcome.REFUSED
        self._remembered[remembered] = time.monotonic() + _REMEMBERED_SECONDS
        if len(self._remembered) > _REMEMBERED:
            self._remembered.popitem(last=False)
        return CredentialOutcome.ACCEPTED

    def _typical(self, accounts: Mapping[str, Account]) -> str:
        """A hash whose parameters the decoy takes on; accounts that nobody can log in to have none."""
        if self._typical_of is not accounts:
            self._typical_of = accounts
            self._typical_hash = next((one.password_hash for one in accounts.values() if one.password_hash), "")
        return self._typical_hash

    def _matches(self, password_hash: str, password: bytes, typical: str) -> bool:
        """In a thread."""
        hasher = PasswordHasher()
        try:
            return hasher.verify(password_hash or self._decoy(typical), password)
        except VerifyMismatchError:
            return False

    def _decoy(self, typical: str) -> str:
        try:
            parameters = extract_parameters(typical)
        except InvalidHashError:
            parameters = extract_parameters(PasswordHasher(type=Type.ID).hash(b""))
        # argon2's Parameters have no hash of their own.
        key = dataclasses.astuple(parameters)
        decoy = self._decoys.get(key)
        if decoy is None:
            hasher = PasswordHasher(
                time_cost=parameters.time_cost,
                memory_cost=parameters.memory_cost,
                parallelism=parameters.parallelism,
                hash_len=parameters.hash_len,
                salt_len=parameters.salt_len,
                type=parameters.type,
            )
            decoy = self._decoys[key] = hasher.hash(hashlib.sha256(os.urandom(32)).digest())
        return decoy
