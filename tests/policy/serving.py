"""Serves policy over gRPC within a test. Everything is real except config_api and the clocks that a test sets."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from io import StringIO
from typing import Any

from posthouse.policy.v1 import policy_pb2, policy_pb2_grpc

from libs.dns.servers import server_list
from libs.runtime import rpc
from services.policy.credentials import CredentialChecker
from services.policy.engine import Engine
from services.policy.explain import Explainer
from services.policy.failures import FailureLimits
from services.policy.history import History
from services.policy.hits import HitCounts
from services.policy.lookups.resolver import Resolver
from services.policy.lookups.service import Lookups
from services.policy.metrics import DecisionCounts
from services.policy.rules.model import Snapshot
from services.policy.servicer import CALLERS, SERVICE, PolicyServicer
from services.policy.state.memory import MemoryStore
from services.policy.state.store import Store
from services.policy.verdict_log import VerdictLog
from tests.peers import plain_grpc

_workers = itertools.count(1)
_frames = itertools.count(1)


class Policy:
    """A running policy, and a client that calls it."""

    def __init__(self, engine: Engine, stub: Any, hits: HitCounts, log: StringIO, store: Store) -> None:
        self.engine = engine
        # The type is Any, because grpcio's asynchronous stubs have no types that fit both kinds of channel.
        self.stub = stub
        self.hits = hits
        self.log = log
        self.store = store

    async def decide(self, request: policy_pb2.DecideRequest) -> policy_pb2.Verdict:
        verdict: policy_pb2.Verdict = await self.stub.Decide(request)
        return verdict

    @asynccontextmanager
    async def stream(self, worker: str = "") -> AsyncIterator[Stream]:
        """Opens a decision stream as a worker of ingress does, by default a new one. The stream ends with the block."""
        call = self.stub.DecideStream()
        stream = Stream(call, worker or f"worker{next(_workers)}")
        await stream.introduce()
        try:
            yield stream
        finally:
            await call.done_writing()
            while await call.read():
                pass


class Stream:
    """One decision stream. Answers are matched to requests by their ids, in whatever frame they arrive."""

    def __init__(self, call: Any, worker: str) -> None:
        self.call = call
        self.worker = worker
        # Number of frames in which policy asked for the open sessions.
        self.asked_for_sessions = 0
        self._numbers = itertools.count(1)
        self._early: dict[int, policy_pb2.Verdict] = {}

    def frame(self, **fields: Any) -> policy_pb2.DecideFrame:
        # All streams use one counter, as if they belonged to one worker.
        return policy_pb2.DecideFrame(counter=next(_frames), **fields)

    async def introduce(self, *sessions: tuple[str, str]) -> None:
        """Sends the first frame with these open sessions, each of which is a pair of id and client address."""
        await self.call.write(self.frame(worker=self.worker, open_sessions=opened(sessions)))

    async def ask(
        self,
        *requests: policy_pb2.DecideRequest,
        closed: Sequence[tuple[str, str]] = (),
    ) -> list[policy_pb2.Verdict]:
        """Sends one frame and returns the verdicts in the order of its requests."""
        numbers = []
        for request in requests:
            request.request_id = next(self._numbers)
            numbers.append(request.request_id)
        await self.call.write(self.frame(requests=requests, closed_sessions=client_sessions(closed)))
        while not all(number in self._early for number in numbers):
            await self.read()
        return [self._early.pop(number) for number in numbers]

    async def read(self) -> None:
        """Reads one frame."""
        frame = await self.call.read()
        self.asked_for_sessions += frame.send_open_sessions
        for verdict in frame.verdicts:
            self._early[verdict.request_id] = verdict


def client_sessions(sessions: Sequence[tuple[str, str]]) -> list[policy_pb2.ClientSession]:
    return [policy_pb2.ClientSession(session_id=one, client_address=address) for one, address in sessions]


def opened(sessions: Sequence[tuple[str, str]], settled_before: int = 0) -> policy_pb2.OpenSessions:
    """Returns a complete set of open sessions. With the default of `settled_before`, policy does not treat sessions as
    ended that are missing in the set.
    """
    return policy_pb2.OpenSessions(sessions=client_sessions(sessions), settled_before=settled_before)


@asynccontextmanager
async def serving(
    snapshot: Snapshot | None,
    *,
    dns: str = "127.0.0.1:9",
    store: Store | None = None,
    clock: Callable[[], float] | None = None,
    lookup_seconds: float = 5.0,
    kept_sessions: int = 100,
) -> AsyncIterator[Policy]:
    """Serves policy. `dns` is the host:port of the name server."""
    resolver = Resolver(server_list(dns), seconds=lookup_seconds)
    lookups = Lookups(resolver, seconds=lookup_seconds)
    store = store or MemoryStore()
    # The clock of the failure limits stands still, so all failures belong to one minute, however long a test takes.
    began = time.time()
    credentials = CredentialChecker(FailureLimits(store, lambda: began))
    hits, log = HitCounts(), StringIO()
    engine = Engine(store, lookups, credentials, DecisionCounts(), VerdictLog(log.write), History(kept_sessions), hits)
    if clock is not None:
        engine.clock = clock
    if snapshot is not None:
        engine.use(snapshot)
    servicer = PolicyServicer(engine, Explainer(engine))
    server = rpc.Server({SERVICE: CALLERS}, servicer.register)
    port = await plain_grpc.start(server)
    await server.serving(snapshot is not None)
    await store.start()
    workers = asyncio.create_task(engine.workers.run())
    try:
        async with plain_grpc.channel(port) as channel:
            yield Policy(engine, policy_pb2_grpc.PolicyStub(channel), hits, log, store)
    finally:
        workers.cancel()
        await server.stop(0)
        await lookups.close()
        await store.stop()
        credentials.close()
