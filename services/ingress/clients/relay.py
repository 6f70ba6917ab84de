"""Hands messages to relay over a submission stream to each replica. Submissions are acknowledged by id after the
commit.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Iterator, Sequence

import grpc
import structlog
from posthouse.policy.v1 import policy_pb2
from posthouse.relay.v1 import relay_pb2, relay_pb2_grpc

from libs.runtime import rpc
from libs.runtime.security import Security
from libs.smtp.reply import STORAGE, TRY_AGAIN
from services.ingress import spans
from services.ingress.clients import wire
from services.ingress.clients.refusals import Refusals
from services.ingress.clients.replica import Replica, usable_replicas, weight, without_retired
from services.ingress.clients.replicas import Replicas
from services.ingress.clients.stream import FrameStream
from services.ingress.metrics import Metrics
from services.ingress.submission import INLINE_OCTETS, HandoverError, Refusal, Submission

log = structlog.get_logger(__name__)

_GRACE_SECONDS = 1.0
_SWEEP_SECONDS = 0.25
# relay asks the mailbox server for at most 25 s, after waiting for a slot.
_VERIFICATION_SECONDS = 60.0
# A replica that has sent nothing for this time after a submission is probed by a health check.
_SILENCE_SECONDS = 3.0
# A submission whose stream broke this often is not sent again, because the submission itself may crash the replicas.
_MOST_LOSSES = 5
# A frame is full when it has this many octets. Each recipient is counted with `_RECIPIENT_OCTETS`, whatever the length
# of its address is.
_FRAME_OCTETS = 1024 * 1024
_RECIPIENT_OCTETS = 320
_REFUSALS_KEPT = 2_000
_REFUSALS_PER_FRAME = 200


class _Pending:
    """A submission that is not acknowledged. `pieces` has the part of a large content that is not written yet."""

    __slots__ = ("acknowledged", "deadline", "losses", "pieces", "replica", "sent_at", "submission")

    def __init__(self, submission: Submission, acknowledged: asyncio.Future[relay_pb2.SubmitAck], deadline: float):
        self.submission = submission
        self.acknowledged = acknowledged
        self.deadline = deadline
        self.pieces: Iterator[bytes] | None = None
        # The replica to which the submission is sent. It is None while no replica is connected.
        self.replica: RelayReplica | None = None
        # The time when its first frame was sent, by the monotonic clock, or 0 before that. This time does not change
        # when the stream breaks afterwards.
        self.sent_at = 0.0
        # The number of streams that broke while the submission was unacknowledged.
        self.losses = 0


class RelayClient:
    """The submissions of one worker. `deadline` is the time in seconds until the acknowledgement. Each submission is
    sent to the replica with the fewest unacknowledged submissions among those that have space for it. After a broken
    stream, a submission is sent again with the same id, to another replica or on the next stream. Relay stores only one
    message for each id.
    """

    def __init__(self, targets: Sequence[str], security: Security, metrics: Metrics, *, deadline: float) -> None:
        self._security = security
        self._metrics = metrics
        self._deadline = deadline
        self._streams = Replicas("relay", targets, self._join)
        self._replicas: list[RelayReplica] = []
        # The replicas that may get submissions.
        self._usable: list[RelayReplica] = []
        # The submissions that wait for an acknowledgement, by id, oldest first.
        self._pending: dict[str, _Pending] = {}
        # The pending submissions that wait for a replica to connect.
        self._waiting: list[_Pending] = []
        self._refusals = Refusals(_REFUSALS_KEPT)
        self._down_since = time.monotonic()

    @property
    def connected(self) -> bool:
        """Whether submissions can be sent to any replica."""
        return bool(self._usable)

    @property
    def has_pending(self) -> bool:
        """Whether a submission waits for relay's answer."""
        return bool(self._pending)

    async def run(self) -> None:
        """Keeps the streams open and checks the deadlines, until cancelled."""
        sweeper = asyncio.create_task(self._sweep())
        try:
            await self._streams.run()
        finally:
            sweeper.cancel()

    def refusal(self, octets: int) -> HandoverError | None:
        """Returns why a message of this number of octets (0 when unknown) cannot be accepted now, or None
        when it can.
        """
        if not self._usable:
            down = time.monotonic() - self._down_since > _GRACE_SECONDS
            return HandoverError(TRY_AGAIN, "relay unreachable") if down else None
        for (
            replica
        ) in self._usable:  # This runs twice for each message, and a generator would cost more than this loop.
            if replica.takes(octets):
                return None
        return HandoverError(STORAGE, "relay is short of storage")

    async def submit(self, submission: Submission) -> str:
        """Submits a message. Returns the queue id after it was stored durably. Raises HandoverError."""
        refusal = self.refusal(submission.size)
        if refusal is not None:
            raise refusal
        now = time.monotonic()
        pending = _Pending(submission, asyncio.get_running_loop().create_future(), now + self._deadline)
        self._pending[submission.id] = pending
        self._hand(pending)
        try:
            ack = await pending.acknowledged
        finally:
            self._pending.pop(submission.id, None)
            if pending.replica is not None:
                pending.replica.load -= 1
        self._metrics.relay_seconds.observe(time.monotonic() - now)
        if ack.result == relay_pb2.SubmitAck.RESULT_STORED:
            if spans.current is not None:
                spans.current.stored(submission.session.id, ack.queue_id, submission.size)
            return str(ack.queue_id)
        if ack.result == relay_pb2.SubmitAck.RESULT_INSUFFICIENT_STORAGE:
            raise HandoverError(STORAGE, "insufficient storage")
        if ack.result == relay_pb2.SubmitAck.RESULT_INVALID:
            raise HandoverError(TRY_AGAIN, f"relay calls the submission invalid: {ack.reason}")
        raise HandoverError(TRY_AGAIN, f"not stored: {ack.reason}")

    async def verify(self, recipient: bytes, client_address: str) -> int:
        """Asks relay about a recipient. Returns a number of policy.v1.RecipientVerification. Never raises. All
        questions about one address go to the same replica, which then asks the mailbox server once.
        """
        replicas = sorted(self._usable, key=lambda replica: weight(replica.stream.target, recipient.lower()))
        channel = replicas[-1].stream.channel if replicas else None
        if channel is None:
            return policy_pb2.RECIPIENT_VERIFICATION_NO_ANSWER
        request = relay_pb2.VerifyRecipientRequest(recipient=recipient, client_address=client_address)
        try:
            response = await relay_pb2_grpc.RelayStub(channel).VerifyRecipient(request, timeout=_VERIFICATION_SECONDS)
        except grpc.aio.AioRpcError as error:
            log.warning("recipient_not_verified", reason=rpc.caught(error))
            return policy_pb2.RECIPIENT_VERIFICATION_NO_ANSWER
        return response.verification or policy_pb2.RECIPIENT_VERIFICATION_NO_ANSWER

    def report(self, refusal: Refusal) -> None:
        """Records a refusal without waiting. When too many refusals wait, one of them is dropped and counted."""
        if not self._refusals.add(refusal):
            self._metrics.refusals_dropped += 1
        if self._usable:
            self._usable[0].stream.wake()

    def _hand(self, pending: _Pending) -> None:
        usable = self._usable
        if len(usable) == 1:
            usable[0].take(pending)
        elif usable:
            size = pending.submission.size
            min([replica for replica in usable if replica.takes(size)] or usable, key=_load).take(pending)
        else:
            pending.replica = None
            self._waiting.append(pending)

    # The methods below handle changes of the replicas.

    def _join(self, target: str) -> FrameStream:
        replica = RelayReplica(self)
        replica.stream = FrameStream(
            "relay", target, self._security, lambda channel: relay_pb2_grpc.RelayStub(channel).Submit, replica
        )
        self._replicas.append(replica)
        return replica.stream

    def changed(self, lost: RelayReplica | None = None) -> None:
        """Handles a replica that connected, was lost, or changed its health. A replica that is stopping or has no
        configuration gets mail only while there is no other replica. `lost` is a replica whose stream broke.
        """
        self._replicas = without_retired(self._replicas)
        usable = usable_replicas(self._replicas)
        went = [replica for replica in self._usable if replica not in usable]
        if went and not usable:
            self._down_since = time.monotonic()
        self._usable = usable
        for replica in self._replicas:
            replica.usable = replica in usable
        moving, self._waiting = self._waiting, []
        for replica in went:
            if replica is not lost:
                moving += replica.give_back()
        if lost is not None:
            moving += self._unacknowledged(lost)
        for pending in moving:
            if not pending.acknowledged.done():
                self._hand(pending)
        if usable and self._refusals:
            usable[0].stream.wake()

    def _unacknowledged(self, lost: RelayReplica) -> list[_Pending]:
        """Returns the submissions that a replica did not acknowledge before its stream broke, reset to their
        beginning.
        """
        unacknowledged = [pending for pending in self._pending.values() if pending.replica is lost]
        for pending in unacknowledged:
            pending.replica = None
            pending.pieces = None
            if pending.sent_at:
                pending.losses += 1
                if pending.losses >= _MOST_LOSSES and not pending.acknowledged.done():
                    pending.acknowledged.set_exception(HandoverError(TRY_AGAIN, "relay's streams broke"))
        lost.load = 0
        return unacknowledged

    # The methods below are called with the data from a stream, and to get the data to send.

    def acknowledge(self, ack: relay_pb2.SubmitAck) -> None:
        pending = self._pending.get(ack.submission_id)
        if pending is not None and not pending.acknowledged.done():
            pending.acknowledged.set_result(ack)

    def take_refusals(self) -> list[relay_pb2.RefusedMessage]:
        """Returns the refusals for one frame."""
        refusals: list[relay_pb2.RefusedMessage] = []
        octets = 0
        while self._refusals and len(refusals) < _REFUSALS_PER_FRAME and octets < _FRAME_OCTETS:
            refusal = self._refusals.take()
            octets += _RECIPIENT_OCTETS * len(refusal.recipients)
            refusals.append(wire.refused(refusal))
        return refusals

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(_SWEEP_SECONDS)
            now = time.monotonic()
            down = not self._usable and now - self._down_since > _GRACE_SECONDS
            for pending in list(self._pending.values()):
                if pending.acknowledged.done():
                    continue
                if pending.deadline <= now or (down and not pending.sent_at):
                    self._abandon(pending)
                elif pending.replica is not None and 0 < pending.sent_at < now - _SILENCE_SECONDS:
                    pending.replica.probe_if_silent(pending.sent_at)
            for replica in self._replicas:
                replica.finish_when(not replica.load)

    def _abandon(self, pending: _Pending) -> None:
        """Fails a submission that was not acknowledged in time, and cancels it at relay if it was sent only in part."""
        if pending.sent_at:
            submission = pending.submission
            log.warning("submission_unconfirmed", session_id=submission.session.id, submission_id=submission.id)
        if pending.replica is not None:
            pending.replica.cancel(pending)
        pending.acknowledged.set_exception(HandoverError(TRY_AGAIN, "relay did not acknowledge in time"))


class RelayReplica(Replica):
    """One replica, and the data that must be written to it."""

    def __init__(self, client: RelayClient) -> None:
        super().__init__(client.changed)
        self._client = client
        # The number of submissions that were sent to this replica or wait to be sent, and are not acknowledged yet.
        self.load = 0
        self._unsent: deque[_Pending] = deque()
        self._in_pieces: deque[_Pending] = deque()
        self._abandoned: list[str] = []
        # The number of octets for which the replica has space. It is None until the replica has reported it.
        self._available: int | None = None
        self._accepting = True

    def takes(self, octets: int) -> bool:
        return self._accepting and (self._available is None or octets <= self._available)

    def take(self, pending: _Pending) -> None:
        pending.replica = self
        self.load += 1
        self._unsent.append(pending)
        self.stream.wake()

    def give_back(self) -> list[_Pending]:
        """Removes and returns the submissions that were not sent yet."""
        unsent, self._unsent = self._unsent, deque()
        for pending in unsent:
            pending.replica = None
        self.load -= len(unsent)
        return list(unsent)

    def cancel(self, pending: _Pending) -> None:
        """Tells the replica to drop the part of a submission that it has received."""
        if pending in self._in_pieces:
            self._in_pieces.remove(pending)
            self._abandoned.append(pending.submission.id)
            self.stream.wake()

    # The methods below are called by FrameStream.

    def opened(self) -> None:
        self._available, self._accepting = None, True
        super().opened()

    def next_frame(self) -> tuple[relay_pb2.SubmitFrame, bool] | None:
        frame = relay_pb2.SubmitFrame()
        octets = 0
        while self._unsent and octets < _FRAME_OCTETS:
            pending = self._unsent.popleft()
            if not pending.acknowledged.done():
                self._describe(pending, frame.submissions.add())
                octets += pending.submission.size if pending.pieces is None else 0
                octets += _RECIPIENT_OCTETS * len(pending.submission.transaction.recipients)
        while self._in_pieces and octets < _FRAME_OCTETS:
            # Large messages take turns, so that one large message does not delay the others.
            pending = self._in_pieces.popleft()
            octets += self._piece(pending, frame)
        frame.refused.extend(self._client.take_refusals())
        frame.abandoned_submission_ids.extend(self._abandoned)
        self._abandoned.clear()
        if not (frame.submissions or frame.chunks or frame.abandoned_submission_ids or frame.refused):
            return None
        return frame, bool(frame.submissions) and octets < _FRAME_OCTETS

    def _describe(self, pending: _Pending, message: relay_pb2.Submission) -> None:
        pending.sent_at = time.monotonic()
        submission = pending.submission
        if pending.losses:
            message.sent_before = True
        if submission.size <= INLINE_OCTETS:
            wire.submission(message, submission, b"".join(submission.content.pieces()))
        else:
            pending.pieces = submission.content.pieces()
            self._in_pieces.append(pending)
            wire.submission(message, submission, b"")
        if spans.current is not None:
            message.traceparent = spans.current.traceparent(submission.session.id)

    def _piece(self, pending: _Pending, frame: relay_pb2.SubmitFrame) -> int:
        """Adds the next piece to a frame, and returns its octets. After the whole content, the last chunk is empty."""
        if pending.acknowledged.done() or pending.pieces is None:
            return 0
        piece = next(pending.pieces, b"")
        frame.chunks.add(submission_id=pending.submission.id, data=piece, last=not piece)
        if piece:
            self._in_pieces.append(pending)
        return len(piece)

    def received(self, frame: relay_pb2.SubmitAckFrame) -> None:
        self.heard()
        for ack in frame.acks:
            self._client.acknowledge(ack)
        if frame.HasField("storage"):
            self._accepting = frame.storage.accepting
            self._available = frame.storage.available

    def broken(self, reason: str) -> None:
        self.gone()
        if self.load:
            log.warning("submissions_unacknowledged", count=self.load, reason=reason)
        self._unsent.clear()
        self._in_pieces.clear()
        self._abandoned.clear()
        self._client.changed(lost=self)


def _load(replica: RelayReplica) -> int:
    return replica.load
