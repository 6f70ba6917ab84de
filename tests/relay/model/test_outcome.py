"""The outcome of a recipient that follows from a reply."""

from __future__ import annotations

import pytest

from services.relay.model.attempt import Result
from services.relay.model.outcome import Peer, Reply, Stage, enhanced_code, lost, meaning_of, of_recipient, sanitised


@pytest.mark.parametrize(
    ("stage", "code", "text", "result", "status"),
    [
        (Stage.END_OF_DATA, 250, b"2.0.0 Ok: queued as X", Result.DELIVERED, "2.0.0"),
        (Stage.END_OF_DATA, 250, b"Ok", Result.DELIVERED, "2.0.0"),
        (Stage.RCPT, 550, b"5.1.1 Unknown", Result.FAILED, "5.1.1"),
        (Stage.RCPT, 550, b"Unknown", Result.FAILED, "5.0.0"),
        (Stage.RCPT, 451, b"4.7.1 Greylisted", Result.DEFERRED, "4.7.1"),
        (Stage.RCPT, 452, b"4.5.3 Too many", Result.DEFERRED, "4.5.3"),
        # C118: "too many recipients" is temporary, whatever class the enhanced code has.
        (Stage.RCPT, 552, b"5.5.3 Too many recipients", Result.DEFERRED, "4.5.3"),
        (Stage.RCPT, 552, b"5.2.2 Mailbox full", Result.FAILED, "5.2.2"),
        (Stage.RCPT, 452, b"4.2.2 Mailbox full", Result.DEFERRED, "4.2.2"),
        (Stage.END_OF_DATA, 552, b"5.3.4 Too big", Result.FAILED, "5.3.4"),
        (Stage.MAIL, 552, b"5.3.4 Too big", Result.FAILED, "5.3.4"),
        (Stage.DATA, 554, b"5.5.1 No valid recipients", Result.FAILED, "5.5.1"),
        # Before MAIL, a 5yz reply is about the host and not about the message.
        (Stage.GREETING, 554, b"5.7.1 No SMTP service here", Result.DEFERRED, "4.7.1"),
        (Stage.GREETING, 421, b"Busy", Result.DEFERRED, "4.3.0"),
        (Stage.EHLO, 550, b"5.7.0 Who?", Result.DEFERRED, "4.7.0"),
        (Stage.RCPT, 421, b"4.3.2 Closing", Result.DEFERRED, "4.3.2"),
        # Of an unknown code only the first digit is used.
        (Stage.RCPT, 599, b"Never", Result.FAILED, "5.0.0"),
        (Stage.RCPT, 499, b"Later", Result.DEFERRED, "4.3.0"),
        (Stage.RCPT, 299, b"Fine", Result.DELIVERED, "2.0.0"),
        (Stage.AUTH, 250, b"2.7.0 Fine", Result.DEFERRED, "4.7.0"),
        (Stage.STARTTLS, 250, b"Fine", Result.DEFERRED, "4.5.0"),
        # A protocol error is a temporary failure.
        (Stage.RCPT, 354, b"Go ahead", Result.DEFERRED, "4.5.0"),
        (Stage.MAIL, 100, b"", Result.DEFERRED, "4.5.0"),
        (Stage.MAIL, 0, b"", Result.DEFERRED, "4.5.0"),
        # An enhanced code whose class contradicts the reply code is ignored.
        (Stage.RCPT, 550, b"4.2.2 Mailbox full", Result.FAILED, "5.0.0"),
        (Stage.RCPT, 450, b"5.1.1 No", Result.DEFERRED, "4.3.0"),
    ],
)
def test_each_reply_has_its_meaning(stage: Stage, code: int, text: bytes, result: Result, status: str) -> None:
    meaning = meaning_of(stage, Reply(code, text))
    assert (meaning.result, meaning.code, meaning.enhanced_code) == (result, code, status)


@pytest.mark.parametrize("code", [535, 534, 538, 530])
def test_a_refused_login_is_about_the_relay_host_and_not_the_message(code: int) -> None:
    meaning = meaning_of(Stage.AUTH, Reply(code, b"5.7.8 Wrong"))
    assert (meaning.result, meaning.enhanced_code, meaning.bad_login) == (Result.DEFERRED, "4.7.8", True)


def test_a_login_that_cannot_be_checked_now_is_not_a_wrong_login() -> None:
    meaning = meaning_of(Stage.AUTH, Reply(454, b"4.7.0 Temporary"))
    assert (meaning.result, meaning.bad_login) == (Result.DEFERRED, False)


def test_a_loss_after_the_dot_is_a_possible_duplicate() -> None:
    meaning = lost(Stage.END_OF_DATA, "time-out", "no answer in time")
    assert (meaning.result, meaning.code, meaning.possible_duplicate) == (Result.DEFERRED, 0, True)
    assert not lost(Stage.DATA, "time-out", "no answer in time").possible_duplicate


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (b"5.1.1 x", "5.1.1"),
        (b"5.1.1", "5.1.1"),
        (b"5.1.100 x", "5.1.100"),
        (b"5.1 x", "-"),
        (b"5.1.1.1 x", "-"),
        (b"5.1.1000 x", "-"),
        (b"5.1.x y", "-"),
        (b"", "-"),
        (b" 5.1.1", "-"),
        (b"5.1.1\nmore", "5.1.1"),
    ],
)
def test_enhanced_codes_are_read_strictly(text: bytes, found: str) -> None:
    assert enhanced_code(Reply(550, text), "-") == found


def test_text_becomes_one_printable_line_of_bounded_length() -> None:
    assert sanitised(b"first\nsecond  line\r\n\tthird") == "first second  line third"
    assert sanitised(b"a\x00b\x1b[31m\x7f") == "a?b?[31m?"
    assert sanitised("caf\u00e9".encode()) == "caf\u00e9"
    assert sanitised(b"caf\xe9") == "caf\\xe9"
    assert sanitised("a\u202eb\u2028c") == "a?b c"
    assert len(sanitised(b"x" * 100_000)) == 2000


def test_an_outcome_names_the_peer() -> None:
    peer = Peer("mx.test", "192.0.2.1", 25, "TLSv1.3 X", "opportunistic")
    outcome = of_recipient(7, meaning_of(Stage.RCPT, Reply(550, b"5.1.1 No\nreally")), peer)
    assert (outcome.delivery_id, outcome.host, outcome.address, outcome.port) == (7, "mx.test", "192.0.2.1", 25)
    assert (outcome.tls, outcome.tls_policy, outcome.text) == ("TLSv1.3 X", "opportunistic", "5.1.1 No really")
