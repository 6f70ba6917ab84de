"""Postfix's load tools: smtp-source sends as fast as the server accepts, smtp-sink accepts all mail and counts it."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.peers.ports import LOOPBACK, free_port
from tests.peers.process import DEADLINE_SECONDS, PeerProcess, program, unprivileged_user, until

_COUNTERS = re.compile(rb"sess=(\d+) quit=(\d+) mesg=(\d+)")
_TAIL_OCTETS = 4096


@dataclass(frozen=True, slots=True)
class Load:
    """The load that smtp-source sends."""

    messages: int
    # Octets in each body.
    size: int = 4096
    # Number of parallel sessions.
    sessions: int = 20
    # Whether many messages are sent over one connection. Otherwise each message has its own connection.
    reuse_connections: bool = False
    sender: str = "sender@source.test"
    recipient: str = "recipient@sink.test"
    recipients_per_message: int = 1
    # Whether each recipient address begins with a number, so that no two are the same.
    distinct_recipients: bool = False


def send_load(load: Load, host: str, port: int, seconds: float = 600) -> float:
    """Sends the load and returns the duration in seconds.

    Raises subprocess.CalledProcessError at the first refusal.
    """
    with RunningLoad(load, host, port) as sending:
        return sending.wait(seconds)


class RunningLoad:
    """A running smtp-source, for tests that do something in the meantime.

    The process is killed if it still runs when the `with` block is left.
    """

    def __init__(self, load: Load, host: str, port: int, *, keep_going: bool = False) -> None:
        """With `keep_going`, a refusal does not end smtp-source."""
        self._folder = Path(tempfile.mkdtemp(prefix="posthouse-source-"))
        self._began = time.monotonic()
        self._process = PeerProcess(_arguments(load, host, port, keep_going=keep_going), self._folder / "log")

    def wait(self, seconds: float = 600) -> float:
        """Waits for the end and returns the duration in seconds.

        Raises subprocess.CalledProcessError when a message was refused.
        """
        status = self._process.wait(seconds)
        took = time.monotonic() - self._began
        if status != 0:
            raise subprocess.CalledProcessError(status, "smtp-source", self._process.log_tail())
        return took

    @property
    def running(self) -> bool:
        return self._process.running

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        shutil.rmtree(self._folder, ignore_errors=True)


def _arguments(load: Load, host: str, port: int, *, keep_going: bool) -> Sequence[str | Path]:
    switches = [
        *(("-d",) if load.reuse_connections else ()),
        *(("-N",) if load.distinct_recipients else ()),
        *(("-A",) if keep_going else ()),
    ]
    numbers = ("-m", load.messages, "-l", load.size, "-s", min(load.sessions, load.messages))
    addresses = ("-f", load.sender, "-t", load.recipient, "-r", load.recipients_per_message, "-M", "source.test")
    return [
        program("smtp-source"),
        *switches,
        *map(str, (*numbers, *addresses)),
        "-C",
        "20",
        f"inet:{host}:{port}",
    ]


class CountingSink:
    """A smtp-sink, which accepts and counts messages but keeps none. `options` are its own (`-L` for LMTP, `-8` …)."""

    def __init__(self, host: str = LOOPBACK, port: int = 0, options: Sequence[str] = ()) -> None:
        self.host = host
        self.port = port or free_port(host)
        self._options = tuple(options)
        self._folder = Path(tempfile.mkdtemp(prefix="posthouse-sink-"))
        self._log = self._folder / "log"
        self._process: PeerProcess | None = None

    @property
    def address(self) -> str:
        return f"{self.host}:{self.port}"

    @property
    def messages(self) -> int:
        """The number of messages that smtp-sink has accepted since its start."""
        counters = _COUNTERS.findall(self._tail())
        return int(counters[-1][2]) if counters else 0

    def wait_for_messages(self, count: int, seconds: float = DEADLINE_SECONDS) -> None:
        """Waits until smtp-sink has accepted `count` messages. Raises PeerError."""
        until(lambda: self.messages >= count, f"smtp-sink has taken {count} messages", seconds)

    def start(self) -> Self:
        user = unprivileged_user()
        self._log.touch()
        options = ["-c", "-m", "1000", *self._options, f"inet:{self.host}:{self.port}", "512"]
        self._process = PeerProcess([program("smtp-sink"), *options], self._log, user=user)
        self._process.until_ready(self._listens)
        return self

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
        shutil.rmtree(self._folder, ignore_errors=True)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _tail(self) -> bytes:
        with self._log.open("rb") as log:
            log.seek(max(0, self._log.stat().st_size - _TAIL_OCTETS))
            return log.read()

    def _listens(self) -> bool:
        try:
            with socket.create_connection((self.host, self.port), timeout=5) as connection:
                connection.sendall(b"QUIT\r\n")
                return connection.recv(3) == b"220"
        except OSError:
            return False
