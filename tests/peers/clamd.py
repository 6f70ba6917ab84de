"""Debian's clamd with a signature database of our own, which contains one signature: the EICAR test file."""

from __future__ import annotations

import contextlib
import shutil
import socket
from collections.abc import Mapping

from tests.peers.lifetime import Daemon
from tests.peers.ports import LOOPBACK
from tests.peers.process import PeerProcess, program, unprivileged_user

# The name that clamd reports when it finds the signature.
SIGNATURE = "Posthouse.Test.EICAR.UNOFFICIAL"

_ASK_SECONDS = 30.0


def eicar() -> bytes:
    """Returns the EICAR test file.

    It is put together here so that no file of this repository is reported as a virus.
    """
    return b"".join((b"X5O!P%@AP[4\\PZX54(P^)7CC)7}", b"$EICAR-STANDARD-", b"ANTIVIRUS-TEST-FILE!", b"$H+H*"))


class Clamd(Daemon):
    """A daemon on a free loopback TCP port. `settings` are lines of clamd.conf, for example StreamMaxLength: 1M."""

    def __init__(self, settings: Mapping[str, str] | None = None) -> None:
        super().__init__("clamd")
        self._user = unprivileged_user("clamav")
        self._settings = settings or {}

    @property
    def address(self) -> str:
        """The daemon's host:port, as the policy setting `antivirus.clamd` expects it."""
        return f"{LOOPBACK}:{self.port}"

    def _launch(self) -> PeerProcess:
        database = self._folder / "database"
        database.mkdir(exist_ok=True)
        name = SIGNATURE.removesuffix(".UNOFFICIAL")
        # The fields of this line are: name, any type of file, any offset, the octets in hexadecimal.
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
        return PeerProcess(
            [program("clamd"), "--config-file", configuration],
            self._folder / "log",
            user=self._user,
            folder=self._folder,
        )

    def command(self, command: bytes, *chunks: bytes, seconds: float = _ASK_SECONDS) -> bytes:
        """Sends one command, and for INSTREAM its chunks. Returns the answer without its NUL."""
        with socket.create_connection((LOOPBACK, self.port), timeout=seconds) as connection:
            stream = (*chunks, b"") if command == b"INSTREAM" else ()
            connection.sendall(b"z" + command + b"\0")
            # When the stream exceeds its limit, clamd answers and closes the connection while we still send.
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                connection.sendall(b"".join(len(chunk).to_bytes(4, "big") + chunk for chunk in stream))
            with connection.makefile("rb") as answer:
                return answer.read().rstrip(b"\0")

    def _answers(self) -> bool:
        try:
            return self.command(b"PING") == b"PONG"
        except OSError:
            return False
