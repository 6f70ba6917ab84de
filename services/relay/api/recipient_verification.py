"""Finds out whether a recipient exists, where the mailbox server decides this: from a stored answer, or by asking the
server.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from enum import Enum
from typing import Protocol

import structlog

from services.relay.clock import MICROSECONDS, Clock
from services.relay.configuration.model import Configuration, key_of
from services.relay.delivery.recipient_question import ServerAnswer
from services.relay.metrics import RECIPIENTS_VERIFIED
from services.relay.model.attempt import Route
from services.relay.queue.database import Database, QueueError
from services.relay.queue.recipient_answers import (
    RecipientAnswer,
    count_question,
    forget_answers,
    keep_answer,
    read_answer,
)
from services.relay.routing.rules import resolve

log = structlog.get_logger(__name__)

# The largest number of new recipients of one client, in one minute of the clock, that a server is asked about.
_NEW_RECIPIENTS_PER_MINUTE = 100
_QUESTIONS_PER_SERVER = 20
# The largest number of questions of one client at a time, so that the questions of other clients are asked too.
_QUESTIONS_PER_CLIENT = 5
# The largest number of recipients that wait for an answer, in all and for one client. No server is asked about further
# recipients.
_MOST_WAITING = 2_000
_MOST_WAITING_OF_CLIENT = 100
_FORGET_EVERY = 60 * MICROSECONDS


class Verification(Enum):
    EXISTS = "exists"
    NONE = "none"
    NO_ANSWER = "no_answer"
    TOO_MANY = "too_many"
    MAILBOX_FULL = "mailbox_full"


class AsksServers(Protocol):
    """The method of the delivery code that the verification of recipients uses."""

    async def ask_recipient(self, configuration: Configuration, route: Route, recipient: bytes) -> ServerAnswer: ...


class _SharedSlots:
    """Keeps a semaphore for each server or client. A semaphore exists only while somebody uses it."""

    def __init__(self, number: int) -> None:
        self._number = number
        self._free: dict[str, asyncio.Semaphore] = {}
        self._users: Counter[str] = Counter()

    @asynccontextmanager
    async def use(self, party: str) -> AsyncIterator[None]:
        self._users[party] += 1
        try:
            async with self._free.setdefault(party, asyncio.Semaphore(self._number)):
                yield
        finally:
            self._users[party] -= 1
            if not self._users[party]:
                del self._users[party], self._free[party]


def _verification(answer: RecipientAnswer) -> Verification:
    return Verification.EXISTS if answer.is_there else Verification.NONE


class RecipientVerifier:
    """Verifies recipients. Ingress asks the same replica about the same address, so only one question about each
    address is asked at a time.
    """

    def __init__(
        self,
        database: Database,
        clock: Clock,
        configuration: Callable[[], Configuration | None],
        servers: AsksServers,
    ) -> None:
        self._database = database
        self._clock = clock
        self._configuration = configuration
        self._servers = servers
        # The questions that are being asked, by recipient.
        self._asked: dict[bytes, asyncio.Task[Verification]] = {}
        self._waiting: Counter[str] = Counter()
        self._of_servers = _SharedSlots(_QUESTIONS_PER_SERVER)
        self._of_clients = _SharedSlots(_QUESTIONS_PER_CLIENT)
        self._forgot_at = 0

    async def verify(self, recipient: bytes, client: str) -> Verification:
        """Verifies a recipient. Never raises.

        `recipient` is in its wire form. The questions of a client are counted under the key `client`.
        """
        try:
            verification = await self._verify(recipient, client)
        except QueueError as error:
            log.warning("recipient_not_verified", reason=str(error))
            verification = Verification.NO_ANSWER
        RECIPIENTS_VERIFIED.labels(verification.value).inc()
        return verification

    async def _verify(self, recipient: bytes, client: str) -> Verification:
        key = key_of(recipient)
        now = self._clock.now()
        answer = await self._kept(key)
        if answer is not None and answer.holds(now):
            return _verification(answer)
        if key not in self._asked:
            if not await self._may_ask(client, now):
                was_good = answer is not None and answer.was_good(now)
                return Verification.EXISTS if was_good else Verification.TOO_MANY
            # Another session may have asked about the same recipient meanwhile, and may have its answer already.
            answer = await self._kept(key)
            if answer is not None and answer.holds(now):
                return _verification(answer)
        under_way = self._asked.get(key) or self._begin(recipient, key, client, answer)
        # The caller that asked first may be cancelled, and the others still wait for the answer.
        return await asyncio.shield(under_way)

    async def _kept(self, key: bytes) -> RecipientAnswer | None:
        return await self._database.view(lambda connection: read_answer(connection, key))

    async def _may_ask(self, client: str, now: int) -> bool:
        if self._waiting[client] >= _MOST_WAITING_OF_CLIENT or len(self._asked) >= _MOST_WAITING:
            return False
        return await self._database.write(lambda connection: count_question(connection, client, now)) <= (
            _NEW_RECIPIENTS_PER_MINUTE
        )

    def _begin(
        self, recipient: bytes, key: bytes, client: str, before: RecipientAnswer | None
    ) -> asyncio.Task[Verification]:
        task = asyncio.create_task(self._ask(recipient, key, client, before), name="question about a recipient")
        self._asked[key] = task
        self._waiting[client] += 1

        def ended(_: object) -> None:
            self._asked.pop(key, None)
            self._waiting[client] -= 1
            if not self._waiting[client]:
                del self._waiting[client]

        task.add_done_callback(ended)
        return task

    async def _ask(self, recipient: bytes, key: bytes, client: str, before: RecipientAnswer | None) -> Verification:
        configuration = self._configuration()
        answer = ServerAnswer.NONE
        if configuration is not None:
            route = resolve(configuration, b"", recipient, quarantine=False)
            answer = await self._ask_in_turn(configuration, route, recipient, client)
        now = self._clock.now()
        if answer is ServerAnswer.NONE:
            return Verification.EXISTS if before is not None and before.was_good(now) else Verification.NO_ANSWER
        if answer is ServerAnswer.FULL:
            # This answer is not stored, because the owner of the mailbox may make room at any moment.
            return Verification.MAILBOX_FULL
        is_there = answer is ServerAnswer.YES
        try:
            await self._keep(key, now, is_there=is_there)
        except QueueError as error:
            log.warning("recipient_answer_not_kept", reason=str(error))
        return Verification.EXISTS if is_there else Verification.NONE

    async def _ask_in_turn(
        self, configuration: Configuration, route: Route, recipient: bytes, client: str
    ) -> ServerAnswer:
        async with self._of_clients.use(client), self._of_servers.use(route.destination):
            return await self._servers.ask_recipient(configuration, route, recipient)

    async def _keep(self, key: bytes, now: int, *, is_there: bool) -> None:
        await self._database.write(lambda connection: keep_answer(connection, key, now, is_there=is_there))
        if now - self._forgot_at >= _FORGET_EVERY:
            self._forgot_at = now
            await self._database.write(lambda connection: forget_answers(connection, now))

    async def close(self) -> None:
        """Cancels the questions that are being asked."""
        under_way = list(self._asked.values())
        for task in under_way:
            task.cancel()
        await asyncio.gather(*under_way, return_exceptions=True)
