"""`posthouse send-test` submits a message and shows the replies of the server."""

from __future__ import annotations

import smtplib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult

from services.command_line import sending
from services.command_line.failures import CommandError
from services.command_line.sending import _connect, _ContentRefusedError, _message, _submit
from tests.peers.ports import free_port

RECIPIENTS = ["anna@ours.test", "nobody@ours.test"]


class Server:
    """Stands in for `smtplib.SMTP`. `data` is the reply to the content, or to DATA when `takes_data` is false."""

    def __init__(self, data: tuple[int, bytes], *, takes_data: bool = True) -> None:
        self._data = data
        self._takes_data = takes_data

    def ehlo(self) -> tuple[int, bytes]:
        return 250, b"gw.test"

    def mail(self, sender: str) -> tuple[int, bytes]:
        return 250, b"2.1.0 Ok"

    def rcpt(self, recipient: str) -> tuple[int, bytes]:
        return (550, b"5.1.1 No such user here") if recipient.startswith("nobody") else (250, b"2.1.5 Ok")

    def data(self, content: bytes) -> tuple[int, bytes]:
        if not self._takes_data:
            raise smtplib.SMTPDataError(*self._data)
        return self._data


def submit(server: Server) -> Any:
    return _submit(cast("smtplib.SMTP", server), _message("", RECIPIENTS), "", RECIPIENTS, "", "")


@pytest.mark.parametrize("takes_data", [True, False])
def test_a_refused_message_shows_the_reply_to_each_recipient(takes_data: bool) -> None:
    with pytest.raises(_ContentRefusedError) as refused:
        submit(Server((554, b"5.5.1 No valid recipients"), takes_data=takes_data))
    assert str(refused.value) == (
        "554 5.5.1 No valid recipients; anna@ours.test: 250 2.1.5 Ok; nobody@ours.test: 550 5.1.1 No such user here"
    )


def test_an_accepted_message_has_a_queue_id_and_each_reply() -> None:
    submitted = submit(Server((250, b"2.0.0 Message accepted as 6B0D566E00001")))
    assert submitted.queue_id == "6B0D566E00001"
    assert submitted.replies["nobody@ours.test"] == "550 5.1.1 No such user here"


def test_a_refusal_names_the_command_that_shows_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    @contextmanager
    def connect(host: str, port: int) -> Iterator[Server]:
        yield Server((250, b"2.0.0 Ok"))

    monkeypatch.setattr(sending, "_connect", connect)
    with pytest.raises(CommandError, match=r"5.1.1 No such user here; `posthouse why nobody@ours.test` says"):
        sending.send_test(["nobody@ours.test"])


@pytest.mark.parametrize("port", [8465, 465])
def test_the_connection_to_a_port_with_implicit_tls_begins_with_tls(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[tuple[type, int]] = []
    for kind in (smtplib.SMTP, smtplib.SMTP_SSL):

        def make(host: str, port: int, kind: type = kind, **_: Any) -> str:
            opened.append((kind, port))
            return host

        monkeypatch.setattr(smtplib, kind.__name__, make)
    _connect("127.0.0.1", port)
    _connect("127.0.0.1", 8587)
    assert [(kind.__name__, port) for kind, port in opened] == [("SMTP_SSL", port), ("SMTP", 8587)]


def test_a_wrong_password_is_sent_only_once(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[str] = []

    def refuse(server: object, session: object, envelope: object, mechanism: str, data: object) -> AuthResult:
        tried.append(mechanism)
        return AuthResult(success=False, handled=False)

    controller = Controller(
        object(), hostname="127.0.0.1", port=free_port(), authenticator=refuse, auth_require_tls=False
    )
    controller.start()
    try:
        with smtplib.SMTP(controller.hostname, controller.port, timeout=60) as client:
            monkeypatch.setattr(client, "starttls", lambda **_: None)
            with pytest.raises(smtplib.SMTPAuthenticationError):
                _submit(client, _message("", RECIPIENTS), "", RECIPIENTS, "anna", "wrong")
    finally:
        controller.stop()
    assert tried == ["PLAIN"]
