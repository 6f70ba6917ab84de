"""A scripted HTTP or HTTPS server. It serves as the policy host of MTA-STS or as the receiver of a webhook.

with WebServer(certificate=certificates.issue_cert("mta-sts.far.test")) as web:
    web.answer("/.well-known/mta-sts.txt", b"version: STSv1\\n…")
    web.answer("/moved", status=301, headers={"Location": "/elsewhere"})
    gate = web.hold("/slow")
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus

import trustme

from tests.peers.background import DEADLINE_SECONDS, Gate, wait_for
from tests.peers.lifetime import ScriptedServer
from tests.peers.ports import LOOPBACK


@dataclass(frozen=True, slots=True)
class Request:
    """One received request. Header names are in lower case."""

    method: str
    # The path with its query.
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


class WebServer(ScriptedServer):
    """Speaks HTTP/1.1, with one request for each connection.

    A target without an answer gets 404. With a certificate, the server accepts only TLS.
    """

    def __init__(self, certificate: trustme.LeafCert | None = None, *, host: str = LOOPBACK, port: int = 0) -> None:
        context = None
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            certificate.configure_cert(context)
        super().__init__(host, port, context)
        self._answers: list[tuple[str, _Answer]] = []
        self._requests: list[Request] = []

    @property
    def url(self) -> str:
        """The server's URL with its IP address.

        A client that checks the certificate's name must resolve the name itself.
        """
        return f"{'http' if self._context is None else 'https'}://{self.host}:{self.port}"

    def answer(
        self,
        target: str,
        body: bytes = b"",
        *,
        status: int = 200,
        headers: Mapping[str, str] | None = None,
        times: int | None = None,
    ) -> None:
        """Sets the answer to the next `times` requests for `target`, or to all. The latest call takes precedence."""
        self._add(target, _Answer(status, body, headers or {}, times=times))

    def hold(self, target: str, body: bytes = b"", *, status: int = 200, times: int | None = None) -> Gate:
        """Sets an answer that requests for `target` get only after the returned gate is open."""
        gate = Gate()
        self._add(target, _Answer(status, body, gate=gate, times=times))
        return gate

    def endless(self, target: str, piece: bytes = b"more\n" * 4000) -> None:
        """Answers 200 with a body that does not end until the client closes the connection."""
        self._add(target, _Answer(200, piece, endless=True))

    @property
    def requests(self) -> list[Request]:
        with self._changed:
            return list(self._requests)

    def wait_for_requests(self, count: int, seconds: float = DEADLINE_SECONDS) -> list[Request]:
        """Blocks until `count` requests have come. Raises NotReachedError."""
        wait_for(self._changed, lambda: len(self._requests) >= count, lambda: f"{count} requests have come", seconds)
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

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answer = self._take(await _read_request(reader))
        if answer.gate is not None:
            await answer.gate.passing()
        await _write_answer(writer, answer)


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
        # The sleep gives the event loop a turn, so that it can notice that the client has gone.
        await asyncio.sleep(0)
