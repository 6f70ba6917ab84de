"""A clamd with scripted answers that the real clamd does not give on demand: wrong, in pieces, late, or none.

with ScriptedClamd() as clamd:
    clamd.answer(b"stream: (null) FOUND")
    clamd.answer(b"stream: ", b"OK", times=1)
    gate = clamd.hold(b"stream: OK")
    clamd.cut(after_octets=1000)
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Sequence
from dataclasses import dataclass

from tests.peers.background import DEADLINE_SECONDS, Gate, wait_for
from tests.peers.lifetime import ScriptedServer
from tests.peers.ports import LOOPBACK

_CLEAN = b"stream: OK"


@dataclass(slots=True)
class _Rule:
    parts: Sequence[bytes] = (_CLEAN,)
    gate: Gate | None = None
    # The connection is closed once this many octets of the stream have come. With None, the whole stream is read.
    cut_after: int | None = None
    times: int | None = None
    # Whether the end of the answer follows the last part. It is NUL or LF, the same as the end of the command.
    terminated: bool = True


class ScriptedClamd(ScriptedServer):
    """Accepts zINSTREAM and nINSTREAM as clamd does, and keeps the streams.

    Without a script it reports every stream as clean.
    """

    def __init__(self, *, host: str = LOOPBACK, port: int = 0) -> None:
        super().__init__(host, port)
        self._rules: list[_Rule] = []
        self._streams: list[bytes] = []

    @property
    def address(self) -> str:
        """The server's host:port, as the policy setting `antivirus.clamd` expects it."""
        return f"{self.host}:{self.port}"

    def answer(self, *parts: bytes, times: int | None = None, terminated: bool = True) -> None:
        """Sends these octets in place of `stream: OK`, each part in its own packet.

        Without parts, it closes the connection without an answer. The NUL or LF at the end is added, unless
        `terminated` is false.
        """
        self._add(_Rule(parts=parts, times=times, terminated=terminated))

    def hold(self, *parts: bytes, times: int | None = None) -> Gate:
        """Answers with `parts` after the returned gate is open. Without parts, it reports the stream as clean."""
        gate = Gate()
        self._add(_Rule(parts=parts or (_CLEAN,), gate=gate, times=times))
        return gate

    def cut(self, *parts: bytes, after_octets: int = 0, times: int | None = None) -> None:
        """Sends `parts`, if there are any, and closes the connection after this many octets of the stream."""
        self._add(_Rule(parts=parts, cut_after=after_octets, times=times))

    @property
    def streams(self) -> list[bytes]:
        """The content of every stream that has ended or was cut, in the order of the ends."""
        with self._changed:
            return list(self._streams)

    def wait_for_streams(self, count: int, seconds: float = DEADLINE_SECONDS) -> list[bytes]:
        """Blocks until there were `count` streams. Raises NotReachedError."""
        wait_for(self._changed, lambda: len(self._streams) >= count, lambda: f"{count} streams have come", seconds)
        return self.streams

    async def streams_came(self, count: int, seconds: float = DEADLINE_SECONDS) -> list[bytes]:
        return await asyncio.to_thread(self.wait_for_streams, count, seconds)

    def _add(self, rule: _Rule) -> None:
        with self._changed:
            self._rules.insert(0, rule)

    def _take_rule(self) -> _Rule:
        with self._changed:
            for rule in self._rules:
                if rule.times != 0:
                    if rule.times is not None:
                        rule.times -= 1
                    return rule
        return _Rule()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        mark = await reader.readexactly(1)
        command = (await reader.readuntil(b"\0" if mark == b"z" else b"\n"))[:-1]
        end = b"\0" if mark == b"z" else b"\n"
        if command == b"PING":
            writer.write(b"PONG" + end)
        elif command == b"INSTREAM":
            rule = self._take_rule()
            content = await self._stream(reader, rule.cut_after)
            with self._changed:
                self._streams.append(content)
                self._changed.notify_all()
            if rule.gate is not None:
                await rule.gate.passing()
            for number, part in enumerate(rule.parts, 1):
                last = number == len(rule.parts)
                writer.write(part + end if last and rule.terminated else part)
                await writer.drain()
                # During the pause both event loops run, so this part is sent in its own packet.
                await asyncio.sleep(0)
        await writer.drain()

    @staticmethod
    async def _stream(reader: asyncio.StreamReader, cut_after: int | None) -> bytes:
        content = b""
        while cut_after is None or len(content) < cut_after:
            (length,) = struct.unpack("!I", await reader.readexactly(4))
            if length == 0:
                return content
            content += await reader.readexactly(length)
        return content
