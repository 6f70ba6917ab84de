"""Asks policy: a decision stream to each replica, requests matched to verdicts by id, each with a deadline."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Sequence

import structlog
from posthouse.policy.v1 import policy_pb2, policy_pb2_grpc

from libs.runtime.security import Security
from services.ingress import spans
from services.ingress.clients import replica, wire
from services.ingress.clients.policy_lane import Lane, Question
from services.ingress.clients.replicas import Replicas
from services.ingress.clients.stream import FrameStream
from services.ingress.findings import Findings
from services.ingress.metrics import Metrics
from services.ingress.session import Credentials, Session, Stage, Transaction
from services.ingress.verdict import Action, NonsenseError, Verdict

log = structlog.get_logger(__name__)

# How long a decision waits while no replica is connected, before it fails.
_GRACE_SECONDS = 1.0
_SWEEP_SECONDS = 0.1
# A replica that has sent nothing for so long after a request is probed by a health check.
_SILENCE_SECONDS = 1.5
# A request whose stream broke so often is not sent again: it may be what ends the replicas.
_MOST_LOSSES = 3
# A session that moved to another replica stays counted at the old one for so long, until the new one has counted it.
_MOVED_SECONDS = 1.0


class PolicyError(Exception):
    """policy gave no usable answer: unreachable, too slow, or nonsense. The text says which, in a word."""


class PolicyClient:
    """Decisions of one worker. `deadline` in seconds, from asking to the verdict.

    All requests of a session go to one replica, which counts the session. When that replica stops or dies, another one
    counts the session, and unanswered requests are sent to it again. A request holds every fact that is needed, and is
    marked as sent before, so that policy does not count it twice. A replica that comes back gets its share of sessions.
    """

    def __init__(self, targets: Sequence[str], security: Security, metrics: Metrics, *, deadline: float) -> None:
        self._security = security
        self._metrics = metrics
        self._deadline = deadline
        self._replicas = Replicas("policy", targets, self._join)
        self._lanes: list[Lane] = []
        # The replicas that requests may be sent to, and the index of the one that got the last new session.
        self._usable: list[Lane] = []
        self._turn = 0
        self._numbers = itertools.count(1)
        # By request id, oldest first.
        self._pending: dict[int, Question] = {}
        # The pending decisions that wait for a replica to connect.
        self._waiting: list[Question] = []
        # Session id to the replica that counts the session.
        self._homes: dict[str, Lane] = {}
        # Session id to client address, of the sessions that no replica counts at present.
        self._homeless: dict[str, str] = {}
        # Client address to the replica that has not been told yet that a session of this client ended.
        self._closing: dict[str, Lane] = {}
        self._down_since = time.monotonic()

    @property
    def connected(self) -> bool:
        """Whether requests can be sent to any replica."""
        return bool(self._usable)

    async def run(self) -> None:
        """Keeps the streams open and deadlines held, until cancelled."""
        sweeper = asyncio.create_task(self._sweep())
        try:
            await self._replicas.run()
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
        lane = self._homes.get(session.id)
        if lane is None and self._usable:
            lane = self._next(session.peer.client_address)
        if lane is None:
            if now - self._down_since > _GRACE_SECONDS:
                raise PolicyError("unreachable")
            deadline = now + min(self._deadline, _GRACE_SECONDS)
        request = wire.request(
            stage, session, transaction, recipient=recipient, credentials=credentials, findings=findings
        )
        request.request_id = number = next(self._numbers)
        if spans.current is not None:
            request.traceparent = spans.current.traceparent(session.id)
        addresses = len(transaction.recipients) if transaction is not None else 0
        if findings is not None:
            addresses += len(findings.from_addresses)
        question = Question(request, addresses, asyncio.get_running_loop().create_future(), now, deadline)
        self._pending[number] = question
        if lane is None:
            self._waiting.append(question)
        else:
            lane.ask(question)
        try:
            message = await question.answer
        finally:
            self._pending.pop(number, None)
        self._metrics.policy_seconds[stage.name].observe(time.monotonic() - now)
        try:
            verdict = wire.verdict(message)
        except NonsenseError as error:
            raise PolicyError(f"nonsense: {error}") from error
        if stage is Stage.CONNECT and verdict.action is Action.ACCEPT and verdict.profile is not None:
            self._opened(session.id, session.peer.client_address, question.lane)
        return verdict

    def session_closed(self, session: Session) -> None:
        """Notes that the connection ended. Its replica is told with the next frame."""
        self._homeless.pop(session.id, None)
        lane = self._homes.pop(session.id, None)
        if lane is not None:
            # It is sent with the next request or at the next sweep, since a frame of its own is rarely worth its cost.
            lane.closed[session.id] = lane.sessions.pop(session.id)
            if len(self._usable) > 1:
                self._closing[session.peer.client_address] = lane

    def _next(self, address: str) -> Lane:
        """The replica for a new session. The replicas take turns, with one exception: a client that closed a session
        and connects again stays with the replica that still counts the closed session, since only there the end of the
        old session and the new one come in order.
        """
        usable = self._usable
        if len(usable) == 1:
            return usable[0]
        lane = self._closing.get(address)
        if lane is not None and lane.usable:
            return lane
        self._turn = (self._turn + 1) % len(usable)
        return usable[self._turn]

    def _opened(self, session_id: str, address: str, lane: Lane | None) -> None:
        """A replica accepted the connection and counts it."""
        if lane is not None and lane.usable:
            self._homes[session_id] = lane
            lane.sessions[session_id] = address
        else:
            # Its stream broke, or it was told to stop, after it had sent its verdict.
            self._homeless[session_id] = address
            self._house()

    # Replicas come and go.

    def _join(self, target: str) -> FrameStream:
        lane = Lane(self)
        lane.stream = FrameStream(
            "policy",
            target,
            self._security,
            lambda channel: policy_pb2_grpc.PolicyStub(channel).DecideStream,
            lane,
        )
        self._lanes.append(lane)
        return lane.stream

    def changed(self, lost: Lane | None = None, reason: str = "") -> None:
        """Distributes sessions and requests anew after a replica connected, was lost, or changed its health. A replica
        that is stopping or has no configuration is used only while there is no other. `lost`: the replica whose stream
        broke, for `reason`.
        """
        self._lanes = replica.kept(self._lanes)
        usable = replica.usable(self._lanes)
        came = [lane for lane in usable if not lane.usable]
        went = [lane for lane in self._usable if lane not in usable]
        if went and not usable:
            self._down_since = time.monotonic()
        self._usable = usable
        for lane in came:
            lane.usable = True
        waiting, self._waiting = self._waiting, []
        for lane in went:
            lane.usable = False
            waiting += self._leave(lane)
        if lost is not None:
            # Its unanswered requests are sent again as well.
            asked = [question for question in self._pending.values() if question.lane is lost and question.sent_at]
            if asked:
                log.warning("decisions_unanswered", count=len(asked), reason=reason)
            waiting += asked
            self._closing = {address: lane for address, lane in self._closing.items() if lane is not lost}
        self._house()
        for lane in came:
            self._share_with(lane)
        for question in waiting:
            self._ask_again(question)

    def _leave(self, lane: Lane) -> list[Question]:
        """Takes its sessions from a replica; returns the requests that were not sent to it yet."""
        until = time.monotonic() + _MOVED_SECONDS
        for session_id in lane.sessions:
            del self._homes[session_id]
            lane.moved[session_id] = until
        self._homeless |= lane.sessions
        lane.sessions = {}
        lane.resume.clear()
        unsent, lane.unsent = lane.unsent, []
        return unsent

    def _ask_again(self, question: Question) -> None:
        """Sends a request to another replica; while there is none, to the first one that connects within a moment."""
        if question.answer.done():
            return
        if question.sent_at:
            question.request.asked_before = True
            question.sent_at = 0.0
            question.losses += 1
            if question.losses >= _MOST_LOSSES:
                question.answer.set_exception(PolicyError("streams broken"))
                return
        if self._usable:
            session = question.request.session
            (self._homes.get(session.id) or self._next(session.client_address)).ask(question)
        else:
            question.lane = None
            question.deadline = min(question.deadline, self._down_since + _GRACE_SECONDS)
            self._waiting.append(question)

    def _house(self) -> None:
        """Assigns the sessions that no replica counts to the replicas in turn."""
        if not self._usable:
            return
        homeless, self._homeless = self._homeless, {}
        for number, (session_id, address) in enumerate(homeless.items()):
            self._move(session_id, address, self._usable[number % len(self._usable)])

    def _share_with(self, newcomer: Lane) -> None:
        """Moves sessions, so that each replica has about as many."""
        share = sum(len(lane.sessions) for lane in self._usable) // len(self._usable)
        until = time.monotonic() + _MOVED_SECONDS
        for lane in self._usable:
            surplus = min(len(lane.sessions) - share, share - len(newcomer.sessions))
            for session_id, address in list(itertools.islice(lane.sessions.items(), max(0, surplus))):
                del lane.sessions[session_id]
                lane.moved[session_id] = until
                self._move(session_id, address, newcomer)

    def _move(self, session_id: str, address: str, lane: Lane) -> None:
        lane.moved.pop(session_id, None)
        lane.sessions[session_id] = address
        lane.resume.append((session_id, address))
        self._homes[session_id] = lane
        lane.stream.wake()

    # What a stream brings.

    def take(self, frame: policy_pb2.VerdictFrame, lane: Lane) -> None:
        for message in frame.verdicts:
            question = self._pending.get(message.request_id)
            if question is not None and not question.answer.done():
                question.answer.set_result(message)
            elif lane.given_up:
                session = lane.given_up.pop(message.request_id, None)
                if session is not None and message.action == policy_pb2.ACTION_ACCEPT:
                    # The replica counted the session after nobody waited for the verdict any more.
                    lane.closed[session.id] = session.client_address

    def told_of(self, closed: dict[str, str]) -> None:
        """The frame that is sent now tells of the end of these sessions. `closed`: session id to client address."""
        if self._closing:
            for address in closed.values():
                self._closing.pop(address, None)

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(_SWEEP_SECONDS)
            now = time.monotonic()
            self._hold_deadlines(now)
            for lane in self._lanes:
                lane.sweep(now)
                if lane.draining:
                    lane.finish_when(not self._asked(lane))

    def _asked(self, lane: Lane) -> bool:
        return any(question.lane is lane for question in self._pending.values())

    def _hold_deadlines(self, now: float) -> None:
        """Fails decisions past their deadline, and probes replicas that have sent nothing since they were asked."""
        late: list[Question] = []
        for question in self._pending.values():
            if question.deadline <= now:
                late.append(question)
            elif question.lane is not None and 0 < question.sent_at < now - _SILENCE_SECONDS:
                question.lane.doubt(question.sent_at)
        for question in late:
            if question.answer.done():
                continue
            lane = question.lane
            question.answer.set_exception(PolicyError("too slow" if question.sent_at else "unreachable"))
            if lane is not None and question.sent_at and question.request.stage == policy_pb2.STAGE_CONNECT:
                lane.given_up[question.request.request_id] = question.request.session
        if late:
            self._waiting = [question for question in self._waiting if not question.answer.done()]
            for lane in {question.lane for question in late if question.lane is not None}:
                lane.disappointed(late)
