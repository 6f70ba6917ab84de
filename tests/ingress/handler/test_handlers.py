"""aiosmtpd's own handlers, and three like those that people publish, used by a worker of ingress."""

from __future__ import annotations

import mailbox
from pathlib import Path

import pytest

from tests.ingress.handler.conftest import MESSAGE, StartWith, handler_of, send
from tests.peers.smtp_sink import SmtpSink
from tests.peers.web import WebServer


async def test_the_handler_debugging_of_aiosmtpd_works(start_with: StartWith) -> None:
    ingress = await start_with("debugging")
    client = await ingress.client()
    assert (await send(client)).code == 250
    printed = handler_of(ingress).stream.getvalue()
    assert "Subject: hello" in printed
    assert "X-Peer: ('127.0.0.1', " in printed
    (stored,) = ingress.relay.messages
    assert stored.content.endswith(MESSAGE)


async def test_the_handler_proxy_of_aiosmtpd_works(
    start_with: StartWith, smtp_sink: SmtpSink, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SITE_NEXT_HOP", f"{smtp_sink.host}:{smtp_sink.port}")
    ingress = await start_with("proxy")
    client = await ingress.client()
    assert (await send(client, "alice@example.com", "bob@example.com")).code == 250
    (copy,) = await smtp_sink.messages_came(1)
    assert copy.accepted_recipients == [b"alice@example.com", b"bob@example.com"]
    assert b"X-Peer: 127.0.0.1" in copy.content
    assert len(ingress.relay.messages) == 1


async def test_mail_is_accepted_when_the_handler_proxy_reaches_no_server(
    start_with: StartWith, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SITE_NEXT_HOP", "127.0.0.1:1")
    ingress = await start_with("proxy")
    client = await ingress.client()
    # The handler reached nobody, but the client gets 250, and relay has the message.
    assert (await send(client)).code == 250
    assert len(ingress.relay.messages) == 1


async def test_the_handler_sink_has_no_hook_and_mail_continues(start_with: StartWith) -> None:
    ingress = await start_with("sink")
    client = await ingress.client()
    assert (await send(client)).code == 250
    assert len(ingress.relay.messages) == 1
    assert not ingress.metrics.handler_calls


async def test_the_handler_mailbox_of_aiosmtpd_works(
    start_with: StartWith, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SITE_MAILDIR", str(tmp_path / "maildir"))
    ingress = await start_with("mailbox")
    client = await ingress.client()
    assert (await send(client)).code == 250
    (copy,) = mailbox.Maildir(tmp_path / "maildir")
    assert (copy["Subject"], copy["X-RcptTo"]) == ("hello", "alice@example.com")
    (stored,) = ingress.relay.messages
    # The handler changed only its own copy of the message.
    assert b"X-RcptTo" not in stored.content


@pytest.mark.parametrize("factory", ["Collecting", "CollectingLater"])
async def test_the_handlers_message_and_async_message_of_aiosmtpd_work(start_with: StartWith, factory: str) -> None:
    ingress = await start_with(factory)
    client = await ingress.client()
    for _ in range(3):
        assert (await send(client)).code == 250
    messages = handler_of(ingress).messages
    assert [message["X-MailFrom"] for message in messages] == ["joe@far.test"] * 3
    assert len(ingress.relay.messages) == 3


async def test_a_handler_may_accept_only_some_domains(start_with: StartWith) -> None:
    ingress = await start_with("DomainHandler")
    client = await ingress.client()
    reply = await send(client, "alice@elsewhere.test")
    assert (reply.code, reply.text) == (550, "5.7.1 not relaying to that domain")
    assert (await client.command("RSET")).code == 250
    assert (await send(client, "alice@example.com", "bob@example.com")).code == 250
    (stored,) = ingress.relay.messages
    assert stored.recipients == [b"alice@example.com", b"bob@example.com"]
    assert "Message from joe@far.test for ['alice@example.com', 'bob@example.com']" in handler_of(ingress).printed
    await ingress.relay.until(lambda: bool(ingress.relay.refused))
    (refused,) = ingress.relay.refused
    assert (refused.code, refused.reason_id, refused.stage) == (550, "handler_refused", "RCPT")
    assert list(refused.recipients) == [b"alice@elsewhere.test"]


async def test_a_handler_may_send_mail_to_a_web_server(start_with: StartWith, monkeypatch: pytest.MonkeyPatch) -> None:
    with WebServer() as web:
        monkeypatch.setenv("SITE_WEBHOOK", f"{web.url}/mail")
        ingress = await start_with("WebhookHandler")
        client = await ingress.client()
        refused = await send(client)
        assert (refused.code, refused.enhanced) == (451, "4.7.1")
        web.answer("/mail")
        assert (await send(client)).code == 250
        request = web.requests[-1]
        assert request.body == b"hello"
        assert (request.headers["x-helo"], request.headers["x-rcpt"]) == ("client.example", "alice@example.com")
    assert len(ingress.relay.messages) == 1


async def test_a_handler_may_change_the_content(start_with: StartWith) -> None:
    ingress = await start_with("TaggingHandler")
    client = await ingress.client()
    assert (await send(client, content=b"X-Site: forged\r\n" + MESSAGE)).code == 250
    (stored,) = ingress.relay.messages
    assert b"\r\nX-Site: mx.example.com; client.example; tls=False\r\nX-Took: True\r\n\r\nBody.\r\n" in stored.content
    assert b"forged" not in stored.content
    # The email package ends lines with LF. Ingress must restore CRLF.
    assert stored.content.count(b"\n") == stored.content.count(b"\r\n")
    assert stored.submission.content_size == len(stored.content)
