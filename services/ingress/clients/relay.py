"""Hands messages to relay: one submission stream, acknowledged by submission id after the commit."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Iterator, Sequence

import structlog
from posthouse.relay.v1 import relay_pb2, relay_pb2_grpc

from libs.runtime import rpc
from libs.smtp.reply import STORAGE, TRY_AGAIN
from services.ingress.clients import wire
from services.ingress.clients.stream import FrameStream
from services.ingress.metrics import Metrics
from services.ingress.submission import INLINE_OCTETS, HandoverError, Refusal, Submission

log = structlog.get_logger(__name__)

_GRACE_SECONDS = 1.0
_SWEEP_SECONDS = 0.25
# A frame is closed when it holds this much content.
_FRAME_OCTETS = 1024 * 1024
_REFUSALS_KEPT = 2_000
_REFUSALS_PER_FRAME = 200


class _Pending:
    """A submission without its acknowledgement. `pieces`: what is not yet written of large content."""

    __slots__ = ("acknowledged", "deadline", "pieces", "sent", "submission")

    def __init__(self, submission: Submission, acknowledged: asyncio.Future[relay_pb2.SubmitAck], deadline: float):
        self.submission = submission
        self.acknowledged = acknowledged
        self.deadline = deadline
        self.pieces: Iterator[bytes] | None = None
        self.sent = False


class RelayClient:
    """Submissions of one worker. `deadline` in seconds, from handing over to the acknowledgement.

    A submission whose stream broke is written again, under its id, to the next stream: relay keeps one message of it.
    """

    def __init__(self, targets: Sequence[str], tls: rpc.TlsFiles | None, metrics: Metrics, *, deadline: float) -> None:
        self._stream = FrameStream(
            "relay", targets, tls, lambda channel: relay_pb2_grpc.RelayStub(channel).Submit, self
        )
        self._metrics = metrics
        self._deadline = deadline
        # By submission id, oldest first.
        self._pending: dict[str, _Pending] = {}
        self._unsent: deque[_Pending] = deque()
        self._in_pieces: deque[_Pending] = deque()
        self._abandoned: list[str] = []
        self._refusals: deque[Refusal] = deque()
        self.connected = False
        self._down_since = time.monotonic()
        # Octets that relay would take; None while it has not said.
        self._available: int | None = None
        self._accepting = True

    async def run(self) -> None:
        """Keeps the stream open and deadlines held, until cancelled."""
        sweeper = asyncio.create_task(self._sweep())
        try:
            await self._stream.run()
        finally:
            sweeper.cancel()

    def refusal(self, octets: int) -> HandoverError | None:
        """Why a message of so many octets (0: unknown) could not be taken now; None when it could."""
        if not self.connected:
            down = time.monotonic() - self._down_since > _GRACE_SECONDS
            return HandoverError(TRY_AGAIN, "relay unreachable") if down else None
        if not self._accepting or (self._available is not None and octets > self._available):
            return HandoverError(STORAGE, "relay is short of storage")
        return None

    async def submit(self, submission: Submission) -> str:
        """The queue id, once stored durably. Raises HandoverError."""
        refusal = self.refusal(submission.size)
        if refusal is not None:
            raise refusal
        now = time.monotonic()
        deadline = now + self._deadline
        pending = _Pending(submission, asyncio.get_running_loop().create_future(), deadline)
        self._pending[submission.id] = pending
        self._unsent.append(pending)
        if self.connected:
            self._stream.wake()
        try:
            ack = await pending.acknowledged
        finally:
            self._pending.pop(submission.id, None)
        self._metrics.relay_seconds.observe(time.monotonic() - now)
        if ack.result == relay_pb2.SubmitAck.RESULT_STORED:
            return str(ack.queue_id)
        if ack.result == relay_pb2.SubmitAck.RESULT_INSUFFICIENT_STORAGE:
            raise HandoverError(STORAGE, "insufficient storage")
        if ack.result == relay_pb2.SubmitAck.RESULT_INVALID:
            raise HandoverError(TRY_AGAIN, f"relay calls the submission invalid: {ack.reason}")
        raise HandoverError(TRY_AGAIN, f"not stored: {ack.reason}")

    def report(self, refusal: Refusal) -> None:
        """Records without waiting; dropped and counted under load."""
        if len(self._refusals) >= _REFUSALS_KEPT:
            self._metrics.refusals_dropped += 1
            return
        self._refusals.append(refusal)
        if self.connected:
            self._stream.wake()

    # What FrameStream calls.

    def opened(self) -> None:
        self.connected = True
        self._abandoned.clear()
        self._in_pieces.clear()
        for pending in self._pending.values():
            pending.sent = False
            pending.pieces = None
        self._unsent = deque(self._pending.values())

    def next_frame(self) -> tuple[relay_pb2.SubmitFrame, bool] | None:
        submissions: list[relay_pb2.Submission] = []
        chunks: list[relay_pb2.SubmissionChunk] = []
        octets = 0
        while self._unsent and octets < _FRAME_OCTETS:
            pending = self._unsent.popleft()
            if not pending.acknowledged.done():
                submissions.append(self._envelope(pending))
                octets += pending.submission.size if pending.pieces is None else 0
        while self._in_pieces and octets < _FRAME_OCTETS:
            # Round-robin, so that a large message does not hold up the others.
            pending = self._in_pieces.popleft()
            if (written := self._piece(pending, chunks)) >= 0:
                octets += written
        refusals = [
            wire.refused(self._refusals.popleft()) for _ in range(min(len(self._refusals), _REFUSALS_PER_FRAME))
        ]
        abandoned, self._abandoned = self._abandoned, []
        if not (submissions or chunks or abandoned or refusals):
            return None
        answered = bool(submissions) and octets < _FRAME_OCTETS
        return wire.submit_frame(submissions, chunks, abandoned, refusals), answered

    def _envelope(self, pending: _Pending) -> relay_pb2.Submission:
        pending.sent = True
        submission = pending.submission
        if submission.size <= INLINE_OCTETS:
            return wire.submission(submission, b"".join(submission.content.pieces()))
        pending.pieces = submission.content.pieces()
        self._in_pieces.append(pending)
        return wire.submission(submission, b"")

    def _piece(self, pending: _Pending, chunks: list[relay_pb2.SubmissionChunk]) -> int:
        """Adds the next piece; its octets. Once the content is whole, the last chunk is an empty one."""
        if pending.acknowledged.done() or pending.pieces is None:
            return 0
        piece = next(pending.pieces, b"")
        chunks.append(wire.chunk(pending.submission.id, piece, last=not piece))
        if piece:
            self._in_pieces.append(pending)
        return len(piece)

    def received(self, frame: relay_pb2.SubmitAckFrame) -> None:
        for ack in frame.acks:
            pending = self._pending.get(ack.submission_id)
            if pending is not None and not pending.acknowledged.done():
                pending.acknowledged.set_result(ack)
        if frame.HasField("storage"):
            self._accepting = frame.storage.accepting
            self._available = frame.storage.available

    def broken(self, reason: str) -> None:
        self.connected = False
        self._down_since = time.monotonic()
        if self._pending:
            log.warning("submissions_unacknowledged", count=len(self._pending), reason=reason)

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(_SWEEP_SECONDS)
            now = time.monotonic()
            for pending in list(self._pending.values()):
                if pending.acknowledged.done():
                    continue
                never_left = not pending.sent and not self.connected and now - self._down_since > _GRACE_SECONDS
                if pending.deadline <= now or never_left:
                    self._abandon(pending)

    def _abandon(self, pending: _Pending) -> None:
        """No acknowledgement came; 451, and what relay has of an unfinished one is void."""
        submission_id = pending.submission.id
        if pending.sent:
            log.warning("submission_unconfirmed", submission_id=submission_id)
            if pending in self._in_pieces:
                self._in_pieces.remove(pending)
                self._abandoned.append(submission_id)
                self._stream.wake()
        pending.acknowledged.set_exception(HandoverError(TRY_AGAIN, "relay did not acknowledge in time"))
