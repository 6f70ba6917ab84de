"""`posthouse demo`: a throw-away suite, mail sent through it, and what became of each message."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import secrets
import smtplib
import socket
import ssl
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.message import EmailMessage
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from services.suite.demo_peers import MailServer, Nameserver, self_signed
from services.suite.output import ConsoleOutput
from services.suite.sockets import sockets_of
from services.suite.topology import SERVICES, lay_out
from services.suite.up import Suite, SuiteError

HOST = "127.0.0.1"
MX_HOST = "127.0.0.9"
SMARTHOST_LOGIN = "gateway"
ALICE = "alice@ours.example"
FATE_SECONDS = 30.0
_PAUSE_SECONDS = 0.05
_PREFIXES = ("POSTHOUSE_", *(f"{service.upper()}_" for service in SERVICES))


@dataclass(frozen=True, slots=True)
class Case:
    """One message of the demonstration, and what must become of it."""

    title: str
    recipient: str
    expected: str
    # The fate so far; equal to `expected` when it came out right.
    fate: Callable[[], str]


class Api:
    """The HTTP API, called as another system would."""

    def __init__(self, base: str, key: str) -> None:
        self._base = base
        self._key = key

    def call(self, method: str, path: str, body: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> Any:
        """The answer's JSON. Raises SuiteError with the problem's title when the API refuses."""
        answer, _ = self._call(method, path, body, headers or {})
        return answer

    def change(self, path: str, patch: Mapping[str, Any]) -> None:
        """A merge patch onto the settings as they are now."""
        _, etag = self._call("GET", path, None, {})
        self._call("PATCH", path, patch, {"If-Match": etag, "Content-Type": "application/merge-patch+json"})

    def settle(self, path: str, question: Mapping[str, Any]) -> None:
        """Returns when a service answers this question by the newest revision. Raises SuiteError after FATE_SECONDS."""
        newest = self._call("GET", "/v1/revisions?limit=1", None, {})[0]["items"][0]["number"]
        deadline = time.monotonic() + FATE_SECONDS
        while self.call("POST", path, question)["snapshot_revision"] < newest:
            if time.monotonic() > deadline:
                raise SuiteError(f"{path} does not answer by revision {newest} after {FATE_SECONDS:g} s")
            time.sleep(_PAUSE_SECONDS)

    def _call(
        self, method: str, path: str, body: Mapping[str, Any] | None, headers: Mapping[str, str]
    ) -> tuple[Any, str]:
        request = urllib.request.Request(  # noqa: S310 - our own API on loopback
            self._base + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {self._key}", "Content-Type": "application/json", **headers},
        )
        try:
            with urllib.request.urlopen(request, timeout=10) as response:  # noqa: S310
                return json.load(response), response.headers.get("ETag", "")
        except urllib.error.HTTPError as error:
            raise SuiteError(f"{method} {path}: {error.code} {error.read().decode(errors='replace')}") from error


async def run() -> int:
    """Runs the demonstration; 0 when every message came out right."""
    console = Console()
    lines: list[str] = []
    with tempfile.TemporaryDirectory(prefix="posthouse-demo-") as name:
        folder = Path(name)
        try:
            with contextlib.ExitStack() as stack:
                right = await _demonstrate(folder, stack, console, lines.append)
        except SuiteError as error:
            console.print(f"posthouse demo: {error}", markup=False)
            right = False
    if not right:
        console.print("The services said:", *map(str.rstrip, lines[-60:]), sep="\n  ", markup=False, highlight=False)
    return 0 if right else 1


async def _demonstrate(
    folder: Path, stack: contextlib.ExitStack, console: Console, print_line: Callable[[str], None]
) -> bool:
    smarthost_password = secrets.token_urlsafe(12)
    mx = MailServer("mx.far.example")
    smarthost = MailServer("smart.example", self_signed(folder, "smart.example"), SMARTHOST_LOGIN, smarthost_password)
    nameserver = Nameserver(
        {
            ("far.example", "MX"): ("10 mx.far.example.",),
            ("mx.far.example", "A"): (MX_HOST,),
            ("smart.example", "A"): (HOST,),
        }
    )
    mx_port, smarthost_port = await mx.start(MX_HOST, 0), await smarthost.start(HOST, 0)
    environment = _environment(folder, await nameserver.start(), mx_port)
    sockets = stack.enter_context(sockets_of(folder, environment))
    processes = lay_out(environment, sockets=sockets)
    suite = Suite(processes, folder, ConsoleOutput(print_line, max(len(process.name) for process in processes)))
    console.print("Starting the suite, a name server and two mail servers on loopback …")
    try:
        await suite.start()
        api = Api(f"http://{HOST}:{environment['CONFIG_API_PORT']}", (folder / "admin-key").read_text().strip())
        password = secrets.token_urlsafe(12)
        await asyncio.to_thread(_configure, api, folder, password, smarthost_port, smarthost_password)
        cases = _cases(folder, mx, smarthost)
        replies = await asyncio.to_thread(_send_all, int(environment["INGRESS_SUBMISSION_PORT"]), password, cases)
        refusal = await asyncio.to_thread(_send_as_stranger, int(environment["INGRESS_SMTP_PORT"]))
        await _settled(cases)
        return _report(console, cases, replies, refusal)
    finally:
        await suite.stop()
        await mx.stop()
        await smarthost.stop()
        nameserver.stop()


def _environment(folder: Path, nameserver: str, mx_port: int) -> dict[str, str]:
    ports = (
        "CONFIG_API_PORT",
        *("INGRESS_SMTP_PORT", "INGRESS_SUBMISSION_PORT", "INGRESS_SMTPS_PORT"),
    )
    return {
        # The settings of the suite that may run here are not the demonstration's.
        **{name: value for name, value in os.environ.items() if not name.upper().startswith(_PREFIXES)},
        "POSTHOUSE_DATA_DIR": str(folder),
        "POLICY_NAMESERVERS": nameserver,
        "RELAY_NAMESERVERS": nameserver,
        "INGRESS_NAMESERVERS": nameserver,
        "CONSOLE_PORT": "0",
        "RELAY_MX_PORT": str(mx_port),
        # The demonstration's Internet is on loopback, where mail must never go otherwise.
        "RELAY_PROHIBITED_NETWORKS": "",
        **dict(zip(ports, map(str, _free_ports(len(ports))), strict=True)),
    }


def _free_ports(count: int) -> list[int]:
    listeners = [socket.create_server((HOST, 0)) for _ in range(count)]
    ports = [listener.getsockname()[1] for listener in listeners]
    for listener in listeners:
        listener.close()
    return ports


def _configure(api: Api, folder: Path, password: str, smarthost_port: int, smarthost_password: str) -> None:
    api.change("/v1/settings/general", {"profile": {"hostname": "gateway.ours.example"}})
    api.call(
        "POST",
        "/v1/local-domains",
        {"name": "ours.example", "mailbox": {"kind": "maildir", "path": str(folder / "mail")}},
    )
    api.call("POST", "/v1/accounts", {"login": "alice", "password": password, "addresses": [ALICE]})
    api.settle("/v1/explain/session", {"kind": "hypothetical", "facts": {"stage": "connect", "client_address": HOST}})
    api.call(
        "POST",
        "/v1/relay-rules",
        {
            "name": "partners through the smart host",
            "type": "recipient",
            "target_type": "domain",
            "targets": ["partner.example"],
            "relay_host": {
                "host": "smart.example",
                "port": smarthost_port,
                "always_tls": True,
                "verify_certificate": False,
                "auth": {"username": SMARTHOST_LOGIN, "password": smarthost_password},
            },
        },
    )
    api.settle("/v1/explain/route", {"recipient": ALICE})


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
    """Logs in over STARTTLS and sends each case's message; the reply to each recipient."""
    replies = {}
    context = ssl.create_default_context()
    # The suite's first certificate is its own; a real client would have it checked.
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
    """Someone who has not logged in asks to relay; the answer's code and enhanced code."""
    with smtplib.SMTP(HOST, port, timeout=30) as client:
        client.ehlo("stranger.example")
        client.mail("someone@stranger.example")
        code, text = client.rcpt("bob@far.example")
    return f"{code} {text.split(b' ', 1)[0].decode()}"


async def _settled(cases: tuple[Case, ...]) -> None:
    """Waits until every fate is as expected, at most FATE_SECONDS."""
    try:
        async with asyncio.timeout(FATE_SECONDS):
            while any(case.fate() != case.expected for case in cases):  # noqa: ASYNC110 - files and peers are asked
                await asyncio.sleep(_PAUSE_SECONDS)
    except TimeoutError:
        return


def _report(console: Console, cases: tuple[Case, ...], replies: Mapping[str, str], refusal: str) -> bool:
    table = Table(title="What became of each message")
    table.add_column("message")
    # Addresses are never cut, however narrow the terminal is; the other columns wrap.
    table.add_column("recipient", no_wrap=True)
    for column in ("answer", "what became of it", ""):
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
