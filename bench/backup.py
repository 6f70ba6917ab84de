"""Measures a backup while mail flows: `python -m bench.backup [--rate 200] [--queued 2000] [--sqlite] [--postgresql]`.

One suite accepts messages of 4 KB at a steady rate. Half of them are delivered at once, and half wait, because their
server defers them. Meanwhile `posthouse backup` runs. Then the suite is stopped, the backup is restored on another
suite, and every message that was accepted before the backup began must have arrived at one of the two servers.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import itertools
import random
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from bench.generator import Job, RefusedError, connected
from tests.command_line.posthouse import CommandLine
from tests.e2e import world
from tests.peers.dns import DnsServer
from tests.peers.postgres import Postgres
from tests.peers.process import until
from tests.peers.smtp_sink import SmtpSink, Stage, reply
from tests.peers.suite import ROOT, Suite

_SESSIONS = 20
_SIZE = 4096
# The largest number of messages that wait for a free session. While so many wait, no further message is added.
_MOST_WAITING = 2_000
_CALM_SECONDS = 20.0
_AFTER_SECONDS = 5.0
_LONGEST_SECONDS = 300.0
_DELIVERED, _WAITING = "near.test", "far.test"
# The number of octets of a base64 line with its line end.
_LINE = 78
_LINES = base64.encodebytes(random.Random(1).randbytes(570_000)).decode().splitlines()
_NUMBER = re.compile(rb"^number-(\d+)\.", re.MULTILINE)


@dataclass(slots=True)
class Acceptance:
    """The time when each message was to be sent, and the time when it was accepted, by the monotonic clock."""

    due: dict[int, float] = field(default_factory=dict)
    accepted: dict[int, float] = field(default_factory=dict)

    def between(self, began: float, ended: float) -> Window:
        times = sorted(at for at in self.accepted.values() if began <= at < ended)
        gaps = [later - earlier for earlier, later in itertools.pairwise((began, *times, ended))]
        waits = [at - self.due[number] for number, at in self.accepted.items() if began <= at < ended]
        return Window(len(times) / (ended - began), max(gaps), statistics.median(waits), max(waits))


@dataclass(frozen=True, slots=True)
class Window:
    """The figures of one period. `rate` is the number of messages that were accepted in a second. The other figures are
    in seconds: the longest time in which no message was accepted, and the delays of messages.
    """

    rate: float
    longest_pause: float
    median_wait: float
    longest_wait: float

    def __str__(self) -> str:
        pause, median, longest = (
            f"{seconds * 1000:,.0f} ms" for seconds in (self.longest_pause, self.median_wait, self.longest_wait)
        )
        return f"{self.rate:,.0f} | {pause} | {median} | {longest}"


class SteadySource:
    """Sends numbered messages at a rate, whether or not the earlier ones were accepted, until it is stopped."""

    def __init__(self, host: str, port: int, rate: float, acceptance: Acceptance, first: int) -> None:
        self._job = Job(host, port, 0, _SESSIONS, _SIZE, True, "load@sender.test", ())
        self._rate = rate
        self._acceptance = acceptance
        self._numbers = itertools.count(first)
        self._stop = threading.Event()
        self.refusals: list[str] = []
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    async def _run(self) -> None:
        waiting: asyncio.Queue[int] = asyncio.Queue()
        sessions = [asyncio.create_task(self._session(waiting, number)) for number in range(_SESSIONS)]
        began, sent = time.monotonic(), 0
        while not self._stop.is_set():
            while sent < (time.monotonic() - began) * self._rate and waiting.qsize() < _MOST_WAITING:
                number = next(self._numbers)
                self._acceptance.due[number] = began + sent / self._rate
                waiting.put_nowait(number)
                sent += 1
            await asyncio.sleep(0.002)
        while not waiting.empty():
            # These messages were not sent, so their delays are not measured.
            del self._acceptance.due[waiting.get_nowait()]
            waiting.task_done()
        await waiting.join()
        for session in sessions:
            session.cancel()

    async def _session(self, waiting: asyncio.Queue[int], number: int) -> None:
        client = await connected(self._job, None, number)
        while True:
            number = await waiting.get()
            try:
                for command, code in _envelope(number):
                    await client.ask(command, code)
                self._acceptance.accepted[number] = time.monotonic()
            except RefusedError as error:
                self.refusals.append(str(error))
                client = await connected(self._job, None, number)
            finally:
                waiting.task_done()


def _envelope(number: int) -> Iterator[tuple[bytes, bytes]]:
    recipient = f"user{number % 1000}@{_WAITING if number % 2 else _DELIVERED}"
    head = f"From: <load@sender.test>\r\nTo: <{recipient}>\r\nSubject: load\r\n\r\nnumber-{number}.\r\n"
    yield b"MAIL FROM:<load@sender.test>\r\n", b"250"
    yield f"RCPT TO:<{recipient}>\r\n".encode(), b"250"
    yield b"DATA\r\n", b"354"
    # This text compresses no better than an attachment does.
    start = number * 41 % (len(_LINES) - _SIZE // _LINE)
    lines = _LINES[start : start + (_SIZE - len(head)) // _LINE]
    yield "\r\n".join((head, *lines, ".\r\n")).encode(), b"250"


@contextmanager
def _servers() -> Iterator[tuple[DnsServer, SmtpSink, SmtpSink]]:
    """Yields the name server and both mail servers. The server of `_WAITING` defers all mail."""
    near = SmtpSink(host="127.0.0.31", keep_octets=False)
    far = SmtpSink(host="127.0.0.32", port=near.port, keep_octets=False)
    with DnsServer() as names, near, far:
        for domain, sink in ((_DELIVERED, near), (_WAITING, far)):
            names.add(domain, "MX", f"10 mx.{domain}.")
            names.add(f"mx.{domain}", "A", sink.host)
        far.on(Stage.RCPT, reply("451 4.3.0 Not now"))
        yield names, near, far


def measure(name: str, databases: Sequence[Mapping[str, str]], rate: float, queued: int) -> None:
    """Makes the measurement. Prints a row for each of the times before, during and after the backup, and the number of
    messages that the restored suite has.
    """
    acceptance = Acceptance()
    with _servers() as (names, near, far), tempfile.TemporaryDirectory(prefix="posthouse-bench-") as folder:
        file, passphrase = Path(folder) / "backup", Path(folder) / "passphrase"
        passphrase.write_text("a passphrase of the bench\n")
        arguments = (str(file), "--passphrase-file", str(passphrase))

        def suite_of(variables: Mapping[str, str]) -> Suite:
            return Suite({"RELAY_MX_PORT": str(near.port), **variables}, nameservers=names.address, metrics=False)

        with suite_of(databases[0]) as former:
            world.trust_loopback(former)
            world.until_in_force(former)
            until(lambda: world.reply_to_rcpt(former, f"user@{_WAITING}")[0] == 250, "mail is accepted for others")
            _fill(former, acceptance, queued)
            with SteadySource(former.host, former.smtp_port, rate, acceptance, first=10_000_000) as source:
                time.sleep(_CALM_SECONDS)
                began = time.monotonic()
                _run_backup(former, arguments)
                ended = time.monotonic()
                time.sleep(_AFTER_SECONDS)
                finished = time.monotonic()
            size = file.stat().st_size
        windows = {
            "before it": acceptance.between(began - _CALM_SECONDS + 2, began),
            "during it": acceptance.between(began, ended),
            "after it": acceptance.between(ended, finished),
        }
        for when, window in windows.items():
            print(f"| {name} | {when} | {window} |", flush=True)
        took = f"{ended - began:.1f} s and has {size / 1e6:.1f} MB"
        print(f"{name}: the backup took {took}; replies of 4xx and 5xx: {source.refusals or 'none'}")
        before = {number for number, at in acceptance.accepted.items() if at < began}
        arrived = _numbers(near)
        restored = _restore(suite_of(databases[1]), arguments, far)
        missing = before - arrived - restored
        print(f"{name}: {len(before)} accepted before it, {len(missing)} missing after the restore", flush=True)
        if missing:
            raise SystemExit(f"{name}: lost {sorted(missing)[:10]}")


def _fill(suite: Suite, acceptance: Acceptance, queued: int) -> None:
    """Fills the queue before the measurement: sends messages until about `queued` of them wait."""
    with SteadySource(suite.host, suite.smtp_port, 400.0, acceptance, first=0):
        until(lambda: len(acceptance.accepted) >= 2 * queued, f"{queued} messages wait", _LONGEST_SECONDS)


def _run_backup(suite: Suite, arguments: Sequence[str]) -> None:
    environment = {**suite.environment, "PYTHONPATH": f"{ROOT}:{ROOT / 'proto'}:{ROOT / 'clients' / 'python'}"}
    command = [sys.executable, "-m", "services", "backup", *arguments]
    subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True, timeout=_LONGEST_SECONDS)


def _restore(later: Suite, arguments: Sequence[str], far: SmtpSink) -> set[int]:
    """Restores the backup. Returns the numbers of the messages that arrive when the server of the waiting mail accepts
    it.
    """
    try:
        CommandLine(None, **later.environment)("restore", *arguments)
        far.clear()
        later.start()
        CommandLine(later)("queue", "retry", f"to={_WAITING}", "--yes")
        until(lambda: not world.queued(later), "the restored queue is delivered", _LONGEST_SECONDS)
        return _numbers(far)
    finally:
        later.stop()


def _numbers(sink: SmtpSink) -> set[int]:
    return {int(number) for message in sink.messages for number in _NUMBER.findall(message.content)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=float, default=200.0, help="messages a second")
    parser.add_argument("--queued", type=int, default=2_000, help="messages that wait before it begins")
    parser.add_argument("--sqlite", action="store_true")
    parser.add_argument("--postgresql", action="store_true")
    arguments = parser.parse_args()
    both = not (arguments.sqlite or arguments.postgresql)
    print("| database | backup | accepted a second | longest pause | median wait | longest wait |")
    print("|---|---|---|---|---|---|")
    if arguments.sqlite or both:
        measure("SQLite", ({}, {}), arguments.rate, arguments.queued)
    if arguments.postgresql or both:
        with Postgres(durable=True) as server:
            variables = [
                {f"{service}_DATABASE_URL": server.create_database() for service in ("CONFIG_API", "RELAY")}
                for _ in range(2)
            ]
            measure("PostgreSQL", variables, arguments.rate, arguments.queued)


if __name__ == "__main__":
    main()
