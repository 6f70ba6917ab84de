"""Makes messages from the frames of ingress: joins the content, checks it, resolves the recipients, and passes the
message to the committer.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum

import structlog

from libs.runtime import tracing
from libs.smtp.value import fast_value
from services.relay.clock import Clock
from services.relay.configuration.model import Configuration
from services.relay.intake.disk_space import Storage
from services.relay.intake.refusals import RefusalLimits
from services.relay.intake.submission import Frame, IncomingSubmission, Refusal
from services.relay.metrics import REFUSALS_DROPPED, REPORTS, SUBMISSIONS
from services.relay.model.message import NewDelivery, NewMessage, Origin, Refused, queue_id, queued, source_of
from services.relay.model.message_id import subject_of
from services.relay.model.retry_schedule import sweep
from services.relay.model.states import Kind, State
from services.relay.queue.database import QueueError
from services.relay.queue.group_commit import Committer
from services.relay.queue.identifiers import ExhaustedError, Identifiers
from services.relay.queue.statistics import CountedEvent, Statistics
from services.relay.reports.reporting import reports
from services.relay.routing.recipients import address
from services.relay.scheduler.backlog import MemoryBudget

log = structlog.get_logger(__name__)

_ID_LIMIT = 64
_NONE: frozenset[str] = frozenset()
# The content that one source sends may use up to this multiple of the free memory.
_MULTIPLE = 2


class Result(Enum):
    STORED = "stored"
    TEMPORARY_FAILURE = "temporary_failure"
    INSUFFICIENT_STORAGE = "insufficient_storage"
    INVALID = "invalid"


_COUNTERS = {result: SUBMISSIONS.labels(result.value) for result in Result}


@fast_value(frozen=True, slots=True)
class Ack:
    submission_id: str
    result: Result
    queue_id: str = ""
    reason: str = ""


@dataclass(slots=True)
class _Open:
    """A submission whose content has not arrived completely."""

    incoming: IncomingSubmission
    parts: list[bytes] = field(default_factory=list)
    octets: int = 0


class Stream:
    """The stream of one worker of ingress: its unfinished submissions, and the acknowledgements to send."""

    def __init__(self, intake: Intake) -> None:
        self._intake = intake
        self._open: dict[str, _Open] = {}
        self._acks: list[Ack] = []
        # While tracing is on: the spans of the whole submission and of its commit, by submission id.
        self._spans: dict[str, tuple[tracing.Span, tracing.Span]] = {}
        # The number of submissions whose result the committer, or the look-up of an earlier try, has not given yet.
        self.pending = 0
        self.changed = asyncio.Event()

    def take_acks(self) -> list[Ack]:
        acks, self._acks = self._acks, []
        stored = 0
        for ack in acks:
            if ack.result is Result.STORED:
                stored += 1
            else:
                _COUNTERS[ack.result].inc()
        if stored:
            _COUNTERS[Result.STORED].inc(stored)
        return acks

    def feed(self, frame: Frame) -> None:
        """Accepts a frame. The acknowledgements follow later."""
        for incoming in frame.submissions:
            self._begin(incoming)
        for chunk in frame.chunks:
            entry = self._open.get(chunk.submission_id)
            if entry is None:
                continue
            entry.octets += len(chunk.data)
            entry.parts.append(chunk.data)
            if entry.octets > entry.incoming.size:
                self._drop(chunk.submission_id)
                self._refuse(entry.incoming, Result.INVALID, "more content than was announced")
            elif chunk.last:
                self._drop(chunk.submission_id)
                self._finish(entry.incoming, b"".join(entry.parts))
        for submission_id in frame.abandoned:
            self._drop(submission_id)
        for refusal in frame.refused:
            self._intake.record(refusal)

    def close(self) -> None:
        """Ends the stream. Submissions that did not arrive completely are dropped."""
        for submission_id in list(self._open):
            self._drop(submission_id)

    def stored(self, message: NewMessage, message_id: int) -> None:
        self.pending -= 1
        if self._spans:
            self._end_spans(message.submission_id, queue_id=queue_id(message_id))
        self._intake.done(message, kept=message_id == message.id)
        self._ack(Ack(message.submission_id or "", Result.STORED, queue_id(message_id)))

    def not_stored(self, message: NewMessage, reason: str, *, full: bool) -> None:
        self.pending -= 1
        if self._spans:
            self._end_spans(message.submission_id, error=reason)
        self._intake.done(message, kept=False)
        if full:
            self._intake.storage.ran_full()
        result = Result.INSUFFICIENT_STORAGE if full else Result.TEMPORARY_FAILURE
        self._nack(message.submission_id or "", message.origin, result, reason)

    def _begin(self, incoming: IncomingSubmission) -> None:
        fault = _fault(incoming)
        if fault or incoming.id in self._open:
            self._refuse(incoming, Result.INVALID, fault or "the same submission was sent twice at the same time")
            return
        if not self._intake.storage.takes(incoming.size):
            self._refuse(incoming, Result.INSUFFICIENT_STORAGE, "the free space of the disk is below its reserve")
            return
        if len(incoming.content) == incoming.size:
            self._finish(incoming, incoming.content)
        elif incoming.content:
            self._refuse(incoming, Result.INVALID, f"{len(incoming.content)} octets of {incoming.size}")
        elif not self._intake.has_room(_source(incoming), incoming.size):
            self._refuse(incoming, Result.TEMPORARY_FAILURE, "too much content is arriving at the same time")
        else:
            self._intake.hold(_source(incoming), incoming.size)
            self._open[incoming.id] = _Open(incoming)

    def _finish(self, incoming: IncomingSubmission, content: bytes) -> None:
        if len(content) != incoming.size:
            self._refuse(incoming, Result.INVALID, f"{len(content)} octets of {incoming.size}")
            return
        if tracing.tracer is not None:
            incoming = self._begin_spans(tracing.tracer, incoming)
        refused = self._intake.accept(incoming, content, self)
        if not refused:
            self.pending += 1
        else:
            if self._spans:
                self._end_spans(incoming.id, error=refused)
            self._refuse(incoming, Result.TEMPORARY_FAILURE, refused)

    def _begin_spans(self, tracer: tracing.Tracer, incoming: IncomingSubmission) -> IncomingSubmission:
        """Begins the spans of a submission, and returns the submission with the trace of its first span. The spans of
        later attempts are children of this span.
        """
        whole = tracer.start(
            "relay.submit",
            incoming.traceparent,
            kind="server",
            session_id=incoming.origin.session_id,
            submission_id=incoming.id,
            size=incoming.size,
        )
        self._spans[incoming.id] = whole, tracer.start("relay.commit", whole.traceparent)
        return replace(incoming, traceparent=whole.traceparent)

    def _end_spans(self, submission_id: str | None, *, queue_id: str = "", error: str = "") -> None:
        span = self._spans.pop(submission_id or "", None)
        if span is not None:
            whole, commit = span
            commit.end(error)
            whole.set(queue_id=queue_id)
            whole.end(error)

    def _drop(self, submission_id: str) -> None:
        entry = self._open.pop(submission_id, None)
        if entry is not None:
            self._intake.hold(_source(entry.incoming), -entry.incoming.size)

    def _refuse(self, incoming: IncomingSubmission, result: Result, reason: str) -> None:
        if incoming.sent_before:
            # An earlier try may have stored the message. If ingress reported a failure in this case, the client would
            # send the message again.
            self.pending += 1
            self._intake.look_up(incoming.id, functools.partial(self._looked_up, incoming, result, reason))
        else:
            self._nack(incoming.id, incoming.origin, result, reason)

    def _looked_up(self, incoming: IncomingSubmission, result: Result, reason: str, message_id: int | None) -> None:
        self.pending -= 1
        if message_id is None:
            self._nack(incoming.id, incoming.origin, result, reason)
        else:
            self._ack(Ack(incoming.id, Result.STORED, queue_id(message_id)))

    def _nack(self, submission_id: str, origin: Origin, result: Result, reason: str) -> None:
        log.warning(
            "submission_refused",
            session_id=origin.session_id,
            submission_id=submission_id[:_ID_LIMIT],
            result=result.value,
            reason=reason,
        )
        self._ack(Ack(submission_id, result, reason=reason))

    def _ack(self, ack: Ack) -> None:
        self._acks.append(ack)
        self.changed.set()


class Intake:
    """Accepts submissions from all streams. There is one in each process."""

    def __init__(
        self,
        clock: Clock,
        committer: Committer,
        identifiers: Identifiers,
        configuration: Callable[[], Configuration | None],
        memory: MemoryBudget,
        storage: Storage,
        octets: int,
        statistics: Statistics,
    ) -> None:
        self._clock = clock
        self._committer = committer
        self._identifiers = identifiers
        self._configuration = configuration
        self._memory = memory
        self.storage = storage
        self._refusals = RefusalLimits(clock.steady())
        self._most_octets = octets
        self._statistics = statistics
        # The octets of content in memory that have not arrived completely or are not committed yet, in all and by
        # source.
        self._octets = 0
        self._octets_of: dict[str, int] = {}
        self._roomy = asyncio.Event()
        self._roomy.set()
        self._look_ups: set[asyncio.Task[None]] = set()

    async def roomy(self) -> None:
        """Waits until more data may be read from the streams."""
        await self._roomy.wait()

    def has_room(self, source: str, octets: int) -> bool:
        """Returns whether content of a source may arrive: no source may use more than a multiple of the free memory
        (model/shares.py), unless the memory holds nothing else.
        """
        free = self._most_octets - self._octets
        octets_held = self._octets_of.get(source, 0)
        return self._octets == 0 or (octets <= free and octets_held + octets <= _MULTIPLE * free)

    def hold(self, source: str, octets: int) -> None:
        """Adds to the count of the octets in memory. A negative number is subtracted."""
        self._octets += octets
        octets_held = self._octets_of.get(source, 0) + octets
        if octets_held:
            self._octets_of[source] = octets_held
        else:
            self._octets_of.pop(source, None)
        if self._octets < self._most_octets:
            self._roomy.set()

    def accept(self, incoming: IncomingSubmission, content: bytes, stream: Stream) -> str:
        """Passes a whole submission to the committer, which tells the stream its result. Returns the reason when that
        is impossible, and otherwise the empty text.
        """
        configuration = self._configuration()
        if configuration is None:
            return "no configuration yet"
        try:
            message, followers = self._message(configuration, incoming, content)
        except ExhaustedError as error:
            return str(error)
        for destination, count in _by_destination(message.deliveries).items():
            if destination in message.unleased:
                self._memory.overflows((destination, message.source), 1)
            else:
                self._memory.add(destination, message.source, count, len(content))
        self.hold(message.source, len(content))
        if self._octets >= self._most_octets:
            self._roomy.clear()
        self._committer.submit(message, stream, followers)
        return ""

    def look_up(self, submission_id: str, tell: Callable[[int | None], None]) -> None:
        """Calls `tell` with the number of the message as which a submission was stored before.

        The number is None if the submission was not stored, or if the database does not answer.
        """
        task = asyncio.create_task(self._look_up(submission_id, tell))
        self._look_ups.add(task)
        task.add_done_callback(self._look_ups.discard)

    async def _look_up(self, submission_id: str, tell: Callable[[int | None], None]) -> None:
        try:
            message_id = await self._committer.confirm(submission_id)
        except QueueError as error:
            log.warning("submission_not_looked_up", submission_id=submission_id[:_ID_LIMIT], reason=str(error))
            message_id = None
        tell(message_id)

    async def looked_up(self) -> None:
        """Waits until every look-up has ended."""
        await asyncio.gather(*self._look_ups)

    def done(self, message: NewMessage, *, kept: bool) -> None:
        """Notes that the committer is done with a message. From now on the dispatcher counts the memory of the
        deliveries that stay leased.
        """
        self.hold(message.source, -len(message.content))
        if kept and not message.unleased:
            return
        for destination, count in _by_destination(message.deliveries).items():
            if destination in message.unleased:
                self._memory.stored((destination, message.source))
            elif not kept:
                self._memory.remove(destination, message.source, count, len(message.content))

    def record(self, refusal: Refusal) -> None:
        """Counts a refusal, unless the message was discarded. Refused and discarded messages are recorded in the
        history, unless there are too many or too little space is left.
        """
        if not refusal.discarded:
            self._statistics.count(CountedEvent.REFUSED, 1, refusal.reason_id)
        self._statistics.shadow(refusal.verdicts)
        source = source_of(refusal.origin.account_login, refusal.origin.client_address)
        if not self._refusals.admit(source, self._clock.steady(), space_is_short=self.storage.space_is_short):
            return
        try:
            number = self._identifiers.next()
            recipients = tuple((self._identifiers.next(), recipient) for recipient in refusal.recipients)
            check_results = self._events(refusal.check_results)
        except ExhaustedError:
            REFUSALS_DROPPED.inc()
            return
        self._committer.refuse(
            Refused(
                number,
                refusal.origin,
                refusal.sender,
                recipients,
                refusal.code,
                refusal.enhanced_code,
                refusal.text,
                refusal.reason_id,
                refusal.rule_id,
                refusal.stage,
                refusal.refused_at or self._clock.now(),
                refusal.discarded,
                refusal.message_id,
                refusal.verdicts,
                check_results,
            )
        )

    def _events(self, check_results: Sequence[str]) -> tuple[tuple[int, str], ...]:
        return tuple((self._identifiers.next(), text) for text in check_results)

    def _message(
        self, configuration: Configuration, incoming: IncomingSubmission, content: bytes
    ) -> tuple[NewMessage, tuple[NewMessage, ...]]:
        """Makes the message, and the reports that are needed before any attempt (for alias loops and lists)."""
        now = self._clock.now()
        number = self._identifiers.next()
        addressed = address(
            configuration,
            self._identifiers.next,
            incoming.sender,
            incoming.recipients,
            quarantine=incoming.quarantine,
        )
        source = _source(incoming)
        unleased = [
            destination
            for destination, count in _by_destination(addressed.deliveries).items()
            if not self._memory.admit(destination, source, count, len(content))
        ]
        message = NewMessage(
            id=number,
            kind=Kind.MAIL,
            sender=incoming.sender,
            content=content,
            received_at=incoming.received_at or now,
            deliveries=tuple(addressed.deliveries),
            submission_id=incoming.id,
            origin=incoming.origin,
            ret=incoming.ret,
            envelope_id=incoming.envelope_id,
            smtputf8=incoming.smtputf8,
            body_8bitmime=incoming.body_8bitmime,
            quarantine=incoming.quarantine,
            sweep_at=sweep(configuration.queue, now, null_sender=not incoming.sender, delay_noticed=False),
            unleased=frozenset(unleased) if unleased else _NONE,
            traceparent=incoming.traceparent,
            source=source,
            subject=subject_of(content) if configuration.queue.keep_subjects else "",
            verdicts=incoming.verdicts,
            check_results=self._events(incoming.check_results) if incoming.check_results else (),
        )
        if not addressed.reported:
            return message, ()
        about, _ = queued(message, (), now, 0)
        report_messages = reports(configuration, self._identifiers.next, about, addressed.reported, now)
        for report in report_messages:
            REPORTS.labels(report.kind.name.lower()).inc()
        return message, report_messages


def _source(incoming: IncomingSubmission) -> str:
    return source_of(incoming.origin.account_login, incoming.origin.client_address)


def _by_destination(deliveries: Sequence[NewDelivery]) -> dict[str, int]:
    """Returns the number of waiting deliveries by destination."""
    counts: dict[str, int] = {}
    for delivery in deliveries:
        if delivery.state is State.QUEUED:
            counts[delivery.destination] = counts.get(delivery.destination, 0) + 1
    return counts


def _fault(incoming: IncomingSubmission) -> str:
    """Returns the fault of a submission. The result is empty when it has none."""
    if not incoming.id or len(incoming.id) > _ID_LIMIT or not incoming.id.isascii() or not incoming.id.isprintable():
        return "the id of the submission is not valid"
    if not incoming.recipients:
        return "no recipients"
    if any(not recipient.address for recipient in incoming.recipients):
        return "an empty recipient"
    return ""
