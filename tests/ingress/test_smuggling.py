"""Attacks that put a second message or command into the content of the first, and line ends in general (C01 to C06)."""

from __future__ import annotations

import pytest

from tests.ingress.conftest import Ingress, Start

# Some servers wrongly accepted these octets as the end of the content.
FALSE_ENDS = (
    b"\n.\n",
    b"\n.\r\n",
    b"\r\n.\n",
    b"\r.\r",
    b"\r\n.\r",
    b"\n\n.\r\n",
    b"\r.\r\n",
    b"\r\n.\r\r\n",
    b"\n\r.\r\n",
)
SMUGGLED = b"MAIL FROM:<evil@example.net>\r\nRCPT TO:<victim@example.com>\r\nDATA\r\nevil\r\n"


@pytest.mark.parametrize("end", FALSE_ENDS, ids=repr)
@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
async def test_c01_smtp_smuggling_only_crlf_dot_crlf_ends_data(ingress: Ingress, end: bytes, tls: bool) -> None:
    client = await ingress.client()
    if tls:
        await client.starttls()
    await client.envelope()
    assert (await client.command("DATA")).code == 354
    client.send(b"first" + end + SMUGGLED)
    client.send(b"\r\n.\r\nNOOP\r\n")
    # There is one reply to the content and one to NOOP, so nothing in between was run as a command.
    reply = await client.reply()
    assert (reply.code, reply.enhanced) == (550, "5.5.2")
    assert (await client.reply()).code == 250
    assert not ingress.relay.messages
    assert len(ingress.policy.asked(5)) == 1


@pytest.mark.parametrize("end", FALSE_ENDS, ids=repr)
async def test_c01_the_end_of_data_does_not_depend_on_segments(ingress: Ingress, end: bytes) -> None:
    stream = b"first" + end + b"x\r\n.\r\n"
    for cut in range(4, 4 + len(end) + 2):
        client = await ingress.client()
        await client.envelope()
        assert (await client.command("DATA")).code == 354
        await client.in_segments(stream[:cut], stream[cut:])
        assert (await client.reply()).code == 550
        assert (await client.command("NOOP")).code == 250
        client.close()
    assert not ingress.relay.messages


@pytest.mark.parametrize("content", [b"a\nb\rc\r\n", b"x\r\n.\ny\r\n", b"x\r\r\ny\r\n", b"\rx\r\n", b"x\n\r\n"])
@pytest.mark.parametrize("bdat", [False, True], ids=["data", "bdat"])
async def test_c02_content_with_a_bare_cr_or_lf_is_refused(ingress: Ingress, content: bytes, bdat: bool) -> None:
    client = await ingress.client()
    await client.envelope()
    if bdat:
        client.send(b"BDAT %d LAST\r\n%b" % (len(content), content))
        reply = await client.reply()
    else:
        reply = await client.data(content)
    assert (reply.code, reply.enhanced) == (550, "5.5.2")
    assert (await client.send_mail()).code == 250
    assert len(ingress.relay.messages) == 1


@pytest.mark.parametrize(
    ("content", "stored"),
    [
        (b"a\nb\rc\r\n", b"a\r\nb\r\nc\r\n"),
        (b"x\r\n.\ny\r\n", b"x\r\n\r\ny\r\n"),
        (b"x\n.\ny\r\n", b"x\r\n.\r\ny\r\n"),
        (b"x\r\r\ny\r\n", b"x\r\n\r\ny\r\n"),
    ],
)
async def test_c02_a_setting_normalises_bare_newlines_before_anything_reads_them(
    start: Start, content: bytes, stored: bytes
) -> None:
    ingress = await start(bare_newlines="normalise")
    client = await ingress.client()
    assert (await client.send_mail(b"Subject: x\r\n\r\n" + content)).code == 250
    (message,) = ingress.relay.messages
    assert message.content.partition(b"\r\n\r\n")[2] == stored


async def test_c03_the_end_of_data_is_the_same_for_clients_that_are_logged_in(ingress: Ingress) -> None:
    client = await ingress.client()
    await client.starttls()
    assert (await client.login()).code == 235
    await client.envelope()
    assert (await client.data(b"Subject: x\n\r\nbody\n.\nMAIL FROM:<e@example.org>\r\n")).code == 550
    assert (await client.send_mail(b"\r\n..\r\n")).code == 250
    header, _, body = ingress.relay.messages[0].content.partition(b"\r\n\r\n")
    assert header.startswith(b"Received: ")
    assert body == b".\r\n"


async def test_c05_the_stored_octets_are_those_that_were_sent(ingress: Ingress) -> None:
    line = b"0123456789" * 7 + b"\r\n"
    body = (b"Subject: x\r\n\r\n" + line * 1000)[:65534] + b"\r\n..dot\r\nlast\r\n"
    want = (body.replace(b"\r\n..", b"\r\n.")).partition(b"\r\n\r\n")[2]
    cuts = [n + d for n in (8192, 65536) for d in (-2, -1, 0, 1, 2)]
    for cut in (*cuts, body.index(b"\r\n..") + 1, body.index(b"\r\n..") + 2, body.index(b"\r\n..") + 3, len(body) - 1):
        client = await ingress.client()
        await client.envelope()
        assert (await client.command("DATA")).code == 354
        await client.in_segments(body[:cut], body[cut:] + b".", b"\r", b"\n")
        assert (await client.reply()).code == 250
        client.close()
    for stored in ingress.relay.messages:
        assert stored.content.partition(b"\r\n\r\n")[2] == want


@pytest.mark.parametrize(
    ("sent", "stored"),
    [
        (b"..\r\n", b".\r\n"),
        (b"...\r\n", b"..\r\n"),
        (b"..a\r\n", b".a\r\n"),
        (b".a\r\n", b"a\r\n"),
        (b"x\r\n..\r\n", b"x\r\n.\r\n"),
        (b"x\r\n...\r\n..\r\n", b"x\r\n..\r\n.\r\n"),
    ],
)
async def test_c06_exactly_one_leading_dot_is_removed(ingress: Ingress, sent: bytes, stored: bytes) -> None:
    client = await ingress.client()
    assert (await client.send_mail(b"Subject: x\r\n\r\n" + sent)).code == 250
    assert ingress.relay.messages[0].content.partition(b"\r\n\r\n")[2] == stored


async def test_c06_bdat_removes_no_dot(ingress: Ingress) -> None:
    client = await ingress.client()
    await client.envelope()
    content = b"Subject: x\r\n\r\n.\r\n..\r\n.a\r\n.\r\n"
    client.send(b"BDAT %d LAST\r\n%b" % (len(content), content))
    assert (await client.reply()).code == 250
    assert ingress.relay.messages[0].content.endswith(content)


async def test_commands_injected_after_starttls_are_dropped(ingress: Ingress) -> None:
    """C74: commands in the same segment after STARTTLS are not run after the handshake."""
    client = await ingress.client()
    client.send(b"STARTTLS\r\nMAIL FROM:<evil@example.net>\r\nRCPT TO:<victim@example.com>\r\n")
    assert (await client.reply()).code == 220
    await client.start_tls()
    assert (await client.command("RCPT TO:<victim@example.com>")).code == 503
    assert (await client.command("MAIL FROM:<a@example.org>")).code == 503
    assert (await client.command("EHLO client.example")).code == 250
    assert not ingress.policy.asked(4)
    assert not ingress.policy.asked(5)
