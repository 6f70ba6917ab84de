"""Each valid address has one canonical form, and each invalid address is refused with the right reply."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from libs.smtp.address import (
    MAX_PATH_OCTETS,
    NULL_PATH,
    Address,
    AddressError,
    HeloKind,
    canonical_domain,
    canonical_domain_or_literal,
    from_wire,
    is_fqdn,
    is_host_name,
    parse_address,
    parse_forward_path,
    parse_helo,
    parse_path,
    parse_reverse_path,
)


def forward(raw: bytes | str, *, smtputf8: bool = False, lenient: bool = False) -> Address:
    octets = raw.encode() if isinstance(raw, str) else raw
    return parse_forward_path(octets, smtputf8=smtputf8, lenient=lenient).address


def refusal(raw: bytes | str, *, smtputf8: bool = False, reverse: bool = False, lenient: bool = False) -> bytes:
    octets = raw.encode() if isinstance(raw, str) else raw
    parse = parse_reverse_path if reverse else parse_forward_path
    with pytest.raises(AddressError) as caught:
        parse(octets, smtputf8=smtputf8, lenient=lenient)
    return caught.value.reply.line()


@pytest.mark.parametrize(
    ("raw", "wire"),
    [
        ("<alice@example.com>", "alice@example.com"),
        ("<Alice.Smith+tag@EXAMPLE.com>", "Alice.Smith+tag@example.com"),
        ("<!#$%&'*+/=?^_`{|}~-@example.com>", "!#$%&'*+/=?^_`{|}~-@example.com"),
        ("<root@localhost>", "root@localhost"),
        ("<a@1.example>", "a@1.example"),
        ("<a@3com>", "a@3com"),
        ("<a@x--y.example>", "a@x--y.example"),
        ("<a@my_host.example>", "a@my_host.example"),
        ("<a@_dmarc.example>", "a@_dmarc.example"),
    ],
)
def test_common_paths_are_read(raw: str, wire: str) -> None:
    assert forward(raw).wire() == wire.encode()


@pytest.mark.parametrize(
    ("raw", "local", "wire"),
    [
        (b'<"odd user"@example.com>', "odd user", b'"odd user"@example.com'),
        (b'<"a@b"@example.com>', "a@b", b'"a@b"@example.com'),
        (b'<"a\\"b"@example.com>', 'a"b', b'"a\\"b"@example.com'),
        (b'<" "@example.com>', " ", b'" "@example.com'),
        (b'<"a\\\\b"@example.com>', "a\\b", b'"a\\\\b"@example.com'),
        (b'<""@example.com>', "", b'""@example.com'),
        (b'<"a..b"@example.com>', "a..b", b'"a..b"@example.com'),
        (b'<".a"@example.com>', ".a", b'".a"@example.com'),
        (b'<"a>b<c"@example.com>', "a>b<c", b'"a>b<c"@example.com'),
        (b'<"a,b:c;d"@example.com>', "a,b:c;d", b'"a,b:c;d"@example.com'),
        # Unnecessary quotes are removed, so that each mailbox has one form.
        (b'<"alice"@example.com>', "alice", b"alice@example.com"),
        (b'<"al\\ice"@example.com>', "alice", b"alice@example.com"),
        (b'<"a.b"@example.com>', "a.b", b"a.b@example.com"),
    ],
)
def test_c50_quoted_local_parts_are_kept_and_quoted_again(raw: bytes, local: str, wire: bytes) -> None:
    address = forward(raw)
    assert address.local == local
    assert address.wire() == wire
    assert forward(b"<" + wire + b">") == address


@pytest.mark.parametrize(
    "raw",
    [
        b'<just"not"right@example.com>',
        b'<"a"b@example.com>',
        b'<a"b"@example.com>',
        b'<"a"."b"@example.com>',
        b'<"a@example.com>',
        b'<a"@example.com>',
        b'<"a\\"@example.com>',
        b'<"a"b"@example.com>',
        b"<a\\@b@example.com>",
        b'<"a\tb"@example.com>',
        b'<"a\\\tb"@example.com>',
        b'<"a"@"example.com">',
    ],
)
def test_c50_misquoted_local_parts_are_refused(raw: bytes) -> None:
    assert refusal(raw).startswith(b"501 5.1.3 ")


@pytest.mark.parametrize(
    "raw",
    [
        b"<a@@b>",
        b"<a b@c>",
        b"<@>",
        b"<a@b",
        b"a@b>",
        b"<a@b>>",
        b"<<a@b>>",
        b"<a@>",
        b"<@b>",
        b"<a@b@c>",
        b"<a@b.>x",
        b"<a@b>SIZE=1",
        b"< a@b>",
        b"<a@b >",
        b"<a @b>",
        b"<a@ b>",
        b"<a@b,c@d>",
        b"<a@b;c>",
        b"<u..v@example.com>",
        b"<.u@example.com>",
        b"<u.@example.com>",
        b"<(comment)u@example.com>",
        b"<u(comment)@example.com>",
        b"<u@(comment)example.com>",
        b"<u@example.com(comment)>",
        b"<a@-b.example>",
        b"<a@b-.example>",
        b"<a@.example>",
        b"<a@b..example>",
        b"<a@b!.example>",
        b"<a@b/c.example>",
        b"<a@b.example..>",
        b"<a@.>",
        b"",
        b"   ",
        b"<",
        b">",
        b"name <a@b>",
    ],
)
def test_c24_bad_paths_are_permanent_syntax_errors(raw: bytes) -> None:
    assert refusal(raw).startswith(b"501 5.1.3 ")
    assert refusal(raw, reverse=True).startswith(b"501 5.1.7 ")


def test_c24_the_null_path_is_not_a_recipient() -> None:
    assert refusal(b"<>").startswith(b"501 5.1.3 ")


def test_the_refusal_never_repeats_what_was_sent() -> None:
    assert b"secret" not in refusal(b"<secret@@secret.example>")
    assert b"secret" not in refusal(b"<secret@secret..example>")


def test_c58_the_null_sender_is_read() -> None:
    path = parse_reverse_path(b"<> SIZE=10", smtputf8=False)
    assert path.address == NULL_PATH
    assert path.address.is_null
    assert path.address.wire() == b""
    assert path.rest == b"SIZE=10"
    assert from_wire(b"") == NULL_PATH
    assert not forward('<""@example.com>').is_null


@pytest.mark.parametrize("raw", [b"<a\0b@example.com>", b"<ab@exa\0mple.com>", b'<"a\0b"@example.com>', b"\0<a@b>"])
def test_c39_nul_is_refused(raw: bytes) -> None:
    assert refusal(raw).startswith(b"501 5.1.3 ")
    assert refusal(raw, smtputf8=True).startswith(b"501 5.1.3 ")


@pytest.mark.parametrize("control", [*range(32), 127])
def test_c38_c39_control_characters_are_refused_everywhere(control: int) -> None:
    one = b"%c" % control
    for raw in (b"<a" + one + b"@b.example>", b'<"a' + one + b'"@b.example>', b"<a@b" + one + b".example>"):
        assert refusal(raw).startswith(b"501 5.1.3 ")
        assert refusal(raw, lenient=True).startswith(b"501 5.1.3 ")
    if control != 9:
        assert refusal(b"<a@b.example>" + one).startswith(b"501 5.1.3 ")


@pytest.mark.parametrize("char", ["\x85", "\x9b", "\u2028", "\u2029"])
def test_c38_line_separators_beyond_ascii_are_refused(char: str) -> None:
    assert refusal(f"<a{char}b@example.com>", smtputf8=True).startswith(b"501 5.1.3 ")
    assert refusal(f'<"a{char}b"@example.com>', smtputf8=True).startswith(b"501 5.1.3 ")


def test_c38_an_encoded_word_is_an_ordinary_local_part() -> None:
    assert forward(b"<=?utf-8?q?a=0Ab?=@example.com>").wire() == b"=?utf-8?q?a=0Ab?=@example.com"


@pytest.mark.parametrize(
    ("raw", "wire"),
    [
        (b"<@a.example,@b.example:u@c.example>", b"u@c.example"),
        (b"<@a.example:u@c.example>", b"u@c.example"),
        (b'<@a.example:"odd user"@C.example>', b'"odd user"@c.example'),
        (b"<@a.example:u@[192.0.2.1]>", b"u@[192.0.2.1]"),
        (b"<u%c.example@example.net>", b"u%c.example@example.net"),
        (b"<c.example!u@example.net>", b"c.example!u@example.net"),
        (b'<"u@c.example"@example.net>', b'"u@c.example"@example.net'),
    ],
)
def test_c52_source_routes_are_dropped_and_percent_has_no_meaning(raw: bytes, wire: bytes) -> None:
    assert forward(raw).wire() == wire


@pytest.mark.parametrize(
    "raw",
    [
        b"<u@c.example@>",
        b"<u@c.example@example.net>",
        b'<"u%c.example">',
        b"<u%c.example>",
        b'<"u@c.example">',
        b"<u>",
        b"<@a.example:>",
        b"<@a.example:postmaster>",
        b"<@a.example>",
        b"<@a.example,u@c.example>",
        b"<@a.example,b.example:u@c.example>",
        b"<@a..example:u@c.example>",
        b"<@:u@c.example>",
        b"<a.example:u@c.example>",
        b"<@a.example,@b.example:@c.example:u@d.example>",
    ],
)
def test_c52_a_path_must_end_in_a_plain_domain(raw: bytes) -> None:
    assert refusal(raw).startswith(b"501 5.1.3 ")


@pytest.mark.parametrize("raw", [b"<postmaster>", b"<Postmaster>", b"<POSTMASTER>", b'<"postmaster">'])
def test_postmaster_needs_no_domain(raw: bytes) -> None:
    address = forward(raw)
    assert (address.local.lower(), address.domain) == ("postmaster", "")
    assert not address.is_null
    assert from_wire(address.wire()) == address
    assert refusal(raw, reverse=True).startswith(b"501 5.1.7 ")


def test_postmaster_with_a_domain_is_an_ordinary_address() -> None:
    assert forward(b"<postmaster@example.com>") == Address("postmaster", "example.com")


@pytest.mark.parametrize(
    ("raw", "domain", "address"),
    [
        (b"<u@[127.0.0.1]>", "[127.0.0.1]", IPv4Address("127.0.0.1")),
        (b"<u@[10.0.0.5]>", "[10.0.0.5]", IPv4Address("10.0.0.5")),
        (b"<u@[IPv6:::1]>", "[IPv6:::1]", IPv6Address("::1")),
        (b"<u@[ipv6:2001:DB8:0:0:0:0:0:1]>", "[IPv6:2001:db8::1]", IPv6Address("2001:db8::1")),
        (b"<u@[IPv6:::ffff:192.0.2.1]>", "[192.0.2.1]", IPv4Address("192.0.2.1")),
        (b"<u@[IPv6:0:0:0:0:0:FFFF:c000:201]>", "[192.0.2.1]", IPv4Address("192.0.2.1")),
    ],
)
def test_c53_address_literals_have_one_form(raw: bytes, domain: str, address: IPv4Address | IPv6Address) -> None:
    parsed = forward(raw)
    assert parsed.domain == domain
    assert parsed.literal == address
    assert from_wire(parsed.wire()) == parsed


@pytest.mark.parametrize(
    "literal",
    [
        b"[999.1.1.1]",
        b"[1.2.3]",
        b"[1.2.3.4.5]",
        b"[01.2.3.4]",
        b"[1.2.3.4",
        b"1.2.3.4]",
        b"[]",
        b"[IPv6:]",
        b"[IPv6:1.2.3.4]",
        b"[::1]",
        b"[2001:db8::1]",
        b"[IPv6:fe80::1%eth0]",
        b"[IPv6:2001:db8:::1]",
        b"[IPv6:12345::]",
        b"[1.2.3.4].example",
        b"[1.2.3.4].",
        b"[tag:content]",
        b"[ 1.2.3.4]",
        b"[127.0.0.1\\]",
        b"[0x7f.0.0.1]",
        # Bare IP addresses are not domains. Posthouse must never connect to an IP address that is written as a name.
        b"127.0.0.1",
        b"2130706433",
        b"10.1",
        b"example.123",
    ],
)
def test_c53_bad_literals_are_refused(literal: bytes) -> None:
    assert refusal(b"<u@" + literal + b">").startswith(b"501 5.1.3 ")


def test_a_domain_name_is_not_an_address_literal() -> None:
    assert forward(b"<a@example.com>").literal is None
    assert NULL_PATH.literal is None


@pytest.mark.parametrize("length", [64, 65, 200, 256, 400])
def test_c55_long_local_parts_are_accepted(length: int) -> None:
    local = "t" * length
    assert forward(f"<{local}@example.com>").local == local
    assert forward(f'<"{local} "@example.com>').local == f"{local} "


@pytest.mark.parametrize(
    "raw",
    [
        "<{}@example.com>".format("t" * (MAX_PATH_OCTETS - len("@example.com") + 1)),
        '<"{} "@example.com>'.format("t" * MAX_PATH_OCTETS),
        "<@a.example:{}@example.com>".format("t" * MAX_PATH_OCTETS),
        "<a@{}.example>".format("b" * 64),
        "<a@{}example>".format("label." * 45),
    ],
)
def test_c55_addresses_over_the_limits_are_refused(raw: str) -> None:
    assert refusal(raw).startswith(b"501 5.1.3 ")


def test_c55_addresses_at_the_limits_are_accepted() -> None:
    local = "t" * (MAX_PATH_OCTETS - len("@example.com"))
    assert forward(f"<{local}@example.com>").local == local
    label = "b" * 63
    domain = f"{label}.{label}.{label}.{'c' * 61}"
    assert len(domain) == 253
    assert forward(f"<a@{domain}>").domain == domain


def test_c56_case_variants_of_the_domain_are_one_address() -> None:
    assert forward(b"<a@example.com>") == forward(b"<a@EXAMPLE.com>") == forward(b'<"a"@Example.COM.>')
    assert forward(b"<A@example.com>") != forward(b"<a@example.com>")
    assert forward(b"<A@example.com>").local_key() == forward(b"<a@example.com>").local_key()


@pytest.mark.parametrize(
    ("raw", "domain"),
    [
        ("<u@bücher.example>", "xn--bcher-kva.example"),
        ("<u@BÜCHER.Example>", "xn--bcher-kva.example"),
        ("<u@bu\u0308cher.example>", "xn--bcher-kva.example"),
        ("<u@XN--BCHER-KVA.example>", "xn--bcher-kva.example"),
        ("<u@straße.example>", "xn--strae-oqa.example"),
        ("<u@例え。テスト>", "xn--r8jz45g.xn--zckzah"),
        ("<u@ｅｘａｍｐｌｅ．ｃｏｍ>", "example.com"),
        ("<u@my_host.bücher.example>", "my_host.xn--bcher-kva.example"),
    ],
)
def test_c59_an_idn_with_an_ascii_local_part_needs_no_smtputf8(raw: str, domain: str) -> None:
    path = parse_forward_path(raw.encode(), smtputf8=True)
    assert path.address.domain == domain
    assert not path.address.needs_smtputf8
    assert path.utf8 is not raw.isascii()


def test_c59_a_utf8_local_part_needs_smtputf8_and_is_kept_as_sent() -> None:
    address = forward("<Jürgen.Müller@bücher.example>", smtputf8=True)
    assert address.needs_smtputf8
    assert address.wire() == "Jürgen.Müller@xn--bcher-kva.example".encode()
    assert from_wire(address.wire()) == address
    quoted = forward('<"j ü"@example.com>', smtputf8=True)
    assert quoted.wire() == '"j ü"@example.com'.encode()


@pytest.mark.parametrize(
    "raw", ["<ü@example.com>", "<u@bücher.example>", '<"ü"@example.com>', "<@ü.example:u@b.example>"]
)
def test_c60_utf8_without_the_keyword_is_refused(raw: str) -> None:
    assert refusal(raw).startswith(b"553 5.6.7 ")
    assert refusal(raw, reverse=True).startswith(b"553 5.6.7 ")


@pytest.mark.parametrize(
    "raw", [b"<caf\xe9@example.com>", b"<a@caf\xe9.example>", b"<\xed\xa0\x80@b.example>", b"<\xff@b>"]
)
def test_c60_octets_that_are_not_utf8_are_a_syntax_error(raw: bytes) -> None:
    assert refusal(raw, smtputf8=True).startswith(b"501 5.1.3 ")
    assert refusal(raw).startswith(b"501 5.1.3 ")


@pytest.mark.parametrize(
    "domain",
    [
        "☕.example",
        "-ü.example",
        "ü-.example",
        "a\u200db.example",
        "\u0301a.example",
        "℀.example",
        "xn--ü.example",
        "ü..example",
    ],
)
def test_domains_that_idna_2008_forbids_are_refused(domain: str) -> None:
    assert refusal(f"<u@{domain}>", smtputf8=True).startswith(b"501 5.1.3 ")


def test_f66_blanks_before_the_brackets_are_accepted() -> None:
    for raw in (b" <alice@example.com>", b"\t<alice@example.com>", b"  <@relay.example:alice@example.com>"):
        assert forward(raw).wire() == b"alice@example.com"


def test_c22_strict_parsing_demands_brackets() -> None:
    for raw in (b"alice@example.com", b" alice@example.com", b"\talice@example.com", b"Postmaster"):
        assert refusal(raw).startswith(b"501 5.1.3 ")
        assert refusal(raw, reverse=True).startswith(b"501 5.1.7 ")


def test_c22_lenient_parsing_accepts_missing_brackets_and_blanks() -> None:
    for raw in (b"alice@example.com", b" <alice@example.com>", b"  alice@example.com "):
        assert forward(raw, lenient=True).wire() == b"alice@example.com"
    path = parse_path(
        b'"odd user"@example.com SIZE=1 BODY=7BIT',
        smtputf8=False,
        null_allowed=True,
        postmaster_allowed=False,
        lenient=True,
    )
    assert path.address.local == "odd user"
    assert path.rest == b"SIZE=1 BODY=7BIT"
    assert forward(b"Postmaster", lenient=True) == Address("Postmaster", "")


@pytest.mark.parametrize(
    "raw", [b"alice@example.com>", b"<alice@example.com", b"", b"  ", b"alice @example.com", b"a@b@c"]
)
def test_c22_lenient_parsing_accepts_nothing_else(raw: bytes) -> None:
    assert refusal(raw, lenient=True).startswith(b"501 5.1.3 ")
    assert refusal(raw, lenient=True, reverse=True).startswith(b"501 5.1.7 ")


@pytest.mark.parametrize(
    ("raw", "rest"),
    [
        (b"<a@b.example>", b""),
        (b"<a@b.example> ", b""),
        (b"<a@b.example> \t ", b""),
        (b"<a@b.example> SIZE=1", b"SIZE=1"),
        (b"<a@b.example>  SIZE=1  BODY=7BIT ", b"SIZE=1  BODY=7BIT"),
        (b'<"a b"@b.example> SIZE=1', b"SIZE=1"),
        (b"<> AUTH=<>", b"AUTH=<>"),
    ],
)
def test_the_text_after_the_path_is_returned(raw: bytes, rest: bytes) -> None:
    assert parse_reverse_path(raw, smtputf8=False).rest == rest


@pytest.mark.parametrize(
    ("sent", "same_domain"),
    [
        ("<x@trusted.example>", True),
        ("<X@TRUSTED.EXAMPLE>", True),
        ("<x@trusted.example.>", True),
        ('<"x"@trusted.example>', True),
        ("<x@ＴＲＵＳＴＥＤ.example>", True),
        ("<x@trusted.example.evil.test>", False),
        ("<x@nottrusted.example>", False),
        ("<x@sub.trusted.example>", False),
        ('<"@trusted.example"@evil.test>', False),
        ("<x%trusted.example@evil.test>", False),
        ("<@trusted.example:x@evil.test>", False),
    ],
)
def test_c103_domains_are_equal_exactly_if_their_canonical_forms_are_equal(sent: str, same_domain: bool) -> None:
    assert (forward(sent, smtputf8=True).domain == canonical_domain("Trusted.Example.")) is same_domain


def test_c103_u_labels_and_a_labels_compare_equal() -> None:
    assert parse_address("x@bücher.example").matching_key() == forward(b"<x@XN--bcher-kva.EXAMPLE>").matching_key()


def test_c103_matching_keys_depend_on_case_but_not_on_quoting_or_composition() -> None:
    assert parse_address("X@a.example").matching_key() != parse_address("x@a.example").matching_key()
    assert parse_address('"x"@a.example').matching_key() == parse_address("x@a.example").matching_key()
    assert parse_address("u\u0308@a.example").matching_key() == parse_address("ü@a.example").matching_key()
    # A quoted "@" must not look like another address.
    assert parse_address('"x@a.example"@b.example').matching_key() != parse_address("x@a.example").matching_key()
    assert NULL_PATH.matching_key() == ""


def test_local_keys_ignore_case_in_every_script() -> None:
    assert parse_address("Jürgen@a.example").local_key() == parse_address("JU\u0308RGEN@A.example").local_key()
    assert parse_address("straße@a.example").local_key() != parse_address("strasse@a.example").local_key()
    assert forward(b"<PostMaster>").local_key() == "postmaster"
    assert parse_address('"Odd User"@a.example').local_key() == '"odd user"@a.example'


@pytest.mark.parametrize(
    "text",
    [
        "",
        "alice",
        "postmaster",
        "<alice@example.com>",
        " alice@example.com",
        "alice@example.com ",
        "alice@example.com\n",
        "alice@exa mple.com",
        "a\0b@example.com",
        "a\r\nb@example.com",
        "a@b\r\n.example",
        "\ud800@example.com",
        "a@\ud800.example",
        "a@example.com, b@example.com",
        "Alice <a@example.com>",
        "@relay.example:a@example.com",
        "t" * 600 + "@example.com",
    ],
)
def test_a_configured_address_is_one_plain_mailbox(text: str) -> None:
    with pytest.raises(ValueError, match=r"^not an e-mail address: ") as caught:
        parse_address(text)
    assert not isinstance(caught.value, (AddressError, UnicodeError))


def test_a_configured_address_may_be_international_or_literal() -> None:
    assert str(parse_address("jürgen@bücher.example")) == "jürgen@xn--bcher-kva.example"
    assert str(parse_address("u@[IPv6:2001:DB8::1]")) == "u@[IPv6:2001:db8::1]"


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("Example.COM.", "example.com"),
        ("localhost", "localhost"),
        ("bücher.example", "xn--bcher-kva.example"),
        ("bücher.example。", "xn--bcher-kva.example"),
        ("xn--bcher-kva.example", "xn--bcher-kva.example"),
    ],
)
def test_canonical_domains_are_computed(text: str, canonical: str) -> None:
    assert canonical_domain(text) == canonical


@pytest.mark.parametrize(
    "text",
    [
        "",
        ".",
        "..",
        "a..b",
        ".a",
        "a b",
        "a\n",
        "a\0",
        "*.example",
        "[192.0.2.1]",
        "192.0.2.1",
        "a@b",
        "a:25",
        "a" * 64,
        "ü.。",
    ],
)
def test_invalid_domains_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="domain"):
        canonical_domain(text)


def test_a_domain_or_an_address_literal_is_accepted() -> None:
    assert canonical_domain_or_literal("[ipv6:::FFFF:10.0.0.1]") == "[10.0.0.1]"
    assert canonical_domain_or_literal("A.example.") == "a.example"


@pytest.mark.parametrize(
    ("domain", "fqdn", "host"),
    [
        ("mail.example.com", True, True),
        ("example.com", True, True),
        ("xn--bcher-kva.example", True, True),
        ("my_host.example.com", True, False),
        ("localhost", False, False),
        ("", False, False),
        ("[192.0.2.1]", False, False),
        ("192.0.2.1", False, False),
        ("a.example.", False, False),
        ("a..example", False, False),
        ("a.example\n", False, False),
        (".".join(["abcdefg"] * 40), False, False),
    ],
)
def test_fully_qualified_names_are_recognised(domain: str, fqdn: bool, host: bool) -> None:
    assert is_fqdn(domain) is fqdn
    assert is_host_name(domain) is host


@pytest.mark.parametrize(
    ("raw", "kind", "name"),
    [
        (b"mail.example.com", HeloKind.FQDN, "mail.example.com"),
        (b"MAIL.Example.com.", HeloKind.FQDN, "mail.example.com"),
        (b" mail.example.com ", HeloKind.FQDN, "mail.example.com"),
        (b"win_pc.example.com", HeloKind.FQDN, "win_pc.example.com"),
        (b"localhost", HeloKind.NON_FQDN, "localhost"),
        (b"WIN-PC", HeloKind.NON_FQDN, "win-pc"),
        (b"192.0.2.1", HeloKind.NON_FQDN, "192.0.2.1"),
        (b"2001:db8::1", HeloKind.NON_FQDN, "2001:db8::1"),
        (b"-bad-.example", HeloKind.NON_FQDN, "-bad-.example"),
        (b"a..b", HeloKind.NON_FQDN, "a..b"),
        (b"a.example..", HeloKind.NON_FQDN, "a.example.."),
        (b"a.example.", HeloKind.FQDN, "a.example"),
        (b"[192.0.2.1]", HeloKind.LITERAL, "[192.0.2.1]"),
        (b"[IPv6:2001:DB8::1]", HeloKind.LITERAL, "[IPv6:2001:db8::1]"),
        (b"[::1]", HeloKind.LITERAL, "[IPv6:::1]"),
        (b"[IPv6:::ffff:192.0.2.1]", HeloKind.LITERAL, "[192.0.2.1]"),
        (b"[999.1.1.1]", HeloKind.MALFORMED, ""),
        (b"[192.0.2.1", HeloKind.MALFORMED, ""),
        (b"[]", HeloKind.MALFORMED, ""),
        (b"", HeloKind.MALFORMED, ""),
        (b".", HeloKind.MALFORMED, ""),
        (b"a b", HeloKind.MALFORMED, ""),
        (b"caf\xe9", HeloKind.MALFORMED, ""),
        ("bücher.example".encode(), HeloKind.MALFORMED, ""),
        (b"a\nX-Injected: 1", HeloKind.MALFORMED, ""),
        (b"x\ry", HeloKind.MALFORMED, ""),
        (b"x\0y", HeloKind.MALFORMED, ""),
        (b"a(comment)", HeloKind.MALFORMED, ""),
        (b"a;b", HeloKind.MALFORMED, ""),
        (b"<a.example>", HeloKind.MALFORMED, ""),
    ],
)
def test_c38_helo_names_are_read(raw: bytes, kind: HeloKind, name: str) -> None:
    parsed = parse_helo(raw)
    assert (parsed.kind, parsed.name) == (kind, name)


# Properties
checked = settings(deadline=None, max_examples=300)
local_chars = st.characters(exclude_categories=("Cc", "Cs", "Zl", "Zp"))
labels = st.from_regex(r"[a-z]([a-z0-9-]{0,10}[a-z0-9])?", fullmatch=True)
domains = st.lists(labels, min_size=1, max_size=5).map(".".join)
soup = st.lists(
    st.sampled_from(
        [b"<", b">", b"@", b'"', b"\\", b".", b",", b":", b"[", b"]", b"IPv6:", b"a", b"b.example", b"1.2.3.4", b" "]
    )
    | st.binary(max_size=3),
    max_size=24,
).map(b"".join)


@given(local=st.text(local_chars, max_size=40), domain=domains)
@checked
def test_an_address_is_the_same_after_writing_and_reading(local: str, domain: str) -> None:
    address = Address(local, domain)
    wire = address.wire()
    assert from_wire(wire) == address
    assert forward(b"<" + wire + b">", smtputf8=True) == address
    assert parse_address(str(address)) == address


@given(
    raw=soup | st.binary(max_size=60),
    smtputf8=st.booleans(),
    null=st.booleans(),
    bare=st.booleans(),
    lenient=st.booleans(),
)
@settings(deadline=None, max_examples=1500)
def test_any_octets_give_a_canonical_address_or_an_address_error(
    raw: bytes, smtputf8: bool, null: bool, bare: bool, lenient: bool
) -> None:
    try:
        path = parse_path(raw, smtputf8=smtputf8, null_allowed=null, postmaster_allowed=bare, lenient=lenient)
    except AddressError:
        return
    wire = path.address.wire()
    assert from_wire(wire) == path.address
    assert not any(one < 32 or one == 127 for one in wire)
    assert path.address.is_null <= null
    assert bool(path.address.domain) or path.address.is_null or bare
    again = parse_path(b"<" + wire + b">", smtputf8=smtputf8, null_allowed=null, postmaster_allowed=bare)
    assert again.address == path.address


@given(raw=st.binary(max_size=60) | soup)
@settings(deadline=None, max_examples=500)
def test_any_octets_give_a_wire_address_or_a_value_error(raw: bytes) -> None:
    try:
        address = from_wire(raw)
    except ValueError:
        return
    assert from_wire(address.wire()) == address


@given(text=st.text(max_size=40) | domains | st.text("ａüßб中.-_xn。", max_size=12))
@settings(deadline=None, max_examples=800)
def test_canonical_domain_is_idempotent_and_raises_value_errors_only(text: str) -> None:
    try:
        once = canonical_domain(text)
    except ValueError:
        return
    assert canonical_domain(once) == once
    assert once.isascii()
    assert once == once.lower()
    assert canonical_domain(f"{once}.".upper()) == once


@given(local=st.text(local_chars, max_size=20), domain=domains)
@checked
def test_keys_are_idempotent(local: str, domain: str) -> None:
    address = Address(local, domain)
    for key in (address.local_key(), address.matching_key()):
        again = parse_address(key)
        assert key == (again.local_key() if key == address.local_key() else again.matching_key())


@given(raw=st.binary(max_size=60) | soup)
@checked
def test_any_octets_give_a_helo_name(raw: bytes) -> None:
    helo = parse_helo(raw)
    assert (helo.kind is HeloKind.MALFORMED) == (helo.name == "")
    assert parse_helo(helo.name.encode()) == helo
