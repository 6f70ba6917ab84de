"""A test message that is refused: which of the replies are shown."""

from __future__ import annotations

import smtplib
from typing import Any, cast

import pytest

from services.command_line.sending import _ContentRefusedError, _message, _submit

RECIPIENTS = ["anna@ours.test", "nobody@ours.test"]


class Server:
    """The answers of `smtplib.SMTP`. `data` is the reply to DATA, or to the content when `takes_data` is true."""

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
