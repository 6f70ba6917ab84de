"""Sends the load that smtp-source cannot send: with TLS, AUTH, many domains or PROXY headers. The load is the same for
every gateway.

`python -m bench.generator JOB.json` prints a JSON object with the seconds that it took and the CPU that it used. It
sends one command at a time, like smtp-source, and all messages are equal. After the first refusal it exits with status
1.
"""

from __future__ import annotations

import asyncio
import base64
import json
import ssl
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import cast

import uvloop

# The source address of connections with a PROXY header.
PROXY_ADDRESS = "127.0.0.2"

_LINE = b"x" * 70 + b"\r\n"


@dataclass(frozen=True, slots=True)
class Job:
    """The messages to send, and how they are sent."""

    host: str
    port: int
    messages: int
    sessions: int
    size: int
    keep_connection: bool
    sender: str
    recipients: tuple[str, ...]
    tls: bool = False
    # The login for AUTH. It is empty when AUTH is not used.
    login: str = ""
    password: str = ""
    # Each connection begins with a PROXY header (version 1) that has one of these addresses. If this is empty, no PROXY
    # headers are sent.
    client_addresses: tuple[str, ...] = ()

    def write(self, path: Path) -> None:
        path.write_text(json.dumps(asdict(self)))

    @staticmethod
    def read(path: Path) -> Job:
        fields = json.loads(path.read_text())
        return Job(
            **{
                **fields,
                "recipients": tuple(fields["recipients"]),
                "client_addresses": tuple(fields["client_addresses"]),
            }
        )

    def content(self) -> bytes:
        """Returns header and body, with the final dot."""
        head = f"From: <{self.sender}>\r\nTo: <{self.recipients[0]}>\r\nSubject: load\r\n\r\n".encode()
        lines, rest = divmod(max(0, self.size - len(head)), len(_LINE))
        return head + _LINE * lines + b"x" * max(0, rest - 2) + b"\r\n.\r\n"


class RefusedError(Exception):
    """The gateway did not accept a message. The text is its reply, or says that the connection was closed."""


class _Client(asyncio.Protocol):
    """An SMTP connection, on which each command waits for the reply to the previous one."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._partial = b""
        self._waiter: asyncio.Future[bytes] | None = None
        self._reply = b""
        self._lost = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # The transports of uvloop are not instances of asyncio.Transport.
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._partial += data
        if not self._partial.endswith(b"\r\n"):
            return
        last = self._partial[self._partial.rfind(b"\r\n", 0, -2) + 2 if b"\r\n" in self._partial[:-2] else 0 :]
        if last[3:4] == b"-":
            return
        reply, self._partial = self._partial, b""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(reply)
        else:
            self._reply = reply

    def connection_lost(self, _error: Exception | None) -> None:
        self._lost = True
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(RefusedError("the connection was closed"))

    async def reply(self, wanted: bytes) -> None:
        """Waits for the next reply. Raises RefusedError when it does not begin with `wanted`."""
        if self._reply:
            got, self._reply = self._reply, b""
        elif self._lost:
            raise RefusedError("the connection was closed")
        else:
            self._waiter = asyncio.get_running_loop().create_future()
            got = await self._waiter
            self._waiter = None
        if not got.startswith(wanted):
            raise RefusedError(got.decode(errors="replace").strip())

    async def ask(self, octets: bytes, wanted: bytes) -> None:
        assert self._transport is not None
        self._transport.write(octets)
        await self.reply(wanted)

    async def secure(self, context: ssl.SSLContext) -> None:
        assert self._transport is not None
        loop = asyncio.get_running_loop()
        secured = await loop.start_tls(self._transport, self, context, server_hostname="gateway.bench.example")
        assert secured is not None
        self._transport = secured

    def close(self) -> None:
        assert self._transport is not None
        self._transport.close()


async def send(job: Job) -> None:
    """Sends all messages of the job. Raises RefusedError, OSError."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    content = job.content()
    envelope = [(b"MAIL FROM:<%b>\r\n" % job.sender.encode(), b"250")]
    envelope += [(b"RCPT TO:<%b>\r\n" % recipient.encode(), b"250") for recipient in job.recipients]
    envelope += [(b"DATA\r\n", b"354"), (content, b"250")]
    left = job.messages

    async def session(number: int) -> None:
        nonlocal left
        opened = 0
        while left > 0:
            client = await connected(job, context, number + opened * job.sessions)
            opened += 1
            while left > 0:
                left -= 1
                for command, code in envelope:
                    await client.ask(command, code)
                if not job.keep_connection:
                    break
            await client.ask(b"QUIT\r\n", b"221")
            client.close()

    async with asyncio.TaskGroup() as group:
        for number in range(min(job.sessions, job.messages)):
            group.create_task(session(number))


async def connected(job: Job, context: ssl.SSLContext | None, number: int) -> _Client:
    """Returns a connection after EHLO, with TLS and a login as the job says. Raises RefusedError, OSError."""
    loop = asyncio.get_running_loop()
    origin = (PROXY_ADDRESS, 0) if job.client_addresses else None
    transport, client = await loop.create_connection(_Client, job.host, job.port, local_addr=origin)
    if job.client_addresses:
        address = job.client_addresses[number % len(job.client_addresses)]
        transport.write(f"PROXY TCP4 {address} {job.host} {40_000 + number % 20_000} {job.port}\r\n".encode())
    await client.reply(b"220")
    hello = b"EHLO mail.source.example\r\n"
    await client.ask(hello, b"250")
    if job.tls and context is not None:
        await client.ask(b"STARTTLS\r\n", b"220")
        await client.secure(context)
        await client.ask(hello, b"250")
    if job.login:
        token = base64.b64encode(f"\0{job.login}\0{job.password}".encode())
        await client.ask(b"AUTH PLAIN %b\r\n" % token, b"235")
    return client


def main() -> None:
    job = Job.read(Path(sys.argv[1]))
    began, cpu = time.monotonic(), time.process_time()
    try:
        uvloop.run(send(job))
    except* (RefusedError, OSError) as errors:
        raise SystemExit(f"generator: {errors.exceptions[0]}") from None
    print(json.dumps({"seconds": time.monotonic() - began, "cpu_seconds": time.process_time() - cpu}))


if __name__ == "__main__":
    main()
