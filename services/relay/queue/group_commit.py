"""Group commit: everything that arrived during a commit is committed together in the next one.

A commit costs several times as much as one message in it. So a commit is delayed in two cases. A settlement alone is
delayed, because nobody waits for it, and usually a submission arrives soon, so that both are committed together. And
when many sessions submit messages, the first submission waits a short time for others. When only one or two sessions
submit, no submission is delayed.

Submissions, settlements and records of refusals share a transaction. A submission that cannot be committed in time is
refused, and removed if it is later found in the database. Settlements are retried until they are committed, except for
one that can never be committed because of a fault of our code.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import structlog

from services.relay.clock import Clock
from services.relay.metrics import (
    COMMIT_FAILURES,
    COMMIT_SECONDS,
    COMMIT_SIZE,
    LEASES_LOST,
    REFUSALS_DROPPED,
)
from services.relay.model.message import NewMessage, Refused, queue_id
from services.relay.queue import leases
from services.relay.queue.database import Connection, Database, StorageFullError, UnavailableError
from services.relay.queue.leaseholder import Leaseholder
from services.relay.queue.settling import Settlement, settle
from services.relay.queue.statistics import Statistics
from services.relay.queue.storing import DoubtfulSubmission, confirm, forget_refused, store, store_refused

log = structlog.get_logger(__name__)

# The largest number of submissions or settlements, and the largest number of octets of content, in one transaction.
_MESSAGES = 500
_OCTETS = 32 * 1024 * 1024
# The time for which settlements alone wait for a submission. If the process is killed during this time, the messages
# that the settlements report as delivered are sent again.
_ALONE_SECONDS = 0.01
# The longest wait for more submissions in a batch. It is used only when the average batch exceeds 2.5.
_MAX_WAIT_SECONDS = 0.003
_MIN_AVERAGE_BATCH = 2.5
# The share of the average batch for which a batch waits.
_TARGET_SHARE = 0.5
# The weight of a smaller batch in the average.
_DECAY = 1 / 16
# When this number of settlements waits, they are committed without a further wait.
_SETTLEMENTS_ENOUGH = 50
_FIRST_PAUSE = 0.05
_LONGEST_PAUSE = 2.0
_REFUSALS_KEPT = 10_000
_REFUSALS_AT_ONCE = 500


class LostIdentityError(Exception):
    """Other replicas declared this process dead."""


class Submitter(Protocol):
    """The session that waits until its submission is stored."""

    def stored(self, message: NewMessage, message_id: int) -> None:
        """Reports that the submission is committed as the message with this id, now or by an earlier try."""

    def not_stored(self, message: NewMessage, reason: str, *, full: bool) -> None:
        """Reports that the submission is not stored. `full` means that the disk or the database has no space."""


class Receiver(Protocol):
    """Gets the messages that were just stored, and delivers them."""

    def take(self, messages: Sequence[NewMessage], stored_at: int, owner: int) -> None:
        """Accepts messages whose deliveries are leased to `owner`, or are not leased and wait in the database."""

    def due(self, woken: Mapping[tuple[str, str], int]) -> None:
        """Notes that mail waits in the database for these destinations and sources, each from the given time on."""


@dataclass(slots=True)
class _Store:
    message: NewMessage
    submitter: Submitter
    # The reports that must be stored together with the message.
    followers: tuple[NewMessage, ...]
    deadline: float
    # The value of `stored_at` at each try to store it.
    tried_at: list[int] = field(default_factory=list)


@dataclass(slots=True)
class _Batch:
    stores: list[_Store] = field(default_factory=list)
    settlements: list[Settlement] = field(default_factory=list)
    refused: list[Refused] = field(default_factory=list)

    @property
    def count(self) -> int:
        return len(self.stores) + len(self.settlements) + len(self.refused)


@dataclass(slots=True)
class _Committed:
    known: dict[str, int]
    lost: set[int]
    dropped_reports: set[int]
    woken: dict[tuple[str, str], int]
    at: int
    owner: int


class Committer:
    """Commits submissions, settlements and refusals. There is one in each process."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        holder: Leaseholder,
        store_seconds: float,
        statistics: Statistics,
    ) -> None:
        """A submission is refused when its commit fails after `store_seconds` or later."""
        self._database = database
        self._clock = clock
        self._holder = holder
        self._store_seconds = store_seconds
        self._statistics = statistics
        self._stores: deque[_Store] = deque()
        # The number of all submissions so far, and the number of those that were answered.
        self._submitted = 0
        self._answered = 0
        # This event is set when some submissions were answered. Then a new event takes its place.
        self._answers = asyncio.Event()
        self._settlements: deque[Settlement] = deque()
        # The number of all settlements that were handed over, and the number of those that are committed. They are
        # committed in the same order.
        self.handed_over = 0
        self.settled = 0
        self._refused: deque[Refused] = deque()
        # Refused submissions that may be in the database, because the answer to their commit was lost.
        self._doubtful: list[DoubtfulSubmission] = []
        self._wake = asyncio.Event()
        # This event is set when the batch has the number of submissions that `_until` waits for.
        self._enough = asyncio.Event()
        self._awaited = 0
        # The average number of submissions in a commit, together with those that arrived during the commit.
        self._average_batch = 0.0
        self._idle = asyncio.Event()
        self._idle.set()
        # These objects are told of each commit. The dispatcher is the only one.
        self.receivers: list[Receiver] = []
        holder.on_heartbeat.append(self._database_answers)
        # The reason why nothing can be committed now. It is empty when commits work.
        self.unavailable_reason = ""

    @property
    def waiting(self) -> int:
        """Returns the number of settlements that are not committed yet."""
        return len(self._settlements)

    def _database_answers(self) -> None:
        """Clears the reason of an earlier failure, because the database has answered a heartbeat, unless a commit is
        failing now.
        """
        if self._idle.is_set():
            self.unavailable_reason = ""

    def submit(self, message: NewMessage, submitter: Submitter, followers: tuple[NewMessage, ...] = ()) -> None:
        self._submitted += 1
        self._stores.append(_Store(message, submitter, followers, self._clock.steady() + self._store_seconds))
        if len(self._stores) >= self._awaited:
            self._enough.set()
        self._notify()

    async def confirm(self, submission: str) -> int | None:
        """Returns the id of the message as which a submission was stored before, or None when it was not stored. Raises
        QueueError.
        """
        # An earlier try may still wait for its commit.
        submitted = self._submitted
        while self._answered < submitted:
            await self._answers.wait()
        return await self._database.write(lambda connection: confirm(connection, submission))

    def settle(self, settlement: Settlement) -> None:
        self.handed_over += 1
        self._settlements.append(settlement)
        self._notify()

    def refuse(self, refused: Refused) -> None:
        """Accepts the record of a refusal. The record is dropped and counted when too many records wait."""
        if len(self._refused) >= _REFUSALS_KEPT:
            REFUSALS_DROPPED.inc()
            return
        self._refused.append(refused)
        self._notify()

    async def drained(self) -> None:
        """Waits until everything that was handed over is committed or refused."""
        await self._idle.wait()

    async def run(self) -> None:
        """Commits batches, without end."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._stores or self._settlements or self._refused or self._doubtful:
                await self._wait_for_batch()
                batch = self._gather()
                await self._commit(batch)
                if batch.stores:
                    present = len(batch.stores) + len(self._stores)
                    self._average_batch = max(present, self._average_batch + (present - self._average_batch) * _DECAY)
            self._idle.set()

    def _notify(self) -> None:
        if not self._wake.is_set():
            self._idle.clear()
            self._wake.set()

    async def _wait_for_batch(self) -> None:
        """Waits for more submissions when it is better to commit them together."""
        if not self._stores and len(self._settlements) < _SETTLEMENTS_ENOUGH:
            await self._until(1, _ALONE_SECONDS)
        target = self._average_batch * _TARGET_SHARE
        if self._average_batch >= _MIN_AVERAGE_BATCH and 0 < len(self._stores) < target:
            await self._until(math.ceil(target), _MAX_WAIT_SECONDS)

    async def _until(self, submissions: int, seconds: float) -> None:
        """Waits until there is this number of submissions, or the time is over."""
        self._awaited = submissions
        self._enough.clear()
        timer = asyncio.get_running_loop().call_later(seconds, self._enough.set)
        try:
            await self._enough.wait()
        finally:
            timer.cancel()

    def _gather(self) -> _Batch:
        batch = _Batch()
        octets = 0
        while self._stores and len(batch.stores) < _MESSAGES and octets < _OCTETS:
            entry = self._stores.popleft()
            octets += len(entry.message.content)
            batch.stores.append(entry)
        while self._settlements and len(batch.settlements) < _MESSAGES:
            batch.settlements.append(self._settlements.popleft())
        while self._refused and len(batch.refused) < _REFUSALS_AT_ONCE:
            batch.refused.append(self._refused.popleft())
        return batch

    async def _commit(self, batch: _Batch) -> None:
        """Tries until the batch is committed or refused. Raises only CancelledError."""
        pause = _FIRST_PAUSE
        while True:
            began = self._clock.steady()
            try:
                done = await self._try(batch)
            except StorageFullError as error:
                self._failed("full", error)
                self._nack([*batch.stores, *self._stores], str(error), full=True)
                self._stores.clear()
                batch.stores.clear()
                batch.refused.clear()
            except UnavailableError as error:
                self._failed("unavailable", error)
                self._nack_overdue(batch, str(error))
            except LostIdentityError:
                # The next try leases deliveries to the new id. Settlements under the old id will find that their leases
                # are gone.
                continue
            except Exception as error:  # noqa: BLE001 - one message that breaks our code must not stop all others
                self._failed("error", error)
                await self._one_by_one(batch, error)
                return
            else:
                COMMIT_SECONDS.observe(self._clock.steady() - began)
                COMMIT_SIZE.observe(batch.count)
                self.unavailable_reason = ""
                self.settled += len(batch.settlements)
                self._tell(batch, done)
                return
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)
            if not batch.count:
                return

    async def _try(self, batch: _Batch) -> _Committed:
        owner, now = self._holder.id, self._clock.now()
        doubtful = list(self._doubtful)
        check = not self._database.exclusive
        new = _unique(batch.stores)
        for entry in new:
            entry.tried_at.append(now)

        def work(connection: Connection) -> _Committed:
            if check and not leases.registered(connection, owner):
                raise LostIdentityError
            forget_refused(connection, doubtful)
            # Settlements come first. Refused submissions are removed before new ones are stored, because a message that
            # is sent again must not be taken for its refused submission.
            settling = settle(connection, batch.settlements, owner, now)
            known = store(connection, [entry.message for entry in new], owner, now) if new else {}
            followers = [
                each
                for entry in new
                if entry.followers and entry.message.submission_id not in known
                for each in entry.followers
            ]
            if followers:
                store(connection, followers, owner, now)
            store_refused(connection, batch.refused)
            return _Committed(known, settling.lost, settling.dropped_reports, settling.woken, now, owner)

        try:
            done = await self._database.write(work)
        except LostIdentityError:
            await self._holder.renewed_identity(owner)
            raise
        self._doubtful = self._doubtful[len(doubtful) :]
        return done

    def _tell(self, batch: _Batch, done: _Committed) -> None:
        fresh: list[NewMessage] = []
        first: dict[str | None, int] = {}
        for entry in batch.stores:
            message = entry.message
            known_id = done.known.get(message.submission_id or "")
            if known_id is None and message.submission_id is not None:
                known_id = first.setdefault(message.submission_id, message.id)
            if known_id is None or known_id == message.id:
                fresh += (message, *entry.followers)
            entry.submitter.stored(message, message.id if known_id is None else known_id)
        if batch.stores:
            self._count_answers(len(batch.stores))
            self._statistics.accepted(fresh)
        self._statistics.settled([settlement.deliveries for settlement in batch.settlements], done.lost)
        for settlement in batch.settlements:
            fresh += (report for report in settlement.reports if report.id not in done.dropped_reports)
        if done.lost:
            LEASES_LOST.inc(len(done.lost))
            log.warning("settlements_lost", deliveries=len(done.lost), reason="their leases had been freed")
        for receiver in self.receivers:
            if fresh:
                receiver.take(fresh, done.at, done.owner)
            if done.woken:
                receiver.due(done.woken)

    def _failed(self, reason: str, error: Exception) -> None:
        COMMIT_FAILURES.labels(reason).inc()
        if not self.unavailable_reason:
            log.error("commit_failed", reason=str(error))
        self.unavailable_reason = str(error)

    def _nack(self, stores: Sequence[_Store], reason: str, *, full: bool) -> None:
        for entry in stores:
            if entry.tried_at:
                # After a lost connection it is unknown whether the submission was committed. If it was, it must be
                # removed, because it was refused (C132).
                ids = entry.message.id, *(each.id for each in entry.followers)
                self._doubtful.append(DoubtfulSubmission(ids, entry.tried_at))
            entry.submitter.not_stored(entry.message, reason, full=full)
        self._count_answers(len(stores))

    def _count_answers(self, number: int) -> None:
        self._answered += number
        self._answers.set()
        self._answers = asyncio.Event()

    def _nack_overdue(self, batch: _Batch, reason: str) -> None:
        now = self._clock.steady()
        overdue = [entry for entry in batch.stores if entry.deadline <= now]
        batch.stores = [entry for entry in batch.stores if entry.deadline > now]
        while self._stores and self._stores[0].deadline <= now:
            overdue.append(self._stores.popleft())
        self._nack(overdue, reason, full=False)

    async def _one_by_one(self, batch: _Batch, error: Exception) -> None:
        """Commits each entry of the batch alone, because one of them cannot be written and must not prevent the
        others.
        """
        if batch.count > 1:
            singles = [_Batch(stores=[entry]) for entry in batch.stores]
            singles += [_Batch(settlements=[settlement]) for settlement in batch.settlements]
            singles += [_Batch(refused=[refused]) for refused in batch.refused]
            for single in singles:
                await self._commit(single)
            return
        self._nack(batch.stores, str(error), full=False)
        for settlement in batch.settlements:
            # The lease stays. A delivery whose outcome cannot be recorded must not be tried again before an operator
            # has investigated it.
            self.settled += 1
            log.critical("settlement_impossible", queue_id=queue_id(settlement.message_id), reason=str(error))


def _unique(stores: Sequence[_Store]) -> list[_Store]:
    """Returns the submissions without repetitions: the same submission twice in one batch is one message."""
    by_submission: dict[str | None, _Store] = {}
    for entry in stores:
        by_submission.setdefault(entry.message.submission_id, entry)
    return list(by_submission.values())
