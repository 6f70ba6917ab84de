"""A PostgreSQL server of our own, with a fresh database for whoever asks, that can be restarted, killed and frozen."""

from __future__ import annotations

import itertools
import shutil
import signal
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.peers.ports import LOOPBACK, free_port
from tests.peers.process import PeerError, PeerProcess, descendants, program, run, send_all, unprivileged_user

_SUPERUSER = "posthouse"
_INITDB_OPTIONS = ("-U", _SUPERUSER, "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync", "--no-instructions")


class Postgres:
    """A server on a free loopback port. `durable` keeps fsync on, which benchmarks need and tests do not."""

    def __init__(self, settings: Mapping[str, str] | None = None, *, durable: bool = False) -> None:
        self.port = free_port()
        self._user = unprivileged_user("postgres")
        self._folder = Path(tempfile.mkdtemp(prefix="posthouse-postgres-"))
        self._data = self._folder / "data"
        self._settings = {
            "listen_addresses": LOOPBACK,
            "port": str(self.port),
            "unix_socket_directories": "",
            "max_connections": "200",
            "fsync": "on" if durable else "off",
            "full_page_writes": "on" if durable else "off",
            **(settings or {}),
        }
        self._process: PeerProcess | None = None
        self._numbers = itertools.count(1)

    # Running

    def start(self) -> Self:
        """Makes the data folder at the first start; returns once it answers a query."""
        if not self._data.exists():
            if self._user is not None:
                # PostgreSQL refuses to run as root.
                shutil.chown(self._folder, self._user)
            run(
                [_binary("initdb"), "-D", self._data, *_INITDB_OPTIONS],
                user=self._user,
                folder=self._folder,
            )
        options = [word for name, value in self._settings.items() for word in ("-c", f"{name}={value}")]
        self._process = PeerProcess(
            [_binary("postgres"), "-D", self._data, *options],
            self._folder / "log",
            user=self._user,
            folder=self._folder,
            # Immediate shutdown: ends all backends and leaves no shared memory behind.
            end_signal=signal.SIGQUIT,
        )
        self._process.until_ready(self._answers)
        return self

    def stop(self) -> None:
        """Ends the server and removes its data."""
        self.break_off()
        shutil.rmtree(self._folder, ignore_errors=True)

    def break_off(self) -> None:
        """Immediate shutdown: every connection breaks and new ones are refused; `start` recovers from the log."""
        if self._process is not None:
            self.thaw()
            self._process.stop()
            self._process = None

    def restart(self) -> None:
        """Fast shutdown (connections end with 57P01), then a start on the same port with the same data."""
        process = self._running()
        process.signal(signal.SIGINT)
        process.wait()
        self.start()

    def kill(self) -> None:
        """kill -9 of the server and all its backends; `start` brings it back."""
        process = self._running()
        family = descendants(process.pid)
        process.kill()
        # Backends of a dead server end by themselves, but a new one can't start before the last has.
        send_all(family, signal.SIGKILL)
        self._process = None

    def freeze(self) -> None:
        """Stops all its processes: connections stay open and nothing is answered until `thaw`."""
        process = self._running()
        # The first process makes the others: one that it makes after they were listed would go on answering.
        send_all([process.pid], signal.SIGSTOP)
        send_all(descendants(process.pid), signal.SIGSTOP)

    def thaw(self) -> None:
        process = self._running()
        send_all([process.pid, *descendants(process.pid)], signal.SIGCONT)

    def ensure_running(self) -> None:
        """Brings it back when a test left it dead or frozen."""
        if self._process is None or not self._process.running:
            self.start()
        else:
            self.thaw()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    # Databases

    def create_database(self) -> str:
        """A fresh, empty database; returns its asynchronous URL (postgresql+asyncpg://…)."""
        name = f"test_{next(self._numbers)}"
        self.query(f"CREATE DATABASE {name}")
        return self.url(name)

    def drop_database(self, url: str) -> None:
        """Drops it, whoever is connected."""
        self.query(f"DROP DATABASE IF EXISTS {url.rpartition('/')[2]} WITH (FORCE)")

    def url(self, database: str) -> str:
        return f"postgresql+asyncpg://{_SUPERUSER}@{LOOPBACK}:{self.port}/{database}"

    def query(self, statement: str, database: str = "postgres") -> str:
        """Runs one statement as superuser; returns the rows, fields separated by `|`. Raises PeerError."""
        where = f"host={LOOPBACK} port={self.port} user={_SUPERUSER} dbname={database}"
        return run([_binary("psql"), "-XAtq", "-v", "ON_ERROR_STOP=1", "-c", statement, "-d", where]).rstrip("\n")

    def _answers(self) -> bool:
        try:
            return self.query("SELECT 1") == "1"
        except PeerError:
            return False

    def _running(self) -> PeerProcess:
        if self._process is None:
            raise PeerError("PostgreSQL is not running")
        return self._process


def _binary(name: str) -> Path:
    return program(name, f"/usr/lib/postgresql/*/bin/{name}")
