"""One attempt at one job: it finds the routes, calls the transport, and hands the outcomes to the committer."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Callable, Sequence
from dataclasses import replace

import structlog

from libs.runtime import tracing
from services.relay.clock import MICROSECONDS, Clock
from services.relay.configuration.model import Configuration, key_of
from services.relay.metrics import ATTEMPTS, DELIVERY_SECONDS, DESTINATION_ATTEMPTS, QUARANTINED, REPORTS
from services.relay.model.attempt import Outcome, Result, Route, RouteKind, Transport
from services.relay.model.message import NewMessage, QueuedDelivery, QueuedMessage, Settled, domain_of, queue_id
from services.relay.model.states import HELD_BY_ROUTE, Kind, State
from services.relay.queue.claiming import read_content
from services.relay.queue.database import Database, QueueError
from services.relay.queue.group_commit import Committer
from services.relay.queue.identifiers import ExhaustedError, Identifiers
from services.relay.queue.leaseholder import Leaseholder
from services.relay.queue.quarantine import quarantine
from services.relay.queue.settling import Event, Settlement
from services.relay.reports.reporting import reports
from services.relay.routing.rules import resolve, resolve_redirected
from services.relay.scheduler.attempt_log import AttemptLog
from services.relay.scheduler.backlog import Job
from services.relay.scheduler.held_mail import readdressed
from services.relay.scheduler.message_rates import MessageRates
from services.relay.scheduler.settlement import AttemptFacts, settle
from services.relay.scheduler.suspensions import Suspensions

log = structlog.get_logger(__name__)

# The largest number of recipients whose outcomes are recorded together. It is not more than the largest number of
# recipients of one transaction.
_AT_ONCE = 100
# The wait before another attempt when the configuration or the content is not available.
_LATER = 5 * MICROSECONDS
# The pause before mail is checked again, and the longest time to wait, when policy accepted mail for one of our domains
# that relay does not know yet. Relay's configuration may be a moment older than policy's, or much older while
# config_api does not answer. The second pair is for the time in which relay gets no changes.
_CATCHING_UP = MICROSECONDS // 2, 3 * MICROSECONDS
_CUT_OFF = 5 * MICROSECONDS, 300 * MICROSECONDS


_COUNTERS = {result: ATTEMPTS.labels(result.value) for result in Result}
_DELIVERED = _COUNTERS[Result.DELIVERED]


class Attempts:
    """Makes the attempts. There is one in each process, for as long as the process lives."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        committer: Committer,
        holder: Leaseholder,
        identifiers: Identifiers,
        transport: Transport,
        suspensions: Suspensions,
        configuration: Callable[[], Configuration | None],
        up_to_date: Callable[[], bool],
        rng: random.Random,
    ) -> None:
        """`up_to_date` tells whether relay gets each new configuration now."""
        self._database = database
        self._clock = clock
        self._committer = committer
        self._holder = holder
        self._identifiers = identifiers
        self._transport = transport
        self._suspensions = suspensions
        self._configuration = configuration
        self._up_to_date = up_to_date
        self._rng = rng
        self.rates = MessageRates(database, clock)
        self._attempt_log = AttemptLog()

    async def attempt(self, destination: str, job: Job) -> list[tuple[str, Job]]:
        """Tries the deliveries of the job, and settles them.

        Returns the deliveries that have another destination now and must be tried there.
        """
        configuration = self._configuration()
        if configuration is None:
            self.give_back(destination, job, _LATER)
            return []
        known_deliveries = self._known(configuration, destination, job)
        if not known_deliveries:
            return []
        job = job if known_deliveries is job.deliveries else Job(job.message, known_deliveries)
        message = job.message
        if message.content is None:
            loaded = await self._load(destination, job)
            if loaded is None:
                return []
            message = loaded
        moved: list[tuple[str, Job]] = []
        for route, deliveries in _routes(configuration, message, job.deliveries):
            if route.destination != destination:
                moved.append((route.destination, Job(job.message, deliveries)))
            elif route.kind is RouteKind.HOLD:
                self._hold(configuration, route, message, deliveries)
            elif route.kind is RouteKind.FAIL and (pause := self._catching_up(message)):
                # Policy accepted the recipient, so a newer configuration probably has the account.
                self.give_back(destination, Job(message, deliveries), pause)
            elif len(deliveries) <= _AT_ONCE:
                await self._try(configuration, route, message, deliveries)
            else:
                await self._try_in_parts(configuration, route, message, deliveries)
        return moved

    async def _may_send(self, destination: str, limit: int) -> bool:
        """Counts a message, and returns whether it may be sent to the destination in this minute.

        When the database does not answer, nothing is counted and nothing is sent.
        """
        try:
            return await self.rates.take(destination, limit)
        except QueueError as error:
            log.warning("messages_not_counted", destination=destination, reason=str(error))
            return False

    def _known(self, configuration: Configuration, destination: str, job: Job) -> tuple[QueuedDelivery, ...]:
        """Returns the deliveries of the job, without those that wait for a newer configuration. The leases of these are
        given up.
        """
        message = job.message
        if message.may_relay or message.kind is not Kind.MAIL:
            return job.deliveries
        strange = [
            each
            for each in job.deliveries
            if not each.submitted_recipient and each.next_hop is None and not _ours(configuration, each.recipient)
        ]
        if not strange:
            return job.deliveries
        pause = self._catching_up(message)
        if not pause:
            return job.deliveries
        self.give_back(destination, Job(message, tuple(strange)), pause)
        log.info("waiting_for_configuration", queue_id=queue_id(message.id), recipients=len(strange))
        waiting = {each.id for each in strange}
        return tuple(delivery for delivery in job.deliveries if delivery.id not in waiting)

    def _catching_up(self, message: QueuedMessage) -> int:
        """Returns how long the message waits for a newer configuration before it is checked again. 0 means that it
        waited long enough.
        """
        pause, patience = _CATCHING_UP if self._up_to_date() else _CUT_OFF
        # If the clock was set back, the message must not wait without end.
        return pause if abs(self._clock.now() - message.stored_at) < patience else 0

    def give_back(self, destination: str, job: Job, delay: int = 0) -> None:
        """Gives up the leases without an attempt. Without a `delay` (in microseconds) the job keeps its place in the
        order.
        """
        later = self._clock.now() + delay if delay else 0
        settled = tuple(
            Settled(delivery.id, State.QUEUED, destination, later or delivery.due_at, delivery.attempts)
            for delivery in job.deliveries
        )
        owner, source = job.deliveries[0].lease_owner, job.message.source
        self._committer.settle(Settlement(job.message.id, owner, settled, source=source))

    async def isolate_damaged(self, corrupt: Sequence[tuple[int, int, str]]) -> None:
        """Quarantines deliveries that cannot be read, each with its message and the reason, so that the others are
        delivered (C140).
        """
        now = self._clock.now()
        rows = [(self._identifiers.next(), delivery, message, reason) for delivery, message, reason in corrupt]
        await self._database.write(lambda connection: quarantine(connection, rows, now))
        QUARANTINED.inc(len(rows))
        for _, delivery, message, reason in rows:
            log.error("delivery_quarantined", queue_id=queue_id(message), delivery=delivery, reason=reason)

    async def _load(self, destination: str, job: Job) -> QueuedMessage | None:
        message = job.message
        try:
            content = await self._database.read(lambda connection: read_content(connection, message.id))
        except QueueError as error:
            if error.corrupt:
                await self.isolate_damaged([(delivery.id, message.id, str(error)) for delivery in job.deliveries])
                return None
            log.warning("content_unavailable", queue_id=queue_id(message.id), reason=str(error))
            self.give_back(destination, job, _LATER)
            return None
        if content is None or len(content) != message.size:
            reason = "the content is missing" if content is None else f"the content has {len(content)} octets"
            await self.isolate_damaged([(delivery.id, message.id, reason) for delivery in job.deliveries])
            return None
        return message.with_content(content)

    async def _try_in_parts(
        self,
        configuration: Configuration,
        route: Route,
        message: QueuedMessage,
        deliveries: tuple[QueuedDelivery, ...],
    ) -> None:
        """Tries the deliveries in parts. The outcomes of each part are recorded before the next part begins, so that a
        crash causes no duplicates in earlier parts (C119).
        """
        for start in range(0, len(deliveries), _AT_ONCE):
            try:
                await self._try(configuration, route, message, deliveries[start : start + _AT_ONCE])
            except asyncio.CancelledError:
                if rest := deliveries[start + _AT_ONCE :]:
                    self.give_back(route.destination, Job(message, rest))
                raise

    async def _try(
        self,
        configuration: Configuration,
        route: Route,
        message: QueuedMessage,
        deliveries: tuple[QueuedDelivery, ...],
    ) -> None:
        limit = configuration.queue.max_messages_per_minute_per_destination
        if limit and not await self._may_send(route.destination, limit):
            self.give_back(route.destination, Job(message, deliveries), self.rates.until_next())
            return
        started_at = self._clock.now()
        span = None if tracing.tracer is None else _span(tracing.tracer, route, message, deliveries)
        try:
            outcomes = await self._transport.deliver(
                configuration, route, message.outgoing(), [delivery.outgoing() for delivery in deliveries]
            )
        except asyncio.CancelledError:
            # The attempt was cancelled, perhaps after the final dot, so the result is unknown (C120).
            self._record(configuration, route, message, deliveries, _broken_off(deliveries), started_at)
            if span is not None:
                span.end(error="broken off")
            raise
        if span is not None:
            _end(span, outcomes)
        if outcomes[0].suspend_destination:
            outcomes = self._unless_corrected(route, message, deliveries, outcomes)
        self._record(configuration, route, message, deliveries, outcomes, started_at)

    def _unless_corrected(
        self,
        route: Route,
        message: QueuedMessage,
        deliveries: tuple[QueuedDelivery, ...],
        outcomes: Sequence[Outcome],
    ) -> Sequence[Outcome]:
        """Returns the outcomes, which do not suspend the destination if the login was corrected while the attempt was
        running (F56).
        """
        newest = self._configuration()
        if newest is None or route in [way for way, _ in _routes(newest, message, deliveries)]:
            return outcomes
        return [replace(outcome, suspend_destination="", counts=False) for outcome in outcomes]

    def _record(
        self,
        configuration: Configuration,
        route: Route,
        message: QueuedMessage,
        deliveries: tuple[QueuedDelivery, ...],
        outcomes: Sequence[Outcome],
        started_at: int,
    ) -> None:
        now = self._clock.now()
        attempt_facts = AttemptFacts(
            settings=configuration.queue,
            destination=route.destination,
            is_mailbox=route.kind is RouteKind.MAILBOX,
            started_at=started_at,
            now=now,
            # This applies only to deferred deliveries.
            may_expire=_any_deferred(outcomes) and self._clock.settled,
            worker=self._holder.name,
            jitter=self._rng.random,
        )
        done = settle(attempt_facts, message, deliveries, outcomes)
        report_messages: tuple[NewMessage, ...] = ()
        if done.reported:
            try:
                report_messages = reports(configuration, self._identifiers.next, message, done.reported, now)
            except ExhaustedError:
                # No report can be made at present. It is part of the outcome, so the outcome is not recorded either,
                # and the deliveries are tried again.
                log.error("report_impossible", queue_id=queue_id(message.id), reason="no identifiers")
                self.give_back(route.destination, Job(message, deliveries), _LATER)
                return
            except Exception:
                # This is a fault of our code, and another attempt would not correct it. So the outcomes are recorded
                # without the report.
                log.exception("report_failed_internally", queue_id=queue_id(message.id))
            for report in report_messages:
                REPORTS.labels(report.kind.name.lower()).inc()
        for destination in done.suspend:
            self._suspensions.suspend_by_outcome(destination, done.error)
        self._committer.settle(
            Settlement(
                message.id,
                deliveries[0].lease_owner,
                tuple(done.settled),
                report_messages,
                tuple([self._report_sent(message, report, now) for report in report_messages])
                if report_messages
                else (),
                ((route.destination, done.error),) if done.error else (),
                message.source,
                _refused_keys(configuration, done.refused_recipients) if done.refused_recipients else (),
            )
        )
        for delivery, outcome, settled in zip(deliveries, outcomes, done.settled, strict=True):
            if outcome.result is Result.DELIVERED:
                _DELIVERED.inc()
                DESTINATION_ATTEMPTS.add(route.destination, "delivered")
                DELIVERY_SECONDS.observe(max(0, now - message.stored_at) / MICROSECONDS)
            else:
                _COUNTERS[outcome.result].inc()
                DESTINATION_ATTEMPTS.add(route.destination, outcome.result.value)
            if self._attempt_log.enabled:
                self._attempt_log.add(now, message, route, delivery, outcome, settled)

    def _report_sent(self, message: QueuedMessage, report: NewMessage, now: int) -> Event:
        return Event(self._identifiers.next(), message.id, now, "dsn_sent", b"", queue_id(report.id))

    def _hold(
        self,
        configuration: Configuration,
        route: Route,
        message: QueuedMessage,
        deliveries: tuple[QueuedDelivery, ...],
    ) -> None:
        """Holds deliveries that have no route, until the configuration changes or an operator acts."""
        now = self._clock.now()
        deliveries = tuple(
            delivery for delivery in deliveries if not self._given_on(configuration, message, delivery, now)
        )
        if not deliveries:
            return
        attempt = json.dumps(
            {"started_at": now, "ended_at": now, "result": "held", "text": route.reason, "worker": self._holder.name}
        )
        settled = tuple(
            Settled(delivery.id, State.QUEUED, route.destination, None, delivery.attempts, attempt, now, route.reason)
            for delivery in deliveries
        )
        self._committer.settle(Settlement(message.id, deliveries[0].lease_owner, settled, source=message.source))
        log.warning("delivery_held", queue_id=queue_id(message.id), reason=route.reason, recipients=len(deliveries))

    def _given_on(
        self, configuration: Configuration, message: QueuedMessage, delivery: QueuedDelivery, now: int
    ) -> bool:
        """Forwards held mail for an address that now stands for other addresses. Returns whether the delivery was
        forwarded, or was given back because no ids are left. Then it must not be held.
        """
        try:
            new_messages = readdressed(configuration, self._identifiers.next, message, delivery, now)
        except ExhaustedError:
            self.give_back(HELD_BY_ROUTE, Job(message, (delivery,)), _LATER)
            return True
        if not new_messages:
            return False
        reply = f"expanded to {len(new_messages[0].deliveries)} addresses as {queue_id(new_messages[0].id)}"
        settled = Settled(delivery.id, State.EXPANDED, HELD_BY_ROUTE, None, delivery.attempts, reply=reply)
        self._committer.settle(
            Settlement(message.id, delivery.lease_owner, (settled,), new_messages, source=message.source)
        )
        log.info("held_mail_forwarded", queue_id=queue_id(message.id), to=queue_id(new_messages[0].id))
        return True


def _routes(
    configuration: Configuration, message: QueuedMessage, deliveries: tuple[QueuedDelivery, ...]
) -> list[tuple[Route, tuple[QueuedDelivery, ...]]]:
    """Groups the deliveries by their present routes (C138)."""
    sender, quarantined = message.sender, message.quarantine
    if len(deliveries) == 1:
        return [(_route(configuration, sender, deliveries[0], quarantined), deliveries)]
    groups: dict[Route, list[QueuedDelivery]] = {}
    for each in deliveries:
        route = _route(configuration, sender, each, quarantined)
        groups.setdefault(route, []).append(each)
    return [(route, tuple(group)) for route, group in groups.items()]


def _route(configuration: Configuration, sender: bytes, delivery: QueuedDelivery, quarantined: bool) -> Route:
    if delivery.next_hop is None:
        return resolve(configuration, sender, delivery.recipient, quarantine=quarantined)
    return resolve_redirected(configuration, sender, delivery.recipient, delivery.next_hop, quarantine=quarantined)


def _refused_keys(configuration: Configuration, recipients: Sequence[bytes]) -> tuple[bytes, ...]:
    """Returns the keys of those recipients that are at our domains."""
    return tuple([key_of(recipient) for recipient in recipients if _ours(configuration, recipient)])


def _ours(configuration: Configuration, recipient: bytes) -> bool:
    """Returns whether the recipient's domain is one of ours, as far as this configuration knows."""
    domain = domain_of(key_of(recipient))
    return (
        not domain
        or domain in configuration.local_domains
        or domain in configuration.relay_domains
        or domain == configuration.hostname
    )


def _any_deferred(outcomes: Sequence[Outcome]) -> bool:
    return Result.DEFERRED in [outcome.result for outcome in outcomes]


def _span(
    tracer: tracing.Tracer, route: Route, message: QueuedMessage, deliveries: Sequence[QueuedDelivery]
) -> tracing.Span:
    return tracer.start(
        "relay.attempt",
        message.traceparent,
        kind="client",
        queue_id=queue_id(message.id),
        session_id=message.session_id,
        destination=route.destination,
        recipients=len(deliveries),
        attempt=1 + max(delivery.attempts for delivery in deliveries),
    )


def _end(span: tracing.Span, outcomes: Sequence[Outcome]) -> None:
    """Ends the span with the first outcome that is not a delivery, if there is one. The span gets no text from the next
    hop, because that may contain addresses.
    """
    worst = next((outcome for outcome in outcomes if outcome.result is not Result.DELIVERED), outcomes[0])
    span.set(result=worst.result.value, host=worst.host, code=worst.code, enhanced_code=worst.enhanced_code)
    span.end("" if worst.result is Result.DELIVERED else worst.result.value)


def _broken_off(deliveries: Sequence[QueuedDelivery]) -> list[Outcome]:
    text = "relay stopped during the attempt"
    return [
        Outcome(delivery.id, Result.DEFERRED, 0, "4.3.2", text, possible_duplicate=True, counts=False)
        for delivery in deliveries
    ]
