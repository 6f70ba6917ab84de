"""Every reply consists of valid lines, whatever its text, and the constants have the right codes."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from libs.smtp import reply
from libs.smtp.reply import MAX_REPLY_LINE_OCTETS, CommandError, Reply, lines, printable_ascii

CONSTANTS = {name: value for name, value in vars(reply).items() if isinstance(value, Reply)}

# RFC 5321, RFC 4954 and the documented settings fix these codes. The texts are our own.
CODES = {
    "RELAY_DENIED": "554 5.7.1",
    "ACCESS_DENIED": "554 5.7.1",
    "AUTH_REQUIRED": "530 5.7.0",
    "SENDER_LOGIN_MISMATCH": "553 5.7.1",
    "FROM_LOGIN_MISMATCH": "553 5.7.1",
    "ENCRYPTION_REQUIRED_FOR_AUTH": "538 5.7.11",
    "TOO_MANY_RECIPIENTS": "452 4.5.3",
    "MESSAGE_OVER_RECIPIENT_LIMIT": "554 5.5.3",
    "TOO_MANY_HOPS": "554 5.4.6",
    "MESSAGE_TOO_BIG": "552 5.3.4",
    "NO_SUCH_USER": "550 5.1.1",
    "NON_FQDN_SENDER": "504 5.5.2",
    "SENDER_DOMAIN_UNKNOWN_NOW": "450 4.1.8",
    "SENDER_DOMAIN_UNKNOWN": "550 5.1.8",
    "SENDER_NULL_MX": "550 5.7.27",
    "CLIENT_NAME_UNKNOWN": "450 4.7.25",
    "TOO_MANY_CONNECTIONS": "421 4.7.0",
    "CONNECTION_RATE": "421 4.7.0",
    "MESSAGE_RATE": "450 4.7.1",
    "UNAUTHORISED_PIPELINING": "554 5.5.0",
    "NON_FQDN_HELO": "504 5.5.2",
    "HELO_UNKNOWN": "450 4.7.1",
    "CLIENT_BLOCKED": "421 4.7.0",
    "HELO_UNKNOWN_NOW": "450 4.7.1",
    "CLIENT_NAME_UNKNOWN_NOW": "450 4.7.25",
    "ALIAS_LOOP": "550 5.4.6",
    "MAILBOX_FULL": "552 5.2.2",
    "DKIM_NO_ANSWER": "451 4.4.3",
    "DMARC_NO_ANSWER": "451 4.4.3",
    "TOO_MANY_JUNK_COMMANDS": "421 4.7.0",
    "DNSBL_LISTED": "554 5.7.1",
    "SPF_FAILED": "550 5.7.23",
    "SPF_NO_ANSWER": "451 4.4.3",
    "SPF_PERMANENT_ERROR": "550 5.7.24",
    "DKIM_FAILED": "550 5.7.20",
    "DMARC_FAILED": "550 5.7.1",
    "VIRUS_FOUND": "554 5.7.1",
    "SCAN_FAILED": "451 4.3.0",
    "TRY_AGAIN": "451 4.3.0",
    "STORAGE": "452 4.3.1",
    "NOT_READY": "421 4.3.2",
    "BAD_SENDER_SYNTAX": "501 5.1.7",
    "BAD_RECIPIENT_SYNTAX": "501 5.1.3",
    "UTF8_NOT_ALLOWED": "553 5.6.7",
    "PARAMETER_UNKNOWN": "555 5.5.4",
    "BAD_SEQUENCE": "503 5.5.1",
    "BAD_CREDENTIALS": "535 5.7.8",
    "AUTH_UNAVAILABLE": "454 4.7.0",
    "BARE_LINE_END": "550 5.5.2",
    "IDLE_TIMEOUT": "421 4.4.2",
    "NULL_MX": "556 5.1.10",
}


def test_a_reply_is_one_line_with_both_codes() -> None:
    assert Reply(250, "2.1.0", "Sender ok").line() == b"250 2.1.0 Sender ok\r\n"


def test_a_reply_without_enhanced_code_is_written_without_one() -> None:
    assert Reply(354, "", "Go on").line() == b"354 Go on\r\n"


def test_a_reply_without_text_keeps_its_codes() -> None:
    assert Reply(250, "2.0.0", "").line() == b"250 2.0.0\r\n"
    assert lines(250, "", ()) == b"250 \r\n"


def test_all_lines_but_the_last_are_marked_as_continued() -> None:
    assert (
        lines(250, "", ["mx.example.com", "SIZE 1000", "HELP"])
        == b"250-mx.example.com\r\n250-SIZE 1000\r\n250 HELP\r\n"
    )
    assert lines(214, "2.0.0", ["a", "b"]) == b"214-2.0.0 a\r\n214 2.0.0 b\r\n"


@pytest.mark.parametrize("name", CODES)
def test_constants_have_the_codes_of_the_rfcs_and_the_documented_settings(name: str) -> None:
    constant = CONSTANTS[name]
    assert f"{constant.code} {constant.enhanced}" == CODES[name]


@pytest.mark.parametrize("name", CONSTANTS)
def test_every_constant_is_sent_as_it_is_written(name: str) -> None:
    constant = CONSTANTS[name]
    head = f"{constant.code} {constant.enhanced} " if constant.enhanced else f"{constant.code} "
    assert constant.line() == f"{head}{constant.text}\r\n".encode("ascii")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("no such user a\r\n250 ok", b"550 5.7.1 no such user a  250 ok\r\n"),
        ("x\ny", b"550 5.7.1 x y\r\n"),
        ("x\ry", b"550 5.7.1 x y\r\n"),
        ("a\0b\x1b[2J\x7f", b"550 5.7.1 a b [2J\r\n"),
        ("caf\u00e9 \u2028\x85", b"550 5.7.1 caf? ?\r\n"),
    ],
)
def test_c37_no_text_ends_or_adds_a_line(text: str, expected: bytes) -> None:
    assert Reply(550, "5.7.1", text).line() == expected


@given(text=st.text(), enhanced=st.text(max_size=12), code=st.integers(200, 599))
@settings(deadline=None, max_examples=300)
def test_c37_every_reply_is_well_formed(text: str, enhanced: str, code: int) -> None:
    wire = Reply(code, enhanced, text).line()
    assert wire.endswith(b"\r\n")
    *continued, last = wire[:-2].split(b"\r\n")
    assert last.startswith(b"%d" % code)
    assert last[3:4] in (b" ", b"")
    for line in continued:
        assert line.startswith(b"%d-" % code)
    for line in (*continued, last):
        assert len(line) + 2 <= MAX_REPLY_LINE_OCTETS
        assert all(32 <= one <= 126 for one in line)


def test_a_long_text_is_folded_at_spaces_and_loses_no_word() -> None:
    text = " ".join(f"word{number}" for number in range(300))
    wire = Reply(554, "5.7.1", text).line()
    folded = wire.decode("ascii").split("\r\n")[:-1]
    assert len(folded) > 1
    assert all(len(line) <= MAX_REPLY_LINE_OCTETS - 2 for line in folded)
    assert all(line.startswith("554-5.7.1 ") for line in folded[:-1])
    assert folded[-1].startswith("554 5.7.1 ")
    assert " ".join(line[len("554-5.7.1 ") :] for line in folded) == text


def test_a_word_longer_than_a_line_is_cut() -> None:
    wire = Reply(554, "5.7.1", "x" * 2000).line()
    assert wire.count(b"x") == 2000
    assert max(len(line) for line in wire.splitlines(keepends=True)) == MAX_REPLY_LINE_OCTETS


@pytest.mark.parametrize("enhanced", ["4.7.1", "5.7", "5.7.1000", "5.7.1\r\n", "x"])
def test_an_enhanced_code_that_is_invalid_or_contradicts_the_code_is_replaced(enhanced: str) -> None:
    assert Reply(550, enhanced, "no").line() == b"550 5.0.0 no\r\n"


@pytest.mark.parametrize("code", [0, 99, 199, 600, 2500])
def test_an_invalid_reply_code_is_refused(code: int) -> None:
    with pytest.raises(ValueError, match="not an SMTP reply code"):
        lines(code, "", ["x"])


def test_the_first_digit_gives_the_kind_of_a_reply() -> None:
    assert (reply.OK.is_temporary, reply.OK.is_permanent) == (False, False)
    assert (reply.TRY_AGAIN.is_temporary, reply.TRY_AGAIN.is_permanent) == (True, False)
    assert (reply.RELAY_DENIED.is_temporary, reply.RELAY_DENIED.is_permanent) == (False, True)


def test_a_command_error_contains_its_reply() -> None:
    error = CommandError(reply.BAD_SEQUENCE)
    assert error.reply is reply.BAD_SEQUENCE
    assert str(error) == reply.BAD_SEQUENCE.text


def test_printable_ascii_leaves_printable_text_alone() -> None:
    text = "".join(map(chr, range(32, 127)))
    assert printable_ascii(text) is text
