"""Message-IDs and subjects as they are stored and searched for."""

from __future__ import annotations

import pytest

from services.relay.model.message_id import bare, index_key, index_keys, message_id_of, subject_of

_HOUR = 3600 * 1_000_000


@pytest.mark.parametrize(
    ("content", "message_id"),
    [
        (b"Message-ID: <a@b.test>\r\n\r\nbody", "a@b.test"),
        (b"Subject: x\r\nmessage-id:\r\n <a@b.test> (a comment)\r\n\r\n", "a@b.test"),
        (b"Message-Id: <1@a.test>\r\nMessage-ID: <2@a.test>\r\n\r\n", "1@a.test"),
        (b"Message-ID: without-brackets\r\n\r\n", "without-brackets"),
        (b"Message-ID: <\xff@b.test>\r\n\r\n", "\\xff@b.test"),
        (b"Subject: x\r\n\r\nMessage-ID: <in.the.body@b.test>\r\n", ""),
        (b"X-Message-ID: <a@b.test>\r\n\r\n", ""),
        (b"Message-ID:\r\n\r\n", ""),
        (b"", ""),
    ],
)
def test_the_first_message_id_of_the_header(content: bytes, message_id: str) -> None:
    assert message_id_of(content) == message_id


def test_it_is_searched_for_with_or_without_brackets() -> None:
    assert bare(b"<a@b.test>") == bare(b"a@b.test") == bare(b" <a@b.test> ") == "a@b.test"


@pytest.mark.parametrize(
    ("content", "subject"),
    [
        (b"Subject: Hello\r\n\r\n", "Hello"),
        (b"Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?= an\r\n =?iso-8859-1?q?J=FCrgen?=\r\n\r\n", "Grüße an Jürgen"),
        (b"Subject: =?no-such-charset?q?x?=\r\n\r\n", "=?no-such-charset?q?x?="),
        (b"From: a@b.test\r\n\r\nSubject: x\r\n", ""),
    ],
)
def test_the_subject_is_decoded(content: bytes, subject: str) -> None:
    assert subject_of(content) == subject


def test_every_time_between_two_has_its_key() -> None:
    now = 1_800_000_000_000_000
    for hours in (0, 1, 170):
        assert index_key("a@b.test", now - hours * _HOUR) in set(index_keys("a@b.test", now - 170 * _HOUR, now))
    assert index_key("a@b.test", now - 171 * _HOUR) not in set(index_keys("a@b.test", now - 170 * _HOUR, now))
    assert index_key("a@b.test", now) != index_key("A@b.test", now)


@pytest.mark.parametrize("received_at", [0, 1_800_000_000_000_000, 2**62])
def test_keys_are_numbers_that_both_databases_hold(received_at: int) -> None:
    assert 0 <= index_key("a@b.test", received_at) < 2**63
