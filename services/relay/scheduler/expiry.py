"""Does the work that only time makes due: notices of delay, expiry of deferred and held mail, and removal of the
history.

This work does not depend on attempts (C135). While the clock cannot be trusted, after a jump, only due times are
corrected.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import NamedTuple

import structlog

from services.relay.clock import MICROSECONDS, Clock
from services.relay.configuration.model import Configuration, QueueSettings
from services.relay.metrics import QUARANTINED, REPORTS, SWEPT
from services.relay.model.message import Action, NewMessage, ReportedRecipient, queue_id
from services.relay.model.retry_schedule import expiry, longest_delays, sweep
from services.relay.model.states import QUARANTINE, State
from services.relay.queue import ending
from services.relay.queue.database import Connection, Database, QueueError
from services.relay.queue.destinations import wake_forgotten
from services.relay.queue.due_times import pull_back, pull_sweeps_back
from services.relay.queue.ending import Open
from services.relay.queue.identifiers import Identifiers
from services.relay.queue.quarantine import quarantine_message
from services.relay.queue.retention import forget_destinations, remove_old, shrink
from services.relay.queue.settling import Event, record_events
from services.relay.queue.statistics import CountedEvent, Statistics, remove_before
from services.relay.queue.storing import store
from services.relay.reports.reporting import reports, waiting_copy
from services.relay.routing.recipients import hears_of_failure, wants_delay
from services.relay.scheduler.settlement import EXPIRED, LastAttempt

log = structlog.get_logger(__name__)

_SWEEP_SECONDS = 15.0
_RETENTION_SECONDS = 60.0
# The number of rounds of retention between two searches for mail of older releases.
_FORGOTTEN_ROUNDS = 10
# The pause between two small steps of a long job, so that deliveries come first.
_PAUSE_SECONDS = 0.05
_BATCH = 50
_REMOVED_AT_ONCE = 500
# A message whose deliveries are being tried is checked again after this time.
_AGAIN = 600 * MICROSECONDS
# The sender gets only one notice of delay. While deliveries of the message are being tried, the notice waits for their
# outcomes, because it could not name these recipients. It is checked again after `_NOTICE_AGAIN`. After `_NOTICE_WAITS`
# it is sent if it can name any recipient.
_NOTICE_AGAIN = 60 * MICROSECONDS
_NOTICE_WAITS = 3600 * MICROSECONDS
# While nothing may expire, an expired message is checked again after this time.
_UNTIL_EXPIRY_IS_ALLOWED = 10 * MICROSECONDS
# The longest time by which a delivery is deferred without an attempt that counts.
_UNTRIED_SECONDS = 300.0
# After the start, due mail is tried before old mail expires.
_START_SECONDS = 120.0


class _Swept(NamedTuple):
    """The result of one batch: the numbers of messages that it examined and of deliveries that expired."""

    messages: int
    expired: int


class Sweeper:
    """Sweeps the queue. There is one in each process."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        identifiers: Identifiers,
        configuration: Callable[[], Configuration | None],
        wake: Callable[[], None],
        statistics: Statistics,
    ) -> None:
        self._database = database
        self._statistics = statistics
        self._clock = clock
        self._identifiers = identifiers
        self._configuration = configuration
        self._wake = wake
        self._may_expire_at = clock.steady() + _START_SECONDS
        # Whether due times must be checked for being too late. It is true at first, because the wall clock may have
        # been set back since the due times were written, even while relay was not running.
        self._pull_back = True
        # Whether the clock was set back while this process ran.
        self._set_back = False
        # The settings from which the times in the queue were computed.
        self._settings: QueueSettings | None = None
        clock.on_jump = self._jumped

    async def run(self) -> None:
        """Sweeps the queue, without end."""
        while True:
            await asyncio.sleep(_SWEEP_SECONDS)
            try:
                while self._pull_back:
                    await self.pull_back()
                while await self.sweep():  # noqa: ASYNC110 - not polling: one batch after the other
                    await asyncio.sleep(_PAUSE_SECONDS)
            except QueueError as error:
                log.warning("sweep_failed", reason=str(error))

    async def run_retention(self) -> None:
        """Removes messages that were finished long enough ago, a few at a time, without end."""
        rounds = 0
        while True:
            await asyncio.sleep(_RETENTION_SECONDS)
            rounds += 1
            try:
                if rounds % _FORGOTTEN_ROUNDS == 0 and not self._database.exclusive:
                    await self.find_forgotten()
                while await self.retire():  # noqa: ASYNC110 - not polling: one batch after the other
                    await asyncio.sleep(_PAUSE_SECONDS)
            except QueueError as error:
                log.warning("retention_failed", reason=str(error))

    async def find_forgotten(self) -> None:
        """Searches for mail that a relay of an older release has stored, so that it is claimed. Raises QueueError."""
        if await self._database.write(wake_forgotten):
            self._wake()

    async def sweep(self) -> bool:
        """Sweeps one batch. Returns whether there may be more. Raises QueueError."""
        configuration = self._configuration()
        if configuration is None or not self._clock.settled:
            # While the clock cannot be trusted, no notice is sent, nothing expires, and no next time is set.
            return False
        if configuration.queue != self._settings:
            await self._apply_settings(configuration.queue)
        may_expire = self._clock.steady() >= self._may_expire_at

        def work(connection: Connection, only: int | None = None) -> _Swept:
            now = self._clock.now()
            due_messages = ending.due_for_sweep(connection, now, _BATCH, only)
            expired = sum(self._sweep_one(connection, configuration, entry, now, may_expire) for entry in due_messages)
            return _Swept(len(due_messages), expired)

        try:
            swept = await self._database.write(work)
        except Exception as error:
            if isinstance(error, QueueError) and not error.corrupt:
                raise
            swept = await self._sweep_one_by_one(work)
        self._statistics.count(CountedEvent.BOUNCED, swept.expired)
        if swept.messages:
            self._wake()
        return swept.messages == _BATCH

    async def _apply_settings(self, settings: QueueSettings) -> None:
        """Applies changed settings to the mail that is already queued, including held mail. Raises QueueError."""
        fresh = sweep(settings, 0, null_sender=False, delay_noticed=False)
        noticed = sweep(settings, 0, null_sender=False, delay_noticed=True)
        null_sender = sweep(settings, 0, null_sender=True, delay_noticed=False)

        def work(connection: Connection) -> int:
            return pull_sweeps_back(connection, fresh, noticed, null_sender, _REMOVED_AT_ONCE)

        while await self._database.write(work) == _REMOVED_AT_ONCE:  # noqa: ASYNC110 - not polling: batch after batch
            await asyncio.sleep(_PAUSE_SECONDS)
        self._settings = settings
        self._pull_back = True

    async def _sweep_one_by_one(self, work: Callable[[Connection, int], _Swept]) -> _Swept:
        """Sweeps each message separately. A message that cannot be read is set aside, so that it does not delay the
        others (C140).
        """
        due = self._clock.now()
        message_ids = await self._database.read(lambda connection: ending.ids_due_for_sweep(connection, due, _BATCH))
        expired = 0
        for message_id in message_ids:
            try:
                swept = await self._database.write(lambda connection: work(connection, message_id))  # noqa: B023 - used at once
                expired += swept.expired
            except Exception as error:
                if isinstance(error, QueueError) and not error.corrupt:
                    raise
                await self._isolate_damaged(message_id, str(error)[:200])
        return _Swept(len(message_ids), expired)

    async def _isolate_damaged(self, message_id: int, reason: str) -> None:
        now, event = self._clock.now(), self._identifiers.next()
        count = await self._database.write(
            lambda connection: quarantine_message(connection, event, message_id, reason, now, now + _AGAIN)
        )
        QUARANTINED.inc(count)
        log.error("message_quarantined", queue_id=queue_id(message_id), deliveries=count, reason=reason)

    async def pull_back(self) -> None:
        """Corrects one batch of due times that are later than any schedule allows. Raises QueueError."""
        configuration = self._configuration()
        settings = configuration.queue if configuration is not None else QueueSettings()
        delays = [settings.max_retry]
        if self._set_back:
            # Each delivery gets the latest time that its number of attempts allows. This reads every delivery, so it is
            # done only when the clock was set back, and not at every start.
            delays = longest_delays(settings)
            delays.insert(0, max(delays[0], _UNTRIED_SECONDS))
        now = self._clock.now()
        latest = [now + int(delay * MICROSECONDS) for delay in delays]
        pulled = await self._database.write(lambda connection: pull_back(connection, latest, _REMOVED_AT_ONCE))
        self._pull_back = pulled == _REMOVED_AT_ONCE
        self._set_back = self._set_back and self._pull_back
        if pulled:
            log.warning("due_times_moved_earlier", deliveries=pulled)
            self._wake()

    def _jumped(self, seconds: float) -> None:
        if seconds < 0:
            self._pull_back = self._set_back = True

    async def retire(self) -> bool:
        """Removes one batch of the history. Returns whether there may be more. Raises QueueError."""
        configuration = self._configuration()
        if configuration is None or not self._clock.settled:
            return False
        before = self._clock.now() - int(configuration.queue.retention * MICROSECONDS)

        def work(connection: Connection) -> int:
            removed = remove_old(connection, before, _REMOVED_AT_ONCE)
            if removed < _REMOVED_AT_ONCE:
                forget_destinations(connection, before)
                remove_before(connection, before)
            return removed

        try:
            removed = await self._database.write(work)
            more = removed == _REMOVED_AT_ONCE
        except QueueError as error:
            if not error.corrupt:
                raise
            removed, more = await self._retire_one(before), True
        if removed:
            SWEPT.labels("retired").inc(removed)
        freed = await self._database.write(shrink)
        return more or freed

    async def _retire_one(self, before: int) -> int:
        """Removes only the oldest message, and leaves its content when the content cannot be removed."""
        try:
            return await self._database.write(lambda connection: remove_old(connection, before, 1))
        except QueueError as error:
            if not error.corrupt:
                raise
            log.error("content_not_removed", reason=str(error))
        return await self._database.write(lambda connection: remove_old(connection, before, 1, contents_too=False))

    def _sweep_one(
        self, connection: Connection, configuration: Configuration, entry: Open, now: int, may_expire: bool
    ) -> int:
        """Sweeps one message, and returns the number of its deliveries that expired."""
        if not entry.waiting and not entry.others:
            raise ValueError("the message is open, but none of its deliveries is")
        settings, message = configuration.queue, entry.message
        null_sender = not message.sender
        noticed = entry.delay_noticed
        if now >= expiry(settings, message.stored_at, null_sender=null_sender):
            if may_expire:
                self._expire(connection, configuration, entry, now)
            again = _AGAIN if may_expire else _UNTIL_EXPIRY_IS_ALLOWED
            ending.swept(connection, message.id, now + again, delay_noticed=noticed)
            return len(entry.waiting) if may_expire else 0
        next_sweep = sweep(settings, message.stored_at, null_sender=null_sender, delay_noticed=noticed)
        if next_sweep <= now and not noticed:
            if entry.others and (not entry.waiting or now < next_sweep + _NOTICE_WAITS):
                next_sweep = now + _NOTICE_AGAIN
            else:
                self._notice(connection, configuration, entry, now)
                noticed = True
                next_sweep = sweep(settings, message.stored_at, null_sender=null_sender, delay_noticed=True)
        ending.swept(connection, message.id, max(next_sweep, now + MICROSECONDS), delay_noticed=noticed)
        return 0

    def _expire(self, connection: Connection, configuration: Configuration, entry: Open, now: int) -> None:
        if not entry.waiting:
            return
        reported = [
            _reported(row, Action.FAILED, EXPIRED, settings=None)
            for row in entry.waiting
            if row.destination != QUARANTINE and hears_of_failure(entry.message.kind, _notify(row))
        ]
        report_messages = self._reports(connection, configuration, entry, reported, now)
        ending.end(connection, [(row, State.BOUNCED, "") for row in entry.waiting], now)
        store(connection, report_messages, 0, now)
        record_events(
            connection,
            [
                Event(self._identifiers.next(), row.message_id, now, "expired", row.recipient, row.last_reply)
                for row in entry.waiting
            ],
        )
        SWEPT.labels("expired").inc(len(entry.waiting))
        log.warning("deliveries_expired", queue_id=queue_id(entry.message.id), deliveries=len(entry.waiting))

    def _notice(self, connection: Connection, configuration: Configuration, entry: Open, now: int) -> None:
        until = expiry(configuration.queue, entry.message.stored_at, null_sender=False)
        reported = [
            _reported(row, Action.DELAYED, "4.0.0", settings=configuration.queue, until=until)
            for row in entry.waiting
            if row.destination != QUARANTINE and wants_delay(_notify(row))
        ]
        report_messages = self._reports(connection, configuration, entry, reported, now)
        store(connection, report_messages, 0, now)
        if report_messages:
            SWEPT.labels("delay_notice").inc(len(report_messages))
            record_events(
                connection,
                [
                    Event(
                        self._identifiers.next(),
                        entry.message.id,
                        now,
                        "dsn_sent",
                        b"",
                        f"delayed: {queue_id(report.id)}",
                    )
                    for report in report_messages
                ],
            )

    def _reports(
        self,
        connection: Connection,
        configuration: Configuration,
        entry: Open,
        reported: list[ReportedRecipient],
        now: int,
    ) -> list[NewMessage]:
        if not reported:
            return []
        message = ending.with_content(connection, entry.message)
        try:
            report_messages = reports(configuration, self._identifiers.next, message, reported, now)
        except QueueError:
            raise
        except Exception:
            # The expiry or the notice is recorded, even when the report cannot be made.
            log.exception("report_failed_internally", queue_id=queue_id(message.id))
            return []
        for report in report_messages:
            REPORTS.labels(report.kind.name.lower()).inc()
        return [waiting_copy(each) for each in report_messages]


def _notify(row: object) -> tuple[str, ...]:
    return tuple(filter(None, row.notify.split(",")))  # type: ignore[attr-defined]


def _reported(
    row: object, action: Action, status: str, *, settings: QueueSettings | None, until: int | None = None
) -> ReportedRecipient:
    last = LastAttempt.parse(row.last_attempt)  # type: ignore[attr-defined]
    if settings is not None and last.enhanced_code.startswith("4."):
        status = last.enhanced_code
    return ReportedRecipient(
        address=row.recipient,  # type: ignore[attr-defined]
        action=action,
        status=status,
        orcpt=row.orcpt,  # type: ignore[attr-defined]
        code=last.code if last.host and not last.own else 0,
        text=last.text or "it was held, or waited, until it expired",
        remote_host=last.host,
        last_attempt_at=last.ended_at,
        will_retry_until=until,
        submitted_recipient=row.submitted_recipient,  # type: ignore[attr-defined]
    )
