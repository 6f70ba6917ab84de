"""ESMTP parameters: which of them each extension allows, and the reply to each fault."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from libs.smtp.envelope import Body, Notify, Ret
from libs.smtp.parameters import (
    MAX_SIZE,
    NO_MAIL_PARAMETERS,
    NO_RCPT_PARAMETERS,
    NOTHING_OFFERED,
    MailParameters,
    Offered,
    ParameterError,
    RcptParameters,
    decode_original_recipient,
    decode_xtext,
    encode_xtext,
    parse_mail,
    parse_mail_parameters,
    parse_rcpt,
    parse_rcpt_parameters,
)
from libs.smtp.reply import CommandError

ALL = Offered(size=True, eight_bit_mime=True, smtputf8=True, auth=True, dsn=True, chunking=True)


def mail(rest: bytes, offered: Offered = ALL) -> MailParameters:
    return parse_mail_parameters(rest, offered)


def rcpt(rest: bytes, offered: Offered = ALL, *, smtputf8: bool = False) -> RcptParameters:
    return parse_rcpt_parameters(rest, offered, smtputf8=smtputf8)


def mail_refusal(rest: bytes, offered: Offered = ALL) -> bytes:
    with pytest.raises(ParameterError) as caught:
        mail(rest, offered)
    return caught.value.reply.line()[:10]


def rcpt_refusal(rest: bytes, offered: Offered = ALL, *, smtputf8: bool = False) -> bytes:
    with pytest.raises(ParameterError) as caught:
        rcpt(rest, offered, smtputf8=smtputf8)
    return caught.value.reply.line()[:10]


def test_parameters_of_mail_are_read_in_any_order_and_case() -> None:
    assert mail(b"ret=hdrs SIZE=1000 body=8bitmime  SmtpUtf8 AUTH=<> ENVID=QQ314159") == MailParameters(
        size=1000, body=Body.EIGHT_BIT_MIME, smtputf8=True, auth=b"", ret=Ret.HEADERS, envelope_id=b"QQ314159"
    )
    assert mail(b"BODY=7BIT RET=FULL") == MailParameters(body=Body.SEVEN_BIT, ret=Ret.FULL)


def test_without_parameters_the_defaults_are_used() -> None:
    assert mail(b"") == NO_MAIL_PARAMETERS == MailParameters()
    assert rcpt(b"") == NO_RCPT_PARAMETERS == RcptParameters()


@pytest.mark.parametrize(
    "rest",
    [
        b"SIZE=1000",
        b"BODY=7BIT",
        b"SMTPUTF8",
        b"AUTH=<>",
        b"RET=FULL",
        b"ENVID=x",
        b"NOTIFY=NEVER",
        b"MT-PRIORITY=3",
        b"X",
    ],
)
def test_parameters_that_are_not_offered_get_555(rest: bytes) -> None:
    assert mail_refusal(rest, NOTHING_OFFERED) == b"555 5.5.4 "


@pytest.mark.parametrize(
    ("rest", "without"),
    [
        (b"SIZE=1000", Offered(eight_bit_mime=True, smtputf8=True, auth=True, dsn=True)),
        (b"BODY=7BIT", Offered(size=True, smtputf8=True, auth=True, dsn=True)),
        (b"SMTPUTF8", Offered(size=True, eight_bit_mime=True, auth=True, dsn=True)),
        (b"AUTH=<>", Offered(size=True, eight_bit_mime=True, smtputf8=True, dsn=True)),
        (b"RET=FULL", Offered(size=True, eight_bit_mime=True, smtputf8=True, auth=True)),
        (b"ENVID=x", Offered(size=True, eight_bit_mime=True, smtputf8=True, auth=True)),
    ],
)
def test_each_parameter_belongs_to_its_extension(rest: bytes, without: Offered) -> None:
    assert mail_refusal(rest, without) == b"555 5.5.4 "
    assert mail(rest) != NO_MAIL_PARAMETERS


def test_parameters_of_mail_are_unknown_in_rcpt_and_vice_versa() -> None:
    assert mail_refusal(b"NOTIFY=NEVER") == b"555 5.5.4 "
    assert mail_refusal(b"ORCPT=rfc822;a@b.example") == b"555 5.5.4 "
    assert rcpt_refusal(b"SIZE=1") == b"555 5.5.4 "
    assert rcpt_refusal(b"SMTPUTF8", smtputf8=True) == b"555 5.5.4 "


def test_c29_dsn_parameters_get_555_when_dsn_is_not_offered() -> None:
    assert rcpt_refusal(b"NOTIFY=NEVER", NOTHING_OFFERED) == b"555 5.5.4 "
    assert rcpt_refusal(b"ORCPT=rfc822;root", Offered(size=True)) == b"555 5.5.4 "


@pytest.mark.parametrize(
    "rest",
    [
        b"SIZE=1=2",
        b"=1",
        b"SIZE==1",
        b"-SIZE=1",
        b"SI_ZE=1",
        b"SIZE=1\t BODY=7BIT",
        b"SIZE=1\tBODY=7BIT",
        b"SIZE=\x001",
        b"SIZE=1\x00",
        b"SIZE=1\r",
        b"S\xc3\xafZE=1",
        b"ENVID=caf\xc3\xa9",
        b"\xff",
        b"SMTPUTF8=",
        b"SMTPUTF8=yes",
    ],
)
def test_wrong_syntax_gets_501(rest: bytes) -> None:
    assert mail_refusal(rest) == b"501 5.5.4 "


@pytest.mark.parametrize(
    "rest",
    [
        b"SIZE=1 SIZE=1",
        b"SIZE=1 size=2",
        b"BODY=7BIT BODY=8BITMIME",
        b"SMTPUTF8 SMTPUTF8",
        b"AUTH=<> AUTH=<>",
        b"RET=FULL RET=HDRS",
        b"ENVID=a ENVID=a",
        b"UNKNOWN UNKNOWN",
    ],
)
def test_c27_repeated_parameters_get_501(rest: bytes) -> None:
    assert mail_refusal(rest) == b"501 5.5.4 "


@pytest.mark.parametrize(
    "rest",
    [
        b"SIZE=-1",
        b"SIZE=+1",
        b"SIZE=abc",
        b"SIZE=",
        b"SIZE",
        "SIZE=１".encode(),
        "SIZE=٣".encode(),
        b"SIZE=1.5",
        b"SIZE=0x10",
    ],
)
def test_c27_size_must_be_ascii_digits(rest: bytes) -> None:
    assert mail_refusal(rest) == b"501 5.5.4 "


@pytest.mark.parametrize("digits", [b"9" * 20, b"9" * 23, b"9" * 5000, b"%d" % (MAX_SIZE + 1), b"0" * 30 + b"9" * 20])
def test_c27_a_huge_size_is_too_big(digits: bytes) -> None:
    assert mail_refusal(b"SIZE=" + digits) == b"552 5.3.4 "


def test_c26_c27_sizes_within_the_bounds_are_returned() -> None:
    assert mail(b"SIZE=0").size == 0
    assert mail(b"SIZE=5").size == 5
    assert mail(b"SIZE=00000000000000000000000000000005").size == 5
    assert mail(b"SIZE=%d" % MAX_SIZE).size == MAX_SIZE


@pytest.mark.parametrize(
    ("rest", "expected"),
    [
        (b"BODY=", b"501 5.5.4 "),
        (b"BODY", b"501 5.5.4 "),
        (b"BODY=9BIT", b"501 5.5.4 "),
        (b"BODY=BINARYMIME", b"555 5.5.4 "),
        (b"RET=FOO", b"501 5.5.4 "),
        (b"RET", b"501 5.5.4 "),
        (b"ENVID", b"501 5.5.4 "),
        (b"ENVID=", b"501 5.5.4 "),
    ],
)
def test_invalid_values_are_refused(rest: bytes, expected: bytes) -> None:
    assert mail_refusal(rest) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"<>", b""),
        (b"e+3Dmc2@example.com", b"e=mc2@example.com"),
        (b"root", b"root"),
        (b"a+20b@c.example", b"a b@c.example"),
    ],
)
def test_c28_auth_is_read_as_xtext(value: bytes, expected: bytes) -> None:
    assert mail(b"AUTH=" + value).auth == expected


@pytest.mark.parametrize(
    "value", [b"", b"+", b"+3", b"+3G", b"a+0Db@c.example", b"a+00", b"<a@b.example>x=", b"+C3+A9@b.example"]
)
def test_c28_invalid_auth_gets_501(value: bytes) -> None:
    assert mail_refusal(b"AUTH=" + value) == b"501 5.5.4 "
    assert mail_refusal(b"AUTH") == b"501 5.5.4 "


def test_c28_the_published_example_is_read() -> None:
    address, parameters = parse_mail(b"<e=mc2@example.com> AUTH=e+3Dmc2@example.com", ALL)
    assert address.wire() == b"e=mc2@example.com"
    assert parameters.auth == b"e=mc2@example.com"


@pytest.mark.parametrize(
    "value",
    [
        b"rfc822;root",
        b"rfc822;alice@example.com",
        b"RFC822;Alice+2Btag@example.com",
        b"rfc822;a+20b@example.com",
        b"x-local;printer",
        b"utf-8;\\x{FC}@example.com",
        b"utf-8;plain@example.com",
        b"utf-8;a\\x{5C}b@example.com",
        b"rfc822;",
        b"x-local;",
    ],
)
def test_c29_original_recipients_are_kept_as_sent(value: bytes) -> None:
    assert rcpt(b"ORCPT=" + value).original_recipient == value


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"root",
        b";root",
        b"utf-8;",
        b"UTF-8;a\\b@example.org",
        b"utf-8;a+5Cb@example.org",
        b"utf-8;\\",
        b"utf-8;\\x41",
        b"utf-8;\\\\x{41}",
        b"rfc822;a+00b",
        b"rfc822;+00",
        b"rfc822;a+0Ab",
        b"rfc822;a+0D+0AX:y",
        b"rfc822;a+7F",
        b"rfc822;a+C3+A9",
        b"rfc822;a+2",
        b"rfc822;a+",
        b"rfc822;a+zz",
        b"rfc 822;a",
        b"-x;a",
        b"rfc_822;a",
        b"utf-8;\\x{0}a",
        b"utf-8;\\x{00}a",
        b"utf-8;\\x{41",
        b"utf-8;\\x{}",
        b"utf-8;\\x{0A}",
        b"utf-8;\\x{D800}",
        b"utf-8;\\x{110000}",
        b"utf-8;\\x{2028}",
        b"utf-8;+00",
        b"rfc822;" + b"a" * 500,
    ],
)
def test_c29_invalid_original_recipients_get_501(value: bytes) -> None:
    assert rcpt_refusal(b"ORCPT=" + value) == b"501 5.5.4 "


def test_c29_orcpt_may_contain_utf8_only_with_smtputf8_and_its_own_type_and_is_stored_in_ascii() -> None:
    value = "utf-8;jürgen@bücher.example".encode()
    stored = rcpt(b"ORCPT=" + value, smtputf8=True).original_recipient
    assert stored == b"utf-8;j\\x{FC}rgen@b\\x{FC}cher.example"
    assert decode_original_recipient(stored) == ("utf-8", "jürgen@bücher.example")
    assert rcpt_refusal(b"ORCPT=" + value) == b"501 5.5.4 "
    assert rcpt_refusal("ORCPT=rfc822;jürgen@example.com".encode(), smtputf8=True) == b"501 5.5.4 "
    assert rcpt_refusal(b"ORCPT=utf-8;caf\xe9", smtputf8=True) == b"501 5.5.4 "
    assert rcpt_refusal("ORCPT=utf-8;a\u2028b".encode(), smtputf8=True) == b"501 5.5.4 "


def test_lower_case_hexadecimal_is_accepted_and_returned_in_upper_case() -> None:
    assert rcpt(b"ORCPT=rfc822;e+3dmc2@example.com").original_recipient == b"rfc822;e+3Dmc2@example.com"
    assert mail(b"ENVID=a+2bb").envelope_id == b"a+2Bb"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"NEVER", (Notify.NEVER,)),
        (b"never", (Notify.NEVER,)),
        (b"SUCCESS", (Notify.SUCCESS,)),
        (b"DELAY,FAILURE", (Notify.FAILURE, Notify.DELAY)),
        (b"Success,Failure,Delay", (Notify.SUCCESS, Notify.FAILURE, Notify.DELAY)),
        (b"FAILURE,FAILURE", (Notify.FAILURE,)),
    ],
)
def test_notify_is_read(value: bytes, expected: tuple[Notify, ...]) -> None:
    assert rcpt(b"NOTIFY=" + value).notify == expected


@pytest.mark.parametrize(
    "rest",
    [
        b"NOTIFY=NEVER,FAILURE",
        b"NOTIFY=FAILURE,NEVER",
        b"NOTIFY=NEVER,NEVER",
        b"NOTIFY=",
        b"NOTIFY",
        b"NOTIFY=ALWAYS",
        b"NOTIFY=SUCCESS,",
        b"NOTIFY=,SUCCESS",
        b"NOTIFY=SUCCESS,,DELAY",
        b"NOTIFY=SUCCESS;DELAY",
        b"NOTIFY=NEVER NOTIFY=NEVER",
        b"NOTIFY=SUCCESS ORCPT=rfc822;a ORCPT=rfc822;a",
        "NOTIFY=ﬀ".encode(),
    ],
)
def test_c29_invalid_notify_gets_501(rest: bytes) -> None:
    assert rcpt_refusal(rest) == b"501 5.5.4 "
    assert rcpt_refusal(rest, smtputf8=True) == b"501 5.5.4 "


def test_c29_envid_may_have_100_characters_of_printable_xtext() -> None:
    assert mail(b"ENVID=" + b"x" * 100).envelope_id == b"x" * 100
    assert mail(b"ENVID=a+2Bb+3Dc+20d").envelope_id == b"a+2Bb+3Dc+20d"
    for value in (b"x" * 101, b"x" * 200, b"a+00", b"a+0A", b"a+", b"+C3+A9"):
        assert mail_refusal(b"ENVID=" + value) == b"501 5.5.4 "


@pytest.mark.parametrize("argument", ["<ü@example.com>", "<u@bücher.example> SIZE=10", "<ü@example.com> BODY=8BITMIME"])
def test_c60_a_utf8_sender_needs_the_keyword_smtputf8_after_it(argument: str) -> None:
    with pytest.raises(CommandError) as caught:
        parse_mail(argument.encode(), ALL)
    assert caught.value.reply.line().startswith(b"553 5.6.7 ")
    address, parameters = parse_mail(f"{argument} SMTPUTF8".encode(), ALL)
    assert parameters.smtputf8
    assert address.domain in ("example.com", "xn--bcher-kva.example")


def test_c60_the_keyword_has_no_effect_when_it_was_not_offered() -> None:
    with pytest.raises(CommandError) as caught:
        parse_mail("<ü@example.com> SMTPUTF8".encode(), NOTHING_OFFERED)
    assert caught.value.reply.line().startswith(b"555 5.5.4 ")


def test_c60_a_utf8_recipient_needs_the_keyword_in_the_transaction() -> None:
    with pytest.raises(CommandError) as caught:
        parse_rcpt("<ü@example.com>".encode(), ALL, smtputf8=False)
    assert caught.value.reply.line().startswith(b"553 5.6.7 ")
    address, _ = parse_rcpt("<ü@example.com>".encode(), ALL, smtputf8=True)
    assert address.local == "ü"


def test_whole_arguments_are_read() -> None:
    address, parameters = parse_mail(b"<> SIZE=10 RET=HDRS", ALL)
    assert address.is_null
    assert parameters == MailParameters(size=10, ret=Ret.HEADERS)
    address, given = parse_rcpt(b"<Postmaster> NOTIFY=NEVER", ALL, smtputf8=False)
    assert address.wire() == b"Postmaster"
    assert given == RcptParameters(notify=(Notify.NEVER,))
    assert parse_rcpt(b"<a@b.example>", ALL, smtputf8=False)[1] is NO_RCPT_PARAMETERS
    assert parse_mail(b"a@b.example SIZE=1", ALL, lenient=True)[1].size == 1


@given(raw=st.binary())
@settings(deadline=None, max_examples=300)
def test_a_value_is_the_same_after_encoding_and_decoding_as_xtext(raw: bytes) -> None:
    encoded = encode_xtext(raw)
    assert decode_xtext(encoded) == raw
    assert all(33 <= one <= 126 and one != ord("=") for one in encoded)


def test_xtext_is_encoded_and_invalid_xtext_is_refused() -> None:
    assert encode_xtext(b"e=mc2+x y\x00\xff") == b"e+3Dmc2+2Bx+20y+00+FF"
    for bad in (b"a b", b"a=b", b"+", b"+4", b"+4x", b"\xff", b"a\n"):
        with pytest.raises(ValueError, match="not xtext"):
            decode_xtext(bad)


words = st.sampled_from(
    [
        b"SIZE",
        b"BODY",
        b"AUTH",
        b"RET",
        b"ENVID",
        b"NOTIFY",
        b"ORCPT",
        b"SMTPUTF8",
        b"=",
        b" ",
        b"+",
        b"00",
        b"rfc822;",
        b"utf-8;",
        b"\\x{",
        b"}",
        b"FC",
        b"NEVER",
        b",",
        b"FULL",
        b"7BIT",
        b"<>",
        "ü".encode(),
    ]
)
soup = st.lists(words | st.binary(max_size=3), max_size=16).map(b"".join)


@given(rest=soup | st.binary(max_size=40), smtputf8=st.booleans())
@settings(deadline=None, max_examples=1000)
def test_any_bytes_give_parameters_or_a_parameter_error(rest: bytes, smtputf8: bool) -> None:
    for parse in (lambda: mail(rest), lambda: rcpt(rest, smtputf8=smtputf8)):
        try:
            given_parameters = parse()
        except ParameterError:
            continue
        if isinstance(given_parameters, RcptParameters) and given_parameters.original_recipient:
            _, text = decode_original_recipient(given_parameters.original_recipient)
            assert text.isprintable()
            assert given_parameters.original_recipient.isascii()


@given(raw=soup | st.binary(max_size=40))
@settings(deadline=None, max_examples=300)
def test_decoding_an_original_recipient_raises_value_errors_only(raw: bytes) -> None:
    try:
        decode_original_recipient(raw)
    except ValueError:
        return
    assert b";" in raw
