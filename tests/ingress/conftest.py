"""A worker of ingress in this process, with scripted fakes of policy and relay."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import uvloop
from prometheus_client import CollectorRegistry

from libs.runtime.lifecycle import Shutdown
from services.ingress.session import Listener
from services.ingress.settings import Settings
from services.ingress.worker import Worker
from tests.fakes.policy import FakePolicy
from tests.fakes.relay import FakeRelay
from tests.ingress.client import Client
from tests.peers.ports import free_ports


@pytest.fixture(scope="session")
def event_loop_policy() -> Any:
    """Returns the policy of uvloop, the event loop of ingress."""
    return uvloop.EventLoopPolicy()


class Ingress:
    """A running worker, its fake policy and relay, and clients that talk to it."""

    def __init__(self, worker: Worker, shutdown: Shutdown, policy: FakePolicy, relay: FakeRelay) -> None:
        self.worker = worker
        self.shutdown = shutdown
        self.policy = policy
        self.relay = relay
        self._clients: list[Client] = []

    @property
    def metrics(self) -> Any:
        return self.worker.metrics

    def port(self, listener: Listener = Listener.SMTP) -> int:
        return self.worker.listeners.ports[listener]

    async def connect(self, listener: Listener = Listener.SMTP, *, host: str = "127.0.0.1", source: str = "") -> Client:
        """Returns a connected client that has read nothing yet. `source` is the address from which it connects."""
        client = await Client.connect(host, self.port(listener), source)
        self._clients.append(client)
        return client

    async def client(
        self, listener: Listener = Listener.SMTP, *, ehlo: str = "client.example", source: str = ""
    ) -> Client:
        """Returns a client that has read the greeting and sent EHLO. On the submissions port it uses TLS."""
        client = await self.connect(listener, source=source)
        if listener is Listener.SUBMISSIONS:
            await client.start_tls()
        assert (await client.reply()).code == 220
        assert (await client.command(f"EHLO {ehlo}")).code == 250
        return client

    async def until_connected(self) -> None:
        async with asyncio.timeout(60):
            while not (self.worker.policy.connected and self.worker.relay.connected):  # noqa: ASYNC110 - there is no event
                await asyncio.sleep(0.005)

    async def until_empty(self) -> None:
        """Waits until no session is open."""
        async with asyncio.timeout(60):
            while self.worker.listeners.open_sessions():  # noqa: ASYNC110 - there is no event
                await asyncio.sleep(0.005)

    async def until_lost(self) -> None:
        """Waits until the worker has noticed that a client has closed its connection."""
        async with asyncio.timeout(60):
            while self.worker.listeners.connections == len(self.worker.listeners.open_sessions()):
                if self.worker.listeners.connections == 0:
                    return
                await asyncio.sleep(0.005)

    async def until_open(self, connections: int) -> None:
        """Waits until at most this number of connections is left, including those that are being closed."""
        async with asyncio.timeout(60):
            while self.worker.listeners.connections > connections:  # noqa: ASYNC110 - there is no event
                await asyncio.sleep(0.005)

    async def close(self) -> None:
        for client in self._clients:
            client.close()


Start = Callable[..., Awaitable[Ingress]]


@pytest.fixture
async def policy() -> AsyncIterator[FakePolicy]:
    fake = FakePolicy()  # type: ignore[abstract]
    await fake.start()
    yield fake
    await fake.stop()


@pytest.fixture
async def relay() -> AsyncIterator[FakeRelay]:
    fake = FakeRelay()  # type: ignore[abstract]
    await fake.start()
    yield fake
    await fake.stop()


@pytest.fixture
async def start(tmp_path: Path, policy: FakePolicy, relay: FakeRelay) -> AsyncIterator[Start]:
    """Starts a worker with settings that the test chooses."""
    async with contextlib.AsyncExitStack() as stack:

        async def run(*, connected: bool = True, **changes: Any) -> Ingress:
            smtp, submission, smtps = free_ports(3)
            values: dict[str, Any] = {
                "data_dir": tmp_path,
                "smtp_port": smtp,
                "submission_port": submission,
                "smtps_port": smtps,
                "listen": "127.0.0.1:0",
                "policy_target": f"127.0.0.1:{policy.port}",
                "relay_target": f"127.0.0.1:{relay.port}",
                "drain_seconds": 5,
                **changes,
            }
            shutdown = Shutdown()
            worker = Worker(Settings(**values), shutdown, 0, CollectorRegistry())
            ingress = Ingress(worker, shutdown, policy, relay)
            stack.push_async_callback(worker.stop)
            await worker.start()
            stack.push_async_callback(worker.listeners.drain, 0.01)
            stack.push_async_callback(ingress.close)
            if connected:
                await ingress.until_connected()
            return ingress

        yield run


@pytest.fixture
async def ingress(start: Start) -> Ingress:
    """Starts a worker with default settings."""
    return await start()
