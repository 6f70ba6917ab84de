"""Functions that split headers in the same way everywhere, and count and remove fields, in linear time."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from libs.smtp.header import (
    Boundary,
    Field,
    boundary,
    count,
    fields,
    from_mailboxes,
    needs_smtputf8,
    remove,
    remove_named,
    split,
    unambiguous,
    values,
)

MESSAGE = (
    b"Received: from a.example\r\n\tby b.example;\r\n Wed\r\nFrom: a@b.example\r\nSUBJECT : hello\r\n"
    b"\r\nbody\r\n\r\nmore\r\n"
)


def test_a_message_is_split_at_its_first_empty_line() -> None:
    header, body = split(MESSAGE)
    assert header == MESSAGE[: MESSAGE.index(b"\r\n\r\n") + 2]
    assert body == b"body\r\n\r\nmore\r\n"
    assert header + b"\r\n" + body == MESSAGE


def test_a_memoryview_is_split_without_a_copy_of_its_body() -> None:
    view = memoryview(MESSAGE)
    header, body = split(view)
    assert (header, bytes(body)) == split(MESSAGE)
    assert body.obj is MESSAGE


def test_fields_come_from_the_top_with_lower_case_names_and_unfolded_values() -> None:
    assert list(fields(split(MESSAGE)[0])) == [
        Field(
            b"received",
            b"Received: from a.example\r\n\tby b.example;\r\n Wed\r\n",
            b"from a.example\tby b.example; Wed",
        ),
        Field(b"from", b"From: a@b.example\r\n", b"a@b.example"),
        Field(b"subject", b"SUBJECT : hello\r\n", b"hello"),
    ]


@pytest.mark.parametrize(
    ("content", "header", "body"),
    [
        (b"", b"", b""),
        (b"\r\n", b"", b""),
        (b"\r\nbody", b"", b"body"),
        (b"\r\nFrom: a@b.example\r\n\r\nx", b"", b"From: a@b.example\r\n\r\nx"),
        (b"A: b\r\n\r\n", b"A: b\r\n", b""),
        (b"A: b\r\n", b"A: b\r\n", b""),
        (b"A: b", b"A: b", b""),
        (b"A:\r\n\r\nx", b"A:\r\n", b"x"),
        (b"A: b\r\n\r\n\r\nx", b"A: b\r\n", b"\r\nx"),
        # A continuation line that contains only blanks belongs to its field (RFC 5322 section 4.2).
        (b"A: b\r\n \r\nC: d\r\n\r\nx", b"A: b\r\n \r\nC: d\r\n", b"x"),
        # Blanks before the colon are obsolete syntax, but this is a field.
        (b"A \t: b\r\n\r\nx", b"A \t: b\r\n", b"x"),
        (b"A: b\0c\r\n\r\nx", b"A: b\0c\r\n", b"x"),
        (b"A: caf\xe9\r\n\r\nx", b"A: caf\xe9\r\n", b"x"),
        # A bare CR or LF does not end a line.
        (b"A: b\rC\r\r\nD: e\n\nx\r\n\r\ny", b"A: b\rC\r\r\nD: e\n\nx\r\n", b"y"),
    ],
)
def test_c13_the_end_of_a_header_is_found(content: bytes, header: bytes, body: bytes) -> None:
    assert split(content) == (header, body)


@pytest.mark.parametrize(
    ("content", "header"),
    [
        (b" folded first\r\nFrom: a@b.example\r\n\r\nx", b""),
        (b"\tfolded first\r\n\r\nx", b""),
        (b"no colon\r\nFrom: a@b.example\r\n\r\nx", b""),
        (b"hello", b""),
        (b": no name\r\n\r\nx", b""),
        (b"From alice@a.example Mon\r\nFrom: a@b.example\r\n\r\nx", b""),
        (b"A: b\r\nno colon\r\nFrom: a@b.example\r\n\r\nx", b"A: b\r\n"),
        (b"A: b\r\n c\r\ntwo words: d\r\n\r\nx", b"A: b\r\n c\r\n"),
        (b"A: b\r\nS\xc3\xbcbject: d\r\n\r\nx", b"A: b\r\n"),
        (b"A: b\r\n\0: d\r\n\r\nx", b"A: b\r\n"),
        (b"A: b\r\n:\r\n\r\nx", b"A: b\r\n"),
        (b"A: b\r\nlast", b"A: b\r\n"),
        (b"A: b\r\nword  \r\n: c\r\n\r\nx", b"A: b\r\n"),
    ],
)
def test_c13_a_line_that_is_not_a_field_begins_the_body_after_an_empty_line(content: bytes, header: bytes) -> None:
    where = boundary(content)
    assert where == Boundary(len(header), len(header))
    assert split(content) == (header, content[len(header) :])
    told = header + b"\r\n" + content[len(header) :]
    # With the added empty line, our code splits the message in the same place as a reader that only looks for an empty
    # line.
    assert split(told) == split(content)
    assert told.startswith(b"\r\n") or told.index(b"\r\n\r\n") == len(header) - 2


def test_c13_a_from_field_after_a_broken_line_is_part_of_the_body() -> None:
    content = b"From: a@good.example\r\nbroken line\r\nFrom: ceo@bank.example\r\n\r\nx"
    header, body = split(content)
    assert from_mailboxes(header).field_count == 1
    assert b"ceo@bank.example" in body


def test_c13_c43_a_large_header_is_counted_whole() -> None:
    received = b"Received: from a.example\r\n by b.example\r\n" * 10_000
    header, body = split(received + b"X: " + b"y" * 1_000_000 + b"\r\n\r\nReceived: in the body\r\n")
    assert count(header, b"received") == 10_000
    assert body == b"Received: in the body\r\n"
    assert sum(1 for _ in fields(header)) == 10_001


def test_c43_only_fields_of_the_given_name_count_in_upper_or_lower_case() -> None:
    header = (
        b"RECEIVED: a\r\nreceived : b\r\nReceived\t:c\r\nX-Received: d\r\nReceived-SPF: e\r\n"
        b"Subject: x\r\n Received: folded\r\nReceived:\r\nReceived"
    )
    assert count(header, b"Received") == 4
    assert count(header, b"received") == 4
    assert count(b"", b"received") == 0
    assert values(header, b"RECEIVED") == [b"a", b"b", b"c", b""]


def test_removing_a_field_keeps_all_other_octets() -> None:
    header = b"A: 1\r\nBcc: x\r\n y\r\nB : 2\r\n 3\r\nbCC : z\r\nC: 4"
    expected = b"A: 1\r\nB : 2\r\n 3\r\nC: 4"
    assert remove(header, lambda field: field.name == b"bcc") == expected
    assert remove_named(header, b"BCC") == expected
    assert remove(header, lambda _: True) == b""
    assert remove(header, lambda _: False) is header
    assert remove_named(header, b"nothing") is header


def test_fields_can_be_removed_by_their_values() -> None:
    header = b"Authentication-Results: mx.example;\r\n spf=pass\r\nAuthentication-Results: other.example; none\r\n"
    kept = remove(header, lambda field: field.value.startswith(b"mx.example;"))
    assert kept == b"Authentication-Results: other.example; none\r\n"


def test_c59_headers_with_utf8_need_smtputf8() -> None:
    assert not needs_smtputf8(b"Subject: =?utf-8?q?caf=C3=A9?=\r\n")
    assert needs_smtputf8("Subject: café\r\n".encode())
    assert needs_smtputf8(b"Subject: caf\xe9\r\n")


# Properties
line = st.sampled_from(
    [b"A: b", b"From: x@y.example", b" folded", b"\tfolded", b"", b"no colon", b"N : v", b":", b"\r", b"\n", b" "]
)
contents = st.lists(line | st.binary(max_size=8), max_size=12).map(b"\r\n".join) | st.binary(max_size=60)


@given(content=contents)
@settings(deadline=None, max_examples=1000)
def test_header_and_body_together_are_the_content(content: bytes) -> None:
    where = boundary(content)
    header, body = split(content)
    assert header + content[where.header_end : where.body_start] + body == content
    assert content[where.header_end : where.body_start] in (b"", b"\r\n")
    assert boundary(memoryview(content)) == where
    whole_lines = header if not header or header.endswith(b"\r\n") else header + b"\r\n"
    assert split(whole_lines + b"\r\n" + body) == (whole_lines, body)


@given(content=contents)
@settings(deadline=None, max_examples=1000)
def test_the_fields_of_a_header_joined_are_the_header(content: bytes) -> None:
    header, _ = split(content)
    found = list(fields(header))
    assert b"".join(field.raw for field in found) == header
    for field in found:
        assert b"\r\n" not in field.value
        assert field.name == field.name.lower()
        assert values(header, field.name) == [other.value for other in found if other.name == field.name]
        assert count(header, field.name.upper()) == sum(other.name == field.name for other in found)
        assert remove_named(header, field.name) == remove(header, lambda other, name=field.name: other.name == name)  # type: ignore[misc]


@given(header=contents)
@settings(deadline=None, max_examples=300)
def test_any_bytes_as_a_header_raise_nothing(header: bytes) -> None:
    list(fields(header))
    from_mailboxes(header)
    remove(header, lambda field: field.name == b"from")
    remove_named(header, b"from")


@pytest.mark.parametrize(
    "piece",
    [
        b"A",
        b"A ",
        b"A: b\r\n ",
        b"\r",
        b"\n",
        b"A\r\n",
        b":",
        b"A:",
        b"\r\n ",
        b"From ",
        b"From:\r\n",
        b"\r\nFrom",
        b"\r\nfrom ",
    ],
)
def test_time_grows_only_with_the_length(piece: bytes) -> None:
    """A search of quadratic time would exceed the test's time-out."""
    for content in (piece * (2_000_000 // len(piece)), b"A: b\r\n" + piece * (2_000_000 // len(piece))):
        header, body = split(content)
        assert len(header) + len(body) <= len(content)
        list(fields(content))
        values(content, b"from")
        remove_named(content, b"from")


@pytest.mark.parametrize(
    ("header", "clean"),
    [
        (b"A: b\r\n \r\nC: d\r\n", b"A: b\r\nC: d\r\n"),
        (b"A: b\r\n\t \t\r\n \r\n\x20\x0c\x0b\r\n c\r\n", b"A: b\r\n c\r\n"),
        (b"A: b\r\n \r\n", b"A: b\r\n"),
        (b"A:\r\n \r\n b\r\n", b"A:\r\n b\r\n"),
        (b"A : b\r\nC \t : d : e\r\n f : g\r\n", b"A: b\r\nC: d : e\r\n f : g\r\n"),
    ],
)
def test_f46_forms_at_which_some_readers_end_a_header_are_removed(header: bytes, clean: bytes) -> None:
    assert unambiguous(header) == clean
    assert [field.value.split() for field in fields(header)] == [field.value.split() for field in fields(clean)]


@pytest.mark.parametrize(
    "header", [b"", b"A: b\r\n c\r\n", b"A: b \r\n\tc\r\nD: \r\n", b"A: b\r\n . \r\n", b"A: b : c\r\n d :\r\n"]
)
def test_f46_a_header_without_such_forms_is_returned_as_the_same_object(header: bytes) -> None:
    assert unambiguous(header) is header
