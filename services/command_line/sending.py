"""`posthouse send-test`: one message through the suite's own listeners, and what becomes of it."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from services.command_line.connection import connected
from services.command_line.failures import CommandError, ExitStatus
from services.command_line.operations import call
from services.command_line.output import AsJson, print_json, printable
from services.command_line.timeline import print_message

if TYPE_CHECKING:
    import smtplib
    from email.message import EmailMessage

    from posthouse_client import Posthouse

_UNFINISHED = ("active", "unknown")


def send_test(
    to: Annotated[str, typer.Option(help="Recipient.")],
    from_: Annotated[str, typer.Option("--from", help="Envelope sender; empty: the null sender.")] = "",
    server: Annotated[str, typer.Option(help="Where the suite receives mail, as HOST:PORT.")] = "127.0.0.1:8025",
    login: Annotated[
        str, typer.Option(help="Account to log in as; its password is asked for or read from stdin.")
    ] = "",
    wait: Annotated[float, typer.Option(min=0, help="Seconds to wait for the first attempt.")] = 30.0,
    as_json: AsJson = False,
) -> None:
    """Send a small message through the suite, and show what became of it."""
    import smtplib

    host, _, port = server.rpartition(":")
    if not host or not port.isdecimal():
        raise CommandError("--server is HOST:PORT", ExitStatus.USAGE)
    password = _password() if login else ""
    message = _message(from_, to)
    try:
        with smtplib.SMTP(host.strip("[]"), int(port), timeout=60) as client:
            queue_id = _submit(client, message, from_, to, login, password)
    except smtplib.SMTPException as error:
        raise CommandError(f"refused: {_refusal(error)}") from None
    except OSError as error:
        raise CommandError(f"{server} is not reachable: {error}", ExitStatus.NOT_REACHABLE) from None
    with connected() as posthouse:
        shown = _until_tried(posthouse, queue_id, wait)
    print_json(shown) if as_json else print_message(shown)
    if shown["state"] == "bounced":
        raise CommandError("it was not delivered")


def _password() -> str:
    return str(typer.prompt("Password", hide_input=True)) if sys.stdin.isatty() else sys.stdin.readline().rstrip("\n")


def _message(sender: str, recipient: str) -> EmailMessage:
    import socket
    from email.message import EmailMessage
    from email.utils import formatdate, make_msgid

    message = EmailMessage()
    message["From"] = sender or f"postmaster@{socket.gethostname()}"
    message["To"] = recipient
    message["Subject"] = "Posthouse test message"
    message["Date"] = formatdate()
    message["Message-ID"] = make_msgid(domain="posthouse.invalid")
    message["Auto-Submitted"] = "auto-generated"
    message.set_content("This message shows that mail is taken and delivered. It needs no answer.\n")
    return message


def _submit(client: smtplib.SMTP, message: EmailMessage, sender: str, recipient: str, login: str, password: str) -> str:
    """The queue id that the reply names. Raises smtplib.SMTPException with the reply of a refusal."""
    import email.policy
    import smtplib
    import ssl

    client.ehlo()
    if login:
        # Whether the certificate is valid is another test's matter; this one goes to the operator's own suite.
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        client.starttls(context=context)
        client.login(login, password)
    for code, reply in (
        client.mail(sender),
        client.rcpt(recipient),
        client.data(message.as_bytes(policy=email.policy.SMTP)),
    ):
        if code >= 400:
            raise smtplib.SMTPResponseException(code, reply)
    return reply.decode("ascii", "replace").split()[-1].rstrip(".")


def _refusal(error: smtplib.SMTPException) -> str:
    import smtplib

    if isinstance(error, smtplib.SMTPResponseException):
        text = error.smtp_error.decode("utf-8", "replace") if isinstance(error.smtp_error, bytes) else error.smtp_error
        return printable(f"{error.smtp_code} {text}")
    return printable(str(error))


def _until_tried(posthouse: Posthouse, queue_id: str, seconds: float) -> dict[str, Any]:
    """The message once its fate is known, or an attempt has been made, or the time is over."""
    deadline = time.monotonic() + seconds
    while True:
        message: dict[str, Any] = call(posthouse, "queue.get_message", queue_id)
        if message["state"] not in _UNFINISHED or time.monotonic() > deadline:
            return message
        time.sleep(0.2)
