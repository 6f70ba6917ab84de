"""Measures the times of single messages without other load: from the dot of the client to the reply 250, and from this
reply until the next hop has the dot.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import cast

import uvloop

from bench.gateways import Gateway, Task
from bench.workloads import RECIPIENT_DOMAIN, SENDER_DOMAIN
from tests.peers.ports import LOOPBACK, free_port

_SECONDS = 60.0
_WARM_UP = 20


@dataclass(frozen=True, slots=True)
class Latency:
    """The times of each message in seconds, in the order of sending."""

    accepting: tuple[float, ...]
    # The time from the reply 250 until the next hop had the message's dot. It is negative when the next hop was first.
    passing_on: tuple[float, ...]


class _Sink(asyncio.Protocol):
    """Accepts every message, and records the time."""

    def __init__(self, arrived: asyncio.Queue[float]) -> None:
        self._arrived = arrived
        self._partial = b""
        self._in_content = False
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # The transports of uvloop are not instances of asyncio.Transport.
        self._transport = cast("asyncio.Transport", transport)
        self._transport.write(b"220 sink.example ESMTP\r\n")

    def data_received(self, data: bytes) -> None:
        assert self._transport is not None
        self._partial += data
        answers: list[bytes] = []
        while True:
            mark = b"\r\n.\r\n" if self._in_content else b"\r\n"
            end = self._partial.find(mark)
            if end < 0:
                break
            line, self._partial = self._partial[:end], self._partial[end + len(mark) :]
            if self._in_content:
                self._arrived.put_nowait(time.perf_counter())
                self._in_content = False
                answers.append(b"250 2.0.0 Ok\r\n")
                continue
            answers.append(self._answer(line[:4].upper()))
        if answers:
            self._transport.write(b"".join(answers))

    def _answer(self, verb: bytes) -> bytes:
        if verb == b"EHLO":
            return b"250-sink.example\r\n250-PIPELINING\r\n250 8BITMIME\r\n"
        if verb == b"DATA":
            self._in_content = True
            return b"354 go on\r\n"
        return b"221 2.0.0 Bye\r\n" if verb == b"QUIT" else b"250 2.0.0 Ok\r\n"


@asynccontextmanager
async def _session(port: int) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection(LOOPBACK, port)
    await reader.readline()
    writer.write(b"EHLO mail.source.example\r\n")
    while (await reader.readline())[3:4] == b"-":
        pass
    yield reader, writer
    writer.write(b"QUIT\r\n")
    await reader.readline()
    writer.close()


async def _run(gateway_port: int, sink_port: int, messages: int, size: int) -> Latency:
    arrived: asyncio.Queue[float] = asyncio.Queue()
    server = await asyncio.get_running_loop().create_server(lambda: _Sink(arrived), LOOPBACK, sink_port)
    content = b"Subject: latency\r\n\r\n" + (b"x" * 70 + b"\r\n") * (size // 72) + b".\r\n"
    accepting: list[float] = []
    passing_on: list[float] = []
    async with asyncio.timeout(_SECONDS), _session(gateway_port) as (reader, writer):
        for _ in range(_WARM_UP + messages):
            for line in (f"MAIL FROM:<a@{SENDER_DOMAIN}>", f"RCPT TO:<b@{RECIPIENT_DOMAIN}>", "DATA"):
                writer.write(line.encode() + b"\r\n")
                reply = await reader.readline()
                if reply[:1] not in b"23":
                    raise RuntimeError(f"{line}: {reply.decode(errors='replace').strip()}")
            began = time.perf_counter()
            writer.write(content)
            reply = await reader.readline()
            taken = time.perf_counter()
            if not reply.startswith(b"250"):
                raise RuntimeError(reply.decode(errors="replace").strip())
            accepting.append(taken - began)
            passing_on.append(await arrived.get() - taken)
    server.close()
    return Latency(tuple(accepting[_WARM_UP:]), tuple(passing_on[_WARM_UP:]))


def measure(kind: type[Gateway], messages: int, size: int = 4096) -> Latency:
    """Sends the messages in one session. Each message is sent when the previous one has reached the next hop."""
    sink_port = free_port()
    gateway = kind()
    try:
        gateway.start(Task({RECIPIENT_DOMAIN: (LOOPBACK, sink_port)}))
        return uvloop.run(_run(gateway.port, sink_port, messages, size))
    finally:
        gateway.stop()
