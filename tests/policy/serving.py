"""Policy served over gRPC within a test, with everything real but config_api."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from io import StringIO
from typing import Any

from posthouse.policy.v1 import policy_pb2, policy_pb2_grpc

from libs.runtime import rpc
from services.policy.credentials import CredentialChecker
from services.policy.engine import Engine
from services.policy.explain import Explainer
from services.policy.failures import failure_limits
from services.policy.history import History
from services.policy.hits import HitCounts
from services.policy.lookups.resolver import Resolver, nameservers
from services.policy.lookups.service import Lookups
from services.policy.metrics import DecisionCounts
from services.policy.rules.model import Snapshot
from services.policy.servicer import CALLERS, SERVICE, PolicyServicer
from services.policy.state.memory import MemoryStore
from services.policy.state.store import Store
from services.policy.verdict_log import VerdictLog
from tests.peers import plain_grpc

_processes = itertools.count(1)


class Policy:
    """A running policy, and the client's side of it."""

    def __init__(self, engine: Engine, stub: Any, hits: HitCounts, log: StringIO, store: Store) -> None:
        self.engine = engine
        # Any: the asynchronous stubs of grpcio have no types that fit both kinds of channel.
        self.stub = stub
        self.hits = hits
        self.log = log
        self.store = store

    async def decide(self, request: policy_pb2.DecideRequest) -> policy_pb2.Verdict:
        verdict: policy_pb2.Verdict = await self.stub.Decide(request)
        return verdict

    @asynccontextmanager
    async def stream(self) -> AsyncIterator[Stream]:
        """A decision stream; it ends with the block, and policy has released its sessions then."""
        call = self.stub.DecideStream()
        stream = Stream(call)
        try:
            yield stream
        finally:
            await call.done_writing()
            while await call.read():
                pass


class Stream:
    """One decision stream. Answers are matched to requests by their ids, whatever frame they come in."""

    def __init__(self, call: Any) -> None:
        self.call = call
        self._numbers = itertools.count(1)
        self._early: dict[int, policy_pb2.Verdict] = {}

    async def ask(
        self, *requests: policy_pb2.DecideRequest, closed: Sequence[str] = (), resumed: Sequence[tuple[str, str]] = ()
    ) -> list[policy_pb2.Verdict]:
        """Sends one frame and waits for all its answers, in the order of the requests."""
        numbers = []
        for request in requests:
            request.request_id = next(self._numbers)
            numbers.append(request.request_id)
        sessions = [policy_pb2.ResumedSession(session_id=one, client_address=address) for one, address in resumed]
        await self.call.write(
            policy_pb2.DecideFrame(requests=requests, closed_session_ids=closed, resumed_sessions=sessions)
        )
        while not all(number in self._early for number in numbers):
            for verdict in (await self.call.read()).verdicts:
                self._early[verdict.request_id] = verdict
        return [self._early.pop(number) for number in numbers]


@asynccontextmanager
async def serving(
    snapshot: Snapshot | None,
    *,
    dns: str = "127.0.0.1:9",
    store: Store | None = None,
    clock: Callable[[], float] | None = None,
    lookup_seconds: float = 5.0,
    kept_sessions: int = 100,
    state_url: str = "memory://",
    process: str = "",
) -> AsyncIterator[Policy]:
    """`dns`: host:port of the name server. `process`: the name that the store knows this process by."""
    resolver = Resolver(nameservers(dns), seconds=lookup_seconds)
    lookups = Lookups(resolver, seconds=lookup_seconds)
    credentials = CredentialChecker(failure_limits(state_url, 30))
    store = store or MemoryStore()
    hits, log = HitCounts(), StringIO()
    engine = Engine(store, lookups, credentials, DecisionCounts(), VerdictLog(log.write), History(kept_sessions), hits)
    if clock is not None:
        engine.clock = clock
    if snapshot is not None:
        engine.use(snapshot)
    servicer = PolicyServicer(engine, Explainer(engine), process or f"test{next(_processes)}")
    server = rpc.Server({SERVICE: CALLERS}, servicer.register)
    port = await plain_grpc.start(server)
    await server.serving(snapshot is not None)
    await store.start()
    try:
        async with plain_grpc.channel(port) as channel:
            yield Policy(engine, policy_pb2_grpc.PolicyStub(channel), hits, log, store)
    finally:
        await server.stop(0)
        await lookups.close()
        await store.stop()
        credentials.close()
