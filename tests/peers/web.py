"""A scripted HTTP or HTTPS server: the policy host of MTA-STS, the receiver of a webhook.

with WebServer(certificate=certificates.issue_cert("mta-sts.far.test")) as web:
    web.answer("/.well-known/mta-sts.txt", b"version: STSv1\\n…")
    web.answer("/moved", status=301, headers={"Location": "/elsewhere"})
    gate = web.hold("/slow")
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from types import TracebackType
from typing import Self

import trustme

from tests.peers.background import DEADLINE_SECONDS, Gate, background, wait_for
from tests.peers.ports import LOOPBACK, free_port, listening_socket


@dataclass(frozen=True, slots=True)
class Request:
    """One request as it came in, header names in lower case."""

    method: str
    # With its query.
    target: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def host(self) -> str:
        return self.headers.get("host", "")


@dataclass(slots=True)
class _Answer:
    status: int = 404
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    gate: Gate | None = None
    endless: bool = False
    times: int | None = None


class WebServer:
    """HTTP/1.1, one request a connection; whatever has no answer gets 404. With a certificate it speaks TLS only."""

    def __init__(self, certificate: trustme.LeafCert | None = None, *, host: str = LOOPBACK, port: int = 0) -> None:
        self.host = host
        self.port = port or free_port(host)
        self._changed = threading.Condition()
        self._answers: list[tuple[str, _Answer]] = []
        self._requests: list[Request] = []
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._context: ssl.SSLContext | None = None
        if certificate is not None:
            self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            certificate.configure_cert(self._context)

    @property
    def url(self) -> str:
        """By address; a name in the certificate needs the client's own look-up."""
        return f"{'http' if self._context is None else 'https'}://{self.host}:{self.port}"

    def start(self) -> Self:
        background().call(self._start())
        return self

    def stop(self) -> None:
        """Refuses connections and ends those there are; `start` takes the same port again."""
        background().call(self._stop())

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def answer(
        self,
        target: str,
        body: bytes = b"",
        *,
        status: int = 200,
        headers: Mapping[str, str] | None = None,
        times: int | None = None,
    ) -> None:
        """What requests for `target` get, the next `times` or for good; the last call wins."""
        self._add(target, _Answer(status, body, headers or {}, times=times))

    def hold(self, target: str, body: bytes = b"", *, status: int = 200, times: int | None = None) -> Gate:
        """The same once the gate returned is open."""
        gate = Gate()
        self._add(target, _Answer(status, body, gate=gate, times=times))
        return gate

    def endless(self, target: str, piece: bytes = b"more\n" * 4000) -> None:
        """A 200 whose body does not end until the client goes."""
        self._add(target, _Answer(200, piece, endless=True))

    @property
    def requests(self) -> list[Request]:
        with self._changed:
            return list(self._requests)

    def wait_for_requests(self, count: int, seconds: float = DEADLINE_SECONDS) -> list[Request]:
        """Blocks until `count` have come. Raises NotReachedError."""
        wait_for(self._changed, lambda: len(self._requests) >= count, lambda: f"{count} requests", seconds)
        return self.requests

    async def requests_came(self, count: int, seconds: float = DEADLINE_SECONDS) -> list[Request]:
        return await asyncio.to_thread(self.wait_for_requests, count, seconds)

    def _add(self, target: str, answer: _Answer) -> None:
        with self._changed:
            self._answers.insert(0, (target, answer))

    def _take(self, request: Request) -> _Answer:
        with self._changed:
            self._requests.append(request)
            self._changed.notify_all()
            for target, answer in self._answers:
                if target == request.target and answer.times != 0:
                    if answer.times is not None:
                        answer.times -= 1
                    return answer
        return _Answer()

    async def _start(self) -> None:
        if self._server is None:
            listener = listening_socket(self.host, self.port)
            self._server = await asyncio.start_server(self._session, sock=listener, ssl=self._context)

    async def _stop(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _session(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            with contextlib.suppress(asyncio.IncompleteReadError, OSError):
                answer = self._take(await _read_request(reader))
                if answer.gate is not None:
                    await answer.gate.passing()
                await _write_answer(writer, answer)
        finally:
            writer.close()


async def _read_request(reader: asyncio.StreamReader) -> Request:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    method, target, _ = head[0].split(" ", 2)
    headers = {}
    for line in head[1:-2]:
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()
    return Request(method, target, headers, await reader.readexactly(int(headers.get("content-length", "0"))))


async def _write_answer(writer: asyncio.StreamWriter, answer: _Answer) -> None:
    headers = {"Content-Type": "text/plain", "Connection": "close", **answer.headers}
    if not answer.endless:
        headers["Content-Length"] = str(len(answer.body))
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    writer.write(f"HTTP/1.1 {answer.status} {HTTPStatus(answer.status).phrase}\r\n{head}\r\n".encode("latin-1"))
    writer.write(answer.body)
    await writer.drain()
    while answer.endless:
        writer.write(answer.body)
        await writer.drain()
        # A turn for the loop, and for the news that the client has gone.
        await asyncio.sleep(0)
