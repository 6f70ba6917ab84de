"""The PROXY protocol (C80): only configured peers may send the header, once and first. The header names the client."""

from __future__ import annotations

import socket

import pytest
from posthouse.policy.v1 import policy_pb2 as pb

from services.ingress.proxy import ProxyError, parse
from services.ingress.session import Listener, Peer
from tests.ingress.conftest import Ingress, Start

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
V1 = b"PROXY TCP4 192.0.2.7 198.51.100.1 40000 25\r\n"
CLIENT = Peer("192.0.2.7", 40000, "198.51.100.1", 25)


def v2(command: int = 0x21, family: int = 0x11, body: bytes | None = None, extra: bytes = b"") -> bytes:
    if body is None:
        body = socket.inet_aton("192.0.2.7") + socket.inet_aton("198.51.100.1") + b"\x9c\x40\0\x19"
    body += extra
    return SIGNATURE + bytes((command, family)) + len(body).to_bytes(2) + body


V6_BODY = (
    socket.inet_pton(socket.AF_INET6, "2001:db8::7") + socket.inet_pton(socket.AF_INET6, "::1") + b"\x9c\x40\0\x19"
)


@pytest.mark.parametrize(
    ("header", "peer"),
    [
        (V1, CLIENT),
        (b"PROXY TCP6 2001:db8::7 ::1 40000 25\r\n", Peer("2001:db8::7", 40000, "::1", 25)),
        (b"PROXY TCP6 ::ffff:192.0.2.7 ::ffff:198.51.100.1 40000 25\r\n", CLIENT),
        (b"PROXY UNKNOWN\r\n", None),
        (b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n", None),
        (v2(), CLIENT),
        (v2(extra=b"\x04\0\x01x"), CLIENT),
        (v2(family=0x21, body=V6_BODY), Peer("2001:db8::7", 40000, "::1", 25)),
        (v2(command=0x20, family=0, body=b""), None),
    ],
)
def test_valid_proxy_headers_are_read(header: bytes, peer: Peer | None) -> None:
    found = parse(header + b"EHLO x\r\n")
    assert found is not None
    assert (found.octets, found.peer) == (len(header), peer)
    for cut in range(len(header)):
        assert parse(header[:cut]) is None


@pytest.mark.parametrize(
    "header",
    [
        b"EHLO client.example\r\n",
        b"PROXY TCP4 192.0.2.7 198.51.100.1 40000\r\n",
        b"PROXY TCP4 192.0.2.7 198.51.100.1 40000 70000\r\n",
        b"PROXY TCP4 192.0.2.7 198.51.100.1 040 25\r\n",
        b"PROXY TCP4 192.0.2.300 198.51.100.1 40000 25\r\n",
        b"PROXY TCP4 2001:db8::7 ::1 40000 25\r\n",
        b"PROXY TCP6 192.0.2.7 198.51.100.1 40000 25\r\n",
        b"PROXY TCP4  192.0.2.7 198.51.100.1 40000 25\r\n",
        b"PROXY UDP4 192.0.2.7 198.51.100.1 40000 25\r\n",
        b"proxy TCP4 192.0.2.7 198.51.100.1 40000 25\r\n",
        b"PROXY UNKNOWNX\r\n",
        b"PROXY " + b"x" * 120 + b"\r\n",
        v2(command=0x11),
        v2(command=0x22),
        v2(family=0x12),
        v2(family=0x31, body=b"\0" * 216),
        v2(body=b"\0" * 11),
        SIGNATURE + b"\x21\x11\xff\xff",
    ],
)
def test_invalid_proxy_headers_are_refused(header: bytes) -> None:
    with pytest.raises(ProxyError):
        parse(header)


@pytest.fixture
async def proxied(start: Start) -> Ingress:
    return await start(proxy_networks="127.0.0.0/8")


@pytest.mark.parametrize("header", [V1, v2()], ids=["v1", "v2"])
async def test_c80_the_client_has_the_address_from_the_proxy_before_and_after_starttls(
    proxied: Ingress, header: bytes
) -> None:
    """Case P4 of docs/cases.md describes this behaviour."""
    client = await proxied.connect()
    client.send(header)
    assert (await client.reply()).code == 220
    assert (await client.command("EHLO client.example")).code == 250
    await client.starttls()
    assert (await client.send_mail()).code == 250
    for request in proxied.policy.requests:
        assert (request.session.client_address, request.session.client_port) == ("192.0.2.7", 40000)
    stored = proxied.relay.messages[0]
    assert stored.submission.origin.client_address == "192.0.2.7"
    assert stored.content.startswith(b"Received: from client.example ([192.0.2.7])\r\n")


@pytest.mark.parametrize("together", [True, False], ids=["one segment", "apart"])
async def test_c80_the_header_comes_before_implicit_tls(proxied: Ingress, together: bool) -> None:
    client = await proxied.connect(Listener.SUBMISSIONS)
    client.send(V1)
    if not together:
        await client.in_segments(b"")
    await client.start_tls()
    assert (await client.reply()).code == 220
    assert (await client.command("EHLO client.example")).code == 250
    (connect,) = proxied.policy.asked(pb.STAGE_CONNECT)
    assert connect.session.client_address == "192.0.2.7"


async def test_c80_a_header_in_pieces_is_read(proxied: Ingress) -> None:
    client = await proxied.connect()
    await client.in_segments(V1[:1], V1[1:10], V1[10:-1], V1[-1:])
    assert (await client.reply()).code == 220


async def test_c80_a_second_proxy_header_counts_as_a_wrong_command(proxied: Ingress) -> None:
    client = await proxied.connect()
    client.send(V1)
    assert (await client.reply()).code == 220
    assert (await client.command(V1[:-2])).code == 500


async def test_c80_a_second_header_before_the_greeting_is_a_pipelining_violation(proxied: Ingress) -> None:
    client = await proxied.connect()
    client.send(V1 + V1)
    assert (await client.reply()).code == 220
    assert (await client.reply()).code == 500
    await client.command("EHLO client.example")
    await client.envelope()
    assert proxied.policy.asked(pb.STAGE_RCPT)[0].session.pipelining_violation == 1


@pytest.mark.parametrize("after", ["nothing", "greeting", "EHLO", "STARTTLS", "MAIL"])
async def test_c80_a_proxy_header_from_any_other_client_closes_the_connection(start: Start, after: str) -> None:
    """A peer that is no configured proxy is refused, even if other proxies are configured. No later command is run."""
    ingress = await start(proxy_networks="198.51.100.0/24")
    headers = (V1, v2(), b"PROXY UNKNOWN\r\n", b"proxy TCP4 nonsense\r\n")
    for header in headers:
        await _refused_header(ingress, header, after)
    assert ingress.metrics.sessions_refused["proxy"] == len(headers)
    assert {request.session.client_address for request in ingress.policy.requests} == {"127.0.0.1"}


async def _refused_header(ingress: Ingress, header: bytes, after: str) -> None:
    client = await ingress.connect()
    if after != "nothing":
        assert (await client.reply()).code == 220
    if after in ("EHLO", "STARTTLS", "MAIL"):
        assert (await client.command("EHLO client.example")).code == 250
    if after == "STARTTLS":
        await client.starttls()
    if after == "MAIL":
        await client.envelope()
    asked = len(ingress.policy.asked(pb.STAGE_RCPT))
    client.send(header + b"EHLO client.example\r\nMAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.com>\r\n")
    said = await client.until_closed()
    # A header of version 2 begins with two empty lines, which get 500 when they are read as commands.
    codes = [line[:3] for line in said.splitlines()]
    assert codes[-1] == b"554"
    assert set(codes[:-1]) <= {b"220", b"500"}
    assert len(ingress.policy.asked(pb.STAGE_RCPT)) == asked


@pytest.mark.parametrize("octets", [b"EHLO client.example\r\n", b"PROXY nonsense\r\n", b"\r\n\r\n\0\r\nQUIX\n"])
async def test_c80_a_proxy_without_a_header_is_closed_without_a_reply(proxied: Ingress, octets: bytes) -> None:
    client = await proxied.connect()
    client.send(octets)
    assert await client.until_closed() == b""
    assert not proxied.policy.requests


async def test_c32_a_silent_proxy_is_closed_at_the_time_limit(start: Start) -> None:
    ingress = await start(proxy_networks="127.0.0.1/32", proxy_seconds=0.3)
    client = await ingress.connect()
    assert await client.until_closed() == b""
    assert not ingress.policy.requests


async def test_a_connection_of_the_proxy_itself_has_its_address(proxied: Ingress) -> None:
    client = await proxied.connect()
    client.send(v2(command=0x20, family=0, body=b""))
    assert (await client.reply()).code == 220
    assert proxied.policy.asked(pb.STAGE_CONNECT)[0].session.client_address == "127.0.0.1"
