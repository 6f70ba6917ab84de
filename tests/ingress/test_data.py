"""Content is read in large blocks: whole lines, dots, sizes, faults.

Some tests use the reader alone, and the others use a session (C08 to C13).
"""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import IO, cast

import pytest
from posthouse.policy.v1 import policy_pb2 as pb

from services.ingress.content import MEMORY_OCTETS
from services.ingress.data import ChunkReader, DotReader, Fault, LineReader
from tests.ingress.client import resident
from tests.ingress.conftest import Ingress, Start


class Memory:
    """A sink that keeps the content in memory."""

    def __init__(self) -> None:
        self.content = b""

    def add(self, octets: bytes) -> None:
        self.content += octets

    def discard(self) -> None:
        self.content = b""


def read(stream: bytes, size: int, **limits: int) -> tuple[bytes, Fault | None, bytes, int]:
    """Feeds `stream` in pieces of `size` octets.

    Returns the content, the fault, the octets after the end, and the largest number of octets that were buffered.
    """
    sink = Memory()
    lines = LineReader(
        sink, max_octets=limits.get("max_octets", 0), max_line=limits.get("max_line", 998), normalise=False
    )
    reader = DotReader(lines)
    buffer = bytearray()
    most = 0
    for start in range(0, len(stream), size):
        buffer += stream[start : start + size]
        taken = 1
        while taken:
            taken, done = reader.feed(buffer)
            del buffer[:taken]
            if done:
                return sink.content, lines.fault, bytes(buffer) + stream[start + size :], most
        most = max(most, len(buffer))
    raise AssertionError("the end of the content was not found")


SIZES = (1, 2, 3, 5, 7, 64, 1000, 100_000)


@pytest.mark.parametrize("size", SIZES)
def test_the_division_into_segments_makes_no_difference(size: int) -> None:
    stream = b"Subject: x\r\n\r\n..\r\n...\r\n.a\r\nlast\r\n.\r\nQUIT\r\n"
    assert read(stream, size)[:3] == (b"Subject: x\r\n\r\n.\r\n..\r\na\r\nlast\r\n", None, b"QUIT\r\n")


@pytest.mark.parametrize("size", SIZES)
def test_content_may_be_empty(size: int) -> None:
    assert read(b".\r\nQUIT\r\n", size)[:3] == (b"", None, b"QUIT\r\n")


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("length", [997, 998])
def test_c08_lines_up_to_the_limit_are_accepted(size: int, length: int) -> None:
    line = b"x" * length + b"\r\n"
    assert read(line * 3 + b".\r\n", size)[:2] == (line * 3, None)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("length", [999, 1000, 2000, 4097])
def test_c08_lines_over_the_limit_are_refused_and_the_end_of_data_is_still_found(size: int, length: int) -> None:
    line = b"x" * length + b"\r\n"
    content, fault, rest, most = read(b"a\r\n" + line + b".b\r\n" + line + b".\r\nNOOP\r\n", size)
    assert (content, fault, rest) == (b"", Fault.LINE_TOO_LONG, b"NOOP\r\n")
    assert most <= 1001


@pytest.mark.parametrize("size", SIZES)
def test_the_reported_fault_does_not_depend_on_the_segments(size: int) -> None:
    line = b"." + b"x" * 1500 + b"\r.\r" + b"y" * 1500 + b"\r\n"
    assert read(line + b".\r\nNOOP\r\n", size)[1:3] == (Fault.BARE_NEWLINE, b"NOOP\r\n")
    assert read(line + b".\r\nNOOP\r\n", size, max_octets=2000)[1:3] == (Fault.TOO_BIG, b"NOOP\r\n")
    octets = len(line) - 1
    assert read(line + b".\r\n", size, max_octets=octets)[1] is Fault.BARE_NEWLINE
    assert read(line + b".\r\n", size, max_octets=octets - 1)[1] is Fault.TOO_BIG


@pytest.mark.parametrize("size", SIZES)
def test_c12_content_of_exactly_the_limit_is_accepted_and_one_octet_more_is_not(size: int) -> None:
    line = b"x" * 98 + b"\r\n"
    assert read(line * 10 + b".\r\n", size, max_octets=1000)[1] is None
    assert read(line * 9 + b"x" + line + b".\r\n", size, max_octets=1000)[:2] == (b"", Fault.TOO_BIG)
    assert read(line * 9 + b"x" * 97 + b"\r\n.\r\n", size, max_octets=1000)[1] is None


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("bad", [b"a\nb\r\n", b"a\rb\r\n", b"a\r\r\n", b"\n\r\n", b"\r\n.\n\r\n"])
def test_c02_bare_newlines_are_a_fault(size: int, bad: bytes) -> None:
    assert read(b"first\r\n" + bad + b".\r\n", size)[:2] == (b"", Fault.BARE_NEWLINE)


@pytest.mark.parametrize("size", SIZES)
def test_chunks_are_joined_wherever_they_are_divided(size: int) -> None:
    sink = Memory()
    lines = LineReader(sink, max_octets=0, max_line=998, normalise=False)
    reader = ChunkReader(lines)
    content = b"Subject: x\r\n\r\n.\r\n.a\r\n" + b"y" * 998 + b"\r\nend"
    for start in range(0, len(content), size):
        reader.feed(content[start : start + size])
    reader.finish()
    assert (sink.content, lines.fault) == (content + b"\r\n", None)


@pytest.mark.parametrize("size", SIZES)
def test_chunks_with_a_line_that_is_too_long_are_not_stored(size: int) -> None:
    sink = Memory()
    lines = LineReader(sink, max_octets=0, max_line=998, normalise=False)
    reader = ChunkReader(lines)
    content = b"a\r\n" + b"y" * 50_000 + b"\r\nb"
    for start in range(0, len(content), size):
        reader.feed(content[start : start + size])
    reader.finish()
    assert (sink.content, lines.fault) == (b"", Fault.LINE_TOO_LONG)


# Content in a session


async def test_c08_a_fault_gets_one_reply_after_the_dot_and_the_session_continues(ingress: Ingress) -> None:
    client = await ingress.client()
    await client.envelope()
    reply = await client.data(b"Subject: x\r\n\r\n" + b"z" * 10_001 + b"\r\nmore\r\n" * 10)
    assert (reply.code, reply.enhanced) == (550, "5.6.0")
    assert (await client.send_mail(b"Subject: x\r\n\r\n" + b"z" * 10_000 + b"\r\n")).code == 250
    assert len(ingress.relay.messages) == 1


async def test_c08_a_header_line_of_ten_thousand_octets_is_kept_as_it_is(ingress: Ingress) -> None:
    client = await ingress.client()
    field = b"References: " + b"r" * 9_000 + b"\r\n"
    assert (await client.send_mail(field + b"\r\nbody\r\n")).code == 250
    assert field in ingress.relay.messages[0].content


@pytest.mark.parametrize("place", ["before_ehlo", "command", "data", "auth", "tls_data"])
async def test_c09_a_line_without_end_costs_no_memory(start: Start, place: str) -> None:
    ingress = await start()
    ingress.policy.profile.max_message_size = 1024 * 1024
    ingress.policy.profile.auth_mechanisms_plaintext[:] = ["LOGIN"]
    client = await ingress.connect()
    await client.reply()
    if place != "before_ehlo":
        await client.command("EHLO client.example")
    if place == "tls_data":
        await client.starttls()
    if place in ("data", "tls_data"):
        await client.envelope()
        assert (await client.command("DATA")).code == 354
    if place == "auth":
        assert (await client.command("AUTH LOGIN")).code == 334
    before = resident()
    reading = asyncio.create_task(client.until_closed())
    piece = b"z" * 65536
    sent = 0
    try:
        while sent < 60_000_000 and not reading.done():
            await client.send_all(piece)
            sent += len(piece)
    except (ConnectionResetError, BrokenPipeError):
        pass
    answer = await reading
    # The server resets the connection of a client that keeps sending, and the reset may arrive before the answer.
    assert answer[:3] in (b"421", b"500", b""), answer
    assert resident() - before < 12 * 1024 * 1024
    assert not ingress.relay.messages
    await ingress.until_empty()


async def test_c10_a_message_over_the_size_limit_has_one_reply_after_the_dot(ingress: Ingress) -> None:
    ingress.policy.profile.max_message_size = 1_000_000
    client = await ingress.client()
    await client.envelope()
    assert (await client.command("DATA")).code == 354
    await client.send_all((b"x" * 98 + b"\r\n") * 30_000)
    client.send(b".\r\nNOOP\r\n")
    reply = await client.reply()
    assert (reply.code, reply.enhanced) == (552, "5.3.4")
    assert (await client.reply()).code == 250
    assert not ingress.relay.messages
    await ingress.relay.until(lambda: bool(ingress.relay.refused))
    assert ingress.relay.refused[0].code == 552
    assert ingress.relay.refused[0].stage == "END_OF_DATA"


async def test_c10_content_over_the_size_limit_is_not_read_without_end(ingress: Ingress) -> None:
    ingress.policy.profile.max_message_size = 100_000
    client = await ingress.client()
    await client.envelope()
    assert (await client.command("DATA")).code == 354
    reading = asyncio.create_task(client.reply())
    try:
        for _ in range(600):
            await client.send_all((b"x" * 98 + b"\r\n") * 650)
    except (ConnectionResetError, BrokenPipeError):
        pass
    assert (await reading).code == 421
    await ingress.until_empty()


@pytest.mark.parametrize("declared", [True, False])
async def test_a_message_over_the_size_limit_has_one_reason_wherever_it_is_found(
    ingress: Ingress, declared: bool
) -> None:
    ingress.policy.profile.max_message_size = 1000
    client = await ingress.client()
    if declared:
        assert (await client.command("MAIL FROM:<a@example.org> SIZE=1001")).code == 552
    else:
        await client.envelope("a@example.org")
        assert (await client.data(b"Subject: x\r\n\r\n" + b"y" * 990 + b"\r\n")).code == 552
    await ingress.relay.until(lambda: bool(ingress.relay.refused))
    (refused,) = ingress.relay.refused
    assert (refused.stage, refused.sender) == ("MAIL" if declared else "END_OF_DATA", b"a@example.org")
    # Relay's history has the same id for this reason as policy.
    assert refused.reason_id == "message_too_big"


async def test_c12_a_client_that_disconnects_within_content_leaves_nothing(ingress: Ingress) -> None:
    for go in ("close", "reset"):
        client = await ingress.client()
        await client.envelope()
        assert (await client.command("DATA")).code == 354
        await client.send_all(b"Subject: x\r\n\r\n" + b"x" * 5000)
        getattr(client, go)()
    await ingress.until_empty()
    assert not ingress.relay.messages
    assert len(ingress.policy.closed) <= 2


@pytest.mark.parametrize(
    ("content", "stored"),
    [
        (b" first line is a continuation\r\nbody\r\n", b"\r\n first line is a continuation\r\nbody\r\n"),
        (b"Subject: x\r\nno colon here\r\nbody\r\n", b"Subject: x\r\n\r\nno colon here\r\nbody\r\n"),
        (b"Subject: caf\xe9 \xff\r\n\r\nbody\r\n", b"Subject: caf\xe9 \xff\r\n\r\nbody\r\n"),
        (b"just text\r\n", b"\r\njust text\r\n"),
        (b"", b"\r\n"),
        (b"\r\n", b"\r\n"),
        (b"Subject: x\r\n", b"Subject: x\r\n\r\n"),
    ],
    ids=["continuation", "no-colon", "8bit", "no-header", "empty", "only-empty-line", "only-header"],
)
async def test_c13_unusual_headers_have_one_meaning_for_every_later_reader(
    ingress: Ingress, content: bytes, stored: bytes
) -> None:
    client = await ingress.client()
    assert (await client.send_mail(content)).code == 250
    trace, _, rest = ingress.relay.messages[0].content.partition(b" +0000\r\n")
    assert trace.startswith(b"Received: from ")
    assert rest == stored


WITH_NUL = (b"Subject: a\0b\r\n\r\nbody\0\r\n\0\0\r\n.\0\r\n", b"Subject: ab\r\n\r\nbody\r\n\r\n\r\n")


@pytest.mark.parametrize("verb", ["DATA", "BDAT"])
async def test_nul_octets_in_content_are_refused(ingress: Ingress, verb: str) -> None:
    client = await ingress.client()
    await client.envelope()
    if verb == "DATA":
        reply = await client.data(WITH_NUL[0])
    else:
        client.send(b"BDAT %d LAST\r\n%b" % (len(WITH_NUL[0]), WITH_NUL[0]))
        reply = await client.reply()
    assert (reply.code, reply.enhanced) == (550, "5.6.0")
    assert "NUL" in reply.lines[0]
    assert (await client.send_mail()).code == 250
    assert len(ingress.relay.messages) == 1


async def test_nul_octets_in_content_are_removed_if_the_setting_says_so(start: Start) -> None:
    ingress = await start(nul_octets="remove")
    client = await ingress.client()
    assert (await client.send_mail(WITH_NUL[0])).code == 250
    assert ingress.relay.messages[0].content.endswith(b" +0000\r\n" + WITH_NUL[1])
    # A line is checked as it was received: removing a NUL must not create a line end.
    await client.envelope()
    assert (await client.data(b"Subject: x\r\n\r\na\r\0\nb\r\n")).code == 550


@pytest.mark.parametrize("size", SIZES)
def test_a_nul_octet_is_refused_wherever_the_stream_is_divided(size: int) -> None:
    assert read(b"Subject: x\r\n\r\nsome\0text\r\n.\r\n", size)[:2] == (b"", Fault.NUL_OCTET)
    assert read(b"long\0" + b"x" * 5_000 + b"\r\n.\r\n", size)[:2] == (b"", Fault.NUL_OCTET)
    assert read(b"x" * 5_000 + b"\0\r\n.\r\n", size)[:2] == (b"", Fault.NUL_OCTET)


async def test_c13_a_header_of_a_megabyte_is_refused(ingress: Ingress) -> None:
    client = await ingress.client()
    await client.envelope()
    reply = await client.data(b"X-Long: " + (b"y" * 70 + b"\r\n ") * 14_000 + b"\r\n\r\nbody\r\n")
    assert (reply.code, reply.enhanced) == (550, "5.6.0")


async def test_c13_ten_thousand_received_fields_are_too_many(ingress: Ingress) -> None:
    client = await ingress.client()
    await client.envelope()
    reply = await client.data(b"Received: x\r\n" * 10_000 + b"\r\nbody\r\n")
    assert (reply.code, reply.enhanced) == (554, "5.4.6")


async def test_large_content_is_stored_in_a_file_and_sent_in_pieces(ingress: Ingress, tmp_path: Path) -> None:
    body = b"".join(b"%069d\r\n" % number for number in range(60_000))
    client = await ingress.client()
    await client.envelope()
    assert (await client.command("DATA")).code == 354
    await client.send_all(b"Subject: big\r\n\r\n" + body + b".\r\n")
    assert (await client.reply()).code == 250
    (stored,) = ingress.relay.messages
    assert stored.chunks > 1
    assert stored.content.endswith(b"Subject: big\r\n\r\n" + body)
    assert stored.submission.content_size == len(stored.content)
    # The temporary file has no name in the folder, so nothing is left behind, whatever happens.
    assert list((tmp_path / "spool").iterdir()) == []


@pytest.mark.parametrize("octets", [20_000, 200_000], ids=["at the end", "on the way"])
async def test_a_spool_file_without_space_gives_one_temporary_refusal(
    ingress: Ingress, monkeypatch: pytest.MonkeyPatch, octets: int
) -> None:
    """Case C133 of docs/cases.md describes this behaviour."""

    def on_a_full_disk(*, dir: Path, buffering: int) -> IO[bytes]:  # noqa: A002 - tempfile's own names
        return cast("IO[bytes]", Path("/dev/full").open("w+b", buffering=buffering))

    monkeypatch.setattr(tempfile, "TemporaryFile", on_a_full_disk)
    client = await ingress.client()
    large = b"Subject: x\r\n\r\n" + b"y" * 78 + b"\r\n"
    large += (b"z" * 78 + b"\r\n") * ((MEMORY_OCTETS + octets) // 80)
    reply = await client.send_mail(large)
    assert (reply.code, reply.enhanced) == (452, "4.3.1")
    monkeypatch.undo()
    assert (await client.send_mail(large)).code == 250
    assert len(ingress.relay.messages) == 1


async def test_a_spool_folder_that_does_not_exist_gives_a_temporary_refusal(ingress: Ingress) -> None:
    ingress.worker.context.spool = Path("/proc/nowhere")
    client = await ingress.client()
    await client.envelope()
    assert (await client.command("DATA")).code == 354
    await client.send_all(b"Subject: big\r\n\r\n" + (b"x" * 70 + b"\r\n") * 10_000 + b".\r\n")
    reply = await client.reply()
    assert (reply.code, reply.enhanced) == (452, "4.3.1")
    assert (await client.send_mail()).code == 250
    assert pb.STAGE_CONNECT in [request.stage for request in ingress.policy.requests]
