"""The functions that fuzzers call.

Each accepts any octets, and raises an exception when the code violates one of its guarantees.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from ipaddress import ip_address

from libs.smtp import header
from libs.smtp.dkim import BodyHashes
from services.ingress import authentication_results
from services.ingress.checks import chain
from services.ingress.checks.keys import Key, NoKey, read_key
from services.ingress.checks.signatures import HeaderFields, Signature, signatures, verify
from services.ingress.data import ChunkReader, DotReader, Fault, LineReader
from services.ingress.proxy import ProxyError, parse
from tests.fuzz.session import run

_NOW = 1_800_000_000


def session(octets: bytes) -> None:
    """Checks that the cuts between segments do not change the outcome. The first octets give the places of the cuts."""
    places, stream = octets[:8], octets[8:2_000]
    parts, position = [], 0
    for place in places:
        parts.append(stream[position : position + place])
        position += place
    parts.append(stream[position:])
    assert run(part for part in parts if part) == run([stream] if stream else [])


class _Memory:
    def __init__(self) -> None:
        self.content = b""

    def add(self, octets: bytes) -> None:
        self.content += octets

    def discard(self) -> None:
        self.content = b""


def content(octets: bytes) -> None:
    """Checks that DATA ends only at the first CRLF.CRLF, for any segments, and that BDAT stores the same content."""
    size, stream = (octets[0] if octets else 0) + 1, octets[1:]
    framed = b"\r\n" + stream
    end = framed.find(b"\r\n.\r\n")
    sink, taken_in_all, done = _Memory(), 0, False
    lines = LineReader(sink, max_octets=5_000, max_line=100, normalise=False)
    reader, buffer = DotReader(lines), bytearray()
    for start in range(0, len(stream), size):
        buffer += stream[start : start + size]
        taken = 1
        while taken and not done:
            taken, done = reader.feed(buffer)
            del buffer[:taken]
            taken_in_all += taken
        assert len(buffer) <= 104 + size
        if done:
            break
    assert done is (end >= 0)
    if not done:
        return
    assert taken_in_all == end + 3
    body = framed[2 : end + 2] if end else b""
    wanted = re.sub(rb"(\A|(?<=\r\n))\.", b"", body)
    assert lines.octets == len(wanted) or lines.fault is not None
    assert (lines.fault, sink.content) == _judged(wanted)
    if not lines.fault:
        again = _Memory()
        other = LineReader(again, max_octets=5_000, max_line=100, normalise=False)
        chunks = ChunkReader(other)
        for start in range(0, len(wanted), size):
            chunks.feed(wanted[start : start + size])
        chunks.finish()
        assert (other.fault, again.content) == (None, wanted)


def _judged(body: bytes) -> tuple[Fault | None, bytes]:
    """Finds the fault of a body and its stored form with slow, simple code."""
    if len(body) > 5_000:
        return Fault.TOO_BIG, b""
    if re.search(rb"\r(?!\n)|(?<!\r)\n", body):
        return Fault.BARE_NEWLINE, b""
    if b"\0" in body:
        return Fault.NUL_OCTET, b""
    if any(len(line) > 100 for line in body.split(b"\r\n")):
        return Fault.LINE_TOO_LONG, b""
    return None, body


def proxy(octets: bytes) -> None:
    """Checks that a PROXY header is complete, incomplete or invalid, and that a complete header has valid addresses."""
    for received in (octets, b"PROXY TCP4 " + octets, b"\r\n\r\n\0\r\nQUIT\n" + octets):
        try:
            found = parse(received)
        except ProxyError:
            continue
        if found is not None:
            assert 0 < found.octets <= len(received)
            if found.peer is not None:
                ip_address(found.peer.client_address)
                ip_address(found.peer.local_address)
                assert 0 <= found.peer.client_port <= 65_535


def fields(octets: bytes) -> None:
    """Checks that one removal removes all fields with our id, so that a second removal changes nothing."""
    head, _ = header.split(octets.replace(b"\r", b"").replace(b"\n", b"\r\n"))
    for start in (b"", b"Authentication-Results: ", b"authentication-results: (c) mx.example.com"):
        clean = authentication_results.without_forged(start + head, "mx.example.com")
        assert len(clean) <= len(start + head)
        assert authentication_results.without_forged(clean, "mx.example.com") == clean


_KEY = read_key(b"v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=")


def signed(octets: bytes) -> None:
    """Checks that strange signatures and chains get results, raise no exceptions, and never pass."""
    read_key(octets)
    for start in (
        b"",
        b"DKIM-Signature: ",
        b"ARC-Seal: i=1; ",
        b"DKIM-Signature: v=1; a=ed25519-sha256; d=d.example; s=s; ",
    ):
        message = start + octets.replace(b"\r", b"").replace(b"\n", b"\r\n")
        where = header.boundary(message)
        found = HeaderFields.of(message[: where.header_end])
        bodies = BodyHashes(lambda body=message[where.body_start :]: [body])  # type: ignore[misc]
        for signature in signatures(found, _NOW):
            outcome = verify(signature, found, bodies, _KEY) if isinstance(signature, Signature) else signature
            assert outcome.result.name != "PASS"
        keys: dict[str, Key | NoKey] = dict.fromkeys(chain.key_names(found), _KEY)
        assert chain.validate(found, bodies, keys).result.name != "PASS"


TARGETS: dict[str, Callable[[bytes], None]] = {
    "session": session,
    "content": content,
    "proxy": proxy,
    "fields": fields,
    "signed": signed,
}

SEEDS: dict[str, tuple[bytes, ...]] = {
    "session": (
        (
            b"\x05\x10\x20\0\0\0\0\0EHLO c.example\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<c@d.example>\r\nDATA\r\n"
            b"Subject: x\r\n\r\n..y\r\n.\r\nQUIT\r\n"
        ),
        (
            b"\x40\x01\x01\0\0\0\0\0EHLO c.example\r\nAUTH PLAIN AGFsaWNlAHg=\r\nMAIL FROM:<> SIZE=1\r\n"
            b"RCPT TO:<c@d.example> NOTIFY=NEVER\r\nBDAT 5\r\na: b\nBDAT 4 LAST\r\n\r\nx\n"
        ),
    ),
    "content": (b"\x07Subject: x\r\n\r\n..y\r\n.z\r\n.\r\nrest", b"\x00a\n.\nb\r\n.\r\n"),
    "proxy": (b"PROXY TCP4 192.0.2.7 198.51.100.1 40000 25\r\n", b"\x21\x11\0\x0c\1\2\3\4\5\6\7\x08\0\x19\0\x19"),
    "fields": (b"Authentication-Results: mx.example.com; spf=pass\nSubject: x\n\n",),
    "signed": (
        (
            b"v=1; a=rsa-sha256; c=relaxed/simple; d=d.example; s=s; h=from:to; bh=AAAA; b=AAAA; l=5; t=1; x=2\n"
            b"ARC-Message-Signature: i=1; a=rsa-sha256; d=d.example; s=s; h=from; bh=AAAA; b=AAAA\n"
            b"ARC-Authentication-Results: i=1; x\nFrom: a@b.example\n\nbody\n"
        ),
    ),
}
