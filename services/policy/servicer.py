"""Serves policy.v1.Policy over gRPC: single decisions, the decision stream, Explain, and blocked clients."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Iterable
from typing import Any

import grpc
import structlog
from posthouse.checks.v1 import checks_pb2, checks_pb2_grpc
from posthouse.policy.v1 import policy_pb2, policy_pb2_grpc

from libs.runtime import tracing
from libs.runtime.checks import Checks, checks_servicer
from libs.smtp.network import counter_key
from services.policy import wire
from services.policy.blocked_clients import acting_blocks
from services.policy.engine import Engine
from services.policy.explain import Explainer, UnknownSessionError
from services.policy.metrics import STREAMS
from services.policy.snapshot import with_access_rule
from services.policy.spans import traced
from services.policy.state.store import NO_WORKER, FrameStamp, StoreUnavailableError
from services.policy.workers import Worker

log = structlog.get_logger(__name__)

SERVICE = policy_pb2.DESCRIPTOR.services_by_name["Policy"].full_name
CHECKS_SERVICE = checks_pb2.DESCRIPTOR.services_by_name["Checks"].full_name
CHECKS_CALLERS = {"ListChecks": {"config_api"}}
# Which services may call each method.
CALLERS = {
    "Decide": {"ingress"},
    "DecideStream": {"ingress"},
    "Explain": {"config_api"},
    "ListBlockedClients": {"config_api"},
    "UnblockClient": {"config_api"},
}
_DEFAULT_PAGE = 100
_LARGEST_PAGE = 1000
# The limit of a worker's name, which is a part of a key in Redis.
_LONGEST_WORKER_NAME = 64

Context = grpc.aio.ServicerContext[Any, Any]


# The status is not UNAVAILABLE, because that would mean that only this replica cannot be reached (F50).
_STORE_AWAY = grpc.StatusCode.ABORTED


class PolicyServicer(policy_pb2_grpc.PolicyServicer):
    """Serves the methods, and passes each call to the object that decides."""

    def __init__(self, engine: Engine, explainer: Explainer) -> None:
        self._engine = engine
        self._explainer = explainer

    def register(self, server: grpc.aio.Server) -> None:
        policy_pb2_grpc.add_PolicyServicer_to_server(self, server)
        # The handler below replaces the generated handler, because frames of answers are already serialised.
        stream: grpc.RpcMethodHandler[Any, Any] = grpc.stream_stream_rpc_method_handler(
            self.DecideStream, policy_pb2.DecideFrame.FromString
        )
        server.add_registered_method_handlers(SERVICE, {"DecideStream": stream})

    async def Decide(self, request: policy_pb2.DecideRequest, _: Context) -> policy_pb2.Verdict:  # noqa: N802
        answers: list[bytes] = []
        waiting = self._engine.decide(wire.Request(request), answers.extend, NO_WORKER, self._engine.clock())
        if waiting is not None:
            await waiting
        return wire.answered(answers)

    async def DecideStream(self, _: Any, context: Context) -> None:  # type: ignore[override]  # noqa: N802
        stream = Stream(self._engine, context)
        STREAMS.inc()
        try:
            await stream.run()
        finally:
            STREAMS.dec()
            log.info("stream_closed", worker=stream.worker.name)
            self._engine.workers.remove(stream.worker)

    async def Explain(  # noqa: N802
        self, request: policy_pb2.ExplainRequest, context: Context
    ) -> policy_pb2.ExplainResponse:
        try:
            if request.HasField("session_id"):
                return wire.explanation(self._explainer.past(request.session_id), None)
            assumed, now = wire.assumptions(request.assumed)
            propose = None
            if request.HasField("proposed_access_rule"):
                propose = functools.partial(with_access_rule, message=request.proposed_access_rule)
            steps = await self._explainer.dry_run(wire.Request(request.facts), assumed, now, propose)
            return wire.explanation(steps, request.facts)
        except UnknownSessionError:
            await context.abort(grpc.StatusCode.NOT_FOUND, "the session is not in the history")
        except wire.MalformedError as error:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        raise AssertionError("abort raises")

    async def ListBlockedClients(  # noqa: N802
        self, request: policy_pb2.ListBlockedClientsRequest, context: Context
    ) -> policy_pb2.ListBlockedClientsResponse:
        size = min(request.page_size or _DEFAULT_PAGE, _LARGEST_PAGE)
        try:
            blocks = await acting_blocks(self._engine, after=request.page_token, limit=size + 1)
        except StoreUnavailableError:
            await context.abort(_STORE_AWAY, "the store of counters does not answer")
            raise AssertionError("abort raises") from None
        page = blocks[:size]
        return policy_pb2.ListBlockedClientsResponse(
            clients=map(wire.blocked, page), next_page_token=page[-1].client if len(blocks) > size else ""
        )

    async def UnblockClient(  # noqa: N802
        self, request: policy_pb2.UnblockClientRequest, context: Context
    ) -> policy_pb2.UnblockClientResponse:
        try:
            client = counter_key(request.client.partition("/")[0])
        except ValueError:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "not an IP address")
            raise AssertionError("abort raises") from None
        try:
            lifted = await self._engine.store.unblock(client, self._engine.clock())
        except StoreUnavailableError:
            await context.abort(_STORE_AWAY, "the store of counters does not answer")
            raise AssertionError("abort raises") from None
        if lifted is None:
            await context.abort(grpc.StatusCode.NOT_FOUND, "the client is not blocked")
            raise AssertionError("abort raises")
        log.info("client_unblocked", client=client)
        return policy_pb2.UnblockClientResponse(client=wire.blocked(lifted))


class Stream:
    """One decision stream. Frames are decided when they arrive. Answers are collected while the previous frame is
    written.
    """

    def __init__(self, engine: Engine, context: Context) -> None:
        self._engine = engine
        self._context = context
        self._answers: list[bytes] = []
        self._ready = asyncio.Event()
        self.worker = Worker(NO_WORKER.worker, self._ask_for_sessions)
        self._tasks: set[asyncio.Task[None]] = set()
        # Whether no more requests will come, and all are answered.
        self._ended = False

    async def run(self) -> None:
        """Runs until the client ends the stream and all its requests are answered."""
        writer = asyncio.create_task(self._write())
        try:
            while (frame := await self._context.read()) is not grpc.aio.EOF:
                self.take(frame)
            await self.settled()
            self._ended = True
            self._ready.set()
            await writer
        finally:
            writer.cancel()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(writer, *self._tasks, return_exceptions=True)

    def take(self, frame: policy_pb2.DecideFrame) -> None:
        """Decides requests that need no wait at once, and starts tasks for the others."""
        engine, answer = self._engine, self._answers.extend
        if frame.worker:
            self._opened(frame.worker[:_LONGEST_WORKER_NAME])
        stamp = FrameStamp(self.worker.name, frame.counter)
        engine.workers.heard(self.worker)
        if frame.HasField("open_sessions"):
            sessions = frame.open_sessions
            engine.replace_sessions(_pairs(sessions.sessions), stamp, sessions.settled_before)
        if frame.closed_sessions:
            # Ended sessions are handled first, so that a client that has just closed a connection may open another one.
            engine.close_sessions(_pairs(frame.closed_sessions), stamp, remember=frame.remember_closed)
        decide = engine.decide if tracing.tracer is None else traced(tracing.tracer, engine.decide)
        now = engine.clock()
        for request in wire.requests(frame):
            waiting = decide(request, answer, stamp, now)
            if waiting is not None:
                task = asyncio.create_task(waiting)
                self._tasks.add(task)
                task.add_done_callback(self._waited)
        if self._answers:
            self._ready.set()

    def _opened(self, worker: str) -> None:
        log.info("stream_opened", worker=worker)
        self.worker.name = worker
        self._engine.workers.add(self.worker)

    def _ask_for_sessions(self) -> None:
        self._answers.append(wire.SEND_OPEN_SESSIONS)
        self._ready.set()

    async def settled(self) -> bool:
        """Waits until no decision is pending. Returns whether there were any."""
        waited = bool(self._tasks)
        while self._tasks:
            await asyncio.wait(self._tasks)
        return waited

    def answers(self) -> bytes:
        """Returns the frame with the answers since the last call."""
        frame = wire.frame(self._answers)
        self._answers.clear()
        self._ready.clear()
        return frame

    def _waited(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._ready.set()

    async def _write(self) -> None:
        while not (self._ended and not self._answers):
            await self._ready.wait()
            # One turn of the event loop lets finished answers join this frame.
            await asyncio.sleep(0)
            frame = self.answers()
            if frame:
                await self._context.write(frame)


def register_checks(server: grpc.aio.Server, checks: Checks) -> None:
    checks_pb2_grpc.add_ChecksServicer_to_server(checks_servicer(checks, checks_pb2), server)


def _pairs(sessions: Iterable[policy_pb2.ClientSession]) -> list[tuple[str, str]]:
    return [(session.session_id, session.client_address) for session in sessions]
