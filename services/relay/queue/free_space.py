"""The space that SQLite needs besides the queue's file: its log, and a spare file that is released when the disk is
full.

A commit is appended to the log before it is copied into the file, so an outcome needs room even where it frees some.
The log is kept short while space is short, and a spare file is given up where there is none: then queued mail can
leave, and what it leaves behind makes room for the rest.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from pathlib import Path

import structlog

log = structlog.get_logger(__name__)

_MEGABYTE = 1024 * 1024
SPARE_OCTETS = 4 * _MEGABYTE
# The most space that the log takes while space is short: the pages between two checkpoints, and the largest group of
# outcomes.
SHORT_LOG_OCTETS = 8 * _MEGABYTE
# Space counts as short below this.
_SHORT_OCTETS = 128 * _MEGABYTE
# Pages after which the log is copied into the file. Usually late, since most mail is gone by then.
_PAGES = 8000
_SHORT_PAGES = 250
_LOG_OCTETS = 64 * _MEGABYTE
_SHORT_KEPT_OCTETS = 1 * _MEGABYTE
# Commits between two looks at the disk.
_COMMITS = 64


class FreeSpace:
    """The free space for one queue's file; used in the thread that writes the file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._spare = path.with_name(f"{path.name}.spare")
        self._short: bool | None = None
        self._commits = 0

    @property
    def exhausted(self) -> bool:
        """Next to nothing is left."""
        return self._free() < SPARE_OCTETS

    def prepare(self) -> None:
        """Before the file is opened: gives the spare file up when there is next to nothing left."""
        if self.exhausted:
            self.give_up()

    def give_up(self) -> None:
        """Removes the spare file, if it is there."""
        with contextlib.suppress(FileNotFoundError):
            self._spare.unlink()
            log.warning("spare_file_released", path=str(self._spare), reason="the disk is full")

    def committed(self, driver: sqlite3.Connection) -> None:
        """Looks at the disk now and then, and has the log kept as short as it must be."""
        if self._short is not None:
            self._commits += 1
            if self._commits < _COMMITS:
                return
        self._commits = 0
        free = self._free()
        short = free < _SHORT_OCTETS
        if short is not self._short:
            self._short = short
            driver.execute(f"PRAGMA wal_autocheckpoint={_SHORT_PAGES if short else _PAGES}")
            driver.execute(f"PRAGMA journal_size_limit={_SHORT_KEPT_OCTETS if short else _LOG_OCTETS}")
        if free > _SHORT_OCTETS // 4 and not self._spare.exists():
            self._make()

    def _make(self) -> None:
        try:
            descriptor = os.open(self._spare, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                os.posix_fallocate(descriptor, 0, SPARE_OCTETS)
            finally:
                os.close(descriptor)
        except OSError as error:
            log.warning("spare_file_not_made", path=str(self._spare), reason=error.strerror)

    def _free(self) -> int:
        """Octets; no end of them where nobody can tell."""
        try:
            disk = os.statvfs(self._path.parent)
        except OSError:
            return 2**62
        return disk.f_bavail * disk.f_frsize
