"""Asks policy: one decision stream, requests matched to verdicts by id, each with a deadline."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Sequence
from typing import Any

import structlog
from posthouse.policy.v1 import policy_pb2, policy_pb2_grpc

from libs.runtime import rpc
from services.ingress.clients import wire
from services.ingress.clients.stream import FrameStream
from services.ingress.findings import Findings
from services.ingress.metrics import Metrics
from services.ingress.session import Credentials, Session, Stage, Transaction
from services.ingress.verdict import NonsenseError, Verdict

log = structlog.get_logger(__name__)

# How long a question waits for a broken stream to come back, before it fails.
_GRACE_SECONDS = 1.0
_SWEEP_SECONDS = 0.1
# Requests that fit one frame; the rest goes with the next.
_FRAME_REQUESTS = 512


class PolicyError(Exception):
    """policy gave no usable answer: unreachable, too slow, or nonsense. The text says which, in a word."""


class _Question:
    __slots__ = ("answer", "asked_at", "deadline", "request", "sent")

    def __init__(self, request: policy_pb2.DecideRequest, answer: asyncio.Future[Any], now: float, deadline: float):
        self.request = request
        self.answer = answer
        self.asked_at = now
        self.deadline = deadline
        self.sent = False


class PolicyClient:
    """Decisions of one worker. `deadline` in seconds, from asking to the verdict."""

    def __init__(self, targets: Sequence[str], tls: rpc.TlsFiles | None, metrics: Metrics, *, deadline: float) -> None:
        self._stream = FrameStream(
            "policy", targets, tls, lambda channel: policy_pb2_grpc.PolicyStub(channel).DecideStream, self
        )
        self._metrics = metrics
        self._deadline = deadline
        self._numbers = itertools.count(1)
        # By request id, oldest first.
        self._pending: dict[int, _Question] = {}
        self._unsent: list[_Question] = []
        # Sessions that ended and are not given back yet: id to client address.
        self._closed: dict[str, str] = {}
        # Session id to client address, for the sessions that policy counts.
        self._sessions: dict[str, str] = {}
        self._resume: list[tuple[str, str]] = []
        self.connected = False
        self._down_since = time.monotonic()
        self._heard_at = 0.0

    async def run(self) -> None:
        """Keeps the stream open and deadlines held, until cancelled."""
        sweeper = asyncio.create_task(self._sweep())
        try:
            await self._stream.run()
        finally:
            sweeper.cancel()

    async def decide(
        self,
        stage: Stage,
        session: Session,
        transaction: Transaction | None = None,
        *,
        recipient: bytes = b"",
        credentials: Credentials | None = None,
        findings: Findings | None = None,
    ) -> Verdict:
        """One decision. Raises PolicyError."""
        now = time.monotonic()
        deadline = now + self._deadline
        if not self.connected:
            if now - self._down_since > _GRACE_SECONDS:
                raise PolicyError("unreachable")
            deadline = now + min(self._deadline, _GRACE_SECONDS)
        request = wire.request(
            stage, session, transaction, recipient=recipient, credentials=credentials, findings=findings
        )
        request.request_id = number = next(self._numbers)
        question = _Question(request, asyncio.get_running_loop().create_future(), now, deadline)
        self._pending[number] = question
        self._unsent.append(question)
        if self.connected:
            self._stream.wake()
        try:
            message = await question.answer
        finally:
            self._pending.pop(number, None)
        self._metrics.policy_seconds[stage.name].observe(time.monotonic() - now)
        try:
            return wire.verdict(message)
        except NonsenseError as error:
            raise PolicyError(f"nonsense: {error}") from error

    def session_opened(self, session: Session) -> None:
        """policy accepted the connection and counts it."""
        self._sessions[session.id] = session.peer.client_address

    def session_closed(self, session: Session) -> None:
        """The connection ended, whatever was answered to it."""
        self._sessions.pop(session.id, None)
        if self.connected:
            # Goes with the next request, or at the next sweep: mostly not worth a frame of its own.
            self._closed[session.id] = session.peer.client_address

    # What FrameStream calls.

    def opened(self) -> None:
        self.connected = True
        self._heard_at = time.monotonic()
        self._closed.clear()
        self._resume = list(self._sessions.items())

    def next_frame(self) -> tuple[policy_pb2.DecideFrame, bool] | None:
        unsent = self._unsent
        if not (unsent or self._closed or self._resume):
            return None
        closed, self._closed = self._closed, {}
        resumed, self._resume = self._resume, []
        if closed and self._comes_again(set(closed.values())):
            # policy looks at a frame's requests first: a client that closed and comes again must find its place free.
            return wire.decide_frame([], list(closed), resumed), False
        batch, self._unsent = unsent[:_FRAME_REQUESTS], unsent[_FRAME_REQUESTS:]
        requests = []
        for question in batch:
            if not question.answer.done():
                question.sent = True
                requests.append(question.request)
        return wire.decide_frame(requests, list(closed), resumed), bool(requests)

    def _comes_again(self, addresses: set[str]) -> bool:
        """Whether one of these clients waits for leave to connect."""
        return any(
            question.request.stage == policy_pb2.STAGE_CONNECT and question.request.session.client_address in addresses
            for question in self._unsent
        )

    def received(self, frame: policy_pb2.VerdictFrame) -> None:
        self._heard_at = time.monotonic()
        for message in frame.verdicts:
            question = self._pending.get(message.request_id)
            if question is not None and not question.answer.done():
                question.answer.set_result(message)

    def broken(self, reason: str) -> None:
        self.connected = False
        self._down_since = time.monotonic()
        for question in self._pending.values():
            question.deadline = min(question.deadline, self._down_since + _GRACE_SECONDS)
            if question.sent and not question.answer.done():
                question.answer.set_exception(PolicyError(f"stream broken: {reason}"))

    async def _sweep(self) -> None:
        """Fails questions past their deadline, and gives up a stream on which nothing is heard any more."""
        while True:
            await asyncio.sleep(_SWEEP_SECONDS)
            now = time.monotonic()
            if self._closed:
                self._stream.wake()
            late = [question for question in self._pending.values() if question.deadline <= now]
            for question in late:
                if not question.answer.done():
                    question.answer.set_exception(PolicyError("too slow" if question.sent else "unreachable"))
            if late:
                self._unsent = [question for question in self._unsent if not question.answer.done()]
            if self.connected and any(question.sent and question.asked_at > self._heard_at for question in late):
                log.warning("policy_silent", seconds=round(now - self._heard_at, 1))
                self._stream.recycle()
