"""Opens the database of a service: the URL, the lock of an SQLite file, and the migrations."""

from __future__ import annotations

import fcntl
import math
import os
import select
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog
from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, event, inspect, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DisconnectionError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry

from libs.runtime.lifecycle import StartupError

log = structlog.get_logger(__name__)

VERSION_TABLE = "alembic_version"
_POSTGRESQL_PORT = 5432
# A connection that was not used for this time may have been lost without notice, so it is tested before it is used.
_UNCHECKED_SECONDS = 5.0


def database_url(url: str, variable: str) -> URL:
    """Reads the URL of an SQLite file or of PostgreSQL from the setting `variable`. Raises StartupError for any other
    URL.
    """
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise StartupError(f"{variable} is not a database URL") from None
    if parsed.get_backend_name() not in ("sqlite", "postgresql"):
        raise StartupError(f"{variable} must begin with sqlite:/// or postgresql://")
    if parsed.get_backend_name() == "sqlite" and parsed.database in (None, "", ":memory:"):
        raise StartupError(f"{variable} needs a file: sqlite:///path/to/file.sqlite3")
    return parsed


def server_of(url: URL) -> str:
    """Returns the host:port of PostgreSQL, for messages."""
    return f"{url.host or 'localhost'}:{url.port or _POSTGRESQL_PORT}"


class SqliteFile:
    """An SQLite file that only one process may use at a time."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = -1

    def lock(self, service: str, variable: str) -> None:
        """Makes the file when there is none, and locks it. Raises StartupError, also when another process uses it."""
        path = self.path
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._lock = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not path.exists():
                path.touch(mode=0o600)
        except BlockingIOError:
            raise StartupError(
                f"another {service} already uses {path}; several of them need PostgreSQL ({variable})"
            ) from None
        except OSError as error:
            raise StartupError(f"{error.filename or path}: {error.strerror}") from error

    def release(self) -> None:
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1


def postgresql_engine(
    url: URL, service: str, *, pool_size: int, max_overflow: int, connect_seconds: float, statement_seconds: float
) -> AsyncEngine:
    """Makes the engine for PostgreSQL. All tables are in a schema with the service's name, so that two services can
    share one database.
    """
    engine = create_async_engine(
        url.set(drivername="postgresql+asyncpg"),
        pool_size=pool_size,
        max_overflow=max_overflow,
        hide_parameters=True,
        connect_args={
            "timeout": connect_seconds,
            "command_timeout": statement_seconds,
            "server_settings": {"search_path": service, "application_name": f"posthouse-{service}"},
        },
    )
    _check_before_use(engine)
    return engine


def _check_before_use(engine: AsyncEngine) -> None:
    """Replaces connections that were lost, for example by a restart of the server, before the work begins.

    `pool_pre_ping` of SQLAlchemy would do this too, but it asks the server three times before every transaction. This
    function asks the server only when the connection was not used for some time, or has received something unexpected,
    which may be the end of the connection.
    """

    @event.listens_for(engine.sync_engine, "checkin")
    def note_time(_: object, record: ConnectionPoolEntry) -> None:
        record.info["returned_at"] = time.monotonic()

    @event.listens_for(engine.sync_engine, "checkout")
    def check(connection: Any, record: ConnectionPoolEntry, _: object) -> None:
        driver = connection.driver_connection
        if driver.is_closed():
            raise DisconnectionError
        unused_seconds = time.monotonic() - record.info.get("returned_at", math.inf)
        if unused_seconds > _UNCHECKED_SECONDS or _has_input(driver):
            try:
                connection.ping()
            except engine.dialect.loaded_dbapi.Error as error:
                raise DisconnectionError from error


def _has_input(driver: Any) -> bool:
    """Whether the server has sent something that the event loop has not read yet."""
    poll = select.poll()
    poll.register(driver._transport.get_extra_info("socket").fileno(), select.POLLIN)  # noqa: SLF001 - asyncpg has no method for it
    return bool(poll.poll(0))


@dataclass(frozen=True, slots=True)
class Schema:
    """The tables of a service, and the migrations that make them."""

    service: str
    # The folder of the migrations.
    folder: Path
    # The environment variable that names the database.
    variable: str
    # Replicas that start together use this lock to migrate one after the other.
    migration_lock: int
    # A database of a newer release can be used if that release only added to the schema, because the added columns may
    # be empty or have defaults. Releases of one generation only add to the schema. The generation is the first two
    # digits of a revision. A migration that changes or removes anything begins a new generation.
    allows_newer: bool = False

    def scripts(self) -> ScriptDirectory:
        """Returns the migrations of this code."""
        config = Config()
        config.set_main_option("script_location", str(self.folder))
        config.set_main_option("path_separator", "os")
        return ScriptDirectory.from_config(config)

    def create(self, connection: Connection) -> None:
        """Waits for other replicas that migrate, and makes the schema when there is none. This needs PostgreSQL."""
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": self.migration_lock})
        connection.execute(text(f"CREATE SCHEMA IF NOT EXISTS {self.service}"))

    def upgrade(self, connection: Connection, to: str = "head") -> None:
        """Runs the missing migrations up to `to`. Raises StartupError when the database is of a newer release that this
        code cannot use with it, or when an SQLite file has tables of another program.
        """
        directory = self.scripts()
        present = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE}).get_current_heads()
        if not present:
            self._refuse_foreign_file(connection)
        known_revisions = {script.revision for script in directory.walk_revisions()}
        newer = {generation(revision) for revision in present if revision not in known_revisions}
        if newer and self.allows_newer and newer == set(map(generation, directory.get_heads())):
            log.warning("database_of_a_newer_release", schema=present, known=directory.get_heads())
            return
        if newer:
            raise StartupError(
                f"the database of {self.variable} is of a newer release (schema {', '.join(present)}, this one knows "
                f"{', '.join(directory.get_heads())}): run that release, or restore a backup"
            )
        with EnvironmentContext(
            Config(),
            directory,
            fn=lambda revision, _: directory._upgrade_revs(to, revision),  # noqa: SLF001 - alembic.command does the same
            destination_rev=to,
        ) as environment:
            environment.configure(connection=connection, version_table=VERSION_TABLE)
            environment.run_migrations()

    def _refuse_foreign_file(self, connection: Connection) -> None:
        """Refuses an SQLite file with tables that no migration of Posthouse made (F16). Raises StartupError."""
        if connection.dialect.name == "sqlite" and set(inspect(connection).get_table_names()) - {VERSION_TABLE}:
            raise StartupError(f"{self.variable} names a file with the tables of another program")


def generation(revision: str) -> str:
    """Returns the generation of a schema. The releases of one generation can run at the same time."""
    return revision[:2]
