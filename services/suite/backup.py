"""A backup is one encrypted file with everything that a suite must not lose: queue, settings with their secrets, and
keys. This module writes and restores it.

The content is JSON with one record in each line: a description of the following rows, and then the rows as lists. The
files come last. The queue is copied before the settings, so that a domain that is added during the backup is in the
settings if mail for it is in the queue.
"""

from __future__ import annotations

import base64
import datetime
import json
import os
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from libs.runtime.database_copy import CopyError, Record, ServiceDatabase, check_empty, copy_in, copy_out
from libs.runtime.lifecycle import write_private
from libs.runtime.sealed_stream import SealedStreamError, SealedWriter, opened

_FORMAT = 1
_KEY_FILE = "secret-key"
# Files in the data folder besides the databases.
_FILES = (_KEY_FILE, "admin-key", "policy/blocked-clients", "tls/*.crt", "tls/*.key")
SECRET_KEY_VARIABLE = "CONFIG_API_SECRET_KEY"  # noqa: S105 - the name of a variable


class BackupError(Exception):
    """The backup cannot be made or restored. The text is for the operator."""


@dataclass(slots=True)
class Contents:
    """The content of a backup: the time at which it began, the number of rows by service and table, and the files."""

    taken_at: datetime.datetime
    rows: dict[str, dict[str, int]] = field(default_factory=dict)
    files: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        return {
            "taken_at": self.taken_at.isoformat(timespec="seconds"),
            "rows": self.rows,
            "files": self.files,
            "notes": self.notes,
        }


async def make(
    path: Path, passphrase: str, databases: Sequence[ServiceDatabase], folder: Path, environment: Mapping[str, str]
) -> Contents:
    """Writes the backup of a suite, which may run meanwhile. `path` is replaced at the end. Raises BackupError."""
    contents = Contents(datetime.datetime.now(datetime.UTC))
    part = path.with_name(f".{path.name}.part")
    try:
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            lines = _Lines(SealedWriter(file, passphrase))
            lines.write({"format": _FORMAT, "taken_at": round(contents.taken_at.timestamp() * 1_000_000)})
            for database in databases:
                contents.rows[database.schema.service] = await copy_out(database, lines.write)
            for name, content in _files(folder, environment):
                lines.write({"file": name, "content": base64.b64encode(content).decode("ascii")})
                contents.files.append(name)
            lines.finish()
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except CopyError as error:
        raise BackupError(str(error)) from None
    except OSError as error:
        raise BackupError(f"{error.filename or path}: {error.strerror}") from None
    finally:
        part.unlink(missing_ok=True)
    return contents


async def restore(
    path: Path, passphrase: str, databases: Sequence[ServiceDatabase], folder: Path, environment: Mapping[str, str]
) -> Contents:
    """Fills the empty databases and the data folder of a suite that does not run. Raises BackupError.

    Before anything is written, the whole file is read, so that a changed or truncated file restores nothing.
    """
    try:
        files = _check(path, passphrase, folder, environment)
        for database in databases:
            await check_empty(database)
        records = _Records(_records(path, passphrase))
        contents = Contents(_time(records.take()))
        taken_at = round(contents.taken_at.timestamp() * 1_000_000)
        by_service = {database.schema.service: database for database in databases}
        while isinstance(first := records.take(), dict) and "service" in first:
            counts: dict[str, int] = {}
            rows = records.until_next_part(counts)
            notes = await copy_in(by_service[first["service"]], first["schema"], taken_at, rows)
            contents.notes += notes
            contents.rows[first["service"]] = counts
        for name, content in files.items():
            target = folder / name
            target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_private(target, content)
            contents.files.append(name)
    except (CopyError, SealedStreamError) as error:
        raise BackupError(f"{path}: {error}" if isinstance(error, SealedStreamError) else str(error)) from None
    except OSError as error:
        raise BackupError(f"{error.filename or path}: {error.strerror}") from None
    return contents


def _files(folder: Path, environment: Mapping[str, str]) -> Iterator[tuple[str, bytes]]:
    """Returns the names and contents of the files to keep. A secret key from the environment is stored like its
    file.
    """
    for pattern in _FILES:
        if pattern == _KEY_FILE and (keys := environment.get(SECRET_KEY_VARIABLE)):
            yield _KEY_FILE, "".join(f"{key.strip()}\n" for key in keys.split(",") if key.strip()).encode()
            continue
        for file in sorted(folder.glob(pattern)):
            yield str(file.relative_to(folder)), file.read_bytes()


def _check(path: Path, passphrase: str, folder: Path, environment: Mapping[str, str]) -> dict[str, bytes]:
    """Reads the whole backup, and returns its files if they can be restored here. Raises BackupError,
    SealedStreamError, OSError.
    """
    files = {
        record["file"]: base64.b64decode(record["content"])
        for record in _records(path, passphrase)
        if isinstance(record, dict) and "file" in record
    }
    for name in files:
        if not any(_is_named(name, pattern) for pattern in _FILES):
            raise BackupError(f"{path} contains the file {name!r}, which does not belong in a backup")
        if (folder / name).exists():
            raise BackupError(f"{folder / name} exists already: a backup needs an empty data folder")
    keys = environment.get(SECRET_KEY_VARIABLE, "")
    if keys and _KEY_FILE in files:
        former = files.pop(_KEY_FILE).decode().split()
        if former and former[0] not in [key.strip() for key in keys.split(",")]:
            raise BackupError(
                f"the secrets of the backup are sealed under another key than {SECRET_KEY_VARIABLE}: unset it, and the "
                "key of the backup is restored too"
            )
    return files


def _is_named(name: str, pattern: str) -> bool:
    """Returns whether the name of a file matches the pattern, and is below the data folder."""
    path = PurePosixPath(name)
    return not path.is_absolute() and len(path.parts) == len(PurePosixPath(pattern).parts) and path.match(pattern)


def _time(record: Record | None) -> datetime.datetime:
    if not isinstance(record, dict) or record.get("format") != _FORMAT:
        raise BackupError("a newer release made the backup: restore it with that release")
    return datetime.datetime.fromtimestamp(record["taken_at"] / 1_000_000, datetime.UTC)


class _Lines:
    """Writes records into the file, compressed."""

    def __init__(self, sealed: SealedWriter) -> None:
        self._sealed = sealed
        self._compressor = zlib.compressobj(1)

    def write(self, record: Record) -> None:
        line = json.dumps(record, ensure_ascii=False, separators=(",", ":"))
        self._sealed.write(self._compressor.compress(f"{line}\n".encode("utf-8", "surrogatepass")))

    def finish(self) -> None:
        self._sealed.write(self._compressor.flush())
        self._sealed.finish()


def _records(path: Path, passphrase: str) -> Iterator[Record]:
    """Yields the records of a file. Raises SealedStreamError, OSError."""
    decompressor = zlib.decompressobj()
    with path.open("rb") as file:
        pending: list[bytes] = []
        for frame in opened(file, passphrase):
            *lines, rest = decompressor.decompress(frame).split(b"\n")
            for line in lines:
                yield json.loads(b"".join((*pending, line)).decode("utf-8", "surrogatepass"))
                pending.clear()
            pending.append(rest)


class _Records:
    """The records in order. The next record can be examined before it is removed."""

    def __init__(self, records: Iterator[Record]) -> None:
        self._records = records
        self._next = next(records, None)

    def take(self) -> Record | None:
        record, self._next = self._next, next(self._records, None)
        return record

    def until_next_part(self, counts: dict[str, int]) -> Iterable[Record]:
        """Yields the tables and rows of one service. `counts` gets the number of rows of each table."""
        table = ""
        while self._next is not None and (isinstance(self._next, list) or "table" in self._next):
            if isinstance(self._next, dict):
                table = self._next["table"]
                counts[table] = 0
            else:
                counts[table] += 1
            record = self.take()
            assert record is not None  # noqa: S101 - it was looked at
            yield record
