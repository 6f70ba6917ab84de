"""A PostgreSQL server of our own that gives each test a fresh database, and can be restarted, killed and frozen."""

from __future__ import annotations

import itertools
import shutil
import signal
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.peers import memory
from tests.peers.ports import LOOPBACK, free_port
from tests.peers.process import PeerError, PeerProcess, descendants, program, run, send_all, unprivileged_user

_SUPERUSER = "posthouse"
_INITDB_OPTIONS = ("-U", _SUPERUSER, "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync", "--no-instructions")


class Postgres:
    """A server on a free loopback port. `durable` keeps fsync on: benchmarks need it, tests do not."""

    def __init__(self, settings: Mapping[str, str] | None = None, *, durable: bool = False) -> None:
        self.port = free_port()
        self._user = unprivileged_user("postgres")
        self._folder = (
            Path(tempfile.mkdtemp(prefix="posthouse-postgres-")) if durable else memory.make_folder("postgres")
        )
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
        """Creates the data folder at the first start. Returns when the server answers a query."""
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
            # SIGQUIT is PostgreSQL's immediate shutdown: it ends all backends and leaves no shared memory behind.
            end_signal=signal.SIGQUIT,
        )
        self._process.until_ready(self._answers)
        return self

    def stop(self) -> None:
        """Ends the server and removes its data."""
        self.break_off()
        shutil.rmtree(self._folder, ignore_errors=True)

    def break_off(self) -> None:
        """Does an immediate shutdown: every connection breaks and new connections are refused.

        `start` then recovers from the log.
        """
        if self._process is not None:
            self.thaw()
            self._process.stop()
            self._process = None

    def restart(self) -> None:
        """Does a fast shutdown (connections end with 57P01), then starts on the same port with the same data."""
        process = self._running()
        process.signal(signal.SIGINT)
        process.wait()
        self.start()

    def kill(self) -> None:
        """Ends the server and all its backends with SIGKILL. `start` starts it again."""
        process = self._running()
        family = descendants(process.pid)
        process.kill()
        # The backends of a dead server end by themselves, but a new server cannot start before the last backend has
        # ended.
        send_all(family, signal.SIGKILL)
        self._process = None

    def freeze(self) -> None:
        """Stops all processes of the server (SIGSTOP): connections stay open and nothing is answered until `thaw`."""
        process = self._running()
        # The first process starts the others. It is stopped first, since a backend that it starts after the others were
        # listed would go on answering.
        send_all([process.pid], signal.SIGSTOP)
        send_all(descendants(process.pid), signal.SIGSTOP)

    def thaw(self) -> None:
        process = self._running()
        send_all([process.pid, *descendants(process.pid)], signal.SIGCONT)

    def ensure_running(self) -> None:
        """Makes the server work again after a test has killed or frozen it."""
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

    def create_database(self, template: str = "") -> str:
        """Creates a database and returns its asynchronous URL (postgresql+asyncpg://…).

        It is empty, or a copy of the database with the URL `template`, to which no client may be connected.
        """
        name = f"test_{next(self._numbers)}"
        copied = f" TEMPLATE {_name_of(template)}" if template else ""
        self.query(f"CREATE DATABASE {name}{copied}")
        return self.url(name)

    def drop_database(self, url: str) -> None:
        """Drops the database, even while clients are connected to it."""
        self.query(f"DROP DATABASE IF EXISTS {_name_of(url)} WITH (FORCE)")

    @contextmanager
    def temporary_database(self, template: str = "") -> Iterator[str]:
        """Creates a database as `create_database` does, and drops it at the end, even if the test has stopped the
        server.
        """
        url = self.create_database(template)
        yield url
        self.ensure_running()
        self.drop_database(url)

    def url(self, database: str) -> str:
        return f"postgresql+asyncpg://{_SUPERUSER}@{LOOPBACK}:{self.port}/{database}"

    def query(self, statement: str, database: str = "postgres") -> str:
        """Runs one statement as superuser and returns the rows, with fields separated by `|`. Raises PeerError."""
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


def _name_of(url: str) -> str:
    return url.rpartition("/")[2]


def _binary(name: str) -> Path:
    return program(name, f"/usr/lib/postgresql/*/bin/{name}")
