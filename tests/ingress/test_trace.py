"""The header fields that ingress adds, removes and counts: Received, results, Bcc, Date (C42, C43, C100, C145)."""

from __future__ import annotations

import email
import re

import pytest
from posthouse.policy.v1 import policy_pb2 as pb

from services.ingress import authentication_results
from services.ingress.content_facts import ContentFacts, DkimSignature
from services.ingress.session import Listener
from services.ingress.verdict import AuthenticationResult, CheckResult
from tests.fakes.policy import accept, reject
from tests.ingress.client import Client
from tests.ingress.conftest import Ingress, Start

DATE = rb"[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d \+0000"


def header_of(ingress: Ingress, number: int = 0) -> bytes:
    return ingress.relay.messages[number].content.partition(b"\r\n\r\n")[0] + b"\r\n"


async def test_c42_every_part_of_received_is_right(ingress: Ingress) -> None:
    client = await ingress.client(ehlo="[127.0.0.1]")
    assert (await client.send_mail(b"Subject: x\r\n\r\n", "One@Example.com")).code == 250
    submission = ingress.relay.messages[0].submission
    want = (
        rb"Received: from \[127\.0\.0\.1\] \(\[127\.0\.0\.1\]\)\r\n\tby mx\.example\.com with ESMTP id %b\r\n"
        rb"\tfor <One@example\.com>;\r\n\t%b\r\nSubject: x\r\n" % (submission.id.encode(), DATE)
    )
    assert re.fullmatch(want, header_of(ingress))


async def test_c42_for_names_the_recipient_only_when_there_is_exactly_one(ingress: Ingress) -> None:
    ingress.policy.on(
        pb.STAGE_RCPT,
        lambda request: reject(550, "5.1.1") if request.transaction.recipient.startswith(b"bad") else accept(),
    )
    client = await ingress.client()
    await client.command("MAIL FROM:<a@example.org>")
    assert (await client.command("RCPT TO:<bad@example.com>")).code == 550
    assert (await client.command("RCPT TO:<good@example.com>")).code == 250
    assert (await client.data(b"x: y\r\n\r\n")).code == 250
    assert (await client.send_mail(b"x: y\r\n\r\n", "one@example.com", "two@example.com")).code == 250
    assert b"\r\n\tfor <good@example.com>;" in header_of(ingress, 0)
    assert b"\tfor <" not in header_of(ingress, 1)


async def test_c59_our_own_field_never_makes_a_header_need_smtputf8(ingress: Ingress) -> None:
    client = await ingress.client()
    assert (await client.command("MAIL FROM:<a@example.org> SMTPUTF8")).code == 250
    assert (await client.command("RCPT TO:<j\u00fcrgen@example.com>")).code == 250
    assert (await client.data(b"Subject: x\r\n\r\nplain\r\n")).code == 250
    assert ingress.relay.messages[0].content.isascii()


@pytest.mark.parametrize(
    ("host", "connect", "shown"),
    [("127.0.0.1,::1", "::1", b"([IPv6:::1])"), ("127.0.0.1,::1", "127.0.0.1", b"([127.0.0.1])")],
    ids=["IPv6", "IPv4"],
)
async def test_c42_received_names_the_address_of_the_client(
    start: Start, host: str, connect: str, shown: bytes
) -> None:
    ingress = await start(host=host)
    client = await Client.connect(connect, ingress.port())
    await client.reply()
    await client.command("EHLO client.example")
    assert (await client.send_mail()).code == 250
    assert shown in header_of(ingress)
    assert ingress.policy.requests[0].session.client_address == connect
    client.close()


@pytest.mark.parametrize(
    ("listener", "starttls", "login", "utf8", "keyword"),
    [
        (Listener.SMTP, False, False, False, b"ESMTP"),
        (Listener.SMTP, True, False, False, b"ESMTPS"),
        (Listener.SUBMISSION, True, True, False, b"ESMTPSA"),
        (Listener.SUBMISSIONS, False, True, False, b"ESMTPSA"),
        (Listener.SMTP, False, False, True, b"UTF8SMTP"),
        (Listener.SUBMISSIONS, False, True, True, b"UTF8SMTPSA"),
    ],
)
async def test_c42_received_has_the_protocol_keyword_and_the_tls_comment(
    ingress: Ingress, listener: Listener, starttls: bool, login: bool, utf8: bool, keyword: bytes
) -> None:
    client = await ingress.client(listener)
    if starttls:
        await client.starttls()
    if login:
        assert (await client.login()).code == 235
    assert (await client.command(f"MAIL FROM:<a@example.org>{' SMTPUTF8' if utf8 else ''}")).code == 250
    assert (await client.command("RCPT TO:<b@example.com>")).code == 250
    assert (await client.data(b"x: y\r\n\r\n")).code == 250
    assert b" with %b id " % keyword in header_of(ingress)
    encrypted = starttls or listener is Listener.SUBMISSIONS
    assert (b"(using TLSv1.3 with cipher TLS_" in header_of(ingress)) is encrypted


@pytest.mark.parametrize(("count", "code"), [(0, 250), (49, 250), (50, 250), (51, 554), (100, 554)])
async def test_c43_hops_are_counted_in_the_header_only(ingress: Ingress, count: int, code: int) -> None:
    spellings = [
        b"Received: from a by b; Mon, 1 Jan 2024 00:00:00 +0000\r\n",
        b"RECEIVED:\r\n from a\r\n by b\r\n",
        b"received : nonsense\r\n",
    ]
    fields = b"".join(spellings[number % 3] for number in range(count))
    client = await ingress.client()
    await client.envelope()
    reply = await client.data(fields + b"X-Received: x\r\nSubject: x\r\n\r\n" + b"Received: in the body\r\n" * 200)
    assert reply.code == code
    if code == 554:
        assert reply.enhanced == "5.4.6"


async def test_c43_without_a_limit_any_number_of_hops_is_accepted(ingress: Ingress) -> None:
    ingress.policy.profile.max_hops = 0
    client = await ingress.client()
    assert (await client.send_mail(b"Received: x\r\n" * 300 + b"\r\n")).code == 250


async def test_return_path_is_removed(ingress: Ingress) -> None:
    client = await ingress.client()
    content = (
        b"RETURN-Path: <x@y>\r\nSubject: x\r\nreturn-path:\r\n <z@y>\r\nX-Return-Path: kept\r\n\r\nReturn-Path: b\r\n"
    )
    assert (await client.send_mail(content)).code == 250
    assert ingress.relay.messages[0].content.endswith(
        b" +0000\r\nSubject: x\r\nX-Return-Path: kept\r\n\r\nReturn-Path: b\r\n"
    )


BCC = (
    b"From: a@example.org\r\nBCC: hidden@example.com,\r\n second@example.com\r\n"
    b"Resent-Bcc : hidden@example.com\r\nTo: b@example.com\r\nbcc: third@example.com\r\n"
)


@pytest.mark.parametrize("listener", list(Listener))
@pytest.mark.parametrize("login", [True, False])
async def test_c145_bcc_is_removed_only_on_submission(ingress: Ingress, listener: Listener, login: bool) -> None:
    client = await ingress.client(listener)
    if listener is not Listener.SUBMISSIONS:
        await client.starttls()
    if login:
        await client.login()
    assert (
        await client.send_mail(BCC + b"\r\nbcc: in the body\r\n", "b@example.com", "hidden@example.com")
    ).code == 250
    content = ingress.relay.messages[0].content
    submitted = login or listener is not Listener.SMTP
    assert (b"hidden@example.com" not in content) is submitted
    assert (b"third@example.com" not in content) is submitted
    third = b"" if submitted else b"bcc: third@example.com\r\n"
    assert content.endswith(b"To: b@example.com\r\n" + third + b"\r\nbcc: in the body\r\n")


@pytest.mark.parametrize(
    ("given", "adds"),
    [
        (b"Subject: x\r\n", {b"Date", b"Message-ID"}),
        (b"Date:\r\nMessage-ID: \r\nSubject: x\r\n", {b"Date", b"Message-ID"}),
        (b"Date: \r\n \r\nMESSAGE-ID:\r\n <>\r\nSubject: x\r\n", {b"Date", b"Message-ID"}),
        (b"date: Mon, 1 Jan 2024 00:00:00 +0000\r\nSubject: x\r\n", {b"Message-ID"}),
        (b"MESSAGE-ID: <a@b>\r\nDate: x\r\nSubject: x\r\n", set()),
    ],
)
async def test_c147_date_and_message_id_are_added_on_submission_where_missing(
    ingress: Ingress, given: bytes, adds: set[bytes]
) -> None:
    client = await ingress.client(Listener.SUBMISSIONS)
    assert (await client.send_mail(given + b"\r\nbody\r\n")).code == 250
    header = header_of(ingress)
    submission_id = ingress.relay.messages[0].submission.id.encode()
    assert (b"Message-ID: <%b@mx.example.com>\r\n" % submission_id in header) is (b"Message-ID" in adds)
    assert bool(re.search(rb"\r\nDate: %b\r\n" % DATE, header)) is (b"Date" in adds)
    for name in (b"date", b"message-id"):
        assert header.lower().count(b"\r\n" + name + b":") == 1


async def test_c147_date_and_message_id_are_never_added_on_the_smtp_port(ingress: Ingress) -> None:
    client = await ingress.client()
    assert (await client.send_mail(b"Subject: x\r\n\r\n")).code == 250
    assert b"Message-ID" not in header_of(ingress)
    assert b"\r\nDate" not in header_of(ingress)


OURS = "mx.example.com"


@pytest.mark.parametrize(
    "value",
    [
        b" mx.example.com; dmarc=pass",
        b" MX.Example.COM; dmarc=pass",
        b"mx.example.com;dmarc=pass",
        b"\r\n\tmx.example.com;\r\n\tdmarc=pass",
        b" (a comment; (nested \\) ) ) mx.example.com; dmarc=pass",
        b" mx.example.com 1; dmarc=pass",
        b" mx.example.com (x) 1; dmarc=pass",
        b' "mx.example.com"; dmarc=pass',
        b' "mx.exam\\ple.com"; dmarc=pass',
        b" mx.example.com.; dmarc=pass",
        b" mx.example.com",
        b"",
        b" (unclosed mx.example.com; dmarc=pass",
    ],
)
def test_c100_forged_results_with_our_id_are_removed(value: bytes) -> None:
    head = b"Subject: x\r\nauthentication-RESULTS:" + value + b"\r\nTo: y\r\n"
    assert authentication_results.without_forged(head, OURS) == b"Subject: x\r\nTo: y\r\n"


@pytest.mark.parametrize(
    "value",
    [
        b" other.example; dmarc=pass",
        b" mx.example.com.evil.example; dmarc=pass",
        b" notmx.example.com; dmarc=pass",
        b" other.example (mx.example.com); dmarc=pass",
        b" other.example; dkim=pass header.d=mx.example.com",
    ],
)
def test_c100_results_with_the_ids_of_others_are_kept(value: bytes) -> None:
    head = b"Subject: x\r\nAuthentication-Results:" + value + b"\r\nTo: y\r\n"
    assert authentication_results.without_forged(head, OURS) == head


def test_c38_values_never_break_the_field() -> None:
    hostile = (b"a\r\nX: y", b'a"b; dmarc=pass', b"a (b", b"a\\", b"\xff\0", b"x" * 5000, b"", b"a b")
    written = authentication_results.field(
        OURS,
        [
            AuthenticationResult(
                "spf",
                CheckResult.FAIL,
                "reason (with\r\nX-Injected: 1) \\",
                tuple(("smtp", "mailfrom", value) for value in hostile),
            )
        ],
    )
    lines = written.split(b"\r\n")
    assert lines[0] == b"Authentication-Results: mx.example.com;"
    assert len(lines) == 3
    assert lines[-1] == b""
    assert lines[1].startswith(b"\tspf=fail (reason  with")
    assert b'smtp.mailfrom="a\\"b; dmarc=pass"' in lines[1]
    assert not re.search(rb"[\x00-\x08\x0a-\x1f\x7f-\xff]", lines[1])


def test_results_of_policy_are_not_written_twice() -> None:
    signature = DkimSignature(CheckResult.PASS, b"d.example", b"s1", "rsa-sha256", b"abcdefgh")
    content_facts = ContentFacts(10, 0, 1, (), dkim=(signature,))
    ours = authentication_results.of_content_facts(content_facts, [])
    assert [(our.method, our.result) for our in ours] == [("dkim", CheckResult.PASS)]
    given = [AuthenticationResult("dkim", CheckResult.FAIL)]
    assert authentication_results.of_content_facts(content_facts, given) == tuple(given)
    unsigned = authentication_results.of_content_facts(ContentFacts(10, 0, 1, (), dkim=()), [])
    assert [(each.method, each.result, each.reason) for each in unsigned] == [
        ("dkim", CheckResult.NONE, "message not signed")
    ]


async def test_c100_our_results_are_at_the_top_and_quarantine_is_marked(ingress: Ingress) -> None:
    ingress.policy.profile.ask_stages.append(pb.STAGE_END_OF_DATA)
    ingress.policy.on(
        pb.STAGE_END_OF_DATA,
        accept(
            quarantine=True,
            results=[
                pb.AuthenticationResult(
                    method="spf",
                    result=pb.CHECK_RESULT_PASS,
                    properties=[
                        pb.AuthenticationResult.Property(type="smtp", name="mailfrom", value=b"example.org"),
                    ],
                ),
                pb.AuthenticationResult(method="dmarc", result=pb.CHECK_RESULT_FAIL, reason="p=quarantine"),
            ],
        ),
    )
    client = await ingress.client()
    content = (
        b"Authentication-Results: mx.example.com; dmarc=pass\r\nAuthentication-Results: other.example; spf=fail\r\n"
        b"X-Posthouse-Quarantine: no\r\nFrom: a@example.org\r\n\r\nbody\r\n"
    )
    assert (await client.send_mail(content)).code == 250
    header = header_of(ingress)
    assert header.startswith(
        b"Authentication-Results: mx.example.com;\r\n\tspf=pass smtp.mailfrom=example.org;\r\n"
        b"\tdmarc=fail (p=quarantine)\r\nX-Posthouse-Quarantine: dmarc\r\nReceived: from "
    )
    assert header.count(b"X-Posthouse-Quarantine") == 1
    assert b"dmarc=pass" not in header
    assert b"Authentication-Results: other.example; spf=fail\r\n" in header
    assert ingress.relay.messages[0].submission.quarantine


@pytest.mark.parametrize("blank", [b" ", b"\t", b" \t ", b" \x0c"])
async def test_f46_blank_lines_that_end_a_header_for_some_readers_are_removed(start: Start, blank: bytes) -> None:
    """Readers must agree that text below a blank line within the header is a field and not the text of the message."""
    ingress = await start()
    client = await ingress.client()
    signed = b"Subject: x\r\nFrom: a@example.org\r\n"
    content = signed + blank + b"\r\nX-Unsigned: pay to\r\n" + blank + b"\r\n" + blank + b"\r\n\r\nbody\r\n"
    assert (await client.send_mail(content)).code == 250
    (message,) = ingress.relay.messages
    assert message.content.endswith(b"\r\n" + signed + b"X-Unsigned: pay to\r\n\r\nbody\r\n")
    assert message.submission.content_size == len(message.content)


async def test_f46_blank_lines_in_the_header_of_a_large_message_are_removed(ingress: Ingress) -> None:
    client = await ingress.client()
    body = b"y" * 70 + b"\r\n"
    assert (await client.send_mail(b"Subject: x\r\n \r\nTo: b@example.com\r\n\r\n" + body * 20_000)).code == 250
    (message,) = ingress.relay.messages
    assert message.content.endswith(b"\r\nSubject: x\r\nTo: b@example.com\r\n\r\n" + body * 20_000)


async def test_f46_blanks_before_a_colon_that_end_a_header_for_some_readers_are_removed(ingress: Ingress) -> None:
    client = await ingress.client()
    content = b"Subject: x\r\nX-Unsigned : pay to\r\nTo\t:b@example.com\r\n\r\nbody : \r\n"
    assert (await client.send_mail(content)).code == 250
    (message,) = ingress.relay.messages
    assert message.content.endswith(b"\r\nSubject: x\r\nX-Unsigned: pay to\r\nTo:b@example.com\r\n\r\nbody : \r\n")
    read = email.message_from_bytes(message.content)
    assert (read["To"], read.get_payload()) == ("b@example.com", "body : \r\n")
