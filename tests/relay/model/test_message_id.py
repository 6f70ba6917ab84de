"""Message-IDs and subjects, as they are stored and searched."""

from __future__ import annotations

import pytest

from services.relay.model.message_id import bare, index_key, index_keys, message_id_of, subject_of


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
def test_the_first_message_id_of_the_header_is_used(content: bytes, message_id: str) -> None:
    assert message_id_of(content) == message_id


def test_a_message_id_is_searched_for_with_or_without_brackets() -> None:
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


def test_the_keys_of_a_range_include_the_key_of_every_number() -> None:
    keys = list(index_keys("a@b.test", 10_000, 1_000_000))
    assert {index_key("a@b.test", number) for number in range(10_000, 1_000_001, 333)} <= set(keys)
    assert len(keys) == len(set(keys)) < 1_000
    assert index_key("a@b.test", 1_010_000) not in keys
    assert index_key("a@b.test", 10_000) != index_key("A@b.test", 10_000)


def test_messages_that_came_one_after_the_other_have_neighbouring_keys() -> None:
    """With neighbouring keys, a commit writes to few pages of the index."""
    keys = [index_key(f"{number}@b.test", number) for number in range(0, 200_000, 1_000)]
    assert all(before < after for before, after in zip(keys, keys[3:], strict=False))


@pytest.mark.parametrize("number", [0, 1_800_000_000_000, 2**62])
def test_keys_fit_into_the_integers_of_both_databases(number: int) -> None:
    assert 0 <= index_key("a@b.test", number) < 2**63
