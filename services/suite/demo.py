"""`posthouse demo`: sends mail through a temporary suite, and shows the result of each message."""

from __future__ import annotations

import asyncio
import smtplib
import ssl
import tempfile
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.message import EmailMessage
from pathlib import Path

from rich.console import Console
from rich.table import Table

from services.suite.demo_peers import MailServer
from services.suite.demo_world import ALICE, FATE_SECONDS, HOST, PAUSE_SECONDS, running
from services.suite.up import SuiteError

_SHOWN_LINES = 60


@dataclass(frozen=True, slots=True)
class Case:
    """One message of the demonstration, and its expected result."""

    title: str
    recipient: str
    expected: str
    # The result so far. It equals `expected` when the message was handled correctly.
    fate: Callable[[], str]


async def run() -> int:
    """Runs the demonstration. Returns 0 when every message has the expected result."""
    console = Console()
    lines: deque[str] = deque(maxlen=_SHOWN_LINES)
    with tempfile.TemporaryDirectory(prefix="posthouse-demo-") as name:
        try:
            right = await _demonstrate(Path(name), console, lines.append)
        except SuiteError as error:
            console.print(f"posthouse demo: {error}", markup=False)
            right = False
    if not right:
        console.print("The services said:", *map(str.rstrip, lines), sep="\n  ", markup=False, highlight=False)
    return 0 if right else 1


async def _demonstrate(folder: Path, console: Console, print_line: Callable[[str], None]) -> bool:
    console.print("Starting the suite, a name server and two mail servers on loopback …")
    async with running(folder, print_line) as world:
        cases = _cases(folder, world.mx, world.smarthost)
        replies = await asyncio.to_thread(_send_all, world.port("INGRESS_SUBMISSION_PORT"), world.password, cases)
        refusal = await asyncio.to_thread(_send_as_stranger, world.port("INGRESS_SMTP_PORT"))
        await _settled(cases)
        return _report(console, cases, replies, refusal)


def _cases(folder: Path, mx: MailServer, smarthost: MailServer) -> tuple[Case, ...]:
    def at(server: MailServer) -> Callable[[], str]:
        def fate() -> str:
            if not server.received:
                return "not there"
            message = server.received[0]
            found = ["delivered to " + server.name]
            if message.tls:
                found.append("TLS")
            if message.login:
                found.append("AUTH")
            return ", ".join(found) if len(server.received) == 1 else f"{len(server.received)} copies"

        return fate

    def in_maildir() -> str:
        found = list((folder / "mail" / "alice" / "new").glob("*"))
        return "in alice's maildir" if len(found) == 1 else f"{len(found)} copies"

    return (
        Case("by MX", "bob@far.example", "delivered to mx.far.example", at(mx)),
        Case("by relay rule", "carol@partner.example", "delivered to smart.example, TLS, AUTH", at(smarthost)),
        Case("to a local account", ALICE, "in alice's maildir", in_maildir),
    )


def _message(recipient: str) -> EmailMessage:
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = ALICE, recipient, "A demonstration"
    message.set_content("Sent through Posthouse.\n.a line that starts with a dot\n")
    return message


def _send_all(port: int, password: str, cases: tuple[Case, ...]) -> dict[str, str]:
    """Logs in over STARTTLS and sends the message of each case. Returns the reply to each recipient."""
    replies = {}
    context = ssl.create_default_context()
    # The suite's first certificate is self-signed. A real client would check the certificate.
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with smtplib.SMTP(HOST, port, timeout=30) as client:
        client.starttls(context=context)
        client.login("alice", password)
        for case in cases:
            try:
                client.send_message(_message(case.recipient))
                replies[case.recipient] = "250"
            except smtplib.SMTPException as error:
                replies[case.recipient] = str(error)
    return replies


def _send_as_stranger(port: int) -> str:
    """Requests relaying without a login. Returns the code and the enhanced code of the answer."""
    with smtplib.SMTP(HOST, port, timeout=30) as client:
        client.ehlo("stranger.example")
        client.mail("someone@stranger.example")
        code, text = client.rcpt("bob@far.example")
    return f"{code} {text.split(b' ', 1)[0].decode()}"


async def _settled(cases: tuple[Case, ...]) -> None:
    """Waits until every result is as expected, for at most FATE_SECONDS."""
    try:
        async with asyncio.timeout(FATE_SECONDS):
            while any(case.fate() != case.expected for case in cases):  # noqa: ASYNC110 - files and peers are asked
                await asyncio.sleep(PAUSE_SECONDS)
    except TimeoutError:
        return


def _report(console: Console, cases: tuple[Case, ...], replies: Mapping[str, str], refusal: str) -> bool:
    table = Table(title="Result of each message")
    table.add_column("message")
    # Addresses are never truncated, however narrow the terminal is. The other columns wrap.
    table.add_column("recipient", no_wrap=True)
    for column in ("answer", "result", ""):
        table.add_column(column)
    right = True
    for case in cases:
        fate, answer = case.fate(), replies[case.recipient]
        good = fate == case.expected and answer == "250"
        right &= good
        table.add_row(case.title, case.recipient, answer, fate, "right" if good else f"expected {case.expected}")
    good = refusal == "554 5.7.1"
    right &= good
    table.add_row("from a stranger", "bob@far.example", refusal, "refused", "right" if good else "expected 554 5.7.1")
    console.print(table)
    return right
