"""An SMTP client for tests that sends exactly the octets that a test gives it."""

from __future__ import annotations

import asyncio
import base64
import os
import socket
import ssl
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Self

_SECONDS = 20


@dataclass(frozen=True, slots=True)
class Reply:
    """One reply. `lines` contains the text of its lines, without codes and CRLF."""

    code: int
    lines: tuple[str, ...]

    @property
    def text(self) -> str:
        return "\n".join(self.lines)

    @property
    def enhanced(self) -> str:
        """Returns the enhanced code, or an empty string when there is none."""
        first = self.lines[0].split(" ", 1)[0] if self.lines else ""
        return first if first.count(".") == 2 else ""


def resident(pid: int | str = "self") -> int:
    """Returns how many octets of memory a process uses; by default this process."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def trusting_context() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


class Client:
    """One connection. Every wait has a time limit."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def connect(cls, host: str, port: int, source: str = "") -> Self:
        local_address = (source, 0) if source else None
        async with asyncio.timeout(_SECONDS):
            return cls(*await asyncio.open_connection(host, port, local_addr=local_address))

    def send(self, octets: bytes) -> None:
        self.writer.write(octets)

    async def send_all(self, octets: bytes) -> None:
        async with asyncio.timeout(_SECONDS):
            self.writer.write(octets)
            await self.writer.drain()

    async def in_segments(self, *parts: bytes) -> None:
        """Sends each part in a TCP segment of its own. The pauses give the server time to read each part."""
        for part in parts:
            self.writer.write(part)
            await asyncio.sleep(0.003)

    async def reply(self) -> Reply:
        """Returns the next reply.

        Raises EOFError when the connection ends, and AssertionError when the reply is malformed.
        """
        lines: list[str] = []
        async with asyncio.timeout(_SECONDS):
            while True:
                raw = await self.reader.readline()
                if not raw:
                    raise EOFError
                assert raw.endswith(b"\r\n"), raw
                assert raw.count(b"\r") == 1, raw
                assert len(raw) <= 512, raw
                line = raw[:-2].decode("ascii")
                assert line[:3].isdigit(), raw
                lines.append(line[4:])
                if line[3:4] != "-":
                    return Reply(int(line[:3]), tuple(lines))

    async def command(self, line: str | bytes) -> Reply:
        self.send((line.encode() if isinstance(line, str) else line) + b"\r\n")
        return await self.reply()

    async def codes(self, count: int) -> list[int]:
        return [(await self.reply()).code for _ in range(count)]

    async def until_closed(self) -> bytes:
        """Returns everything that the server sends until it ends the connection, or nothing after a reset."""
        async with asyncio.timeout(_SECONDS):
            try:
                return await self.reader.read()
            except (ConnectionResetError, BrokenPipeError):
                return b""

    async def start_tls(self, context: ssl.SSLContext | None = None, server_name: str = "localhost") -> ssl.SSLObject:
        async with asyncio.timeout(_SECONDS):
            await self.writer.start_tls(context or trusting_context(), server_hostname=server_name)
        found = self.writer.get_extra_info("ssl_object")
        assert isinstance(found, ssl.SSLObject) or found is not None
        return found

    async def starttls(self, ehlo: str = "client.example") -> ssl.SSLObject:
        """Sends STARTTLS, does the handshake, and sends EHLO."""
        assert (await self.command("STARTTLS")).code == 220
        found = await self.start_tls()
        assert (await self.command(f"EHLO {ehlo}")).code == 250
        return found

    async def login(self, login: str = "alice", password: str = "secret") -> Reply:
        response = base64.b64encode(f"\0{login}\0{password}".encode()).decode()
        return await self.command(f"AUTH PLAIN {response}")

    async def envelope(self, sender: str = "sender@example.org", *recipients: str) -> None:
        assert (await self.command(f"MAIL FROM:<{sender}>")).code == 250
        for recipient in recipients or ("recipient@example.com",):
            assert (await self.command(f"RCPT TO:<{recipient}>")).code == 250

    async def data(self, content: bytes) -> Reply:
        """Sends DATA, the content as it is (the test doubles leading dots itself), and the final dot."""
        assert (await self.command("DATA")).code == 354
        self.send(content + b".\r\n")
        return await self.reply()

    async def send_mail(self, content: bytes = b"Subject: hi\r\n\r\nHello\r\n", *recipients: str) -> Reply:
        await self.envelope("sender@example.org", *recipients)
        return await self.data(content)

    def close(self) -> None:
        self.writer.close()

    def reset(self) -> None:
        """Closes the connection with RST instead of FIN."""
        raw = self.writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()
