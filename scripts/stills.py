"""Makes stills of the main commands for README and docs, as SVG files, from a suite that runs here with mail on
loopback. Values that differ from run to run (times, ids and addresses) are replaced by fixed ones of the same length.
"""

from __future__ import annotations

import datetime
import hashlib
import io
import re
import shlex
import smtplib
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

from tests.command_line.posthouse import CommandLine
from tests.e2e import world
from tests.peers.dns import DnsServer
from tests.peers.process import until
from tests.peers.smtp_sink import SmtpSink, Stage, reply
from tests.peers.suite import Suite

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "docs" / "stills"
WIDTH = 124
# The command of each still, by the name of the still.
COMMANDS = {
    "status": "posthouse status",
    "queue-destinations": "posthouse queue destinations",
    "queue-shape": "posthouse queue shape",
    "trace": "posthouse trace anna@example.org",
    "why": "posthouse why --client 192.0.2.44 --from sales@partner.example --to nobody@example.com",
    "doctor": "posthouse doctor example.com --all",
    "top": "posthouse top --once",
    "config-diff": "posthouse config diff",
}
# The SVG template of the library rich, without fonts from other servers and without the line that names rich.
_FORMAT = """\
<svg class="rich-terminal" viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg">
<style>
.{unique_id}-matrix {{
font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace;
font-size: {char_height}px;
line-height: {line_height}px;
}}
.{unique_id}-title {{ font-size: 18px; font-weight: bold; font-family: ui-monospace, Menlo, Consolas, monospace; }}
{styles}
</style>
<defs>
<clipPath id="{unique_id}-clip-terminal">
<rect x="0" y="0" width="{terminal_width}" height="{terminal_height}"/>
</clipPath>
{lines}
</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g>
</g>
</svg>
"""
# The patterns of values that differ from run to run.
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|\+00:00)")
_LOOPBACK = re.compile(r"\b127\.0\.0\.(\d+)\b")
# A warning that is removed, because it depends on the user who makes the stills.
_OF_THE_USER = "runs as root"
_BEGINNING = datetime.datetime(2026, 1, 5, 9, 0, tzinfo=datetime.UTC)
# The ages in minutes that the waiting messages are given.
_AGES = (2, 3, 7, 16, 33, 33, 70, 150, 300, 700)
_IDENTIFIER = re.compile(r"\b(?:[0-9a-f]{32}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})\b")


@dataclass(slots=True)
class World:
    """A gateway of example.com in front of that domain's mailbox server, and the servers of three other domains."""

    suite: Suite
    names: DnsServer
    example_org: SmtpSink
    mailbox_server: SmtpSink


@contextmanager
def world_of_examples() -> Iterator[World]:
    # The servers of the other domains are on loopback. The stills show an address of RFC 5737 in place of each address.
    with (
        DnsServer() as names,
        SmtpSink(host="127.0.0.25") as example_org,
        SmtpSink(host="127.0.0.30", port=example_org.port) as mailbox_server,
        Suite({"RELAY_MX_PORT": str(example_org.port)}, nameservers=names.address, metrics=False) as suite,
    ):
        for name, address in (
            ("example.org", "127.0.0.25"),
            ("example.net", "127.0.0.26"),
            ("slow.example", "127.0.0.27"),
        ):
            names.add(name, "MX", f"10 mx.{name}.")
            names.add(f"mx.{name}", "A", address)
        names.add("mailbox.example.com", "A", "127.0.0.30")
        names.add("example.com", "MX", "10 mail.example.com.")
        names.add("example.com", "TXT", "v=spf1 mx -all")
        names.add("mail.example.com", "A", suite.host)
        names.ptr(suite.host, "mail.example.com")
        configure(suite, mailbox_server.port)
        yield World(suite, names, example_org, mailbox_server)


def configure(suite: Suite, port: int) -> None:
    world.change(suite, "/v1/settings/general", {"profile": {"hostname": "mail.example.com"}})
    # Otherwise the senders of mail that is hours old would get delay notices.
    world.change(suite, "/v1/settings/queue", {"delay_notice_after_hours": 0})
    mailbox = {"kind": "smtp", "host": "mailbox.example.com", "port": port}
    world.create(suite, "/v1/local-domains", {"name": "example.com", "mailbox": mailbox})
    world.account(suite, "info", "info@example.com")
    world.trust_loopback(suite)
    world.until_in_force(suite)


def send(suite: Suite, recipient: str, sender: str = "news@example.com") -> None:
    with smtplib.SMTP(suite.host, suite.smtp_port, source_address=("127.0.0.44", 0), timeout=60) as client:
        client.ehlo("mail.partner.example")
        client.sendmail(sender, [recipient], world.message(sender, [recipient]))


def deliver_and_wait(scene: World) -> None:
    """Sends mail. One message is delivered at its second attempt, and one at its first. Ten wait for servers that
    cannot be reached, and two are refused. Then changes two settings.
    """
    suite = scene.suite
    scene.example_org.on(Stage.RCPT, reply("451 4.7.1 Greylisted, try again in a minute"), times=1)
    send(suite, "anna@example.org")
    posthouse = CommandLine(suite)
    until(lambda: "Greylisted" in posthouse("queue", "list"), "the first attempt was deferred")
    for number in range(len(_AGES)):
        send(suite, f"user{number}@{'slow.example' if number % 3 else 'example.net'}")
    until(lambda: posthouse("queue", "list").count("refused") >= len(_AGES), "each has been tried once")
    grow_old(suite)
    posthouse("queue", "retry", "to=anna@example.org", "--yes")
    scene.example_org.wait_for_messages(1)
    send(suite, "info@example.com", "sales@partner.example")
    scene.mailbox_server.wait_for_messages(1)
    for sender in ("a@partner.example", "b@partner.example"):
        try:
            send(suite, "nobody@example.com", sender)
        except smtplib.SMTPRecipientsRefused:
            continue
    posthouse("config", "set", "queue.expire_after_hours=72", "queue.retention_days=30")


def grow_old(suite: Suite) -> None:
    """Changes the times of waiting messages, so that they are minutes to hours old. The database may be changed because
    relay is stopped meanwhile.
    """
    suite.terminate("relay")
    with sqlite3.connect(suite.folder / "relay" / "queue.sqlite3") as database:
        rows = database.execute("SELECT id FROM messages ORDER BY received_at DESC").fetchall()
        for (identifier,), minutes in zip(rows, _AGES, strict=False):
            older = {"by": minutes * 60_000_000, "id": identifier}
            database.execute(
                "UPDATE messages SET received_at = received_at - :by, stored_at = stored_at - :by WHERE id = :id", older
            )
    database.close()
    suite.start_service("relay")


class Replacement:
    """Replaces values in the output of a command by fixed ones."""

    def __init__(self, suite: Suite) -> None:
        self._identifiers: dict[str, str] = {}
        self._ports = {str(suite.smtp_port): "25", str(suite.port("CONFIG_API_PORT")): "8080"}
        self._folder = str(suite.folder)

    def __call__(self, text: str) -> str:
        text = text.replace(self._folder, "/var/lib/posthouse")
        for port, usual in self._ports.items():
            text = re.sub(rf"\b{port}\b", usual, text)
        text = "".join(line for line in text.splitlines(keepends=True) if _OF_THE_USER not in line)
        times = sorted(set(_TIME.findall(text)))
        for number, time in enumerate(times):
            moment = _BEGINNING + datetime.timedelta(seconds=7 * number)
            text = text.replace(time, f"{moment:%Y-%m-%dT%H:%M:%SZ}".ljust(len(time)))
        text = _IDENTIFIER.sub(self._identifier, text)
        return _LOOPBACK.sub(r"192.0.2.\1", text)

    def _identifier(self, found: re.Match[str]) -> str:
        if found[0] not in self._identifiers:
            name = hashlib.md5(str(len(self._identifiers)).encode(), usedforsecurity=False).hexdigest()
            digits = iter(name)
            self._identifiers[found[0]] = "".join(letter if letter == "-" else next(digits) for letter in found[0])
        return self._identifiers[found[0]]


def still(name: str, command: str, output: str) -> str:
    """Returns an SVG that shows a command and its output."""
    console = Console(record=True, width=WIDTH, file=io.StringIO(), force_terminal=True, legacy_windows=False)
    console.print(Text.assemble(("$ ", "bold green"), (command, "bold")))
    console.print(Text.from_ansi(output.rstrip("\n")))
    svg = console.export_svg(
        title=command.partition(" ")[0], theme=MONOKAI, code_format=_FORMAT, unique_id=f"still-{name}"
    )
    return "\n".join(line.rstrip() for line in svg.splitlines() if line.strip()) + "\n"


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    with world_of_examples() as scene:
        deliver_and_wait(scene)
        replaced = Replacement(scene.suite)
        posthouse = CommandLine(scene.suite, COLUMNS=str(WIDTH), FORCE_COLOR="1", TERM="xterm-256color")
        # The options that `doctor` needs for the name server and the ports on loopback. The stills do not show them.
        stand_ins = ("--nameserver", scene.names.address, "--port", str(scene.suite.smtp_port))
        for name, command in COMMANDS.items():
            outcome = posthouse.run(*shlex.split(command)[1:], *(stand_ins if name == "doctor" else ()))
            (FOLDER / f"{name}.svg").write_text(still(name, command, replaced(outcome.output + outcome.errors)))


if __name__ == "__main__":
    main()
