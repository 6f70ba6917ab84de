"""`Posthouse`: the generated operations, with what the API asks of those who call it."""

from __future__ import annotations

import json
import ssl
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Generic, Protocol, Self, TypeVar

import httpx

from posthouse_client.client import AuthenticatedClient
from posthouse_client.errors import ProblemError
from posthouse_client.types import Response, Unset

T = TypeVar("T")
Shown = TypeVar("Shown")
Item_co = TypeVar("Item_co", covariant=True)

# A change that meets somebody else's is made again on what is there then. So many in a row mean a fault, not a race.
_MOST_EDITS = 10
# Pauses in seconds before a request whose answer was lost is sent again.
_PAUSES = (0.5, 1.0, 2.0, 4.0)
_LONGEST_PAUSE = 30.0
# Another replica, or the same one a moment later, may do what this one could not.
_PASSING_STATUSES = frozenset({429, 502, 503, 504})
_LOOKS_A_SECOND = 10
# Only these work by the configuration.
_CONFIGURED = ("policy", "relay")


class Page(Protocol[Item_co]):
    """A page of a list."""

    @property
    def items(self) -> Sequence[Item_co]: ...

    @property
    def next_cursor(self) -> str | None: ...


class NotInForceError(Exception):
    """A change is stored, and not every service works by it yet."""


@dataclass(frozen=True, slots=True)
class Written(Generic[T]):
    """The answer to a change.

    `value`: what is stored now. `content`: the same as the JSON that came, with members that this client does not
    know; None where nothing came. `etag`: its version; empty where the answer has none. `in_force`: whether every
    replica of policy and relay works by it already. `replayed`: an earlier request with the same Idempotency-Key
    has done it.
    """

    value: T
    content: Any
    etag: str
    in_force: bool
    replayed: bool


class Posthouse:
    """A connection to the API. Use it in a `with` statement, or close it.

    `url`: where config_api listens, for example http://127.0.0.1:8080. `key`: an API key. `timeout`: seconds that one
    answer may take. `tls`: the context for https; None takes the authorities that the system trusts.

    `client` is what each operation of `posthouse_client.api` takes as its argument of this name.
    """

    def __init__(self, url: str, key: str, *, timeout: float = 30.0, tls: ssl.SSLContext | None = None) -> None:
        self.client = AuthenticatedClient(
            base_url=url.rstrip("/"),
            token=key,
            timeout=httpx.Timeout(timeout),
            verify_ssl=tls if tls is not None else url.startswith("https:"),
            headers={"User-Agent": "posthouse_client"},
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self.client.get_httpx_client().close()

    # Reading

    def items(self, operation: Callable[..., Page[T]], /, **filters: Any) -> Iterator[T]:
        """Every item of a list, page after page.

        `operation`: the `sync` of an operation that gives pages, for example `list_accounts.sync`. `filters`: its
        arguments; `limit` is the size of a page.
        """
        cursor: str | None = None
        while True:
            where = {**filters, "cursor": cursor} if cursor is not None else filters
            page = operation(client=self.client, **where)
            yield from page.items
            # An answer without the member is the last page too.
            if not page.next_cursor or isinstance(page.next_cursor, Unset):
                return
            cursor = page.next_cursor

    # Changing

    def send(self, operation: Callable[..., Response[T]], /, *path: Any, **arguments: Any) -> Written[T]:
        """Calls an operation that takes an Idempotency-Key, and does it once although answers may be lost.

        `operation`: its `sync_detailed`, for example `create_account.sync_detailed`. When no answer comes, or one that
        says that a service is away, the request is sent again with the same key, for some 8 seconds. Raises
        ProblemError, httpx.TransportError.
        """
        arguments.setdefault("idempotency_key", str(uuid.uuid4()))
        for pause in _PAUSES:
            try:
                return _written(operation(*path, client=self.client, **arguments))
            except httpx.TransportError:
                time.sleep(pause)
            except ProblemError as problem:
                if problem.status not in _PASSING_STATUSES:
                    raise
                time.sleep(min(problem.retry_after or pause, _LONGEST_PAUSE))
        return _written(operation(*path, client=self.client, **arguments))

    def change(
        self,
        read: Callable[..., Response[Shown]],
        write: Callable[..., Response[T]],
        edit: Callable[[Shown], Any],
        /,
        *path: Any,
        **arguments: Any,
    ) -> Written[T]:
        """Changes what nobody else has changed meanwhile (ETag and If-Match).

        `read`, `write`: the `sync_detailed` of two operations on the same thing, for example of `get_account` and
        `update_account`. `edit`: makes the body for `write` from what `read` gave. When somebody else's change comes
        between the two, all three are done again. Raises ProblemError, httpx.TransportError.
        """

        def once() -> Written[T]:
            shown = read(*path, client=self.client)
            etag = shown.headers.get("etag", "")
            return _written(write(*path, client=self.client, body=edit(_parsed(shown)), if_match=etag, **arguments))

        return _until_no_conflict(once)

    def delete(
        self,
        read: Callable[..., Response[Any]],
        delete: Callable[..., Response[T]],
        /,
        *path: Any,
        **arguments: Any,
    ) -> Written[T]:
        """Deletes a thing as it is now. `read`, `delete`: as `read` and `write` of `change`. Raises as that does."""

        def once() -> Written[T]:
            etag = read(*path, client=self.client).headers.get("etag", "")
            return _written(delete(*path, client=self.client, if_match=etag, **arguments))

        return _until_no_conflict(once)

    # Waiting

    def wait_until_in_force(self, written: Written[Any] | None = None, *, seconds: float = 30.0) -> None:
        """Returns when policy and relay work by every change that is stored now.

        `written`: a change; when its answer said that it is in force, nothing is asked. Raises NotInForceError after
        `seconds`.
        """
        if written is not None and written.in_force:
            return
        from posthouse_client.api.configuration import list_revisions

        revisions = list_revisions.sync(client=self.client, limit=1)
        newest = max((revision.number for revision in revisions.items), default=0)
        deadline = time.monotonic() + seconds
        while (behind := self._behind(newest)) and time.monotonic() < deadline:
            time.sleep(1 / _LOOKS_A_SECOND)
        if behind:
            raise NotInForceError(f"Revision {newest} is not in force after {seconds:g} s at: {', '.join(behind)}.")

    def _behind(self, revision: int) -> list[str]:
        """The replicas of policy and relay that do not work by this revision yet."""
        from posthouse_client.api.status import get_status

        return [
            f"{replica.service} at {replica.address}"
            for replica in get_status.sync(client=self.client).services
            if replica.service in _CONFIGURED and (replica.revision or 0) < revision
        ]


def _until_no_conflict(write: Callable[[], Written[T]]) -> Written[T]:
    """Repeats a read and a write while somebody else's write comes between them. Raises ProblemError."""
    for _ in range(_MOST_EDITS - 1):
        try:
            return write()
        except ProblemError as problem:
            if problem.status != httpx.codes.PRECONDITION_FAILED:
                raise
    return write()


def _parsed(response: Response[T]) -> T:
    """What an answer holds. An operation raises for every other answer, so this is of the type's own caution."""
    if response.parsed is None:
        raise ValueError("The operation answers with nothing; a change needs what it can read.")
    return response.parsed


def _written(response: Response[T]) -> Written[T]:
    # An answer without content has None for its value, which is then what T says.
    value: Any = response.parsed
    return Written(
        value=value,
        content=json.loads(response.content) if response.content else None,
        etag=response.headers.get("etag", ""),
        in_force=response.headers.get("posthouse-in-force", "").startswith("true"),
        replayed=response.headers.get("idempotency-replayed", "") == "true",
    )
