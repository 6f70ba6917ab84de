"""A Redis server of our own, in memory, that can be killed, restarted, frozen and emptied."""

from __future__ import annotations

import shutil
import signal
import socket
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.peers.ports import LOOPBACK, free_port
from tests.peers.process import PeerProcess, program

_ASK_SECONDS = 5.0


class Redis:
    """A server on a free loopback port; nothing is kept on disk, so a kill empties it."""

    def __init__(self) -> None:
        self.port = free_port()
        self._folder = Path(tempfile.mkdtemp(prefix="posthouse-redis-"))
        self._process: PeerProcess | None = None

    @property
    def url(self) -> str:
        return f"redis://{LOOPBACK}:{self.port}/0"

    def start(self) -> Self:
        options = f"--bind {LOOPBACK} --port {self.port} --appendonly no --dir {self._folder}".split()
        self._process = PeerProcess(
            [program("redis-server"), *options, "--save", ""],
            self._folder / "log",
            folder=self._folder,
            end_signal=signal.SIGTERM,
        )
        self._process.until_ready(self._answers)
        return self

    def stop(self) -> None:
        """Ends it for good."""
        if self._process is not None:
            self.thaw()
            self._process.stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    def kill(self) -> None:
        """kill -9; connections are refused until `start`."""
        if self._process is not None:
            self._process.kill()

    def restart(self) -> None:
        self.kill()
        self.start()

    def freeze(self) -> None:
        """Connections stay open and nothing is answered until `thaw`."""
        if self._process is not None:
            self._process.signal(signal.SIGSTOP)

    def thaw(self) -> None:
        if self._process is not None:
            self._process.signal(signal.SIGCONT)

    def ensure_running(self) -> None:
        """Brings it back when a test left it dead or frozen."""
        self.thaw()
        if self._process is None or not self._process.running:
            self.start()

    def flush(self) -> None:
        """Forgets every key."""
        if self.command("FLUSHALL") != "+OK":
            raise RuntimeError("FLUSHALL was refused")

    def command(self, *words: str) -> str:
        """Sends one command; returns the first line of the answer, its type mark included (RESP)."""
        request = f"*{len(words)}\r\n" + "".join(f"${len(word.encode())}\r\n{word}\r\n" for word in words)
        with socket.create_connection((LOOPBACK, self.port), timeout=_ASK_SECONDS) as connection:
            connection.sendall(request.encode())
            with connection.makefile("rb") as answer:
                return answer.readline().decode().rstrip("\r\n")

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _answers(self) -> bool:
        try:
            return self.command("PING") == "+PONG"
        except OSError:
            return False
