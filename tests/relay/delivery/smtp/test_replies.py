"""Replies are parsed from octets that may be cut at any place. The reply to EHLO lists the extensions of a server."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.relay.delivery.smtp import replies as reading
from services.relay.delivery.smtp.capabilities import Capabilities
from services.relay.delivery.smtp.replies import MalformedReplyError, ReplyReader
from services.relay.model.outcome import Reply

TEXTS = st.binary(max_size=60).map(lambda text: text.replace(b"\r", b"").replace(b"\n", b""))
REPLIES = st.tuples(st.integers(200, 599), st.lists(TEXTS, min_size=1, max_size=4))


def wire(code: int, lines: list[bytes]) -> bytes:
    marks = [b"-"] * (len(lines) - 1) + [b" "]
    return b"".join(b"%d%b%b\r\n" % (code, mark, line) for mark, line in zip(marks, lines, strict=True))


@given(replies=st.lists(REPLIES, min_size=1, max_size=5), cuts=st.lists(st.integers(0, 600), max_size=20))
def test_replies_are_the_same_however_they_are_cut(replies: list[tuple[int, list[bytes]]], cuts: list[int]) -> None:
    octets = b"".join(wire(*reply) for reply in replies)
    places = sorted({0, len(octets), *(cut for cut in cuts if cut < len(octets))})
    reader = ReplyReader()
    found = [reply for start, end in itertools.pairwise(places) for reply in reader.feed(octets[start:end])]
    assert found == [Reply(code, b"\n".join(lines)) for code, lines in replies]
    assert reader.empty


@given(octets=st.binary(max_size=2000))
def test_invalid_input_raises_no_error_other_than_a_malformed_reply(octets: bytes) -> None:
    reader = ReplyReader()
    try:
        for reply in reader.feed(octets):
            assert 0 <= reply.code <= 999
    except MalformedReplyError:
        reader.clear()
    assert reader.empty or not octets.endswith(b"250 ok\r\n")


def test_a_bare_lf_ends_a_line_too() -> None:
    assert ReplyReader().feed(b"250-a\n250 b\n") == [Reply(250, b"a\nb")]


def test_the_code_of_the_last_line_is_used() -> None:
    assert ReplyReader().feed(b"250-a\r\n550 b\r\n") == [Reply(550, b"a\nb")]


def test_a_reply_may_have_only_a_code() -> None:
    assert ReplyReader().feed(b"250\r\n") == [Reply(250, b"")]


@pytest.mark.parametrize("flood", [b"250-x" + b"y" * 1000 + b"\r\n", b"z" * 4096])
def test_memory_is_bounded(flood: bytes) -> None:
    reader = ReplyReader()

    def endlessly() -> None:
        for _ in range(1000):
            reader.feed(flood)

    with pytest.raises(MalformedReplyError):
        endlessly()
    assert sum(map(len, reader._lines)) + len(reader._partial) < 40_000


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b"SIZE 1000", {"size": 1000, "size_offered": True}),
        (b"SIZE", {"size_offered": True}),
        (b"SIZE 0", {"size_offered": True}),
        (b"SIZE -1", {"size_offered": True}),
        (b"size \xd9\xa1", {"size_offered": True}),
        (b"SIZE " + b"9" * 5000, {"size_offered": True}),
        (b"pipelining", {"pipelining": True}),
        (b"AUTH PLAIN login PLAIN", {"auth": ("plain", "login")}),
        (b"AUTH=LOGIN", {"auth": ("login",)}),
        (b"STARTTLS", {"starttls": True}),
        (b"XSTARTTLS", {}),
        (b"8BITMIME", {"eight_bit": True}),
        (b"\xff\xfe", {}),
    ],
)
def test_the_extensions_of_a_server_are_read(line: bytes, expected: dict[str, object]) -> None:
    assert Capabilities.of(Reply(250, b"mx.test\n" + line)) == Capabilities(**expected)  # type: ignore[arg-type]


def test_the_first_line_of_the_answer_to_ehlo_offers_no_extension() -> None:
    assert Capabilities.of(Reply(250, b"STARTTLS PIPELINING")) == Capabilities()


def test_the_cache_of_lines_is_small_and_shared() -> None:
    for number in range(2000):
        assert ReplyReader().feed(b"250 2.0.0 Ok: queued as %d\r\n" % number) == [
            Reply(250, b"2.0.0 Ok: queued as %d" % number)
        ]
    ReplyReader().feed(b"250 " + b"x" * 200 + b"\r\n")
    assert len(reading._known) <= 500
    assert max(map(len, reading._known)) <= 80
    first, second = ReplyReader().feed(b"250 2.1.5 Ok\r\n" * 2)
    assert first is second


def test_a_cached_line_may_end_a_longer_reply() -> None:
    reader = ReplyReader()
    assert reader.feed(b"250 b\r\n") == [Reply(250, b"b")]
    assert reader.feed(b"250-a\r\n250 b\r\n250 b\r\n") == [Reply(250, b"a\nb"), Reply(250, b"b")]
