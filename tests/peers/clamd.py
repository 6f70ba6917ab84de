"""Debian's clamd with a signature database of our own that knows one signature: the EICAR test file."""

from __future__ import annotations

import contextlib
import shutil
import signal
import socket
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.peers.ports import LOOPBACK, free_port
from tests.peers.process import PeerProcess, program, unprivileged_user

# What clamd calls it when it finds it.
SIGNATURE = "Posthouse.Test.EICAR.UNOFFICIAL"

_ASK_SECONDS = 5.0


def eicar() -> bytes:
    """The EICAR test file, put together here so that no file of this repository is one."""
    return b"".join((b"X5O!P%@AP[4\\PZX54(P^)7CC)7}", b"$EICAR-STANDARD-", b"ANTIVIRUS-TEST-FILE!", b"$H+H*"))


class Clamd:
    """A daemon on a free loopback TCP port. `settings` are lines of clamd.conf, for example StreamMaxLength: 1M."""

    def __init__(self, settings: Mapping[str, str] | None = None) -> None:
        self.port = free_port()
        self._folder = Path(tempfile.mkdtemp(prefix="posthouse-clamd-"))
        self._user = unprivileged_user("clamav")
        self._settings = settings or {}
        self._process: PeerProcess | None = None

    @property
    def address(self) -> str:
        """host:port, as `antivirus.clamd` wants it."""
        return f"{LOOPBACK}:{self.port}"

    def start(self) -> Self:
        database = self._folder / "database"
        database.mkdir(exist_ok=True)
        name = SIGNATURE.removesuffix(".UNOFFICIAL")
        # name : any type of file : any offset : the octets in hexadecimal
        (database / "posthouse.ndb").write_text(f"{name}:0:*:{eicar().hex()}\n")
        settings = {
            "TCPAddr": LOOPBACK,
            "TCPSocket": str(self.port),
            "DatabaseDirectory": str(database),
            "TemporaryDirectory": str(self._folder),
            "Foreground": "yes",
            "MaxThreads": "4",
            "StreamMaxLength": "50M",
            **self._settings,
        }
        configuration = self._folder / "clamd.conf"
        configuration.write_text("".join(f"{name} {value}\n" for name, value in settings.items()))
        if self._user is not None:
            for path in (self._folder, database):
                shutil.chown(path, self._user)
        self._process = PeerProcess(
            [program("clamd"), "--config-file", configuration],
            self._folder / "log",
            user=self._user,
            folder=self._folder,
        )
        self._process.until_ready(self._answers)
        return self

    def stop(self) -> None:
        """Ends it for good."""
        self.kill()
        shutil.rmtree(self._folder, ignore_errors=True)

    def kill(self) -> None:
        """kill -9; connections are refused until `start`."""
        if self._process is not None:
            self._process.kill()

    def restart(self) -> None:
        self.kill()
        self.start()

    def freeze(self) -> None:
        """Connections are taken by the kernel and nothing is answered until `thaw`."""
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

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def command(self, command: bytes, *chunks: bytes, seconds: float = _ASK_SECONDS) -> bytes:
        """Sends one command, and for INSTREAM its chunks; returns the answer without its NUL."""
        with socket.create_connection((LOOPBACK, self.port), timeout=seconds) as connection:
            stream = (*chunks, b"") if command == b"INSTREAM" else ()
            connection.sendall(b"z" + command + b"\0")
            # Above its limit clamd answers and closes while we still send.
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                connection.sendall(b"".join(len(chunk).to_bytes(4, "big") + chunk for chunk in stream))
            with connection.makefile("rb") as answer:
                return answer.read().rstrip(b"\0")

    def _answers(self) -> bool:
        try:
            return self.command(b"PING") == b"PONG"
        except OSError:
            return False
