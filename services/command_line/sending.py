"""`posthouse send-test`: sends one message through the suite's own listeners, and shows the replies and the result."""

from __future__ import annotations

import shlex
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from services.command_line.connection import connected
from services.command_line.failures import CommandError, ExitStatus
from services.command_line.operations import call
from services.command_line.output import AsJson, print_json, printable, read_secret
from services.command_line.timeline import print_message

if TYPE_CHECKING:
    import smtplib
    import ssl
    from email.message import EmailMessage

    from posthouse_client import Posthouse

_UNFINISHED = ("active", "unknown")
_TLS_PORTS = (465, 8465)
_SECONDS = 60.0


def send_test(
    to: Annotated[list[str], typer.Option(help="Recipient. Repeat the option for further recipients.")],
    from_: Annotated[str, typer.Option("--from", help="Envelope sender. An empty text is the null sender.")] = "",
    server: Annotated[str, typer.Option(help="HOST:PORT at which the suite receives mail.")] = "127.0.0.1:8025",
    login: Annotated[
        str, typer.Option(help="Account to log in with. Its password is asked for, or read from standard input.")
    ] = "",
    wait: Annotated[float, typer.Option(min=0, help="Seconds to wait for the first attempt.")] = 30.0,
    as_json: AsJson = False,
) -> None:
    """Send a small message, and show what becomes of it."""
    import smtplib

    host, _, port = server.rpartition(":")
    if not host or not port.isdecimal():
        raise CommandError("--server is HOST:PORT", ExitStatus.USAGE)
    password = read_secret("Password") if login else ""
    message = _message(from_, to)
    try:
        with _connect(host.strip("[]"), int(port)) as client:
            submitted = _submit(client, message, from_, to, login, password)
    except _ContentRefusedError as error:
        raise CommandError(f"refused: {error}{_hint(to)}") from None
    except smtplib.SMTPRecipientsRefused as error:
        raise CommandError(f"refused: {_refusal(error)}{_hint(to)}") from None
    except smtplib.SMTPServerDisconnected as error:
        raise CommandError(f"{server} ended the connection: {error}", ExitStatus.NOT_REACHABLE) from None
    except smtplib.SMTPException as error:
        raise CommandError(f"refused: {_refusal(error)}") from None
    except OSError as error:
        raise CommandError(f"{server} is not reachable: {error}", ExitStatus.NOT_REACHABLE) from None
    with connected() as posthouse:
        shown = _until_tried(posthouse, submitted.queue_id, wait)
    if as_json:
        print_json({**shown, "replies": submitted.replies})
    else:
        for recipient, reply in submitted.replies.items():
            typer.echo(f"{recipient}: {printable(reply)}")
        print_message(shown)
    refused = [recipient for recipient, reply in submitted.replies.items() if not reply.startswith("2")]
    if refused:
        raise CommandError(f"refused for {', '.join(refused)}{_hint(refused)}")
    if shown["state"] == "bounced":
        raise CommandError("the message was not delivered")


def _hint(refused: list[str]) -> str:
    return f"; `posthouse why {shlex.quote(printable(refused[0]))}` says by which rule"


def _connect(host: str, port: int) -> smtplib.SMTP:
    """Connects. At the ports that have implicit TLS by default, TLS begins before the greeting."""
    import smtplib

    if port in _TLS_PORTS:
        return smtplib.SMTP_SSL(host, port, timeout=_SECONDS, context=_unverified())
    return smtplib.SMTP(host, port, timeout=_SECONDS)


def _unverified() -> ssl.SSLContext:
    """Returns a TLS context that checks no certificate, because the connection goes to the operator's own suite. Other
    commands check the certificate.
    """
    import ssl

    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


class _ContentRefusedError(Exception):
    """The content was refused after recipients had been accepted. The text has the reply to the content, and the
    replies to RCPT.
    """


@dataclass(frozen=True, slots=True)
class _Submitted:
    """A message that the suite accepted: its queue id, and the reply for each recipient."""

    queue_id: str
    replies: dict[str, str]


def _message(sender: str, recipients: list[str]) -> EmailMessage:
    import socket
    from email.message import EmailMessage
    from email.utils import formatdate, make_msgid

    message = EmailMessage()
    message["From"] = sender or f"postmaster@{socket.gethostname()}"
    message["To"] = ", ".join(recipients)
    message["Subject"] = "Posthouse test message"
    message["Date"] = formatdate()
    message["Message-ID"] = make_msgid(domain="posthouse.invalid")
    message["Auto-Submitted"] = "auto-generated"
    message.set_content("This message shows that mail is accepted and delivered. It needs no answer.\n")
    return message


def _submit(
    client: smtplib.SMTP, message: EmailMessage, sender: str, recipients: list[str], login: str, password: str
) -> _Submitted:
    """Sends to the recipients that are not refused. Raises smtplib.SMTPException when the session, the sender or all
    recipients are refused, and _ContentRefusedError when the content is refused.
    """
    import email.policy
    import smtplib

    client.ehlo()
    if login:
        if not isinstance(client, smtplib.SMTP_SSL):
            client.starttls(context=_unverified())
            client.ehlo()
        # After a refusal, smtplib would try the next mechanism. A wrong password would then count twice.
        if offered := client.esmtp_features.get("auth", "").split():
            client.esmtp_features["auth"] = "PLAIN" if "PLAIN" in offered else offered[0]
        client.login(login, password)
    code, text = client.mail(sender)
    if code >= 400:
        raise smtplib.SMTPResponseException(code, text)
    replies = {recipient: client.rcpt(recipient) for recipient in recipients}
    if all(code >= 400 for code, _ in replies.values()):
        raise smtplib.SMTPRecipientsRefused(replies)
    shown = {recipient: _reply(*reply) for recipient, reply in replies.items()}
    reply: bytes | str
    try:
        code, reply = client.data(message.as_bytes(policy=email.policy.SMTP))
    except smtplib.SMTPDataError as error:
        # The command itself was refused, before any content was sent.
        code, reply = error.smtp_code, error.smtp_error
    if code >= 400:
        of_recipients = (f"{recipient}: {printable(told)}" for recipient, told in shown.items())
        raise _ContentRefusedError("; ".join((printable(_reply(code, reply)), *of_recipients)))
    queue_id = _text(reply).split()[-1].rstrip(".")
    return _Submitted(queue_id, shown)


def _reply(code: int, text: bytes | str) -> str:
    return f"{code} {_text(text)}"


def _text(text: bytes | str) -> str:
    return text.decode("utf-8", "replace") if isinstance(text, bytes) else text


def _refusal(error: smtplib.SMTPException) -> str:
    import smtplib

    if isinstance(error, smtplib.SMTPRecipientsRefused):
        replies = {recipient: _reply(*reply) for recipient, reply in error.recipients.items()}
        if len(replies) == 1:
            return printable(*replies.values())
        return "; ".join(f"{recipient}: {printable(reply)}" for recipient, reply in replies.items())
    if isinstance(error, smtplib.SMTPResponseException):
        return printable(_reply(error.smtp_code, error.smtp_error))
    return printable(str(error))


def _until_tried(posthouse: Posthouse, queue_id: str, seconds: float) -> dict[str, Any]:
    """Returns the message when its result is known, an attempt was made, or the time is over."""
    deadline = time.monotonic() + seconds
    while True:
        message: dict[str, Any] = call(posthouse, "queue.get_message", queue_id)
        if message["state"] not in _UNFINISHED or time.monotonic() > deadline:
            return message
        time.sleep(0.2)
