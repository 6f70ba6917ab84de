"""CHUNKING (RFC 3030): octets of a refused chunk are not run as commands, each chunk gets one reply, and memory is
limited (C44 to C48).
"""

from __future__ import annotations

import pytest
from posthouse.policy.v1 import policy_pb2 as pb

from services.ingress.session import Listener
from tests.fakes.policy import reject
from tests.ingress.client import resident
from tests.ingress.conftest import Ingress

CONTENT = b"Subject: x\r\n\r\nbody\r\n"


def chunk(octets: bytes, *, last: bool = False) -> bytes:
    return b"BDAT %d%b\r\n%b" % (len(octets), b" LAST" if last else b"", octets)


@pytest.mark.parametrize("payload", [b"MAIL FROM", b"QUIT\r\nQUIT\r\n", b"EHLO x\r\nMAIL FROM:<evil@example.net>\r\n"])
async def test_c44_octets_of_a_refused_chunk_are_never_commands(ingress: Ingress, payload: bytes) -> None:
    """Case P18 of docs/cases.md describes this behaviour."""
    client = await ingress.client()
    client.send(chunk(payload, last=True) + b"NOOP\r\n")
    assert await client.codes(2) == [503, 250]
    assert not ingress.policy.asked(pb.STAGE_RCPT)


async def test_c44_chunks_after_a_refused_envelope_are_consumed(ingress: Ingress) -> None:
    ingress.policy.on(pb.STAGE_RCPT, reject(550, "5.1.1"))
    client = await ingress.client()
    client.send(
        b"MAIL FROM:<a@example.org>\r\nRCPT TO:<x@example.com>\r\n" + chunk(b"QUIT\r\n") + chunk(b"RSET\r\n", last=True)
    )
    assert await client.codes(4) == [250, 550, 554, 554]
    client.send(b"RSET\r\nMAIL FROM:a@example.org\r\nRCPT TO:<x@example.com>\r\n" + chunk(b"QUIT\r\n", last=True))
    assert await client.codes(4) == [250, 501, 503, 503]


async def test_c44_octets_of_a_chunk_may_arrive_in_many_segments(ingress: Ingress) -> None:
    client = await ingress.client()
    await client.in_segments(b"BDAT 9 LA", b"ST\r", b"\nMAI", b"L FRO", b"MNOOP\r\n")
    assert await client.codes(2) == [503, 250]


async def test_a_message_is_accepted_in_chunks(ingress: Ingress) -> None:
    client = await ingress.client()
    await client.envelope()
    client.send(chunk(CONTENT[:5]) + chunk(CONTENT[5:13]) + chunk(CONTENT[13:], last=True))
    assert await client.codes(3) == [250, 250, 250]
    assert ingress.relay.messages[0].content.endswith(b" +0000\r\n" + CONTENT)
    assert (await client.command("RCPT TO:<x@example.com>")).code == 503


async def test_the_reply_has_the_number_of_octets(ingress: Ingress) -> None:
    client = await ingress.client()
    await client.envelope()
    client.send(chunk(CONTENT))
    assert f"{len(CONTENT)} octets" in (await client.reply()).text


async def test_c45_a_session_with_too_many_tiny_chunks_is_closed(ingress: Ingress) -> None:
    client = await ingress.client()
    await client.envelope()
    client.send(b"BDAT 1\r\nx" * 3000)
    codes = []
    try:
        while True:
            codes.append((await client.reply()).code)
    except (EOFError, ConnectionResetError):
        pass
    assert codes[:1000] == [250] * 1000
    assert codes[-1] == 421
    assert len(codes) < 1100
    assert not ingress.relay.messages


async def test_c45_a_chunk_at_the_size_limit_is_not_kept_in_memory(ingress: Ingress) -> None:
    ingress.policy.profile.max_message_size = 20_000_000
    client = await ingress.client()
    await client.envelope()
    content = b"x: y\r\n\r\n" + (b"z" * 98 + b"\r\n") * 199_999
    before = resident()
    await client.send_all(b"BDAT %d\r\n" % len(content))
    for start in range(0, len(content), 1_000_000):
        await client.send_all(content[start : start + 1_000_000])
    assert (await client.reply()).code == 250
    assert resident() - before < 8_000_000
    assert (await client.command("BDAT 0 LAST")).code == 250
    assert ingress.relay.messages[0].content.endswith(content)


async def test_c47_the_last_chunk_gets_one_reply_with_the_decision(ingress: Ingress) -> None:
    ingress.policy.profile.ask_stages.append(pb.STAGE_END_OF_DATA)
    ingress.policy.on(pb.STAGE_END_OF_DATA, reject(554, "5.7.1"))
    client = await ingress.client()
    await client.envelope()
    client.send(chunk(CONTENT, last=True) + b"NOOP\r\n")
    assert await client.codes(2) == [554, 250]
    assert not ingress.relay.messages


async def test_c48_bdat_0_last_ends_the_message(ingress: Ingress) -> None:
    client = await ingress.client()
    await client.envelope()
    assert (await client.command("BDAT 0 LAST")).code == 250
    await client.envelope()
    client.send(chunk(CONTENT) + b"BDAT 0 LAST\r\n")
    assert await client.codes(2) == [250, 250]
    assert len(ingress.relay.messages) == 2


@pytest.mark.parametrize(
    ("command", "codes"),
    [
        (b"BDAT 5 FIRST\r\nhello", [501]),
        (b"BDAT -1\r\n", [501]),
        (b"BDAT\r\n", [501]),
        (b"BDAT x LAST\r\n", [501]),
        (b"BDAT 5LAST\r\n", [501]),
        (b"BDAT \xef\xbc\x95\r\n", [501]),
        (b"bdat 5 last\r\nhi\r\nx", [250]),
        # A size with leading zeros is valid.
        (b"BDAT %026d LAST\r\nhi\r\nx" % 5, [250]),
        # The command is malformed but its size is clear, so the octets of the chunk are read and never run as commands.
        (b"BDAT 6, LAST\r\nRSET\r\n", [501]),
        (b"BDAT 6.0 LAST\r\nRSET\r\n", [501]),
        (b"BDAT +6 LAST\r\nRSET\r\n", [501]),
        (b"BDAT 6;LAST\r\nRSET\r\n", [501]),
        (b"BDAT 6 LAST LAST\r\nRSET\r\n", [501]),
        # The sizes of these commands are not clear.
        (b"BDAT 0x6 LAST\r\n", [501]),
        (b"BDAT LAST 6\r\n", [501]),
    ],
)
async def test_c48_the_syntax_of_bdat_is_checked(ingress: Ingress, command: bytes, codes: list[int]) -> None:
    client = await ingress.client()
    await client.envelope()
    client.send(command)
    assert await client.codes(len(codes)) == codes
    assert (await client.command("NOOP")).code == 250


@pytest.mark.parametrize("command", [b"BDAT z LAST\r\n", b"BDAT 12OO LAST\r\n", b"BDAT\r\n", b"BDAT 0x6\r\n"])
async def test_f62_after_a_size_that_cannot_be_read_nothing_runs_in_the_transaction(
    ingress: Ingress, command: bytes
) -> None:
    client = await ingress.client()
    await client.envelope()
    client.send(command + b"RCPT TO:<smuggled@example.com>\r\nDATA\r\n")
    assert await client.codes(3) == [501, 503, 503]
    assert len(ingress.policy.asked(pb.STAGE_RCPT)) == 1


@pytest.mark.parametrize("size", ["99999999999", "99999999999999999999"])
async def test_c48_a_chunk_of_huge_size_ends_the_session(ingress: Ingress, size: str) -> None:
    client = await ingress.client()
    await client.envelope()
    reply = await client.command(f"BDAT {size}")
    assert (reply.code, reply.enhanced) == (552, "5.3.4")
    assert await client.until_closed() == b""


async def test_c48_a_too_big_message_in_one_chunk_gets_552_and_the_session_continues(ingress: Ingress) -> None:
    ingress.policy.profile.max_message_size = 10_000
    client = await ingress.client()
    await client.envelope()
    await client.send_all(chunk(b"x" * 70 + b"\r\n" + b"y" * 70 + b"\r\n" + (b"z" * 98 + b"\r\n") * 200, last=True))
    reply = await client.reply()
    assert (reply.code, reply.enhanced) == (552, "5.3.4")
    assert (await client.send_mail()).code == 250


async def test_c48_data_is_refused_after_bdat(ingress: Ingress) -> None:
    client = await ingress.client()
    await client.envelope()
    client.send(chunk(CONTENT))
    assert (await client.reply()).code == 250
    assert (await client.command("DATA")).code == 503
    assert (await client.command("RCPT TO:<x@example.com>")).code == 503
    assert (await client.command("MAIL FROM:<x@example.com>")).code == 503
    assert (await client.command("BDAT 0 LAST")).code == 250
    assert len(ingress.relay.messages) == 1


@pytest.mark.parametrize("how", ["disconnect in mid-chunk", "QUIT without LAST", "RSET without LAST"])
async def test_c48_a_message_without_its_last_chunk_does_not_reach_relay(ingress: Ingress, how: str) -> None:
    client = await ingress.client(Listener.SMTP)
    await client.envelope()
    client.send(chunk(CONTENT))
    assert (await client.reply()).code == 250
    if how.startswith("disconnect"):
        client.send(b"BDAT 1000 LAST\r\nonly this")
        client.close()
    elif how.startswith("QUIT"):
        assert (await client.command("QUIT")).code == 221
    else:
        assert (await client.command("RSET")).code == 250
        assert (await client.command("BDAT 0 LAST")).code == 503
        client.close()
    await ingress.until_empty()
    assert not ingress.relay.messages
