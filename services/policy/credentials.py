"""Checks logins and passwords. argon2id runs outside the event loop, successes are remembered briefly, failures are
limited, and each client has a share of the checks.
"""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
import hmac
import os
import time
import unicodedata
from collections import OrderedDict
from collections.abc import Hashable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import structlog
from argon2 import PasswordHasher, Type, extract_parameters
from argon2.exceptions import InvalidHashError, VerificationError

from libs.runtime import passwords
from services.policy.failures import FailureLimits
from services.policy.fair_slots import FairSlots
from services.policy.password_upgrades import PasswordUpgrades
from services.policy.rules.authentication import EXTERNAL, MECHANISMS, CredentialOutcome, account_of, login_key
from services.policy.rules.configuration import Account
from services.policy.rules.model import Snapshot

log = structlog.get_logger(__name__)

# The largest number of checks that run at the same time in each group of threads, and the largest number of them that
# belong to one client's network. A check takes some 50 ms.
_THREADS = 2
_SLOTS_OF_CLIENT = 2
# The largest number of checks that wait for each group of threads, and the longest wait. One client's network may have
# a tenth of the waiting checks.
_MAX_WAITING = 320
_WAITING_SECONDS = 3.0
_REMEMBERED_SECONDS = 60.0
_REMEMBERED = 10_000
# Clients and accounts that logged in within this time use a separate group of threads, which strangers cannot fill.
_FAMILIAR_SECONDS = 24 * 3600.0


@dataclass(frozen=True, slots=True)
class Credentials:
    """The credentials as the client gave them. They are never stored, logged or shown."""

    mechanism: str
    authorization_identity: bytes = field(repr=False)
    login: bytes = field(repr=False)
    password: bytes = field(repr=False)


def _composed(text: bytes) -> bytes:
    """Returns the text in NFC, the form in which logins and passwords are stored, because keyboards differ (RFC 8265
    3.3.2, 4.2.2). Octets that are not UTF-8 do not change.
    """
    if text.isascii():
        return text
    try:
        return unicodedata.normalize("NFC", text.decode()).encode()
    except UnicodeDecodeError:
        return text


class _CheckThreads:
    """A group of threads for checks, with the slots of the clients."""

    def __init__(self, name: str) -> None:
        self.pool = ThreadPoolExecutor(_THREADS, thread_name_prefix=f"argon2-{name}")
        self.slots = FairSlots(_THREADS, _SLOTS_OF_CLIENT, _SLOTS_OF_CLIENT, _MAX_WAITING)


class _Recently:
    """A bounded set of keys, each of which stays for a limited time."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._until: OrderedDict[Hashable, float] = OrderedDict()

    def add(self, key: Hashable) -> None:
        self._until[key] = time.monotonic() + self._seconds
        self._until.move_to_end(key)
        if len(self._until) > _REMEMBERED:
            self._until.popitem(last=False)

    def __contains__(self, key: Hashable) -> bool:
        return self._until.get(key, 0.0) > time.monotonic()


class CredentialChecker:
    """Checks credentials. Each process has one object of this class. A client that guesses passwords does not prevent
    others from logging in. The network of a client has at most two slots, and a free slot goes to the waiting network
    that has the fewest. Clients and accounts that logged in recently have a separate group of threads.
    """

    def __init__(self, failures: FailureLimits, upgrades: PasswordUpgrades | None = None) -> None:
        """`upgrades` gets the new hash of a password whose hash is outdated."""
        self._failures = failures
        self._upgrades = upgrades if upgrades is not None else PasswordUpgrades()
        self._strangers = _CheckThreads("strangers")
        self._familiar = _CheckThreads("familiar")
        # Keyed digests of (hash of the account, password). The key exists only in this process. A new password gives
        # the account another hash, so nothing must be removed when the configuration changes.
        self._key = os.urandom(32)
        self._remembered = _Recently(_REMEMBERED_SECONDS)
        # Clients, accounts, and pairs of both, that logged in recently.
        self._clients = _Recently(_FAMILIAR_SECONDS)
        self._accounts = _Recently(_FAMILIAR_SECONDS)
        self._pairs = _Recently(_FAMILIAR_SECONDS)
        self._typical_of: Mapping[str, Account] | None = None
        self._typical_hash = ""
        # The hashes against which unknown logins are checked, by their parameters.
        self._decoys: dict[object, str] = {}

    def close(self) -> None:
        for threads in (self._strangers, self._familiar):
            threads.pool.shutdown(wait=False, cancel_futures=True)

    async def check(
        self, given: Credentials, snapshot: Snapshot, client: str, network: str
    ) -> tuple[CredentialOutcome, Account | None]:
        """Returns the result, with the account if the credentials are right. `client` and `network` are `key` and
        `network` of `rules.clients.Client`. An unknown login takes as long as a wrong password. Never raises.
        """
        login = _composed(given.login).decode("utf-8", "replace")
        account = account_of(login, snapshot)
        # The failures of an account are counted together, whichever of its names the client uses.
        login = account.login if account is not None else login_key(login)
        if given.mechanism == EXTERNAL:
            # There is no password. config_api has checked the API key of the account, and policy trusts this fact as it
            # trusts every other fact from ingress.
            return CredentialOutcome.REFUSED if account is None else CredentialOutcome.ACCEPTED, account
        if given.mechanism not in MECHANISMS:
            return CredentialOutcome.REFUSED, None
        # Failures of others do not lock out the user of an account.
        is_user = account is not None and (client, account.id) in self._pairs
        if await self._failures.exceeded(client, None if is_user else login):
            return CredentialOutcome.TOO_MANY_FAILURES, None
        identity = _composed(given.authorization_identity).decode("utf-8", "replace")
        threads, party = self._threads_for(client, network, account)
        outcome = await self._verify(account, _composed(given.password), snapshot.accounts, threads, party)
        if outcome is CredentialOutcome.ACCEPTED and identity and account_of(identity, snapshot) is not account:
            # An authorization identity that differs from the account is not supported (RFC 4616 2).
            outcome = CredentialOutcome.REFUSED
        if outcome is CredentialOutcome.REFUSED:
            await self._failures.record(client, login)
        if outcome is not CredentialOutcome.ACCEPTED or account is None:
            return outcome, None
        self._clients.add(client)
        self._accounts.add(account.id)
        self._pairs.add((client, account.id))
        return outcome, account

    def _threads_for(self, client: str, network: str, account: Account | None) -> tuple[_CheckThreads, str]:
        """Returns the group of threads, and the party whose slots the check uses. All unknown clients that try the same
        account are one party if the account logged in recently.
        """
        if client in self._clients:
            return self._familiar, network
        if account is not None and account.id in self._accounts:
            return self._familiar, f"account {account.id}"
        return self._strangers, network

    async def _verify(
        self,
        account: Account | None,
        password: bytes,
        accounts: Mapping[str, Account],
        threads: _CheckThreads,
        party: str,
    ) -> CredentialOutcome:
        remembered = b""
        if account is not None:
            remembered = hmac.digest(self._key, account.password_hash.encode() + b"\0" + password, "sha256")
            if remembered in self._remembered:
                return CredentialOutcome.ACCEPTED
        if not await threads.slots.wait(party, _WAITING_SECONDS):
            return CredentialOutcome.UNAVAILABLE
        try:
            password_hash = account.password_hash if account is not None else ""
            is_right, new_hash = await asyncio.get_running_loop().run_in_executor(
                threads.pool, self._matches, password_hash, password, self._typical(accounts)
            )
        except (InvalidHashError, VerificationError, ValueError, MemoryError, RuntimeError) as error:
            log.error("password_check_failed", reason=type(error).__name__, account=account.id if account else "")
            return CredentialOutcome.UNAVAILABLE
        finally:
            threads.slots.release(party)
        if account is None or not is_right:
            return CredentialOutcome.REFUSED
        if new_hash:
            self._upgrades.add(account, new_hash)
        self._remembered.add(remembered)
        return CredentialOutcome.ACCEPTED

    def _typical(self, accounts: Mapping[str, Account]) -> str:
        """Returns the hash of any account that has one. The check of an unknown login uses the parameters of this hash.
        The result is empty when no account has a hash.
        """
        if self._typical_of is not accounts:
            self._typical_of = accounts
            self._typical_hash = next(
                (account.password_hash for account in accounts.values() if account.password_hash), ""
            )
        return self._typical_hash

    def _matches(self, password_hash: str, password: bytes, typical: str) -> tuple[bool, str]:
        """Returns whether the password is right, and a new hash if the present one is outdated. This method runs in a
        thread.
        """
        is_right = passwords.matches(password_hash or self._decoy(typical), password)
        is_outdated = is_right and passwords.is_outdated(password_hash)
        return is_right, passwords.hash_password(password) if is_outdated else ""

    def _decoy(self, typical: str) -> str:
        decoy = passwords.decoy_of(typical)
        if decoy is not None:
            return decoy
        try:
            parameters = extract_parameters(typical)
        except InvalidHashError:
            parameters = extract_parameters(PasswordHasher(type=Type.ID).hash(b""))
        # The Parameters of argon2 cannot be hashed.
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
