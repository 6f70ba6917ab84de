"""One replica of policy as a worker of ingress sees it: what it is asked, and the sessions that it counts."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any, Protocol

import structlog
from posthouse.policy.v1 import policy_pb2

from services.ingress.clients import wire
from services.ingress.clients.replica import Replica

log = structlog.get_logger(__name__)

# A frame holds so many requests, with so many addresses in them, of at most 320 octets each. The rest follows.
_FRAME_REQUESTS = 512
_FRAME_ADDRESSES = 50_000


class Question:
    """A request that waits for its verdict."""

    __slots__ = ("addresses", "answer", "asked_at", "deadline", "lane", "losses", "request", "sent_at")

    def __init__(
        self,
        request: policy_pb2.DecideRequest,
        addresses: int,
        answer: asyncio.Future[Any],
        now: float,
        deadline: float,
    ) -> None:
        self.request = request
        # Number of addresses in the request.
        self.addresses = addresses
        self.answer = answer
        self.asked_at = now
        self.deadline = deadline
        # The replica that it is for; None while none is connected.
        self.lane: Lane | None = None
        # When it was sent, on the monotonic clock; 0 before that.
        self.sent_at = 0.0
        # Number of streams that broke while it was unanswered.
        self.losses = 0


class Client(Protocol):
    """What a replica needs of the client that owns it."""

    def changed(self, lost: Lane | None = None, reason: str = "") -> None:
        """A replica connected, was lost, or changed its health. `lost`: the one whose stream broke, for `reason`."""

    def take(self, frame: policy_pb2.VerdictFrame, lane: Lane) -> None:
        """Takes the verdicts of a frame."""

    def told_of(self, closed: dict[str, str]) -> None:
        """The frame that is sent now tells of the end of these sessions. `closed`: session id to client address."""


class Lane(Replica):
    """One replica, what is to be written to it, and the sessions that it counts."""

    def __init__(self, client: Client) -> None:
        super().__init__(client.changed)
        self._client = client
        self.unsent: list[Question] = []
        # Session id to client address, of the sessions that this replica counts.
        self.sessions: dict[str, str] = {}
        # Session id to client address, of ended sessions that the replica has not been told of yet.
        self.closed: dict[str, str] = {}
        # Sessions that moved to another replica, and the time at which this one is told to count them no more.
        self.moved: dict[str, float] = {}
        # (session id, client address) of sessions that moved here and are still to be announced.
        self.resume: list[tuple[str, str]] = []
        # Sessions whose CONNECT request timed out without a verdict, by request id.
        self.given_up: dict[int, policy_pb2.Session] = {}

    def ask(self, question: Question) -> None:
        question.lane = self
        self.unsent.append(question)
        self.stream.wake()

    def disappointed(self, late: Sequence[Question]) -> None:
        """Decisions timed out. A stream that has brought nothing since they were requested is opened anew."""
        self.unsent = [question for question in self.unsent if not question.answer.done()]
        if self.connected and any(
            each.lane is self and each.sent_at and each.asked_at > self.heard_at for each in late
        ):
            log.warning("policy_unresponsive", seconds=round(time.monotonic() - self.heard_at, 1))
            self.stream.recycle()

    def sweep(self, now: float) -> None:
        if self.moved:
            for session_id in [session_id for session_id, until in self.moved.items() if until <= now]:
                del self.moved[session_id]
                # Without the address, so that no new session of the client is held to this replica.
                self.closed[session_id] = ""
        if self.closed and self.connected:
            self.stream.wake()

    # What FrameStream calls.

    def next_frame(self) -> tuple[policy_pb2.DecideFrame, bool] | None:
        unsent = self.unsent
        if not (unsent or self.closed or self.resume):
            return None
        closed, self.closed = self.closed, {}
        resumed, self.resume = self.resume, []
        if closed:
            self._client.told_of(closed)
            if self._comes_again(set(closed.values())):
                # policy looks at a frame's requests first: a client that closed and comes again must find its place
                # free.
                return wire.decide_frame([], list(closed), resumed), False
        requests = self._requests()
        return wire.decide_frame(requests, list(closed), resumed), bool(requests)

    def _requests(self) -> list[policy_pb2.DecideRequest]:
        """The requests for the next frame."""
        now = time.monotonic()
        requests: list[policy_pb2.DecideRequest] = []
        addresses = taken = 0
        for question in self.unsent:
            if len(requests) >= _FRAME_REQUESTS or addresses >= _FRAME_ADDRESSES:
                break
            taken += 1
            if not question.answer.done():
                question.sent_at = now
                requests.append(question.request)
                addresses += question.addresses
        self.unsent = self.unsent[taken:]
        return requests

    def _comes_again(self, addresses: set[str]) -> bool:
        """Whether an unsent CONNECT request comes from one of these clients."""
        return any(
            question.request.stage == policy_pb2.STAGE_CONNECT and question.request.session.client_address in addresses
            for question in self.unsent
        )

    def received(self, frame: policy_pb2.VerdictFrame) -> None:
        self.heard()
        self._client.take(frame, self)

    def broken(self, reason: str) -> None:
        self.gone()
        self._client.changed(lost=self, reason=reason)
        self.closed.clear()
        self.moved.clear()
        self.given_up.clear()
