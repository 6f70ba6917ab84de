"""The space that SQLite needs besides the queue's file: its log, and a spare file that is released when the disk is
full.

SQLite appends a commit to the log before it copies it into the file. So even an outcome that frees space needs some
space first. While space is short, the log is kept short. When there is no space, the spare file is removed. Then queued
mail can be delivered, and the space that this frees serves the rest of the mail.
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
# The largest size of the log while space is short: the pages between two checkpoints, and the largest group of
# outcomes.
SHORT_LOG_OCTETS = 8 * _MEGABYTE
# Below this, space counts as short.
_SHORT_OCTETS = 128 * _MEGABYTE
# After this number of pages the log is copied into the file. The number is high, because most mail is already removed
# from the queue by then.
_PAGES = 8000
_SHORT_PAGES = 250
_LOG_OCTETS = 64 * _MEGABYTE
_SHORT_KEPT_OCTETS = 1 * _MEGABYTE
# The number of commits between two measurements of the free space.
_COMMITS = 64


class FreeSpace:
    """Manages the free space for the queue's file. It is used in the thread that writes the file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._spare = path.with_name(f"{path.name}.spare")
        self._short: bool | None = None
        self._commits = 0

    @property
    def exhausted(self) -> bool:
        """Whether almost no space is left."""
        return self._free() < SPARE_OCTETS

    def prepare(self) -> None:
        """Removes the spare file when almost no space is left. Call it before the queue's file is opened."""
        if self.exhausted:
            self.give_up()

    def give_up(self) -> None:
        """Removes the spare file, if it exists."""
        with contextlib.suppress(FileNotFoundError):
            self._spare.unlink()
            log.warning("spare_file_released", path=str(self._spare), reason="the disk is full")

    def committed(self, driver: sqlite3.Connection) -> None:
        """Measures the space at intervals, limits the log accordingly, and makes the spare file again when there is
        space for it.
        """
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
        """Returns the free octets, or a very large number when they cannot be measured."""
        try:
            disk = os.statvfs(self._path.parent)
        except OSError:
            return 2**62
        return disk.f_bavail * disk.f_frsize
