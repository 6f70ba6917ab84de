"""Scans by clamd: which answers mean clean or infected, and other ways in which a scan can end (C102)."""

from __future__ import annotations

import asyncio
import base64
import io
import zipfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from services.ingress.checks.antivirus import Scanner
from services.ingress.content_facts import ScanOutcome, VirusScan
from tests.peers.clamd import SIGNATURE, Clamd, eicar

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def read_stream(reader: asyncio.StreamReader) -> bytes:
    """Reads the command and the stream of one INSTREAM, as clamd does."""
    assert await reader.readuntil(b"\0") == b"zINSTREAM\0"
    content = b""
    while length := int.from_bytes(await reader.readexactly(4)):
        content += await reader.readexactly(length)
    return content


@pytest.fixture
async def serve() -> AsyncIterator[Callable[[Serve], Awaitable[str]]]:
    servers: list[asyncio.Server] = []

    async def start(work: Serve) -> str:
        async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                await work(reader, writer)
            except (ConnectionError, asyncio.IncompleteReadError):
                pass
            finally:
                writer.close()

        server = await asyncio.start_server(connected, "127.0.0.1", 0)
        servers.append(server)
        return f"127.0.0.1:{server.sockets[0].getsockname()[1]}"

    yield start
    for server in servers:
        server.close()


async def scan(address: str, content: bytes = b"content\r\n", seconds: float = 5, piece: int = 1000) -> VirusScan:
    return await Scanner(2).scan(address, cut(content, piece), seconds)


def cut(content: bytes, piece: int) -> Iterator[bytes]:
    for start in range(0, len(content), piece):
        yield content[start : start + piece]


@pytest.mark.parametrize(
    ("answer", "outcome", "signature"),
    [
        (b"stream: OK\0", ScanOutcome.CLEAN, b""),
        (b"stream: OK\n\0", ScanOutcome.CLEAN, b""),
        (b"stream: Eicar-Test FOUND\0", ScanOutcome.INFECTED, b"Eicar-Test"),
        (b"stream: Odd OK name FOUND\0", ScanOutcome.INFECTED, b"Odd OK name"),
        (b"(null) FOUND\0", ScanOutcome.INFECTED, b"(null)"),
        (b"INSTREAM size limit exceeded. ERROR\0", ScanOutcome.ERROR, b""),
        (b"stream: Some trouble ERROR\0", ScanOutcome.ERROR, b""),
        (b"stream: OK but not quite\0", ScanOutcome.ERROR, b""),
        (b"OK\0", ScanOutcome.ERROR, b""),
        (b"FOUND\0", ScanOutcome.ERROR, b""),
        (b"stream: NOT FOUND AT ALL\0", ScanOutcome.ERROR, b""),
        (b"UNKNOWN COMMAND\0", ScanOutcome.ERROR, b""),
        (b"\0", ScanOutcome.ERROR, b""),
        (b"", ScanOutcome.ERROR, b""),
        (b"stream: OK", ScanOutcome.ERROR, b""),
        (b"x" * 10_000 + b"\0", ScanOutcome.ERROR, b""),
    ],
)
async def test_each_answer_of_clamd_has_its_outcome(
    serve: Callable[[Serve], Awaitable[str]], answer: bytes, outcome: ScanOutcome, signature: bytes
) -> None:
    async def work(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert await read_stream(reader) == b"content\r\n"
        for start in range(0, len(answer), 7):
            writer.write(answer[start : start + 7])
            await writer.drain()
            await asyncio.sleep(0)

    found = await scan(await serve(work))
    assert (found.outcome, found.signature) == (outcome, signature)
    assert bool(found.reason) == (outcome is ScanOutcome.ERROR)


async def test_the_whole_content_is_sent_however_it_is_divided(serve: Callable[[Serve], Awaitable[str]]) -> None:
    content = bytes(range(256)) * 2000
    got: list[bytes] = []

    async def work(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        got.append(await read_stream(reader))
        writer.write(b"stream: OK\0")

    address = await serve(work)
    for piece in (999, 65_536, 300_000):
        assert (await scan(address, content, piece=piece)).outcome is ScanOutcome.CLEAN
    assert got == [content] * 3


async def test_a_clamd_that_closes_the_connection_early_is_an_error(serve: Callable[[Serve], Awaitable[str]]) -> None:
    async def work(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(100)

    found = await scan(await serve(work), b"x" * 5_000_000, piece=100_000)
    assert found.outcome is ScanOutcome.ERROR


async def test_an_early_error_of_clamd_makes_the_scan_an_error(serve: Callable[[Serve], Awaitable[str]]) -> None:
    async def work(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(100_000)
        writer.write(b"INSTREAM size limit exceeded. ERROR\0")
        await writer.drain()

    found = await scan(await serve(work), b"x" * 20_000_000, piece=100_000)
    assert found.outcome is ScanOutcome.ERROR


@pytest.mark.parametrize("reads", [True, False])
async def test_a_clamd_that_never_answers_or_never_reads_is_an_error(
    serve: Callable[[Serve], Awaitable[str]], reads: bool
) -> None:
    release = asyncio.Event()

    async def work(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if reads:
            await read_stream(reader)
        await release.wait()

    found = await scan(await serve(work), b"x" * 20_000_000, seconds=0.3, piece=100_000)
    assert (found.outcome, found.reason) == (ScanOutcome.ERROR, "timed out")
    release.set()


@pytest.mark.parametrize("address", ["127.0.0.1:1", "/nowhere/clamd.sock", "nonsense", "127.0.0.1:x", "[::1]:1"])
async def test_a_clamd_that_does_not_run_is_an_error(address: str) -> None:
    found = await scan(address)
    assert (found.outcome, found.reason) == (ScanOutcome.ERROR, "unreachable")


async def test_the_number_of_scans_is_bounded_and_further_scans_fail_at_once(
    serve: Callable[[Serve], Awaitable[str]],
) -> None:
    running = most = 0
    release = asyncio.Event()

    async def work(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await read_stream(reader)
        await release.wait()
        running -= 1
        writer.write(b"stream: OK\0")
        await writer.drain()

    address = await serve(work)
    scanner = Scanner(2)
    tasks = [asyncio.create_task(scanner.scan(address, iter((b"x",)), 10)) for _ in range(12)]
    done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    assert {task.result().reason for task in done} == {"too many scans waiting"}
    release.set()
    outcomes = [(await task).outcome for task in tasks]
    assert outcomes.count(ScanOutcome.CLEAN) == 8
    assert outcomes.count(ScanOutcome.ERROR) == 4
    assert most <= 2


async def test_clamd_is_reached_over_a_unix_socket(tmp_path_factory: pytest.TempPathFactory) -> None:
    path = str(tmp_path_factory.mktemp("s") / "clamd")

    async def work(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_stream(reader)
        writer.write(b"stream: OK\0")
        writer.close()

    async with await asyncio.start_unix_server(work, path):
        assert (await scan(path)).outcome is ScanOutcome.CLEAN


# A real clamd


@pytest.fixture(scope="module")
def clamd_small() -> Iterator[Clamd]:
    with Clamd({"StreamMaxLength": "1M"}) as daemon:
        yield daemon


def _zipped(content: bytes) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("file.txt", content)
    return packed.getvalue()


def _attached(content: bytes) -> bytes:
    encoded = base64.encodebytes(content).replace(b"\n", b"\r\n")
    return (
        b"From: a@example.org\r\nMIME-Version: 1.0\r\nContent-Type: application/octet-stream; name=a.bin\r\n"
        b"Content-Transfer-Encoding: base64\r\nContent-Disposition: attachment; filename=a.bin\r\n\r\n" + encoded
    )


@pytest.mark.parametrize(
    "content",
    [eicar(), b"Subject: x\r\n\r\n" + eicar() + b"\r\n", _attached(eicar()), _attached(_zipped(eicar()))],
    ids=["plain", "in a message", "base64", "zip"],
)
@pytest.mark.parametrize("piece", [1, 1000], ids=["split over chunks", "whole"])
async def test_c102_a_real_clamd_finds_the_eicar_file(clamd_small: Clamd, content: bytes, piece: int) -> None:
    found = await scan(clamd_small.address, content, piece=piece)
    assert (found.outcome, found.signature) == (ScanOutcome.INFECTED, SIGNATURE.encode())


async def test_c102_too_large_content_and_a_dead_clamd_are_errors_while_ordinary_content_is_clean(
    clamd_small: Clamd,
) -> None:
    assert (await scan(clamd_small.address)).outcome is ScanOutcome.CLEAN
    over = await scan(clamd_small.address, b"x" * 3_000_000, piece=100_000)
    assert over.outcome is ScanOutcome.ERROR
    clamd_small.kill()
    assert (await scan(clamd_small.address)).outcome is ScanOutcome.ERROR


async def test_an_early_answer_that_the_content_is_clean_is_not_used(
    serve: Callable[[Serve], Awaitable[str]],
) -> None:
    async def work(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(100_000)
        writer.write(b"stream: OK\0")
        await writer.drain()
        await reader.read(1_000_000)

    found = await scan(await serve(work), b"x" * 50_000_000, piece=100_000)
    assert found.outcome is ScanOutcome.ERROR


async def test_a_refused_stream_is_an_error(serve: Callable[[Serve], Awaitable[str]]) -> None:
    async def work(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\0")
        writer.write(b"INSTREAM: command not allowed ERROR\0")

    found = await scan(await serve(work), b"x" * 5_000_000, piece=100_000)
    assert found.outcome is ScanOutcome.ERROR


def _open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


async def test_a_scan_that_clamd_does_not_read_leaves_no_connection_open(
    serve: Callable[[Serve], Awaitable[str]],
) -> None:
    release = asyncio.Event()
    connected: list[asyncio.StreamWriter] = []

    async def work(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connected.append(writer)
        await release.wait()

    address = await serve(work)
    files = _open_files()
    assert (await scan(address, b"x" * 20_000_000, seconds=0.3, piece=100_000)).reason == "timed out"
    async with asyncio.timeout(60):
        # The server's ends of the connections stay open, because they belong to the test.
        while _open_files() > files + len(connected):  # noqa: ASYNC110 - there is no event
            await asyncio.sleep(0.01)
    release.set()


async def test_one_client_cannot_use_all_slots_for_scans(serve: Callable[[Serve], Awaitable[str]]) -> None:
    release = asyncio.Event()
    running = 0

    async def work(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal running
        if await read_stream(reader) == b"slow":
            running += 1
            await release.wait()
        writer.write(b"stream: OK\0")
        await writer.drain()

    address = await serve(work)
    scanner = Scanner(4)
    slow = [asyncio.create_task(scanner.scan(address, iter((b"slow",)), 60, "192.0.2.0/24")) for _ in range(16)]
    async with asyncio.timeout(60):
        while running < 3:  # noqa: ASYNC110 - there is no event
            await asyncio.sleep(0.005)
    assert (await scanner.scan(address, iter((b"x",)), 60, "198.51.100.0/24")).outcome is ScanOutcome.CLEAN
    assert running == 3
    release.set()
    assert {found.outcome for found in await asyncio.gather(*slow)} == {ScanOutcome.CLEAN}
