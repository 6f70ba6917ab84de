"""`python -m services.policy` as a process: what it needs before it can serve, what it stores, and how it ends."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import httpx
from grpc_health.v1 import health_pb2, health_pb2_grpc
from posthouse.policy.v1 import policy_pb2, policy_pb2_grpc

from tests.fakes.config_api import ConfigApi
from tests.peers import plain_grpc
from tests.peers.ports import free_port
from tests.peers.redis import Redis
from tests.policy.requests import connect, rcpt, replied
from tests.policy.test_clients import pieces
from tests.policy.world import settings

ROOT = Path(__file__).parents[2]
SERVING = health_pb2.HealthCheckResponse.SERVING


class Process:
    """A policy process and a channel to it."""

    def __init__(self, process: asyncio.subprocess.Process, channel: grpc.aio.Channel, port: int, metrics: int) -> None:
        self.process = process
        self.port = port
        self.metrics = f"http://127.0.0.1:{metrics}"
        self.stub: Any = policy_pb2_grpc.PolicyStub(channel)
        self._health: Any = health_pb2_grpc.HealthStub(channel)

    async def health(self) -> int:
        request = health_pb2.HealthCheckRequest(service="posthouse.policy.v1.Policy")
        answer = await self._health.Check(request, wait_for_ready=True, timeout=60)
        return int(answer.status)

    async def is_serving(self) -> None:
        async with asyncio.timeout(60):
            async for update in self._health.Watch(
                health_pb2.HealthCheckRequest(service="posthouse.policy.v1.Policy"), wait_for_ready=True
            ):
                if update.status == SERVING:
                    return


def environment(folder: Path, **variables: object) -> dict[str, str]:
    given = {name: str(value) for name, value in variables.items()}
    return {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'proto'}", "POSTHOUSE_DATA_DIR": str(folder), **given}


@asynccontextmanager
async def running(folder: Path, config_port: int, **variables: object) -> AsyncIterator[Process]:
    port, metrics = free_port(), free_port()
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "services.policy",
        cwd=folder,
        env=environment(
            folder,
            POLICY_LISTEN=f"127.0.0.1:{port}",
            POLICY_METRICS_PORT=metrics,
            POLICY_CONFIG_TARGET=f"127.0.0.1:{config_port}",
            POLICY_STATE_SECONDS=30,
            **variables,
        ),
    )
    try:
        async with plain_grpc.channel(port) as channel:
            yield Process(process, channel, port, metrics)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def refused(folder: Path, variables: Mapping[str, object]) -> str:
    """Returns the output of a policy process that cannot start."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "services.policy",
        cwd=folder,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env=environment(folder, **{"POLICY_LISTEN": "127.0.0.1:0", "POLICY_METRICS_PORT": 0, **variables}),
    )
    said, _ = await process.communicate()
    assert process.returncode == 1
    return said.decode()


async def test_policy_serves_when_it_has_received_a_snapshot_and_after_a_restart_with_the_stored_one(
    tmp_path: Path,
) -> None:
    config_api = ConfigApi()
    await config_api.start()
    try:
        async with running(tmp_path, config_api.port) as policy:
            assert await policy.health() != SERVING
            assert replied(await policy.stub.Decide(connect())) == "421 4.3.2"
            async with httpx.AsyncClient() as http:
                unready = await http.get(f"{policy.metrics}/readyz")
                assert (unready.status_code, "snapshot" in unready.json()["missing"]) == (503, True)
            config_api.send(7, pieces(settings()), whole=True)
            await policy.is_serving()
            assert replied(await policy.stub.Decide(connect())) == "accept"
            assert replied(await policy.stub.Decide(rcpt("ghost@local.test"))) == "550 5.1.1"
            async with httpx.AsyncClient() as http:
                text = (await http.get(f"{policy.metrics}/metrics")).text
            assert (
                'posthouse_policy_decisions_total{action="reject",reason="unknown_recipient",stage="rcpt"} 1.0' in text
            )
            assert "posthouse_policy_snapshot_revision 7.0" in text
            # A second SIGTERM does no harm (C137).
            policy.process.send_signal(signal.SIGTERM)
            policy.process.send_signal(signal.SIGTERM)
            assert await asyncio.wait_for(policy.process.wait(), 60) == 0
    finally:
        await config_api.stop()
    # config_api does not run any more, so policy uses the snapshot that it has stored.
    async with running(tmp_path, config_api.port) as policy:
        await policy.is_serving()
        assert replied(await policy.stub.Decide(rcpt("alice@local.test"))) == "accept"


async def test_the_end_of_a_policy_process_ends_its_streams_and_sessions_still_count(
    tmp_path: Path, redis_url: str
) -> None:
    """Two processes share Redis. After one has ended, the sessions of its worker count until the worker reports a new
    set of sessions to the other.
    """
    config_api = ConfigApi()
    await config_api.start()
    config_api.send(7, pieces(settings({"connection_policy": {"max_concurrent_connections": 1}})), whole=True)
    try:
        async with (
            running(tmp_path, config_api.port, POLICY_STATE_URL=redis_url) as first,
            running(tmp_path, config_api.port, POLICY_STATE_URL=redis_url) as second,
        ):
            await first.is_serving()
            await second.is_serving()
            call = first.stub.DecideStream()
            opened = policy_pb2.OpenSessions(settled_before=1)
            await call.write(policy_pb2.DecideFrame(worker="w1", counter=1, open_sessions=opened))
            await call.write(policy_pb2.DecideFrame(counter=2, requests=[connect("s1")]))
            assert replied((await call.read()).verdicts[0]) == "accept"
            assert replied(await second.stub.Decide(connect("s2"))) == "421 4.7.0"
            first.process.send_signal(signal.SIGTERM)
            assert await asyncio.wait_for(first.process.wait(), 60) == 0
            assert replied(await second.stub.Decide(connect("s2"))) == "421 4.7.0"
            call = second.stub.DecideStream()
            opened = policy_pb2.OpenSessions(settled_before=3)
            await call.write(policy_pb2.DecideFrame(worker="w1", counter=3, open_sessions=opened))
            await call.write(policy_pb2.DecideFrame(counter=4, requests=[connect("s3")]))
            assert replied((await call.read()).verdicts[0]) == "accept"
            call.cancel()
    finally:
        await config_api.stop()


@asynccontextmanager
async def receiving(folder: Path, policy_port: int) -> AsyncIterator[tuple[asyncio.subprocess.Process, int]]:
    """Runs an ingress process without relay, and yields it with its SMTP port."""
    port = free_port()
    ports = {
        "INGRESS_SMTP_PORT": port,
        "INGRESS_SUBMISSION_PORT": 0,
        "INGRESS_SMTPS_PORT": 0,
        "INGRESS_LISTEN": "127.0.0.1:0",
    }
    targets = {"INGRESS_POLICY_TARGET": f"127.0.0.1:{policy_port}", "INGRESS_RELAY_TARGET": f"127.0.0.1:{free_port()}"}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "services.ingress", cwd=folder, env=environment(folder, **ports, **targets)
    )
    try:
        yield process, port
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def _greeting(port: int) -> tuple[str, asyncio.StreamWriter]:
    """Returns a greeting of ingress and the connection, once ingress listens and is connected to policy."""
    async with asyncio.timeout(60):
        while True:
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.05)
                continue
            line = (await reader.readline()).decode()
            if line.startswith(("220", "421 4.7.0")):
                return line, writer
            writer.close()
            await asyncio.sleep(0.05)


async def _until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not holds():  # noqa: ASYNC110 - there is no event
            await asyncio.sleep(0.05)


async def test_sessions_count_until_the_key_of_a_killed_worker_expires(tmp_path: Path, redis_server: Redis) -> None:
    config_api = ConfigApi()
    await config_api.start()
    config_api.send(7, pieces(settings({"connection_policy": {"max_concurrent_connections": 2}})), whole=True)
    key = "posthouse:policy:sessions:127.0.0.1"
    try:
        async with running(tmp_path, config_api.port, POLICY_STATE_URL=redis_server.url) as policy:
            await policy.is_serving()
            for end in (signal.SIGTERM, signal.SIGKILL):
                async with receiving(tmp_path, policy.port) as (ingress, port):
                    sessions = [await _greeting(port) for _ in range(3)]
                    assert [line[:3] for line, _ in sessions] == ["220", "220", "421"]
                    await _until(lambda: redis_server.command("HLEN", key) == ":2")
                    ingress.send_signal(end)
                    await ingress.wait()
                if end is signal.SIGTERM:
                    assert redis_server.command("HLEN", key) == ":0"
            assert redis_server.command("HLEN", key) == ":2"
            # The dead worker sends no frames any more, so its key in Redis expires.
            await _until(lambda: redis_server.command("KEYS", "posthouse:policy:worker:*") in ("*0", ""))
            assert replied(await policy.stub.Decide(connect(client="127.0.0.1"))) == "accept"
    finally:
        await config_api.stop()


async def test_a_process_that_cannot_start_logs_the_reason_in_one_line(tmp_path: Path) -> None:
    said = await refused(tmp_path, {"POLICY_NAMESERVERS": "127.0.0.1:dns"})
    assert "POLICY_NAMESERVERS: a name server must be host[:port]" in said
    assert "Traceback" not in said
