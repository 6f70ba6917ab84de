"""From fields of every kind: all addresses are found, and anything else in the field is reported (C98)."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from libs.smtp.address import from_wire
from libs.smtp.header import FromHeader, from_mailboxes
from libs.smtp.mailbox_list import MAX_MAILBOXES, MAX_OCTETS, parse_mailbox_list


def read(value: str | bytes) -> tuple[list[str], bool]:
    found = parse_mailbox_list(value.encode() if isinstance(value, str) else value)
    return [str(address) for address in found.addresses], found.unparsable


@pytest.mark.parametrize(
    ("value", "addresses"),
    [
        ("a@b.example", ["a@b.example"]),
        ("<a@b.example>", ["a@b.example"]),
        ("Alice <A@B.Example>", ["A@b.example"]),
        ("Alice B. Smith <a@b.example>", ["a@b.example"]),
        ('"Doe, John" <a@b.example>', ["a@b.example"]),
        ('"ceo@bank.example" <s@evil.example>', ["s@evil.example"]),
        ('"<ceo@bank.example>" <s@evil.example>', ["s@evil.example"]),
        ('"quote \\" <ceo@bank.example>" <s@evil.example>', ["s@evil.example"]),
        # Many senders write an unquoted comma in the name.
        ("Doe, John <a@b.example>", ["a@b.example"]),
        ("Doe, John, Dr. <a@b.example>, c@d.example", ["a@b.example", "c@d.example"]),
        ("=?utf-8?Q?Doe,_John?= <a@b.example>", ["a@b.example"]),
        ("s@bank.example, s@evil.example", ["s@bank.example", "s@evil.example"]),
        ("A <s@bank.example>,B <s@evil.example>", ["s@bank.example", "s@evil.example"]),
        ("a@b.example, , c@d.example,", ["a@b.example", "c@d.example"]),
        ("a@b.example; c@d.example", ["a@b.example", "c@d.example"]),
        ("Group: a@b.example, C <c@d.example>;", ["a@b.example", "c@d.example"]),
        ('"A group": a@b.example;, e@f.example', ["a@b.example", "e@f.example"]),
        ("undisclosed:;", []),
        ("=?utf-8?q?ceo=40bank.example?= <s@evil.example>", ["s@evil.example"]),
        ("=?utf-8?Q?ceo@bank.example?= <s@evil.example>", ["s@evil.example"]),
        ("=?utf-8?q?ceo?=@bank.example", ["=?utf-8?q?ceo?=@bank.example"]),
        ("(ceo@bank.example) s@evil.example", ["s@evil.example"]),
        ("s@evil.example (ceo@bank.example (nested) \\) )", ["s@evil.example"]),
        ("a(x)@(y)b.example", ["a@b.example"]),
        ("a @ b . example", ["a@b.example"]),
        ("a. b@c.example", ["a.b@c.example"]),
        ('"odd user"@b.example', ['"odd user"@b.example']),
        ('"a@b.example"@c.example', ['"a@b.example"@c.example']),
        ('"a".b@c.example', ["a.b@c.example"]),
        ('X <"a,b"@c.example>', ['"a,b"@c.example']),
        ("a..b@c.example", ['"a..b"@c.example']),
        ("<@relay.example,@r.example:a@b.example>", ["a@b.example"]),
        ("a@[192.0.2.1]", ["a@[192.0.2.1]"]),
        ("X <a@[IPv6:2001:DB8::1]>", ["a@[IPv6:2001:db8::1]"]),
        ("Jürgen <jürgen@bücher.example>", ["jürgen@xn--bcher-kva.example"]),
        ("a@b.example.", ["a@b.example"]),
        ("foo@bar.example <Foo@Bar.example>", ["Foo@bar.example"]),
        ("\t a@b.example \t", ["a@b.example"]),
    ],
)
def test_c98_well_formed_from_fields_are_read_completely(value: str, addresses: list[str]) -> None:
    assert read(value) == (addresses, False)


@pytest.mark.parametrize(
    ("value", "addresses"),
    [
        ("", []),
        ("   ", []),
        (",", []),
        ("<>", []),
        ("Alice <>", []),
        ("John Doe", []),
        ("=?utf-8?q?ceo=40bank.example?=", []),
        ("<=?utf-8?q?ceo=40bank.example?=>", []),
        ("a@b.example, John", ["a@b.example"]),
        ("Group: John;", []),
        ("ceo@bank.example <s@evil.example>", ["s@evil.example", "ceo@bank.example"]),
        ("John a@b.example", ["a@b.example"]),
        ("a@b.example John", ["a@b.example"]),
        ("a@b.example c@d.example", ["a@b.example", "c@d.example"]),
        ("<a@b.example> <c@d.example>", ["a@b.example", "c@d.example"]),
        ("<a@b.example c@d.example>", ["a@b.example", "c@d.example"]),
        ("<a@b.example, c@d.example>", ["a@b.example", "c@d.example"]),
        ("<a@b.example", ["a@b.example"]),
        ("a@b.example>", ["a@b.example"]),
        ("X <a@b.example, c@d.example", ["a@b.example", "c@d.example"]),
        ("<<a@b.example>>", ["a@b.example"]),
        ("(never closed a@b.example", ["a@b.example"]),
        ('"never closed a@b.example', ["a@b.example"]),
        ('\\"X a@b.example, "Y" <c@d.example>', ["c@d.example"]),
        ("ceo@bank.example: s@evil.example;", ["ceo@bank.example", "s@evil.example"]),
        ("Group: Group: a@b.example;", ["a@b.example"]),
        ("Group: a@b.example", ["a@b.example"]),
        ("a@b@c.example", ["a@b", '""@c.example']),
        ("@b.example", ['""@b.example']),
        ("a@", []),
        ("a@b..example", []),
        ("a@b!example", []),
        ("a@192.0.2.1", []),
        ("a@[192.0.2.999]", []),
        ("a@☕.example", []),
        ("a\0b@c.example", ["a\ufffdb@c.example"]),
        ('"a\x07b"@c.example', ["a\ufffdb@c.example"]),
        ("[x] <a@b.example>, \\", ["a@b.example"]),
    ],
)
def test_c98_malformed_from_fields_are_reported_and_every_address_is_still_found(
    value: str, addresses: list[str]
) -> None:
    assert read(value) == (addresses, True)


def test_c98_octets_that_are_not_utf8_do_not_hide_the_domain() -> None:
    assert read(b"caf\xe9 <a@b.example>") == (["a@b.example"], False)
    assert read(b"caf\xe9@b.example") == (["caf\ufffd@b.example"], True)
    assert read(b"a@caf\xe9.example") == ([], True)


def test_c98_all_from_fields_are_read_wherever_they_are_in_the_header() -> None:
    header = b"from: v@bank.example\r\nSubject: x\r\nFROM : A\r\n\t<a@good.example>\r\nX-From: x@y.example\r\nFrom:\r\n"
    found = from_mailboxes(header)
    assert found.field_count == 3
    assert [address.wire() for address in found.addresses] == [b"v@bank.example", b"a@good.example"]
    assert found.unparsable


def test_c98_a_missing_from_field_differs_from_an_empty_one() -> None:
    assert from_mailboxes(b"Subject: x\r\n") == FromHeader(0, (), False)
    assert from_mailboxes(b"From: \r\n") == FromHeader(1, (), True)


def test_c98_an_address_that_is_folded_is_read_as_one_address() -> None:
    header = b"From: A very long name\r\n <a@b.example>,\r\n\tc@\r\n d.example\r\n"
    found = from_mailboxes(header)
    assert ([str(address) for address in found.addresses], found.unparsable) == (["a@b.example", "c@d.example"], False)


def test_mailboxes_above_the_limit_are_left_out_and_reported() -> None:
    many = b", ".join(b"a@b%d.example" % number for number in range(MAX_MAILBOXES))
    assert read(many)[1] is False
    assert len(read(many)[0]) == MAX_MAILBOXES
    more = parse_mailbox_list(many + b", z@z.example")
    assert (len(more.addresses), more.unparsable) == (MAX_MAILBOXES, True)
    header = b"From: a@b.example\r\n" * (MAX_MAILBOXES + 1)
    found = from_mailboxes(header)
    assert (found.field_count, len(found.addresses), found.unparsable) == (MAX_MAILBOXES + 1, MAX_MAILBOXES, True)


def test_a_field_over_the_limit_is_read_up_to_the_limit_and_reported() -> None:
    value = b"a@b.example, " + b"x" * MAX_OCTETS + b" <c@d.example>"
    assert read(value) == (["a@b.example"], True)
    found = from_mailboxes(b"From: " + value + b"\r\nFrom: e@f.example\r\n")
    assert [str(address) for address in found.addresses] == ["a@b.example"]
    assert (found.field_count, found.unparsable) == (2, True)


pieces = st.sampled_from(
    [
        b"<",
        b">",
        b"@",
        b'"',
        b"\\",
        b"(",
        b")",
        b",",
        b";",
        b":",
        b".",
        b"[",
        b"]",
        b" ",
        b"a",
        b"b.example",
        b"192.0.2.1",
        b"=?utf-8?q?x?=",
        "ü".encode(),
        b"\xe9",
        b"\x00",
        b"\r\n ",
    ]
)


@given(value=st.lists(pieces, max_size=24).map(b"".join) | st.binary(max_size=40))
@settings(deadline=None, max_examples=1500)
def test_any_bytes_give_canonical_addresses_and_raise_nothing(value: bytes) -> None:
    found = parse_mailbox_list(value)
    for address in found.addresses:
        assert address.domain
        assert from_wire(address.wire()) == address
    assert found.addresses or found.unparsable or b":" in value


mailboxes = st.from_regex(rb"[a-z]{1,8}@[a-z]{1,8}\.example", fullmatch=True)
names = st.sampled_from([b"", b"Alice ", b'"Doe, John" ', b"=?utf-8?q?x=40y?= ", b"(comment) ", b"Doe, John "])


@given(listed=st.lists(st.tuples(names, mailboxes), min_size=1, max_size=8))
@settings(deadline=None, max_examples=200)
def test_well_formed_lists_are_read_completely(listed: list[tuple[bytes, bytes]]) -> None:
    found = parse_mailbox_list(b", ".join(name + b"<" + mailbox + b">" for name, mailbox in listed))
    assert [address.wire() for address in found.addresses] == [mailbox for _, mailbox in listed]
    assert not found.unparsable


@pytest.mark.parametrize(
    "piece", [b'"\\"', b"(", b"<", b"[", b'"', b"\\", b"@", b"a ", b"a:", b"=?a?q?", b".a", b"(a", b"<a@b>"]
)
def test_time_grows_only_with_the_length(piece: bytes) -> None:
    """A parser of quadratic time would exceed the test's time-out."""
    assert isinstance(parse_mailbox_list(piece * (2_000_000 // len(piece))).unparsable, bool)
