"""The content on the wire: dots at the beginning of lines are doubled, and nothing else is changed."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.relay.delivery.smtp.message import PreparedMessage
from services.relay.model.attempt import OutgoingMessage

# From this number of octets on, the implementation searches for dots in another way.
_HEAD = 8192


def stuffed(content: bytes) -> bytes:
    return PreparedMessage(OutgoingMessage("q", b"a@one.test", content)).stuffed()


def plainly(content: bytes) -> bytes:
    """Doubles dots as RFC 5321 section 4.5.2 says, in the simplest possible code."""
    doubled = re.sub(rb"(?:\A|(?<=\n))\.", b"..", content)
    return doubled if not doubled or doubled.endswith(b"\r\n") else doubled + b"\r\n"


LINES = st.lists(
    st.sampled_from([b"", b".", b"..", b"a", b"a.b", b".a", b"x" * 70, b"1.2.3.4.5.6.7.8.9.10"]), max_size=30
)


@given(before=st.integers(_HEAD - 200, _HEAD + 200), lines=LINES, dots=st.integers(0, 20))
def test_dots_are_doubled_at_every_line_start(before: int, lines: list[bytes], dots: int) -> None:
    content = b"x" * before + b"." * dots + b"\r\n" + b"".join(line + b"\r\n" for line in lines)
    assert stuffed(content) == plainly(content)


@given(lines=LINES)
def test_dots_of_short_content_are_doubled(lines: list[bytes]) -> None:
    content = b"\r\n".join(lines)
    assert stuffed(content) == plainly(content)


@pytest.mark.parametrize("at", range(_HEAD - 3, _HEAD + 4))
def test_a_dot_at_the_border_of_two_parts_is_doubled(at: int) -> None:
    content = b"x" * (at - 2) + b"\r\n.y\r\n"
    assert stuffed(content) == plainly(content) != content


def test_content_without_a_dot_at_the_start_of_a_line_is_not_copied() -> None:
    content = b"Subject: 1.2.3\r\n\r\n" + (b"eHh4" * 18 + b"\r\n") * 500
    assert stuffed(content) is content
