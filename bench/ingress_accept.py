"""Measures how fast ingress and unchanged aiosmtpd accept mail, with the CPU time for each message and the memory of
each idle connection.

`python -m bench.ingress_accept [--messages 4000] [--sessions 20] [--rounds 3] [--idle 5000]`; needs smtp-source. Policy
and relay are replaced by the cheapest possible programs, so that the figures are those of ingress alone. Aiosmtpd calls
no other service and stores nothing. Only ratios within one run are meaningful, because the speed of the machine
changes.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_ROOT = Path(__file__).resolve().parent.parent
_TICKS = os.sysconf("SC_CLK_TCK")
_SIZES = (4 * 1024, 50 * 1024)


@dataclass(frozen=True, slots=True)
class Target:
    """A server under load: its port, and the process whose CPU time and memory are measured."""

    name: str
    port: int
    pid: int

    def cpu_seconds(self) -> float:
        fields = Path(f"/proc/{self.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS

    def resident_octets(self) -> int:
        return int(Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True)
class Figure:
    """The result of a measurement. `cpu_ms` is the CPU time for one message."""

    rate: float
    cpu_ms: float


@contextlib.contextmanager
def _peer(kind: str) -> Iterator[tuple[int, int]]:
    """Yields (port, pid) of a process of bench.ingress_peers."""
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.ingress_peers", kind],
        cwd=_ROOT,
        env={**os.environ, "PYTHONPATH": f"{_ROOT}:{_ROOT / 'proto'}"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdin is not None
    try:
        yield int(process.stdout.readline()), process.pid
    finally:
        process.stdin.close()
        process.wait()


@contextlib.contextmanager
def targets(peers: str = "grpc", *, checkout: Path = _ROOT, **environment_too: str) -> Iterator[tuple[Target, Target]]:
    """Runs the ingress of a checkout with this environment, and unchanged aiosmtpd. `peers` selects the programs of
    bench.ingress_peers that replace policy and relay.
    """
    with (
        _peer(peers) as (grpc_port, _),
        _peer("stock") as (stock_port, stock_pid),
        tempfile.TemporaryDirectory() as folder,
    ):
        port = _free_port()
        environment = {
            **os.environ,
            "PYTHONPATH": f"{checkout}:{checkout / 'proto'}",
            "POSTHOUSE_DATA_DIR": folder,
            "INGRESS_SMTP_PORT": str(port),
            "INGRESS_SUBMISSION_PORT": "0",
            "INGRESS_SMTPS_PORT": "0",
            "POSTHOUSE_INSECURE_GRPC": "true",
            "INGRESS_MAX_CONNECTIONS": "12000",
            "INGRESS_POLICY_TARGET": f"127.0.0.1:{grpc_port}",
            "INGRESS_RELAY_TARGET": f"127.0.0.1:{grpc_port}",
            **environment_too,
        }
        with (Path(folder) / "log").open("wb") as log:
            ingress = subprocess.Popen(
                [sys.executable, *_profiler(), "-m", "services.ingress"], cwd=checkout, env=environment, stderr=log
            )
            try:
                _until_greeting(port)
                yield Target("ingress", port, ingress.pid), Target("stock aiosmtpd", stock_port, stock_pid)
            finally:
                ingress.terminate()
                ingress.wait()


def _profiler() -> list[str]:
    """Returns the arguments that run ingress under cProfile, if INGRESS_PROFILE names a file."""
    profile = os.environ.get("INGRESS_PROFILE")
    return ["-m", "cProfile", "-o", profile] if profile else []


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _until_greeting(port: int) -> None:
    ends = time.monotonic() + 20
    while time.monotonic() < ends:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=5) as probe:
            if probe.recv(512).startswith(b"220"):
                probe.sendall(b"QUIT\r\n")
                return
        time.sleep(0.05)
    raise SystemExit("ingress does not greet")


def load(
    target: Target, *, messages: int, sessions: int, size: int = 0, reuse: bool, content: Path | None = None
) -> Figure:
    """Runs smtp-source once against the target, with `content` or with a body of the given size."""
    command = ["smtp-source", "-s", str(sessions), "-m", str(messages)]
    command += ["-l", str(size)] if content is None else ["-F", str(content)]
    command += ["-f", "sender@example.org", "-t", "recipient@example.com", *(["-d"] if reuse else [])]
    cpu, began = target.cpu_seconds(), time.perf_counter()
    subprocess.run([*command, f"inet:127.0.0.1:{target.port}"], check=True)
    took = time.perf_counter() - began
    return Figure(messages / took, (target.cpu_seconds() - cpu) * 1000 / messages)


def compare(messages: int, sessions: int, rounds: int) -> list[dict[str, object]]:
    """Measures both targets in turns. Returns the medians of each workload for both."""
    rows: list[dict[str, object]] = []
    with targets() as (ingress, stock):
        for size in _SIZES:
            for reuse in (False, True):
                figures: dict[str, list[Figure]] = {ingress.name: [], stock.name: []}
                for _ in range(rounds):
                    for target in (ingress, stock):
                        figure = load(target, messages=messages, sessions=sessions, size=size, reuse=reuse)
                        figures[target.name].append(figure)
                ours, theirs = (
                    Figure(statistics.median(f.rate for f in found), statistics.median(f.cpu_ms for f in found))
                    for found in figures.values()
                )
                rows.append(
                    {
                        "octets": size,
                        "per_connection": "many" if reuse else "one",
                        "ingress_per_s": round(ours.rate),
                        "stock_per_s": round(theirs.rate),
                        "ratio": round(ours.rate / theirs.rate, 2),
                        "ingress_cpu_ms": round(ours.cpu_ms, 3),
                        "stock_cpu_ms": round(theirs.cpu_ms, 3),
                    }
                )
                print(json.dumps(rows[-1]), flush=True)
    return rows


async def _idle(port: int, count: int) -> list[asyncio.StreamWriter]:
    gate = asyncio.Semaphore(200)

    async def one() -> asyncio.StreamWriter:
        async with gate:
            reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1024)
            await reader.readuntil(b"\r\n")
            writer.write(b"EHLO client.example\r\n")
            while not (await reader.readuntil(b"\r\n")).startswith(b"250 "):
                pass
            return writer

    return list(await asyncio.gather(*(one() for _ in range(count))))


def idle_memory(count: int) -> dict[str, object]:
    """Returns how many octets of resident memory each idle connection needs after EHLO."""
    found: dict[str, object] = {"idle_connections": count}
    with targets() as pair:
        for target in pair:
            before = target.resident_octets()

            async def measure(measured: Target = target, base: int = before) -> int:
                writers = await _idle(measured.port, count)
                octets = (measured.resident_octets() - base) // count
                for writer in writers:
                    writer.close()
                return octets

            found[f"{target.name.replace(' ', '_')}_octets_each"] = asyncio.run(measure())
    print(json.dumps(found), flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=4000)
    parser.add_argument("--sessions", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--idle", type=int, default=5000)
    arguments = parser.parse_args()
    if shutil.which("smtp-source") is None:
        raise SystemExit("smtp-source is missing: apt-get install postfix")
    compare(arguments.messages, arguments.sessions, arguments.rounds)
    if arguments.idle:
        idle_memory(arguments.idle)


if __name__ == "__main__":
    main()
