"""The scripted clamd speaks INSTREAM to a real client and gives the answers of its script."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Iterator

import pytest
from aioclamd import ClamdAsyncClient, ClamdConnectionError

from tests.peers.scripted_clamd import ScriptedClamd


@pytest.fixture
def scripted() -> Iterator[ScriptedClamd]:
    with ScriptedClamd() as clamd:
        yield clamd


async def scan(clamd: ScriptedClamd, content: bytes) -> object:
    return await ClamdAsyncClient(clamd.host, clamd.port, timeout=60).instream(io.BytesIO(content))


async def test_streams_are_reported_as_clean_by_default_and_kept(scripted: ScriptedClamd) -> None:
    content = bytes(range(256)) * 1000
    assert await scan(scripted, content) == {"stream": ("OK", None)}
    scripted.answer(b"stream: Some.Thing", b" FOUND", times=1)
    assert await scan(scripted, b"bad") == {"stream": ("FOUND", "Some.Thing")}
    assert await scan(scripted, b"good") == {"stream": ("OK", None)}
    assert await scripted.streams_came(3) == [content, b"bad", b"good"]


async def test_an_answer_waits_for_its_gate(scripted: ScriptedClamd) -> None:
    gate = scripted.hold(b"stream: Late FOUND")
    scanning = asyncio.create_task(scan(scripted, b"x"))
    await gate.reached()
    assert not scanning.done()
    gate.open()
    assert await scanning == {"stream": ("FOUND", "Late")}


async def test_the_peer_can_close_without_an_answer_or_in_the_middle_of_the_stream(scripted: ScriptedClamd) -> None:
    async def raw(content: bytes) -> bytes:
        reader, writer = await asyncio.open_connection(scripted.host, scripted.port)
        writer.write(b"zINSTREAM\0" + len(content).to_bytes(4, "big") + content + bytes(4))
        answer = await reader.read()
        writer.close()
        return answer

    scripted.answer(times=1)
    assert await raw(b"whole") == b""
    scripted.answer(b"stream: O", times=1, terminated=False)
    assert await raw(b"half") == b"stream: O"
    scripted.cut(b"INSTREAM size limit exceeded. ERROR", after_octets=3)
    reader, writer = await asyncio.open_connection(scripted.host, scripted.port)
    writer.write(b"nINSTREAM\n" + (3).to_bytes(4, "big") + b"abc")
    assert await reader.read() == b"INSTREAM size limit exceeded. ERROR\n"
    writer.close()
    assert scripted.streams == [b"whole", b"half", b"abc"]
    scripted.stop()
    with pytest.raises(ClamdConnectionError):
        await scan(scripted, b"x")
