"""One replica of policy, as a worker of ingress uses it: the requests to it, and the changes of sessions that it must
know.
"""

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

# No more requests are added to a frame that has this number of requests, or this number of addresses in them. The rest
# is sent in the next frame.
_FRAME_REQUESTS = 512
_FRAME_ADDRESSES = 50_000
# After this time without a frame, an empty frame is sent, which shows that the worker is alive.
_HEARTBEAT_SECONDS = 3.0


class PendingDecision:
    """A request that waits for its verdict."""

    __slots__ = (
        "addresses",
        "asked_at",
        "deadline",
        "frame_counter",
        "losses",
        "replica",
        "request",
        "sent_at",
        "verdict",
    )

    def __init__(
        self,
        request: policy_pb2.DecideRequest,
        addresses: int,
        verdict: asyncio.Future[Any],
        now: float,
        deadline: float,
    ) -> None:
        self.request = request
        # The number of addresses in the request.
        self.addresses = addresses
        self.verdict = verdict
        self.asked_at = now
        self.deadline = deadline
        # The replica to which the request is sent. It is None while no replica is connected.
        self.replica: PolicyReplica | None = None
        # The time when the request was sent, by the monotonic clock, and the counter of its frame. Both are 0 before
        # that.
        self.sent_at = 0.0
        self.frame_counter = 0
        # The number of streams that broke while the request was unanswered.
        self.losses = 0

    @property
    def opens_session(self) -> bool:
        return self.request.stage == policy_pb2.STAGE_CONNECT


class Client(Protocol):
    """The methods of the policy client that a replica calls."""

    def changed(self, lost: PolicyReplica | None = None, reason: str = "") -> None:
        """Handles a replica that connected, was lost, or changed its health. `lost` is the replica whose stream broke,
        and `reason` says why.
        """

    def take(self, frame: policy_pb2.VerdictFrame) -> None:
        """Handles the verdicts in a frame."""

    def new_frame(self) -> policy_pb2.DecideFrame:
        """Makes a frame with only its counter."""

    def add_open_sessions(self, frame: policy_pb2.DecideFrame, *, introduce: bool) -> None:
        """Writes the worker's open sessions into a frame, and with `introduce` its name."""


class PolicyReplica(Replica):
    """One replica, and the data that must be written to it."""

    def __init__(self, target: str, client: Client) -> None:
        super().__init__(client.changed)
        self.target = target
        self._client = client
        self.unsent: list[PendingDecision] = []
        # The address of the client by session id, for ended sessions that the replica does not know of yet.
        self.closed: dict[str, str] = {}
        # Whether the next frame must contain the worker's open sessions, and whether it must also contain the worker's
        # name, because it is the first frame of the stream.
        self._tells_sessions = False
        self._introduces = False
        self._wrote_at = 0.0

    def ask(self, decision: PendingDecision) -> None:
        decision.replica = self
        self.unsent.append(decision)
        self.stream.wake()

    def tell_sessions(self) -> None:
        """Sends the worker's open sessions with the next frame."""
        self._tells_sessions = True
        self.stream.wake()

    def take_unsent(self) -> list[PendingDecision]:
        unsent, self.unsent = self.unsent, []
        return unsent

    def take_closed(self) -> dict[str, str]:
        closed, self.closed = self.closed, {}
        return closed

    def on_timeouts(self, late: Sequence[PendingDecision]) -> None:
        """Handles decisions that timed out. If the stream has received nothing since these requests, it is opened
        again.
        """
        self.unsent = [decision for decision in self.unsent if not decision.verdict.done()]
        if self.connected and any(
            decision.replica is self and decision.sent_at and decision.asked_at > self.heard_at for decision in late
        ):
            log.warning("policy_unresponsive", seconds=round(time.monotonic() - self.heard_at, 1))
            self.stream.recycle()

    def sweep(self, now: float) -> None:
        """Sends data that no request has taken along: ended sessions, or an empty frame as a sign of life."""
        if self.connected and not self.ending and (self.closed or self._needs_heartbeat(now)):
            self.stream.wake()

    def _needs_heartbeat(self, now: float) -> bool:
        return now - self._wrote_at >= _HEARTBEAT_SECONDS

    # The methods below are called by FrameStream.

    def opened(self) -> None:
        self._tells_sessions = self._introduces = True
        super().opened()

    def next_frame(self) -> tuple[policy_pb2.DecideFrame, bool] | None:
        now = time.monotonic()
        if not (self.unsent or self.closed or self._tells_sessions or self._needs_heartbeat(now)):
            return None
        self._wrote_at = now
        frame = self._client.new_frame()
        if self._tells_sessions:
            self._client.add_open_sessions(frame, introduce=self._introduces)
            self._tells_sessions = self._introduces = False
            return frame, False
        if self.closed:
            wire.add_closed_sessions(frame, self.take_closed())
        if self.unsent:
            self._add_requests(frame, now)
        return frame, bool(frame.requests)

    def _add_requests(self, frame: policy_pb2.DecideFrame, now: float) -> None:
        requests: list[policy_pb2.DecideRequest] = []
        addresses = taken = 0
        for decision in self.unsent:
            if len(requests) >= _FRAME_REQUESTS or addresses >= _FRAME_ADDRESSES:
                break
            taken += 1
            if not decision.verdict.done():
                decision.sent_at = now
                decision.frame_counter = frame.counter
                requests.append(decision.request)
                addresses += decision.addresses
        self.unsent = self.unsent[taken:]
        frame.requests.extend(requests)

    def received(self, frame: policy_pb2.VerdictFrame) -> None:
        self.heard()
        self._client.take(frame)
        if frame.send_open_sessions:
            self.tell_sessions()

    def broken(self, reason: str) -> None:
        self.gone()
        self._client.changed(lost=self, reason=reason)
