"""The Postfix peer accepts, keeps and relays mail, and Postfix's load tools send and count mail."""

from __future__ import annotations

import smtplib
import ssl
import subprocess

import pytest
import trustme

from tests.peers.postfix import Postfix
from tests.peers.process import until
from tests.peers.smtp_sink import SmtpSink, Stage, reply
from tests.peers.smtp_tools import CountingSink, Load, RunningLoad, send_load

BODY = b"Subject: hello\r\n\r\n.dot\r\n"


def test_postfix_keeps_mail_for_every_domain_over_tls(certificates: trustme.CA) -> None:
    context = ssl.create_default_context()
    certificates.configure_trust(context)
    with Postfix(certificate=certificates.issue_cert("127.0.0.1")) as postfix:
        with smtplib.SMTP(postfix.host, postfix.port, timeout=60) as client:
            client.starttls(context=context)
            client.sendmail("a@b.test", ["c@d.test", "e@f.test"], BODY)
        first, second = postfix.wait_for_messages(2)
        postfix.wait_until_finished(1)
        until(lambda: postfix.queued == 0, "Postfix's queue is empty")
    assert first.endswith(b"\n\n.dot\n")
    assert {b"Delivered-To: c@d.test" in first, b"Delivered-To: c@d.test" in second} == {True, False}
    assert b"ESMTPS" in first


def test_postfix_relays_mail_and_keeps_deferred_mail_in_its_queue(smtp_sink: SmtpSink) -> None:
    smtp_sink.on(Stage.RCPT, reply("450 4.2.0 Later"), address="later@d.test")
    with Postfix(smtp_sink.address, settings={"smtp_tls_security_level": "none"}) as postfix:
        with smtplib.SMTP(postfix.host, postfix.port, timeout=60) as client:
            client.sendmail("a@b.test", ["now@d.test"], BODY)
            client.sendmail("a@b.test", ["later@d.test"], BODY)
        (message,) = smtp_sink.wait_for_messages(1)
        postfix.wait_until_finished(1)
        postfix.wait_for_log("450 4.2.0 Later")
        assert postfix.queued == 1
    assert message.accepted_recipients == [b"now@d.test"]
    assert message.content.endswith(b"\r\n\r\n.dot\r\n")


@pytest.mark.parametrize("reuse_connections", [True, False])
def test_smtp_source_sends_all_messages_and_smtp_sink_counts_them(reuse_connections: bool) -> None:
    with CountingSink() as sink:
        load = Load(messages=100, size=1000, sessions=5, reuse_connections=reuse_connections)
        assert send_load(load, sink.host, sink.port) > 0
        sink.wait_for_messages(100)
        assert sink.messages == 100


def test_the_load_is_as_described_and_a_refusal_is_reported(smtp_sink: SmtpSink) -> None:
    load = Load(
        messages=3, size=500, sessions=2, recipients_per_message=2, distinct_recipients=True, recipient="joe@d.test"
    )
    send_load(load, smtp_sink.host, smtp_sink.port)
    messages = smtp_sink.wait_for_messages(3)
    recipients = [recipient for message in messages for recipient in message.accepted_recipients]
    assert len(set(recipients)) == len(recipients) == 6
    # smtp-source adds the CRLF of the last line to the size that it was given.
    assert [len(message.body) for message in messages] == [502] * 3
    smtp_sink.on(Stage.MAIL, reply("550 5.7.1 No"))
    with pytest.raises(subprocess.CalledProcessError):
        send_load(load, smtp_sink.host, smtp_sink.port)
    with RunningLoad(load, smtp_sink.host, smtp_sink.port, keep_going=True) as sending:
        assert sending.wait() > 0
