"""Measures how attacks affect honest mail: `python -m bench.hostile [--only NAME,...] [--messages N] [--seconds S]`.

A new suite runs on loopback for each attack. Honest mail is measured first alone, and then during the attack. The
figures are the time from the dot to the reply, the time from the reply to the next hop, and the delay of the second try
for mail that the next hop deferred once. The arguments below limit messages and seconds.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import contextlib
import itertools
import random
import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import httpx

from bench.gateways import change
from bench.generator import PROXY_ADDRESS
from bench.report import machine
from tests.peers.dns import DnsServer
from tests.peers.dns_misbehaviour import Behaviour
from tests.peers.ports import LOOPBACK
from tests.peers.suite import Suite

HONEST = "honest.example"
# The domain in which only the addresses of accounts exist.
ACCOUNTS = "accounts.example"
SENDER = "sender@source.example"
PASSWORD = "bench-password"
# The seconds until the first retry of mail that the honest next hop defers. Relay adds up to a tenth of this.
_RETRY_SECONDS = 6.0
_JITTER = 1.1
# One of this many honest messages is deferred once.
_PUT_OFF_EVERY = 4
_HONEST_PAUSE = 0.2
# The pause of an attacker. Without a pause, an attacker that gets quick answers would mainly measure the load of the
# benchmark itself.
_ATTACKER_PAUSE = 1.0
_LARGEST_WAIT = 120.0
_BODY = b"Subject: bench\r\nFrom: <sender@source.example>\r\n\r\n" + (b"x" * 70 + b"\r\n") * 14


class RefusedError(Exception):
    """The server sent an unexpected reply. The text is the reply."""


class Client:
    """One SMTP connection of the load."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        # The seconds from the last message's dot to the reply, whatever the reply was.
        self.after_dot = 0.0

    async def reply(self) -> bytes:
        while True:
            line = await self._reader.readline()
            if not line or line[3:4] != b"-":
                return line

    async def ask(self, command: bytes) -> bytes:
        self._writer.write(command + b"\r\n")
        return await self.reply()

    async def expect(self, command: bytes, wanted: bytes = b"2") -> None:
        reply = await self.ask(command)
        if not reply.startswith(wanted):
            raise RefusedError(reply.decode(errors="replace").strip())

    async def log_in(self, login: str, password: str) -> bytes:
        secret = base64.b64encode(f"\0{login}\0{password}".encode())
        return await self.ask(b"AUTH PLAIN " + secret)

    async def send(self, recipient: str, content: bytes = _BODY, sender: str = SENDER) -> float:
        """Sends one message. Returns the seconds from the dot to the reply. Raises RefusedError."""
        await self.expect(f"MAIL FROM:<{sender}>".encode())
        await self.expect(f"RCPT TO:<{recipient}>".encode())
        await self.expect(b"DATA", b"354")
        began = time.perf_counter()
        reply = await self.ask(content + b".")
        self.after_dot = time.perf_counter() - began
        if not reply.startswith(b"2"):
            raise RefusedError(reply.decode(errors="replace").strip())
        return self.after_dot


@asynccontextmanager
async def connected(port: int, client_address: str = "") -> AsyncIterator[Client]:
    """Yields a session after EHLO. `client_address` is sent in a PROXY header."""
    origin = (PROXY_ADDRESS, 0) if client_address else None
    reader, writer = await asyncio.open_connection(LOOPBACK, port, local_addr=origin)
    try:
        if client_address:
            writer.write(f"PROXY TCP4 {client_address} {LOOPBACK} 40000 {port}\r\n".encode())
        client = Client(reader, writer)
        greeting = await client.reply()
        if not greeting.startswith(b"220"):
            raise RefusedError(greeting.decode(errors="replace").strip())
        await client.expect(b"EHLO mail.source.example")
        yield client
    finally:
        writer.close()


class NextHop:
    """An SMTP server of the benchmark. It accepts mail, and defers recipients that begin with `later` once. With `mute`
    it never answers.
    """

    def __init__(self, *, mute: bool = False, seconds: float = 0.0) -> None:
        """With `mute` it accepts connections and sends nothing. `seconds` is the time until the last reply for each
        message.
        """
        self._mute = mute
        self._seconds = seconds
        self._server: asyncio.Server | None = None
        self.port = 0
        self.connections = 0
        # For each recipient: the times when its message was complete, when it was deferred, and when it was tried
        # again.
        self.arrived: dict[str, float] = {}
        self.put_off: dict[str, float] = {}
        self.came_back: dict[str, float] = {}
        self.changed = asyncio.Condition()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, LOOPBACK, 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()

    async def wait_for(self, recipient: str) -> float:
        """Returns the time when a recipient's message arrived. Raises TimeoutError."""
        async with asyncio.timeout(_LARGEST_WAIT), self.changed:
            await self.changed.wait_for(lambda: recipient in self.arrived)
        return self.arrived[recipient]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            if self._mute:
                await reader.read()
                return
            writer.write(b"220 sink.example ESMTP\r\n")
            recipients: list[str] = []
            while line := await reader.readline():
                verb = line[:4].upper()
                if verb == b"RCPT":
                    recipients, reply = self._recipient(line, recipients)
                    writer.write(reply)
                elif verb == b"DATA" and not recipients:
                    writer.write(b"554 5.5.1 no valid recipients\r\n")
                elif verb == b"DATA":
                    writer.write(b"354 go on\r\n")
                    await reader.readuntil(b"\r\n.\r\n")
                    if self._seconds:
                        await asyncio.sleep(self._seconds)
                    await self._note(recipients)
                    writer.write(b"250 2.0.0 Ok\r\n")
                    recipients = []
                elif verb == b"EHLO":
                    writer.write(b"250-sink.example\r\n250 PIPELINING\r\n")
                else:
                    writer.write(b"221 2.0.0 Bye\r\n" if verb == b"QUIT" else b"250 2.0.0 Ok\r\n")
        writer.close()

    def _recipient(self, line: bytes, recipients: list[str]) -> tuple[list[str], bytes]:
        address = line.partition(b"<")[2].partition(b">")[0].decode()
        if address.startswith("later") and address not in self.came_back:
            if address not in self.put_off:
                self.put_off[address] = time.perf_counter()
                return recipients, b"451 4.2.0 later\r\n"
            self.came_back[address] = time.perf_counter()
        return [*recipients, address], b"250 2.1.5 Ok\r\n"

    async def _note(self, recipients: Sequence[str]) -> None:
        async with self.changed:
            for recipient in recipients:
                self.arrived[recipient] = time.perf_counter()
            self.changed.notify_all()


@dataclass(slots=True)
class Honest:
    """The results of honest mail."""

    accepted: list[float] = field(default_factory=list)
    passed_on: list[float] = field(default_factory=list)
    # The seconds between the time when the second try of deferred mail was due and the try itself.
    late: list[float] = field(default_factory=list)
    refused: int = 0
    seconds: float = 0.0

    def row(self, name: str, note: str = "") -> str:
        rate = len(self.accepted) / self.seconds if self.seconds else 0.0
        return (
            f"| {name} | {_figures(self.accepted)} | {_figures(self.passed_on)} | {_figures(self.late)} "
            f"| {rate:.1f} | {self.refused} | {note} |"
        )


HEADER = """| honest mail | dot to reply, ms: median, worst | reply to next hop, ms: median, worst \
| retries after they were due, ms: median, worst | messages/s | refused for now | |
|---|---|---|---|---|---|---|"""


def _figures(seconds: Sequence[float]) -> str:
    if not seconds:
        return ""
    return f"{statistics.median(seconds) * 1000:,.0f}, {max(seconds) * 1000:,.0f}"


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits for the size and the length of an attack."""

    messages: int
    seconds: float
    flood_seconds: float


@dataclass(slots=True)
class Field:
    """The suite and the servers that an attack and honest mail use."""

    suite: Suite
    honest: NextHop
    dns: DnsServer
    limits: Limits
    # The client address of honest mail in a PROXY header. If it is empty, honest mail comes from a trusted network.
    honest_address: str = ""
    # Remarks that the row of the table has beside its figures.
    notes: list[str] = field(default_factory=list)

    async def measure(self, seconds: float) -> Honest:
        """Sends honest mail for the given seconds, with a message every fifth of a second over a new connection.
        Returns the results.
        """
        honest = Honest()
        began = time.perf_counter()
        tasks: list[asyncio.Task[None]] = []
        for number in itertools.count():
            if time.perf_counter() - began >= seconds:
                break
            tasks.append(asyncio.create_task(self._honest_message(honest, number)))
            await asyncio.sleep(_HONEST_PAUSE)
        honest.seconds = time.perf_counter() - began
        await asyncio.gather(*tasks)
        return honest

    async def _honest_message(self, honest: Honest, number: int) -> None:
        # Only one recipient is deferred each time, so other mail to the destination does not wait.
        kind = "later" if number % _PUT_OFF_EVERY == 0 else "now"
        recipient = f"{kind}{random.getrandbits(48):x}@{HONEST}"
        try:
            async with connected(self.suite.smtp_port, self.honest_address) as client:
                took = await client.send(recipient)
                replied = time.perf_counter()
                honest.accepted.append(took)
            arrived = await self.honest.wait_for(recipient)
        except (RefusedError, OSError, TimeoutError):
            honest.refused += 1
            return
        if kind == "later":
            due = self.honest.put_off[recipient] + _RETRY_SECONDS
            honest.late.append(max(0.0, self.honest.came_back[recipient] - due - _RETRY_SECONDS * (_JITTER - 1)))
        else:
            honest.passed_on.append(max(0.0, arrived - replied))


@asynccontextmanager
async def tasks(work: Sequence[Callable[[], Awaitable[None]]]) -> AsyncIterator[None]:
    """Repeats each piece of work until the block ends. Refusals and connection errors are ignored."""

    async def again(piece: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                await piece()
            except (RefusedError, OSError, asyncio.IncompleteReadError):
                # An attacker that is refused comes back, but not in a busy loop.
                await asyncio.sleep(0.05)

    running = [asyncio.create_task(again(piece)) for piece in work]
    try:
        yield
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


async def fill(field_: Field, domain: str, messages: int) -> float:
    """Puts messages for a domain into the queue. Returns the seconds that this took."""
    began = time.perf_counter()
    numbers = iter(range(messages))

    async def session() -> None:
        async with connected(field_.suite.smtp_port) as client:
            for number in numbers:
                await client.send(f"u{number}@{domain}")

    await asyncio.gather(*(session() for _ in range(20)))
    return time.perf_counter() - began


def route(api: httpx.Client, domain: str, port: int) -> None:
    rule = {
        "name": domain,
        "type": "recipient",
        "target_type": "domain",
        "targets": [domain],
        "relay_host": {"host": LOOPBACK, "port": port},
    }
    api.post("/v1/relay-rules", json=rule).raise_for_status()


@asynccontextmanager
async def bad_next_hop(field_: Field, hop: NextHop, messages: int) -> AsyncIterator[None]:
    """Queues this number of messages for a next hop that does not answer or is slow."""
    async with hop:
        await asyncio.to_thread(route, field_.suite.api, "bad.example", hop.port)
        seconds = await fill(field_, "bad.example", messages)
        field_.notes.append(f"{messages:,} messages queued in {seconds:.0f} s")
        yield
        field_.notes.append(f"{hop.connections} connections to the bad host")


@asynccontextmanager
async def mute(field_: Field) -> AsyncIterator[None]:
    """Makes mail wait for a next hop that accepts connections and never sends a reply."""
    async with bad_next_hop(field_, NextHop(mute=True), field_.limits.messages):
        yield


@asynccontextmanager
async def slow(field_: Field) -> AsyncIterator[None]:
    """Makes mail wait for a next hop that needs 45 s for each message."""
    async with bad_next_hop(field_, NextHop(seconds=45.0), min(field_.limits.messages, 4200)):
        yield


def addresses(count: int) -> list[str]:
    return [f"198.18.{number // 250}.{number % 250 + 1}" for number in range(count)]


@asynccontextmanager
async def spf(field_: Field) -> AsyncIterator[None]:
    """Opens 500 connections from 100 addresses. The domain of each sender is another name in a zone whose name servers
    do not answer.
    """
    field_.dns.behave("silent.example", Behaviour.SILENT)

    def attacker(address: str) -> Callable[[], Awaitable[None]]:
        async def one() -> None:
            async with connected(field_.suite.smtp_port, address) as client:
                while True:
                    name = f"{random.getrandbits(48):x}.silent.example"
                    await client.ask(f"MAIL FROM:<a@{name}>".encode())
                    if not await client.ask(f"RCPT TO:<u@{HONEST}>".encode()):
                        return
                    await client.ask(b"RSET")
                    await asyncio.sleep(_ATTACKER_PAUSE)

        return one

    async with tasks([attacker(address) for address in addresses(100) for _ in range(5)]):
        await asyncio.sleep(field_.limits.seconds / 3)
        yield


@asynccontextmanager
async def dkim(field_: Field) -> AsyncIterator[None]:
    """Sends messages with ten signatures each over 150 connections. The name servers of the keys do not answer."""
    field_.dns.behave("silent.example", Behaviour.SILENT)
    took: list[float] = []

    def attacker(address: str) -> Callable[[], Awaitable[None]]:
        async def one() -> None:
            async with connected(field_.suite.smtp_port, address) as client:
                while True:
                    fields = b"".join(
                        b"DKIM-Signature: v=1; a=rsa-sha256; d=%x.silent.example; s=%x; h=from; bh=%b; b=%b\r\n"
                        % (random.getrandbits(48), number, b"A" * 43 + b"=", b"B" * 342 + b"==")
                        for number in range(10)
                    )
                    with contextlib.suppress(RefusedError):
                        await client.send(f"u@{HONEST}", fields + _BODY)
                    took.append(client.after_dot)
                    await asyncio.sleep(_ATTACKER_PAUSE)

        return one

    async with tasks([attacker(address) for address in addresses(150)]):
        await asyncio.sleep(field_.limits.seconds / 3)
        yield
    field_.notes.append(f"attackers after the dot, ms: {_figures(took)}")


@asynccontextmanager
async def refusals(field_: Field) -> AsyncIterator[None]:
    """Sends RCPT for recipients that do not exist, from 1,000 addresses, 100 of them at a time."""
    before = _octets(field_.suite.folder)
    began = time.perf_counter()
    turn = itertools.cycle(addresses(1000))
    refused = 0

    async def one() -> None:
        nonlocal refused
        async with connected(field_.suite.smtp_port, next(turn)) as client:
            await client.expect(f"MAIL FROM:<{SENDER}>".encode())
            while (await client.ask(f"RCPT TO:<{random.getrandbits(48):x}@{ACCOUNTS}>".encode())).startswith(b"550"):
                refused += 1

    async with tasks([one] * 100):
        await asyncio.sleep(max(0.0, field_.limits.flood_seconds - field_.limits.seconds))
        yield
    seconds = time.perf_counter() - began
    grown = _octets(field_.suite.folder) - before
    field_.notes.append(
        f"{refused:,} refused in {seconds:.0f} s, {grown / 1e6:.1f} MB of data and logs: "
        f"{grown * 86400 / seconds / 1e9:.2f} GB a day"
    )


@asynccontextmanager
async def passwords(field_: Field) -> AsyncIterator[None]:
    """Guesses passwords over 200 connections from 50 addresses, while an account logs in from another address."""
    logins: list[float] = []
    failed = 0

    def attacker(address: str) -> Callable[[], Awaitable[None]]:
        async def one() -> None:
            async with connected(field_.suite.submission_port, address) as client:
                while await client.log_in("honest", f"{random.getrandbits(48):x}"):
                    pass

        return one

    async def honest() -> None:
        nonlocal failed
        async with connected(field_.suite.submission_port, "203.0.113.7") as client:
            began = time.perf_counter()
            if (await client.log_in("honest", PASSWORD)).startswith(b"235"):
                logins.append(time.perf_counter() - began)
            else:
                failed += 1
        await asyncio.sleep(1.0)

    async with tasks([*(attacker(address) for address in addresses(50) for _ in range(4)), honest]):
        yield
    field_.notes.append(f"honest logins: {len(logins)} taken, {failed} not, ms: {_figures(logins)}")


def _octets(folder: Path) -> int:
    """Returns how many octets the data and the logs have. The write-ahead logs of the databases are left out, because
    they do not grow after the first hour.
    """
    files = [path for path in folder.rglob("*") if path.is_file() and not path.name.endswith(("-wal", "-shm"))]
    return sum(path.stat().st_size for path in files)


@dataclass(frozen=True, slots=True)
class Row:
    attack: Callable[[Field], contextlib.AbstractAsyncContextManager[None]]
    # Whether no client is in a trusted network. The clients' addresses are then in PROXY headers. Otherwise all clients
    # are in a trusted network.
    strangers: bool = True
    checks: tuple[str, ...] = ()


ROWS = {
    "mute": Row(mute, strangers=False),
    "slow": Row(slow, strangers=False),
    "spf": Row(spf, checks=("spf",)),
    "dkim": Row(dkim, checks=("dkim",)),
    "refusals": Row(refusals),
    "passwords": Row(passwords),
}


def configure(api: httpx.Client, row: Row, honest_port: int) -> None:
    change(api, "/v1/settings/general", {"profile": {"hostname": "gateway.bench.example"}})
    schedule = {"first_minutes": _RETRY_SECONDS / 60, "growth": 1.5, "max_minutes": 120.0}
    change(api, "/v1/settings/queue", {"retry_schedule": schedule})
    route(api, HONEST, honest_port)
    if not row.strangers:
        trusted = {"name": "loopback", "networks": ["127.0.0.0/8"]}
        api.post("/v1/trusted-networks", json=trusted).raise_for_status()
        return
    change(api, "/v1/settings/general", {"smtp_auth": {"forbid_plaintext_auth_without_tls": False}})
    api.post("/v1/relay-domains", json={"domain": HONEST}).raise_for_status()
    mailbox = {"kind": "smtp", "host": LOOPBACK, "port": honest_port}
    api.post("/v1/local-domains", json={"name": ACCOUNTS, "mailbox": mailbox}).raise_for_status()
    account = {"login": "honest", "password": PASSWORD, "addresses": [f"honest@{ACCOUNTS}"]}
    api.post("/v1/accounts", json=account).raise_for_status()
    if row.checks:
        change(api, "/v1/settings/content-checks", {check: {"mode": "enforce"} for check in row.checks})


async def run_row(name: str, row: Row, limits: Limits) -> list[str]:
    """Runs one attack. Returns two rows of the table: for honest mail alone, and for honest mail during the attack."""
    environment = {f"{service}_METRICS_PORT": "0" for service in ("CONFIG_API", "POLICY", "RELAY", "INGRESS")}
    environment["INGRESS_PROXY_NETWORKS"] = f"{PROXY_ADDRESS}/32"
    with DnsServer() as server:
        server.add("source.example", "TXT", "v=spf1 ip4:203.0.113.0/24 -all")
        suite = Suite(environment, nameservers=server.address)
        async with NextHop() as honest:
            try:
                await asyncio.to_thread(suite.start)
                await asyncio.to_thread(configure, suite.api, row, honest.port)
                ground = Field(suite, honest, server, limits, "203.0.113.7" if row.strangers else "")
                alone = await ground.measure(limits.seconds)
                async with row.attack(ground):
                    beside = await ground.measure(limits.seconds)
            finally:
                await asyncio.to_thread(suite.stop)
    return [alone.row("alone"), beside.row(f"beside: {name}", "; ".join(ground.notes))]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.hostile", description=__doc__)
    parser.add_argument("--only", default=",".join(ROWS), help=f"attacks ({', '.join(ROWS)}), separated by commas")
    parser.add_argument("--messages", type=int, default=100_000, help="messages for the mute host (100,000)")
    parser.add_argument("--seconds", type=float, default=30.0, help="each measurement's seconds (30)")
    parser.add_argument("--flood-seconds", type=float, default=900.0, help="seconds of the refused recipients (900)")
    arguments = parser.parse_args()
    limits = Limits(arguments.messages, arguments.seconds, arguments.flood_seconds)
    print(HEADER, flush=True)
    for name in arguments.only.split(","):
        for line in asyncio.run(run_row(name, ROWS[name], limits)):
            print(line, flush=True)
    print(machine())


if __name__ == "__main__":
    main()
