"""Serves relay.v1 over gRPC: it accepts submissions and acknowledges them, shows and changes the queue for operators,
and explains routes.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from typing import Any, NoReturn, Protocol

import grpc
import structlog
from posthouse.checks.v1 import checks_pb2, checks_pb2_grpc
from posthouse.relay.v1 import relay_pb2 as pb
from posthouse.relay.v1 import relay_pb2_grpc

from libs.runtime.checks import Checks, checks_servicer
from libs.smtp.network import counter_key
from services.relay.api.operator import Action, Operator
from services.relay.api.recipient_verification import RecipientVerifier, Verification
from services.relay.api.wire import event_messages, filters, routes, submissions, views
from services.relay.api.wire.fields import clean, microseconds
from services.relay.clock import MICROSECONDS, Clock
from services.relay.configuration.model import Configuration, QueueSettings, RelayHost
from services.relay.delivery.relay_host_check import Step
from services.relay.delivery.targets.explain import RouteExplanation
from services.relay.intake.disk_space import Storage, StorageState
from services.relay.intake.intake import Intake, Stream
from services.relay.model.message import message_id
from services.relay.model.redirect import Redirect
from services.relay.model.states import FOREVER
from services.relay.queue import destinations, event_reading, reading, statistics
from services.relay.queue.database import Database, QueueError
from services.relay.queue.destinations import DestinationView, Suspension
from services.relay.queue.filters import MessageFilter
from services.relay.queue.reading import Page, Position
from services.relay.queue.statistics import Statistics
from services.relay.routing.aliases import expand_one
from services.relay.routing.redirecting import undeliverable
from services.relay.scheduler.suspensions import Suspensions

log = structlog.get_logger(__name__)

SERVICE = pb.DESCRIPTOR.services_by_name["Relay"].full_name
CHECKS_SERVICE = checks_pb2.DESCRIPTOR.services_by_name["Checks"].full_name
CHECKS_CALLERS = {"ListChecks": {"config_api"}}

# Which services may call each method.
_OPERATORS = {"config_api"}
CALLERS = {
    "Submit": {"ingress"},
    "VerifyRecipient": {"ingress"},
    "ListMessages": _OPERATORS,
    "GetMessage": _OPERATORS,
    "GetMessageContent": _OPERATORS,
    "ActOnMessages": _OPERATORS,
    "ListHistory": _OPERATORS,
    "GetStatistics": _OPERATORS,
    "ListDestinations": _OPERATORS,
    "SuspendDestination": _OPERATORS,
    "ResumeDestination": _OPERATORS,
    "ResolveRoute": _OPERATORS,
    "TestRelayHost": _OPERATORS,
    "ReadEvents": _OPERATORS,
}

_VERIFICATIONS = {
    Verification.EXISTS: pb.VerifyRecipientResponse.VERIFICATION_EXISTS,
    Verification.NONE: pb.VerifyRecipientResponse.VERIFICATION_NONE,
    Verification.NO_ANSWER: pb.VerifyRecipientResponse.VERIFICATION_NO_ANSWER,
    Verification.TOO_MANY: pb.VerifyRecipientResponse.VERIFICATION_TOO_MANY,
    Verification.MAILBOX_FULL: pb.VerifyRecipientResponse.VERIFICATION_MAILBOX_FULL,
}
_PAGE = 100
_LARGEST_PAGE = 1000
_MOST_BUCKETS = 5000
_BUCKET_SECONDS = (300, 3600, 86400)
_CONTENT_OCTETS = 256 * 1024
_LONGEST_EVENT_WAIT = 30.0
# The pause between two checks for a new event while a caller waits. The checks read the table, because another relay
# may have written the event, and because a commit would be slower if it reported its events.
_EVENT_LOOK_SECONDS = 0.5

_Context = grpc.aio.ServicerContext[Any, Any]


class Explainer(Protocol):
    """The methods of the delivery code that answer questions of operators."""

    async def explain(self, configuration: Configuration, sender: bytes, recipient: bytes) -> RouteExplanation: ...

    def test_relay_host(self, relay_host: RelayHost, hostname: str, *, configured: bool) -> AsyncIterator[Step]: ...

    async def look_up_text(self, name: str) -> Sequence[str] | None:
        """Returns the TXT records of a name: empty when the name has none, None when there was no answer."""
        ...

    def probe_in(self, destination: str) -> float:
        """Returns the seconds until a destination that counts as dead is tried again, even if mail is due there
        earlier. Returns 0 for any other destination, and while the destination is being tried.
        """
        ...


class RelayServicer(relay_pb2_grpc.RelayServicer):
    """Implements the contract relay.v1, whose names its methods have."""

    def __init__(
        self,
        intake: Intake,
        storage: Storage,
        database: Database,
        clock: Clock,
        operator: Operator,
        suspensions: Suspensions,
        configuration: Callable[[], Configuration | None],
        explainer: Explainer,
        wake: Callable[[], None],
        verifier: RecipientVerifier,
        statistics: Statistics,
    ) -> None:
        self._verifier = verifier
        self._intake = intake
        self._storage = storage
        self._database = database
        self._clock = clock
        self._operator = operator
        self._suspensions = suspensions
        self._configuration = configuration
        self._explainer = explainer
        self._wake = wake
        self._statistics = statistics

    def register(self, server: grpc.aio.Server) -> None:
        relay_pb2_grpc.add_RelayServicer_to_server(self, server)

    async def Submit(  # noqa: N802
        self, request_iterator: AsyncIterator[pb.SubmitFrame], _: object
    ) -> AsyncIterator[pb.SubmitAckFrame]:
        stream = Stream(self._intake)
        changes: list[StorageState] = [self._storage.state]

        def storage_changed(state: StorageState) -> None:
            changes[:] = [state]
            stream.changed.set()

        self._storage.on_change.append(storage_changed)
        stream.changed.set()
        reader = asyncio.create_task(self._read(request_iterator, stream))
        reader.add_done_callback(lambda _: stream.changed.set())
        try:
            while True:
                await stream.changed.wait()
                stream.changed.clear()
                if changes:
                    yield submissions.storage(changes.pop())
                acks = stream.take_acks()
                if acks:
                    yield submissions.acks(acks)
                if reader.done() and not stream.pending and not stream.changed.is_set():
                    break
        finally:
            self._storage.on_change.remove(storage_changed)
            reader.cancel()
            stream.close()

    async def VerifyRecipient(  # noqa: N802
        self, request: pb.VerifyRecipientRequest, context: _Context
    ) -> pb.VerifyRecipientResponse:
        try:
            client = counter_key(request.client_address)
        except ValueError:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "not an IP address")
            raise AssertionError("abort raises") from None
        verification = await self._verifier.verify(request.recipient, client)
        return pb.VerifyRecipientResponse(verification=_VERIFICATIONS[verification])

    async def ListMessages(self, request: pb.ListMessagesRequest, context: _Context) -> pb.ListMessagesResponse:  # noqa: N802
        page = await self._page(reading.queue_page, request, context)
        now = self._clock.now()
        return pb.ListMessagesResponse(
            messages=[views.message(message, self._queue_settings(), now) for message in page.messages],
            next_page_token=page.next.token() if page.next else "",
        )

    async def ListHistory(self, request: pb.ListHistoryRequest, context: _Context) -> pb.ListHistoryResponse:  # noqa: N802
        page = await self._page(reading.message_page, request, context)
        now = self._clock.now()
        return pb.ListHistoryResponse(
            messages=[views.message(message, self._queue_settings(), now) for message in page.messages],
            next_page_token=page.next.token() if page.next else "",
        )

    async def GetStatistics(self, request: pb.GetStatisticsRequest, context: _Context) -> pb.GetStatisticsResponse:  # noqa: N802
        after, before = microseconds(request.after), microseconds(request.before)
        width = request.bucket_seconds * MICROSECONDS
        if (
            request.bucket_seconds not in _BUCKET_SECONDS
            or before <= after
            or (before - after) // width > _MOST_BUCKETS
        ):
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "no such period")
        try:
            await self._statistics.write()
            counts = await self._database.view(lambda connection: statistics.read(connection, after, before, width))
        except QueueError as error:
            await _unavailable(context, error)
        return views.statistics(counts)

    async def GetMessage(self, request: pb.GetMessageRequest, context: _Context) -> pb.Message:  # noqa: N802
        number = await self._message_id(request.queue_id, context)
        now = self._clock.now()
        try:
            found = await self._whole(number, now, with_header=request.include_header)
        except QueueError as error:
            await _unavailable(context, error)
        if found is None:
            await context.abort(grpc.StatusCode.NOT_FOUND, "no such message")
        return views.whole(found, self._queue_settings(), now)

    async def _whole(self, number: int, now: int, *, with_header: bool) -> reading.StoredMessage | None:
        """Returns the message with its history, or None when it does not exist. The header is left out when the content
        is damaged (C140).
        """
        try:
            return await self._database.view(
                lambda connection: reading.whole_message(connection, number, now, with_header=with_header)
            )
        except QueueError as error:
            if not (error.corrupt and with_header):
                raise
        return await self._whole(number, now, with_header=False)

    async def GetMessageContent(  # noqa: N802
        self, request: pb.GetMessageContentRequest, context: _Context
    ) -> AsyncIterator[pb.ContentChunk]:
        number = await self._message_id(request.queue_id, context)
        offset = 0
        while True:
            start = offset
            try:
                piece = await self._database.view(
                    lambda connection: reading.content_piece(connection, number, start, _CONTENT_OCTETS)  # noqa: B023
                )
            except QueueError as error:
                await _unavailable(context, error)
            if piece is None:
                await context.abort(grpc.StatusCode.NOT_FOUND, "the content is gone")
            if not piece:
                return
            yield pb.ContentChunk(data=piece)
            offset += len(piece)

    async def ActOnMessages(  # noqa: N802
        self, request: pb.ActOnMessagesRequest, context: _Context
    ) -> AsyncIterator[pb.ActOnMessagesProgress]:
        action = filters.action(request.action)
        number: int | None = None
        wanted = MessageFilter()
        if action is None:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "no such action")
        redirect = None
        if action is Action.REDIRECT:
            redirect = await self._redirect(request.redirect, context)
        if request.HasField("queue_id"):
            number = await self._message_id(request.queue_id, context)
            if not await self._known(number, context):
                await context.abort(grpc.StatusCode.NOT_FOUND, "no such message")
        elif request.HasField("filter"):
            wanted = filters.message_filter(request.filter)
        else:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "a message or a filter is needed")
        try:
            async for progress in self._operator.act(
                action, wanted, number, clean(request.actor), dry_run=request.dry_run, redirect=redirect
            ):
                yield filters.progress(progress)
        except QueueError as error:
            await _unavailable(context, error)

    async def ListDestinations(  # noqa: N802
        self, request: pb.ListDestinationsRequest, context: _Context
    ) -> pb.ListDestinationsResponse:
        size, after, now = _size(request.page_size), clean(request.page_token), self._clock.now()
        try:
            found, token = await self._database.view(lambda connection: destinations.view(connection, after, size, now))
        except QueueError as error:
            await _unavailable(context, error)
        return pb.ListDestinationsResponse(
            destinations=[views.destination(self._as_tried(each, now)) for each in found], next_page_token=token
        )

    async def SuspendDestination(  # noqa: N802
        self, request: pb.SuspendDestinationRequest, context: _Context
    ) -> pb.Destination:
        name, now = clean(request.name), self._clock.now()
        until = microseconds(request.until) if request.HasField("until") else FOREVER
        if not name or until <= now:
            await context.abort(
                grpc.StatusCode.INVALID_ARGUMENT, "the name of a destination and an end in the future are needed"
            )
        try:
            await self._suspensions.suspend(Suspension(name, until, clean(request.actor)))
        except QueueError as error:
            await _unavailable(context, error)
        log.info("destination_suspended", destination=name, actor=request.actor)
        return await self._destination(name, context)

    async def ResumeDestination(  # noqa: N802
        self, request: pb.ResumeDestinationRequest, context: _Context
    ) -> pb.Destination:
        name = clean(request.name)
        try:
            resumed = await self._suspensions.resume(name)
        except QueueError as error:
            await _unavailable(context, error)
        if not resumed:
            # This call ends the request with NOT_FOUND when relay does not know the destination.
            await self._destination(name, context)
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, "the destination is not suspended")
        log.info("destination_resumed", destination=name, actor=request.actor)
        self._wake()
        return await self._destination(name, context)

    async def ResolveRoute(self, request: pb.ResolveRouteRequest, context: _Context) -> pb.ResolveRouteResponse:  # noqa: N802
        configuration = await self._configured(context)
        if not request.recipient:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "a recipient is needed")
        expanded = expand_one(configuration, request.recipient)
        if expanded.fault is not None:
            return routes.response([routes.unroutable(expanded)], configuration.revision)
        found = [
            routes.resolved(await self._explainer.explain(configuration, request.sender, target), expanded)
            for target in expanded.targets
        ]
        return routes.response(found, configuration.revision)

    async def TestRelayHost(  # noqa: N802
        self, request: pb.TestRelayHostRequest, context: _Context
    ) -> AsyncIterator[pb.TestRelayHostStep]:
        configuration = await self._configured(context)
        if request.HasField("relay_host"):
            host: RelayHost | None = routes.relay_host(request.relay_host)
        elif request.rule_id == "delivery":
            host = configuration.relay_host
        else:
            rules = {rule.id: rule.relay_host for rule in configuration.relay_rules}
            host = rules.get(request.rule_id)
        if host is None or not host.host:
            await context.abort(grpc.StatusCode.NOT_FOUND, "this relay host does not exist")
        configured = not request.HasField("relay_host")
        async for step in self._explainer.test_relay_host(host, configuration.hostname, configured=configured):
            yield routes.step(step)

    async def ReadEvents(self, request: pb.ReadEventsRequest, context: _Context) -> pb.ReadEventsResponse:  # noqa: N802
        try:
            if not request.cursor:
                return pb.ReadEventsResponse(next_cursor=(await self._database.write(event_reading.end)).text())
            after = event_reading.Cursor.parse(request.cursor)
        except ValueError as error:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        except QueueError as error:
            await _unavailable(context, error)
        if request.including_cursor:
            after = after.before()
        size = _size(request.page_size)
        loop = asyncio.get_running_loop()
        until = loop.time() + min(request.wait_ms / 1000, _LONGEST_EVENT_WAIT)
        while True:
            try:
                page = await self._database.view(lambda connection: event_reading.event_page(connection, after, size))
            except QueueError as error:
                await _unavailable(context, error)
            if page.events or page.more or loop.time() >= until:
                return event_messages.page(page)
            await asyncio.sleep(_EVENT_LOOK_SECONDS)

    async def _read(self, frames: AsyncIterator[pb.SubmitFrame], stream: Stream) -> None:
        async for frame in frames:
            stream.feed(submissions.frame(frame))
            await self._intake.roomy()

    async def _page(self, read: Callable[..., Page], request: Any, context: _Context) -> Page:
        try:
            after = Position.parse(request.page_token)
        except ValueError as error:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        wanted, size, now = filters.message_filter(request.filter), _size(request.page_size), self._clock.now()
        try:
            return await self._database.view(lambda connection: read(connection, wanted, size, after, now))
        except QueueError as error:
            await _unavailable(context, error)

    async def _redirect(self, of: pb.Redirect, context: _Context) -> Redirect:
        try:
            redirect = filters.redirect(of)
        except ValueError as error:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        configuration = await self._configured(context)
        if redirect.recipient and (reason := undeliverable(configuration, redirect.recipient)):
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, reason)
        return redirect

    async def _message_id(self, queue_id: str, context: _Context) -> int:
        number = message_id(queue_id)
        if number is None:
            await context.abort(grpc.StatusCode.NOT_FOUND, "no such message")
        return number

    async def _known(self, number: int, context: _Context) -> bool:
        now = self._clock.now()
        try:
            return await self._database.view(
                lambda connection: reading.whole_message(connection, number, now, with_header=False) is not None
            )
        except QueueError as error:
            await _unavailable(context, error)

    async def _destination(self, name: str, context: _Context) -> pb.Destination:
        now = self._clock.now()
        try:
            found = await self._database.view(lambda connection: destinations.view_one(connection, name, now))
        except QueueError as error:
            await _unavailable(context, error)
        if found is None:
            await context.abort(grpc.StatusCode.NOT_FOUND, "no such destination")
        return views.destination(self._as_tried(found, now))

    def _as_tried(self, view: DestinationView, now: int) -> DestinationView:
        """Returns the view with the time of the next try. Mail that is due at a dead destination waits for the next
        probe, so the view shows that time (F65).
        """
        seconds = self._explainer.probe_in(view.name)
        if not seconds:
            return view
        probe_at = now + int(seconds * MICROSECONDS)
        due_at = probe_at if view.active else max(view.next_due_at or probe_at, probe_at)
        return replace(view, active=0, deferred=view.deferred + view.active, next_due_at=due_at)

    def _queue_settings(self) -> QueueSettings | None:
        configuration = self._configuration()
        return None if configuration is None else configuration.queue

    async def _configured(self, context: _Context) -> Configuration:
        configuration = self._configuration()
        if configuration is None:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "no configuration yet")
        return configuration


def _size(asked: int) -> int:
    return min(asked or _PAGE, _LARGEST_PAGE)


async def _unavailable(context: _Context, error: QueueError) -> NoReturn:
    log.warning("queue_unavailable", reason=str(error))
    await context.abort(grpc.StatusCode.UNAVAILABLE, "the queue's database does not answer")
    raise AssertionError


def register_checks(server: grpc.aio.Server, checks: Checks) -> None:
    checks_pb2_grpc.add_ChecksServicer_to_server(checks_servicer(checks, checks_pb2), server)
