"""One measured run: Postfix's smtp-source as the client, smtp-sink as the next hop, a gateway between them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass

SMTP_SOURCE = "/usr/sbin/smtp-source"
SMTP_SINK = "/usr/sbin/smtp-sink"
RUN_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class Workload:
    """What smtp-source sends."""

    name: str
    # Octets of the body.
    size: int
    messages: int
    sessions: int = 20
    # Many messages in each connection, or one.
    keep_connection: bool = False
    sender: str = "sender@source.example"
    recipient: str = "recipient@sink.example"


@dataclass(frozen=True, slots=True)
class Measured:
    """One run's result; seconds from the first connection."""

    accepted_seconds: float
    delivered_seconds: float
    messages: int
    # CPU of the load generator and the sink, for the table of where time goes.
    load_cpu_seconds: float

    @property
    def accepted_rate(self) -> float:
        return self.messages / self.accepted_seconds

    @property
    def delivered_rate(self) -> float:
        return self.messages / self.delivered_seconds


class LoadError(Exception):
    """The run is not comparable; the message says why."""


@contextlib.asynccontextmanager
async def sink(port: int, messages: int, *, host: str = "127.0.0.1") -> AsyncIterator[asyncio.subprocess.Process]:
    """smtp-sink that ends by itself once it has taken `messages`; yields its process."""
    process = await asyncio.create_subprocess_exec(
        SMTP_SINK, *(["-u", "nobody"] if os.geteuid() == 0 else []), "-M", str(messages), f"{host}:{port}", "1024",
        stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        await _listening(host, port)
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def _listening(host: str, port: int) -> None:
    async with asyncio.timeout(10):
        while True:
            with contextlib.suppress(OSError):
                _, writer = await asyncio.open_connection(host, port)
                writer.close()
                return
            await asyncio.sleep(0.02)


async def run(workload: Workload, gateway_port: int, sink_port: int, *, host: str = "127.0.0.1") -> Measured:
    """Sends the workload through the gateway. Raises LoadError when the sink did not get every message."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    async with sink(sink_port, workload.messages) as receiving:
        command = [
            SMTP_SOURCE,
            *("-s", str(workload.sessions), "-m", str(workload.messages), "-l", str(workload.size)),
            *("-f", workload.sender, "-t", workload.recipient, "-M", "source.example"),
            *(["-d"] if workload.keep_connection else []),
            f"inet:{host}:{gateway_port}",
        ]
        began = time.perf_counter()
        source = await asyncio.create_subprocess_exec(
            *command, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE
        )
        try:
            async with asyncio.timeout(RUN_SECONDS):
                _, complaint = await source.communicate()
                accepted = time.perf_counter() - began
                if source.returncode:
                    raise LoadError(f"smtp-source: {complaint.decode(errors='replace').strip()}")
                await receiving.wait()
                delivered = time.perf_counter() - began
        except TimeoutError:
            raise LoadError(f"{workload.name}: not every message reached the sink in {RUN_SECONDS:g} s") from None
        finally:
            if source.returncode is None:
                source.kill()
                await source.wait()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return Measured(
        accepted_seconds=accepted,
        delivered_seconds=delivered,
        messages=workload.messages,
        load_cpu_seconds=after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
    )
