"""A Redis server of our own that stores its data in memory, and can be killed, restarted, frozen and emptied."""

from __future__ import annotations

import signal
import socket

from tests.peers.lifetime import Daemon
from tests.peers.ports import LOOPBACK
from tests.peers.process import PeerProcess, program

_ASK_SECONDS = 30.0


class Redis(Daemon):
    """A server on a free loopback port. Nothing is stored on disk, so a kill empties it."""

    def __init__(self) -> None:
        super().__init__("redis")

    @property
    def url(self) -> str:
        return f"redis://{LOOPBACK}:{self.port}/0"

    def _launch(self) -> PeerProcess:
        options = f"--bind {LOOPBACK} --port {self.port} --appendonly no --dir {self._folder}".split()
        return PeerProcess(
            [program("redis-server"), *options, "--save", ""],
            self._folder / "log",
            folder=self._folder,
            end_signal=signal.SIGTERM,
        )

    def stop(self) -> None:
        """Ends the server permanently."""
        if self._process is not None:
            self.thaw()
            self._process.stop()
        self._forget()

    def flush(self) -> None:
        """Deletes every key."""
        if self.command("FLUSHALL") != "+OK":
            raise RuntimeError("Redis refused FLUSHALL")

    def command(self, *words: str) -> str:
        """Sends one command and returns the first line of the answer, including its type mark (RESP)."""
        request = f"*{len(words)}\r\n" + "".join(f"${len(word.encode())}\r\n{word}\r\n" for word in words)
        with socket.create_connection((LOOPBACK, self.port), timeout=_ASK_SECONDS) as connection:
            connection.sendall(request.encode())
            with connection.makefile("rb") as answer:
                return answer.readline().decode().rstrip("\r\n")

    def _answers(self) -> bool:
        try:
            return self.command("PING") == "+PONG"
        except OSError:
            return False
