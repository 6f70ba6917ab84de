"""Asks policy over a decision stream to each replica. Requests and verdicts are matched by id, and each request has a
deadline.

It also tells policy which sessions are open. The sessions belong to this worker, whichever replica counts them. At the
start of a stream the replica is told all open sessions, and then each change, so that the counts stay correct when
replicas start and stop.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import secrets
import time
from collections.abc import Callable, Sequence
from functools import lru_cache

import structlog
from posthouse.policy.v1 import policy_pb2, policy_pb2_grpc

from libs.runtime.security import Security
from services.ingress import spans
from services.ingress.clients import wire
from services.ingress.clients.policy_replica import PendingDecision, PolicyReplica
from services.ingress.clients.replica import usable_replicas, weight, without_retired
from services.ingress.clients.replicas import Replicas
from services.ingress.clients.stream import FrameStream
from services.ingress.content_facts import ContentFacts
from services.ingress.metrics import Metrics
from services.ingress.session import Credentials, SessionFacts, Stage, Transaction
from services.ingress.verdict import Action, InvalidVerdictError, Verdict

log = structlog.get_logger(__name__)

# The time after which a decision fails while no replica is connected.
_GRACE_SECONDS = 1.0
_SWEEP_SECONDS = 0.1
# A replica that has sent nothing for this time after a request is probed by a health check.
_SILENCE_SECONDS = 1.5
# A request whose stream broke this often is not sent again, because the request itself may crash the replicas.
_MOST_LOSSES = 3
# A set of open sessions that was sent may need this time to reach the store of counters.
_SET_SECONDS = 10.0
# The longest time for which the end of this process waits until policy knows the last ended sessions.
_GOODBYE_SECONDS = 1.0
# The largest number of clients whose replica is remembered.
_REMEMBERED_CLIENTS = 10_000


class PolicyError(Exception):
    """policy gave no usable answer, because it was unreachable, too slow, or violated the contract. The text names the
    reason.
    """


class PolicyClient:
    """The decisions of one worker. `deadline` is the time in seconds from request to verdict.

    All requests about a client go to one of the healthy replicas, so that the end of a session and the next connection
    of the client arrive in this order. When that replica stops or dies, unanswered requests are sent to another
    replica. This is possible because a request holds every fact that is needed. A request that is sent again is marked,
    so that policy does not count it twice.
    """

    def __init__(self, targets: Sequence[str], security: Security, metrics: Metrics, *, deadline: float) -> None:
        self._security = security
        self._metrics = metrics
        self._deadline = deadline
        # This name is unique over all workers and restarts.
        self._name = secrets.token_hex(16)
        self._counter = itertools.count(1)
        self._streams = Replicas("policy", targets, self._join)
        self._replicas: list[PolicyReplica] = []
        # The replicas that may get requests, and the choice of the replica for a client's address.
        self._usable: list[PolicyReplica] = []
        self._replica_of: Callable[[str], PolicyReplica] = _chooser([])
        self._numbers = itertools.count(1)
        # The decisions that wait for a verdict, by request id, oldest first.
        self._pending: dict[int, PendingDecision] = {}
        # The pending decisions that wait for a replica to connect.
        self._waiting: list[PendingDecision] = []
        # The open sessions that policy has accepted: the address of the client for each session id.
        self._sessions: dict[str, str] = {}
        self._set_sent_at = float("-inf")
        self._down_since = time.monotonic()

    @property
    def connected(self) -> bool:
        """Whether requests can be sent to any replica."""
        return bool(self._usable)

    async def run(self) -> None:
        """Keeps the streams open and checks the deadlines, until cancelled."""
        sweeper = asyncio.create_task(self._sweep())
        try:
            await self._streams.run()
        finally:
            sweeper.cancel()

    async def decide(
        self,
        stage: Stage,
        session: SessionFacts,
        transaction: Transaction | None = None,
        *,
        recipient: bytes = b"",
        credentials: Credentials | None = None,
        content_facts: ContentFacts | None = None,
    ) -> Verdict:
        """Requests one decision. Raises PolicyError."""
        now = time.monotonic()
        deadline = now + self._deadline
        address = session.peer.client_address
        if not self._usable:
            if now - self._down_since > _GRACE_SECONDS:
                raise PolicyError("unreachable")
            deadline = now + min(self._deadline, _GRACE_SECONDS)
        request = wire.request(
            stage, session, transaction, recipient=recipient, credentials=credentials, content_facts=content_facts
        )
        request.request_id = number = next(self._numbers)
        if spans.current is not None:
            request.traceparent = spans.current.traceparent(session.id)
        addresses = len(transaction.recipients) if transaction is not None else 0
        if content_facts is not None:
            addresses += len(content_facts.from_addresses)
        decision = PendingDecision(request, addresses, asyncio.get_running_loop().create_future(), now, deadline)
        self._pending[number] = decision
        if self._usable:
            self._replica_of(address).ask(decision)
        else:
            self._waiting.append(decision)
        try:
            message = await decision.verdict
            verdict = wire.verdict(message)
        except BaseException as error:
            if stage is Stage.CONNECT:
                self._give_up(decision)
            if isinstance(error, InvalidVerdictError):
                raise PolicyError(f"nonsense: {error}") from error
            raise
        finally:
            self._pending.pop(number, None)
        self._metrics.policy_seconds[stage.name].observe(time.monotonic() - now)
        if stage is Stage.CONNECT and verdict.action is Action.ACCEPT:
            self._sessions[session.id] = address
        return verdict

    def session_closed(self, session: SessionFacts) -> None:
        """Notes that the connection ended. policy is told in the next frame."""
        address = self._sessions.pop(session.id, None)
        if address is not None:
            self._tell_closed(session.id, address)

    def _tell_closed(self, session_id: str, address: str) -> None:
        """Notes for a replica that a session closed. While there is no replica, this is not needed, because the next
        replica to connect gets the whole set of open sessions.
        """
        if self._usable:
            # The end is sent with the next request or at the next sweep, because a separate frame would cost too much.
            self._replica_of(address).closed[session_id] = address

    def _give_up(self, decision: PendingDecision) -> None:
        """Drops a decision that nobody waits for any more. policy may have counted the session, or will do so soon. The
        same replica is told that the session ended, so that its beginning and its end reach the store in this order.
        """
        asked, session = decision.replica, decision.request.session
        if asked is not None and asked.connected and decision.sent_at:
            asked.closed[session.id] = session.client_address
        elif decision.losses:
            self._tell_closed(session.id, session.client_address)

    async def stop(self) -> None:
        """Tells policy of the last sessions that ended, and ends the streams."""
        for replica in self._replicas:
            replica.stream.retire()
            replica.stream.finish()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_GOODBYE_SECONDS):
                while any(replica.connected for replica in self._replicas):  # noqa: ASYNC110 - streams end
                    await asyncio.sleep(0.01)

    # The methods below make the parts of a frame other than its requests.

    def new_frame(self) -> policy_pb2.DecideFrame:
        frame = policy_pb2.DecideFrame(counter=next(self._counter))
        if time.monotonic() - self._set_sent_at < _SET_SECONDS:
            frame.remember_closed = True
        return frame

    def add_open_sessions(self, frame: policy_pb2.DecideFrame, *, introduce: bool) -> None:
        # Sessions that wait for their verdict may or may not be counted already, so the set does not contain them.
        waiting = [each.frame_counter for each in self._pending.values() if each.opens_session and each.frame_counter]
        wire.add_open_sessions(frame, self._sessions, min(waiting, default=frame.counter))
        if introduce:
            frame.worker = self._name
        self._set_sent_at = time.monotonic()

    # The methods below handle changes of the replicas.

    def _join(self, target: str) -> FrameStream:
        joined = PolicyReplica(target, self)
        joined.stream = FrameStream(
            "policy",
            target,
            self._security,
            lambda channel: policy_pb2_grpc.PolicyStub(channel).DecideStream,
            joined,
        )
        self._replicas.append(joined)
        return joined.stream

    def changed(self, lost: PolicyReplica | None = None, reason: str = "") -> None:
        """Distributes requests anew after a replica connected, was lost, or changed its health. A replica that is
        stopping or has no configuration is used only while there is no other. `lost` is the replica whose stream broke,
        and `reason` says why.
        """
        self._replicas = without_retired(self._replicas)
        usable = usable_replicas(self._replicas)
        went = [each for each in self._usable if each not in usable]
        if went and not usable:
            self._down_since = time.monotonic()
        if usable != self._usable:
            self._usable, self._replica_of = usable, _chooser(usable)
        for each in (*self._replicas, *went):
            each.usable = each in usable
        waiting, self._waiting = self._waiting, []
        for each in went:
            waiting += each.take_unsent()
        if lost is not None:
            # The unanswered requests of the lost replica are sent again too.
            unanswered = [each for each in self._pending.values() if each.replica is lost and each.sent_at]
            if unanswered:
                log.warning("decisions_unanswered", count=len(unanswered), reason=reason)
            waiting += unanswered
        if went or lost is not None:
            # The lost replica may not have counted the last changes, and each replica may count in its own memory.
            for each in usable:
                each.tell_sessions()
        for each in went if lost is None or lost in went else (*went, lost):
            for session_id, address in each.take_closed().items():
                self._tell_closed(session_id, address)
        for decision in waiting:
            self._ask_again(decision)

    def _ask_again(self, decision: PendingDecision) -> None:
        """Sends a request to another replica. If no replica is connected, the request is sent to the first replica that
        connects within a short time.
        """
        if decision.verdict.done():
            return
        if decision.sent_at:
            decision.request.asked_before = True
            decision.sent_at, decision.frame_counter = 0.0, 0
            decision.losses += 1
            if decision.losses >= _MOST_LOSSES:
                decision.verdict.set_exception(PolicyError("streams broken"))
                return
        if self._usable:
            self._replica_of(decision.request.session.client_address).ask(decision)
        else:
            decision.replica = None
            decision.deadline = min(decision.deadline, self._down_since + _GRACE_SECONDS)
            self._waiting.append(decision)

    # The method below is called with the data from a stream.

    def take(self, frame: policy_pb2.VerdictFrame) -> None:
        for message in frame.verdicts:
            decision = self._pending.get(message.request_id)
            if decision is not None and not decision.verdict.done():
                decision.verdict.set_result(message)

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(_SWEEP_SECONDS)
            now = time.monotonic()
            self._hold_deadlines(now)
            for replica in self._replicas:
                replica.sweep(now)
                if replica.draining:
                    replica.finish_when(not self._is_asked(replica))

    def _is_asked(self, asked: PolicyReplica) -> bool:
        return any(decision.replica is asked for decision in self._pending.values())

    def _hold_deadlines(self, now: float) -> None:
        """Fails decisions whose deadline has passed, and probes replicas that sent nothing after a request."""
        late: list[PendingDecision] = []
        for decision in self._pending.values():
            if decision.deadline <= now:
                late.append(decision)
            elif decision.replica is not None and 0 < decision.sent_at < now - _SILENCE_SECONDS:
                decision.replica.probe_if_silent(decision.sent_at)
        for decision in late:
            if not decision.verdict.done():
                decision.verdict.set_exception(PolicyError("too slow" if decision.sent_at else "unreachable"))
        if late:
            self._waiting = [decision for decision in self._waiting if not decision.verdict.done()]
            for each in {decision.replica for decision in late if decision.replica is not None}:
                each.on_timeouts(late)


def _chooser(replicas: Sequence[PolicyReplica]) -> Callable[[str], PolicyReplica]:
    """Returns the function that chooses the replica for the address of a client. When a replica is lost, only its
    clients move to another replica.
    """
    if len(replicas) == 1:
        return lambda _: replicas[0]
    return lru_cache(maxsize=_REMEMBERED_CLIENTS)(
        lambda address: max(replicas, key=lambda replica: weight(replica.target, address.encode()))
    )
