"""A stand-in for the policy service: it gives scripted verdicts and records the requests that it received."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import grpc
from google.protobuf.duration_pb2 import Duration
from posthouse.policy.v1 import policy_pb2 as pb
from posthouse.policy.v1 import policy_pb2_grpc

Script = Callable[[pb.DecideRequest], pb.Verdict]


def profile(**changes: object) -> pb.SessionProfile:
    """Returns a session profile like the one of a default installation, with `changes` applied."""
    values: dict[str, object] = {
        "revision": 1,
        "hostname": "mx.example.com",
        "banner": "ESMTP",
        "auth_mechanisms_tls": ["PLAIN", "LOGIN"],
        "max_message_size": 25 * 1024 * 1024,
        "max_recipients": 1000,
        "max_hops": 50,
        "max_junk_commands": 100,
        "junk_commands_per_delay": 10,
        "ask_stages": [pb.STAGE_CONNECT, pb.STAGE_AUTH, pb.STAGE_RCPT, pb.STAGE_JUNK_COMMAND],
        **changes,
    }
    return pb.SessionProfile(**values)  # type: ignore[arg-type]


def accept(**fields: object) -> pb.Verdict:
    return pb.Verdict(action=pb.ACTION_ACCEPT, **fields)  # type: ignore[arg-type]


def discard(reason_id: str, rule_id: str = "") -> pb.Verdict:
    return pb.Verdict(action=pb.ACTION_DISCARD, reason_id=reason_id, rule_id=rule_id)


def reject(code: int, enhanced: str, text: str = "no", *, close: bool = False, reason_id: str = "rule") -> pb.Verdict:
    return pb.Verdict(
        action=pb.ACTION_REJECT,
        reply=pb.Reply(code=code, enhanced_code=enhanced, text=text),
        close=close,
        reason_id=reason_id,
    )


def delayed(seconds: float) -> pb.Verdict:
    return accept(delay=Duration(seconds=int(seconds), nanos=int(seconds % 1 * 1e9)))


class FakePolicy(policy_pb2_grpc.PolicyServicer):
    """A gRPC server for policy. `on(stage, answer)` sets a verdict, or a function that makes one from the request.

    A stage without a script gets the verdict ACCEPT. A verdict at CONNECT or AUTH that does not reject and has no
    profile gets `self.profile`. By default AUTH accepts the login `alice` with the password `secret`.
    """

    def __init__(self) -> None:
        self.profile = profile()
        self.requests: list[pb.DecideRequest] = []
        self.closed: list[str] = []
        # The received reports of open sessions, each as the set of its session ids.
        self.open_sessions: list[set[str]] = []
        # When true, the next answer asks ingress for its open sessions.
        self.wants_sessions = False
        self.frames = 0
        # The received frames, in order.
        self.received: list[pb.DecideFrame] = []
        # While this event is cleared, requests are received but not answered.
        self.answering = asyncio.Event()
        self.answering.set()
        self._scripts: dict[int, Script] = {pb.STAGE_AUTH: _known_login}
        self._server: grpc.aio.Server | None = None
        self._changed = asyncio.Condition()
        self.port = 0

    def on(self, stage: int, answer: pb.Verdict | Script) -> None:
        self._scripts[stage] = answer if callable(answer) else lambda _request: answer

    def asked(self, stage: int) -> list[pb.DecideRequest]:
        return [request for request in self.requests if request.stage == stage]

    async def until(self, condition: Callable[[], bool]) -> None:
        """Waits until `condition` holds for the requests and reports that were received."""
        async with asyncio.timeout(60), self._changed:
            await self._changed.wait_for(condition)

    async def start(self, port: int = 0) -> None:
        self._server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
        policy_pb2_grpc.add_PolicyServicer_to_server(self, self._server)
        self.port = self._server.add_insecure_port(f"127.0.0.1:{port or self.port}")
        await self._server.start()

    async def stop(self) -> None:
        if self._server is not None:
            await self._server.stop(0)
            self._server = None

    async def DecideStream(  # noqa: N802 - the contract's name
        self, request_iterator: AsyncIterator[pb.DecideFrame], context: object
    ) -> AsyncIterator[pb.VerdictFrame]:
        async for frame in request_iterator:
            async with self._changed:
                self.frames += 1
                self.requests.extend(frame.requests)
                self.closed.extend(session.session_id for session in frame.closed_sessions)
                self.received.append(frame)
                if frame.HasField("open_sessions"):
                    self.open_sessions.append({session.session_id for session in frame.open_sessions.sessions})
                self._changed.notify_all()
            if frame.requests:
                await self.answering.wait()
            verdicts = [self._verdict(request) for request in frame.requests]
            if verdicts:
                asks, self.wants_sessions = self.wants_sessions, False
                yield pb.VerdictFrame(verdicts=verdicts, send_open_sessions=asks)

    def _verdict(self, request: pb.DecideRequest) -> pb.Verdict:
        script = self._scripts.get(request.stage)
        verdict = pb.Verdict()
        verdict.CopyFrom(script(request) if script is not None else accept())
        verdict.request_id = request.request_id
        wanted = request.stage in (pb.STAGE_CONNECT, pb.STAGE_AUTH) and verdict.action != pb.ACTION_REJECT
        if wanted and not verdict.HasField("profile"):
            verdict.profile.CopyFrom(self.profile)
        return verdict


def _known_login(request: pb.DecideRequest) -> pb.Verdict:
    if (request.credentials.login, request.credentials.password) == (b"alice", b"secret"):
        return accept(account="alice")
    return reject(535, "5.7.8", "Authentication credentials invalid")
