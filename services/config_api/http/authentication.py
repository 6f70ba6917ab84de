"""Authentication of callers: bearer keys, their roles, and the limit on wrong keys."""

from __future__ import annotations

import hmac
import time
from collections import OrderedDict
from datetime import UTC, datetime

from libs.smtp.network import counter_key
from services.config_api.metrics import FAILED_KEYS
from services.config_api.problems import Problem
from services.config_api.resources.api_keys import ROLES, hash_key
from services.config_api.snapshot.configuration_cache import ConfigurationCache, KeyRecord, key_records
from services.config_api.storage.documents import Store
from services.config_api.storage.identifiers import now_us
from services.config_api.storage.revision import Actor

# The name and the id of the API key that is in the environment.
_ENVIRONMENT_KEY = "CONFIG_API_ADMIN_KEY"
_CLIENTS_REMEMBERED = 10_000
_LONGEST_KEY = 512
_CHALLENGE = {"WWW-Authenticate": 'Bearer realm="posthouse"'}


class FailureLimit:
    """Counts wrong keys for each client and minute, so that a client cannot flood the log or the audit log.

    The number of clients in the table is limited. The client whose last wrong key is the oldest is removed first.
    """

    def __init__(self, a_minute: int) -> None:
        self._a_minute = a_minute
        self._counts: OrderedDict[str, tuple[int, int]] = OrderedDict()

    def count(self, client: str) -> bool:
        """Counts one wrong key. Returns False when the client is over its limit."""
        minute = int(time.monotonic() // 60)
        key = _client_key(client)
        known_minute, count = self._counts.pop(key, (minute, 0))
        count = count + 1 if known_minute == minute else 1
        self._counts[key] = (minute, count)
        if len(self._counts) > _CLIENTS_REMEMBERED:
            self._counts.popitem(last=False)
        return count <= self._a_minute


class Access:
    """Checks keys against the configuration in memory. A key that is not there yet is looked up in the database."""

    def __init__(
        self,
        cache: ConfigurationCache,
        store: Store,
        environment_key: str,
        failures: FailureLimit,
        recorded: FailureLimit,
    ) -> None:
        """`failures` limits wrong keys. `recorded` limits the refusals with status 401 that the audit log records,
        whether a key was sent or not.
        """
        self._cache = cache
        self._store = store
        self._environment_hash = hash_key(environment_key) if environment_key else ""
        self._failures = failures
        self._recorded = recorded
        self.uses: dict[str, int] = {}
        # The ids of keys that were changed by this process, each with the revision with which the change reaches the
        # configuration in memory.
        self._changed: dict[str, int] = {}

    def recognise(self, authorization: str | None, client_address: str, request_id: str) -> Actor | None:
        """Returns the caller if its key is valid and in memory. If the result is None, call `authenticate`, which looks
        the key up or refuses it.
        """
        key = _bearer_key(authorization)
        if key is None:
            return None
        hashed = hash_key(key)
        if self._environment_hash and hmac.compare_digest(hashed, self._environment_hash):
            return Actor(_ENVIRONMENT_KEY, "admin", client_address, request_id, _ENVIRONMENT_KEY)
        record = self._in_memory(_prefix(key))
        if record is None or not _is_valid(record, hashed):
            return None
        self.uses[record.id] = now_us()
        return Actor(record.name, record.role, client_address, request_id, record.id, record.account)

    def is_valid(self, authorization: str | None, caller: Actor) -> bool:
        """Whether the key of an authenticated caller is still valid, with the same role."""
        recognised = self.recognise(authorization, caller.client_address, caller.request_id)
        return recognised is not None and recognised.role == caller.role

    async def authenticate(self, authorization: str | None, client_address: str, request_id: str) -> Actor:
        """Returns the caller of a request for which `recognise` returned None. Raises Problem 401, or 429 when the
        client has sent too many wrong keys.

        A valid key is accepted even if other requests from the same address had wrong keys, because a key of 256 random
        bits cannot be guessed.
        """
        key = _bearer_key(authorization)
        if key is None:
            raise _unauthorized("Send your key as Authorization: Bearer KEY.")
        prefix = _prefix(key)
        record = self._in_memory(prefix)
        if record is None and key.startswith("ph_") and key.isascii():
            record = await self._look_up(prefix)
        if record is None or not _is_valid(record, hash_key(key)):
            FAILED_KEYS.inc()
            if not self._failures.count(client_address):
                raise Problem(
                    429, "too-many-failures", "Too many wrong keys from this address.", headers={"Retry-After": "60"}
                )
            raise _unauthorized("This key is not valid.")
        self.uses[record.id] = now_us()
        return Actor(record.name, record.role, client_address, request_id, record.id, record.account)

    def changed(self, key_id: str, revision: int) -> None:
        """Stores that a key was just changed or removed. From then on, its record in memory is not used until the
        record has the change.
        """
        self._changed = {each: number for each, number in self._changed.items() if number > self._cache.revision}
        self._changed[key_id] = revision

    def is_recorded(self, client_address: str) -> bool:
        """Counts a refusal for a missing or wrong key. Returns False when the audit log has recorded enough refusals of
        this client.
        """
        return self._recorded.count(client_address)

    def _in_memory(self, prefix: str) -> KeyRecord | None:
        record = self._cache.keys.get(prefix)
        if record is not None and self._changed.get(record.id, -1) > self._cache.revision:
            return None
        return record

    async def _look_up(self, prefix: str) -> KeyRecord | None:
        """Looks up a key in the database, because another replica may have just made or changed it."""
        for document in await self._store.page("api-keys", {"prefix": prefix}, None, 1):
            return key_records(document.id, document.body).get(prefix)
        return None


def demand(actor: Actor, role: str) -> None:
    """Checks that the caller has at least this role. Raises Problem 403, which names the role."""
    if actor.role not in ROLES or ROLES.index(actor.role) < ROLES.index(role):
        raise Problem(
            403,
            "forbidden",
            "This key may not do that.",
            f"This needs the role {role}; this key is {actor.role}.",
            more={"required_role": role},
        )


def _bearer_key(authorization: str | None) -> str | None:
    """Returns the key from the header field Authorization, or None when the field has no key or too long a key."""
    scheme, _, key = (authorization or "").partition(" ")
    if scheme.lower() != "bearer" or not key or len(key) > _LONGEST_KEY:
        return None
    return key.strip(" ")


def _prefix(key: str) -> str:
    return "_".join(key.split("_", 2)[:2])


def _is_valid(record: KeyRecord, hashed: str) -> bool:
    """Whether the record belongs to the key with this hash, and the key has not expired."""
    if not hmac.compare_digest(record.key_hash, hashed):
        return False
    return record.expires_at is None or record.expires_at > datetime.now(UTC)


def _unauthorized(detail: str) -> Problem:
    return Problem(401, "unauthorized", "A valid key is needed.", detail, headers=_CHALLENGE)


def _client_key(client: str) -> str:
    try:
        return counter_key(client)
    except ValueError:
        return "unknown"
