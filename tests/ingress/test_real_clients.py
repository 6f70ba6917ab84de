"""Widely used clients: swaks, smtplib, Perl's Net::SMTP for BDAT, and a Postfix that relays through ingress."""

from __future__ import annotations

import asyncio
import email.message
import email.policy
import shutil
import smtplib
from collections.abc import Mapping
from typing import Any

import pytest
from posthouse.policy.v1 import policy_pb2 as pb

from services.ingress.session import Listener
from tests.ingress.client import trusting_context
from tests.ingress.conftest import Ingress
from tests.peers.postfix import Postfix


async def swaks(ingress: Ingress, *options: str, listener: Listener = Listener.SMTP) -> str:
    """Sends one message with swaks and returns the dialogue. Fails when swaks fails."""
    process = await asyncio.create_subprocess_exec(
        "swaks",
        *("--server", "127.0.0.1", "--port", str(ingress.port(listener)), "--timeout", "15"),
        *("--from", "sender@example.org", "--to", "recipient@example.com", "--ehlo", "client.example", *options),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    text = output.decode("utf-8", "replace")
    assert process.returncode == 0, text
    return text


LOGIN = ("--auth-user", "alice", "--auth-password", "secret")


@pytest.mark.skipif(shutil.which("swaks") is None, reason="swaks is not installed")
@pytest.mark.parametrize(
    ("listener", "options", "keyword"),
    [
        (Listener.SMTP, (), b"ESMTP"),
        (Listener.SMTP, ("--protocol", "SMTP"), b"SMTP"),
        (Listener.SMTP, ("--tls",), b"ESMTPS"),
        (Listener.SMTP, ("--pipeline",), b"ESMTP"),
        (Listener.SUBMISSION, ("--tls", "--auth", "PLAIN", *LOGIN), b"ESMTPSA"),
        (Listener.SUBMISSION, ("--tls", "--auth", "LOGIN", *LOGIN), b"ESMTPSA"),
        (Listener.SUBMISSIONS, ("--tls-on-connect", "--auth", "PLAIN", *LOGIN), b"ESMTPSA"),
    ],
    ids=["plain", "helo", "starttls", "pipelining", "auth plain", "auth login", "implicit tls"],
)
async def test_swaks_can_send_mail(
    ingress: Ingress, listener: Listener, options: tuple[str, ...], keyword: bytes
) -> None:
    ingress.policy.profile.ask_stages.append(pb.STAGE_PIPELINING)
    await swaks(ingress, *options, listener=listener)
    (stored,) = ingress.relay.messages
    assert stored.recipients == [b"recipient@example.com"]
    assert b" with %b id " % keyword in stored.content
    assert b"This is a test mailing" in stored.content
    # No honest client is reported for a pipelining violation.
    assert not ingress.policy.asked(pb.STAGE_PIPELINING)


# Net::SMTP uses BDAT only for BINARYMIME, which ingress does not offer, so the script turns chunking on itself.
_BDAT_BY_PERL = r"""
use strict; use warnings; use Net::SMTP;
my $smtp = Net::SMTP->new('127.0.0.1', Port => $ARGV[0], Hello => 'perl.example', Timeout => 15) or die 'connect';
die 'CHUNKING is not offered' unless defined $smtp->supports('CHUNKING');
${*$smtp}{net_smtp_chunking} = 1;
$smtp->mail('sender@example.org') && $smtp->to('recipient@example.com') or die $smtp->message;
$smtp->bdat("Subject: in three\r\n\r\none\r") or die $smtp->message;
$smtp->bdat("\n.\r\n..two") or die $smtp->message;
$smtp->bdatlast("\r\nthree\r\n") or die $smtp->message;
$smtp->mail('sender@example.org') && $smtp->to('recipient@example.com') or die $smtp->message;
$smtp->bdatlast("Subject: in one\r\n\r\n" . ("x" x 70 . "\r\n") x 20000) or die $smtp->message;
$smtp->quit or die $smtp->message;
"""


@pytest.mark.skipif(shutil.which("perl") is None, reason="Perl is not installed")
async def test_net_smtp_can_send_mail_by_bdat(ingress: Ingress) -> None:
    process = await asyncio.create_subprocess_exec(
        *("perl", "-e", _BDAT_BY_PERL, str(ingress.port())), stderr=asyncio.subprocess.PIPE
    )
    _, complaints = await process.communicate()
    assert (process.returncode, complaints) == (0, b"")
    assert [stored.content.partition(b"Subject: ")[2][:40] for stored in ingress.relay.messages] == [
        b"in three\r\n\r\none\r\n.\r\n..two\r\nthree\r\n",
        b"in one\r\n\r\n" + b"x" * 30,
    ]
    assert len(ingress.relay.messages[1].content) > 20_000 * 72


async def test_smtplib_can_send_mail_with_smtputf8(ingress: Ingress) -> None:
    def send() -> None:
        message = email.message.EmailMessage(policy=email.policy.SMTPUTF8)
        message["From"] = "jürgen@bücher.example"
        message["To"] = "recipient@example.com"
        message["Subject"] = "Grüße"
        message.set_content("Grüße\n")
        with smtplib.SMTP_SSL(
            "127.0.0.1", ingress.port(Listener.SUBMISSIONS), context=trusting_context(), timeout=60
        ) as client:
            client.login("alice", "secret")
            client.send_message(message)

    await asyncio.to_thread(send)
    (stored,) = ingress.relay.messages
    assert stored.submission.envelope.smtputf8
    assert stored.submission.envelope.sender == "jürgen@xn--bcher-kva.example".encode()
    assert "Subject: Grüße\r\n".encode() in stored.content


async def relay_by_postfix(
    ingress: Ingress, settings: Mapping[str, str], messages: list[tuple[str, bytes, list[str]]], port: Listener
) -> None:
    """Hands messages (sender, content, MAIL options) to a Postfix that relays all mail to ingress."""

    def work() -> None:
        with Postfix(f"127.0.0.1:{ingress.port(port)}", settings=settings) as postfix:
            with smtplib.SMTP("127.0.0.1", postfix.port, timeout=60) as client:
                client.ehlo()
                for sender, content, options in messages:
                    client.sendmail(sender, ["one@example.com", "two@example.com"], content, mail_options=options)
            postfix.wait_until_finished(len(messages))

    await asyncio.to_thread(work)


CONTENT = b"From: sender@example.org\r\nSubject: x\r\n\r\nbody\r\n.\r\n..\r\nend\r\n"
TLS: dict[str, str] = {"smtp_tls_security_level": "encrypt"}
AUTH: dict[str, str] = {
    **TLS,
    "smtp_sasl_auth_enable": "yes",
    "smtp_sasl_password_maps": "static:alice:secret",
    "smtp_sasl_security_options": "noanonymous",
    "smtp_sasl_mechanism_filter": "plain, login",
}


@pytest.mark.parametrize(
    ("settings", "listener", "keyword"),
    [({}, Listener.SMTP, b"ESMTP"), (TLS, Listener.SMTP, b"ESMTPS"), (AUTH, Listener.SUBMISSION, b"ESMTPSA")],
    ids=["plain", "starttls", "auth"],
)
async def test_postfix_can_relay_through_ingress(
    ingress: Ingress, settings: dict[str, str], listener: Listener, keyword: bytes
) -> None:
    """Postfix pipelines as much as it may, and passes DSN parameters on."""
    ingress.policy.profile.ask_stages.append(pb.STAGE_PIPELINING)
    messages: list[Any] = [("sender@example.org", CONTENT, []) for _ in range(3)]
    await relay_by_postfix(ingress, settings, messages, listener)
    assert len(ingress.relay.messages) == 3
    for stored in ingress.relay.messages:
        assert sorted(stored.recipients) == [b"one@example.com", b"two@example.com"]
        assert b" with %b id " % keyword in stored.content
        assert stored.content.endswith(b"\r\n\r\nbody\r\n.\r\n..\r\nend\r\n")
    assert not ingress.policy.asked(pb.STAGE_PIPELINING)


async def test_postfix_can_use_smtputf8_dsn_and_large_messages(ingress: Ingress) -> None:
    large = CONTENT + b"".join(b"%070d\r\n" % number for number in range(30_000))
    utf8 = "From: jürgen@example.org\r\nSubject: Grüße\r\n\r\nGrüße\r\n".encode()
    messages: list[Any] = [
        ("jürgen@example.org", utf8, ["SMTPUTF8", "BODY=8BITMIME"]),
        ("sender@example.org", large, ["RET=HDRS", "ENVID=abc+2Bdef"]),
    ]
    await relay_by_postfix(ingress, {}, messages, Listener.SMTP)
    by_sender = {stored.submission.envelope.sender: stored for stored in ingress.relay.messages}
    assert by_sender["jürgen@example.org".encode()].submission.envelope.smtputf8
    other = by_sender[b"sender@example.org"]
    assert (other.submission.envelope.ret, other.submission.envelope.envelope_id) == ("HDRS", b"abc+2Bdef")
    assert other.content.endswith(large[-70_000:])


async def test_a_refused_recipient_does_not_affect_other_recipients(ingress: Ingress) -> None:
    def judge(request: pb.DecideRequest) -> pb.Verdict:
        verdict = pb.Verdict(action=pb.ACTION_ACCEPT)
        if request.transaction.recipient == b"one@example.com":
            verdict = pb.Verdict(
                action=pb.ACTION_REJECT, reply=pb.Reply(code=550, enhanced_code="5.1.1", text="No such user")
            )
        return verdict

    ingress.policy.on(pb.STAGE_RCPT, judge)
    await relay_by_postfix(ingress, {}, [("sender@example.org", CONTENT, [])], Listener.SMTP)
    stored = [message.recipients for message in ingress.relay.messages if message.submission.envelope.sender]
    assert stored == [[b"two@example.com"]]
