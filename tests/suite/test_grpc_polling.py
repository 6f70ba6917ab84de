"""gRPC polls its sockets in the way that services/__init__.py configures (docs/decisions/grpc-polling.md)."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_CALLS = 300
# Prints the voluntary context switches of all threads during this number of consecutive calls.
_PROGRAM = """
import asyncio, sys
from pathlib import Path
import services
import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health import aio

def switches():
    lines = [line for status in Path("/proc/self/task").glob("*/status") for line in status.read_text().splitlines()]
    return sum(int(line.split()[1]) for line in lines if line.startswith("voluntary_ctxt_switches"))

async def main(path, calls):
    server = grpc.aio.server()
    health_pb2_grpc.add_HealthServicer_to_server(aio.HealthServicer(), server)
    server.add_insecure_port(f"unix:{path}")
    await server.start()
    async with grpc.aio.insecure_channel(f"unix:{path}") as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        await stub.Check(health_pb2.HealthCheckRequest())
        before = switches()
        for _ in range(calls):
            await stub.Check(health_pb2.HealthCheckRequest())
        print(switches() - before)
    await server.stop(None)

asyncio.run(main(sys.argv[1], int(sys.argv[2])))
"""


def _switches(socket: Path, **environment: str) -> int:
    command = [sys.executable, "-c", _PROGRAM, str(socket), str(_CALLS)]
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("GRPC_")}
    run = subprocess.run(
        command, cwd=ROOT, env=inherited | environment, capture_output=True, text=True, check=True, timeout=60
    )
    # gRPC writes a warning to standard error for experiments that it does not have.
    assert run.stderr == ""
    return int(run.stdout)


def test_a_call_needs_fewer_context_switches_than_with_the_event_engine_of_grpc() -> None:
    # The path of a folder of pytest may be too long for a socket.
    with tempfile.TemporaryDirectory() as folder:
        ours = _switches(Path(folder) / "ours.sock")
        engine = _switches(Path(folder) / "engine.sock", GRPC_EXPERIMENTS="event_engine_client,event_engine_listener")
    assert ours < 0.8 * engine, (ours, engine)
