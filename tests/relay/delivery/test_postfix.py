"""A real Postfix accepts what relay sends, and relays it unchanged."""

from __future__ import annotations

import asyncio
import os

import dkim
import pytest
import trustme
from cryptography.hazmat.primitives.asymmetric import rsa

from services.relay.configuration.model import QueueSettings
from services.relay.model.attempt import OutgoingMessage, OutgoingRecipient, Result
from tests.peers.postfix import Postfix
from tests.peers.smtp_sink import SmtpSink
from tests.relay.delivery.conftest import SENDER, Gateway
from tests.relay.delivery.test_dkim import key, record

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="Postfix can only be started by root")

BODY = b".\r\n..dots\r\n8 bit \xc3\xa9\r\ntrailing blanks  \r\n\r\n\r\n"
MAIL = (
    b"From: ann@example.org\r\nTo: bob@example.net\r\nSubject: hello\r\nMessage-ID: <1@example.org>\r\n"
    b"Date: Thu, 1 Jan 2026 00:00:00 +0000\r\n\r\n" + BODY
)


@pytest.mark.parametrize("chunking", [True, False], ids=["bdat", "data"])
@pytest.mark.parametrize("pipelining", [True, False], ids=["pipelined", "step-by-step"])
async def test_postfix_accepts_and_relays_mail_byte_for_byte(
    gateway: Gateway, smtp_sink: SmtpSink, certificates: trustme.CA, chunking: bool, pipelining: bool
) -> None:
    discarded = [] if pipelining else ["pipelining"]
    settings = {
        "smtpd_discard_ehlo_keywords": ",".join(discarded + ([] if chunking else ["chunking"])),
        "smtp_tls_security_level": "none",
        "smtpd_tls_security_level": "may" if pipelining else "encrypt",
    }
    certificate = certificates.issue_cert("127.0.0.1")
    postfix = await asyncio.to_thread(Postfix(smtp_sink.address, certificate=certificate, settings=settings).start)
    try:
        private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        gateway.options_are(chunking=chunking)
        gateway.configuration_is(
            dkim_keys={"example.org": (key(private),)}, queue=QueueSettings(max_messages_per_connection=3)
        )
        gateway.by_relay_host(postfix)  # type: ignore[arg-type]
        for number in range(5):
            message = OutgoingMessage(f"q{number}", SENDER, MAIL, account_login="ann", envelope_id=b"e%d" % number)
            outcomes = await gateway.deliver(
                OutgoingRecipient(0, b"bob@example.net"), OutgoingRecipient(1, b"eve@example.net"), message=message
            )
            assert {outcome.result for outcome in outcomes} == {Result.DELIVERED}
            assert all(outcome.tls.startswith("TLSv1") and outcome.dsn_passed_on for outcome in outcomes)
        received = await smtp_sink.messages_came(5, 60)
    finally:
        await asyncio.to_thread(postfix.stop)
    for relayed in received:
        assert relayed.content.endswith(MAIL)
        assert relayed.body == BODY
        # Postfix added its Received field above the signature, which is still valid.
        keys = {b"sel-2026.a._domainkey.example.org.": record(private).encode()}
        assert dkim.verify(relayed.content, dnsfunc=lambda name, timeout=5, keys=keys: keys.get(name, b""))


async def test_postfix_refuses_one_recipient_and_accepts_the_other(gateway: Gateway, smtp_sink: SmtpSink) -> None:
    settings = {"smtpd_recipient_restrictions": "check_recipient_access inline:{nobody@example.net=REJECT}, permit"}
    postfix = await asyncio.to_thread(Postfix(smtp_sink.address, settings=settings).start)
    try:
        gateway.by_relay_host(postfix)  # type: ignore[arg-type]
        outcomes = await gateway.deliver(b"nobody@example.net", b"bob@example.net", content=MAIL)
        assert [(outcome.result, outcome.code) for outcome in outcomes] == [
            (Result.FAILED, 554),
            (Result.DELIVERED, 250),
        ]
    finally:
        await asyncio.to_thread(postfix.stop)
