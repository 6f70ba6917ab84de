"""The file of blocked clients for a process that counts in memory, so that a restart lifts no block."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Iterable
from pathlib import Path

import structlog

from libs.runtime.lifecycle import write_private
from services.policy.state.store import Blocked

log = structlog.get_logger(__name__)


class BlockFile:
    """The file has a line of JSON for each client that is blocked, and a line for each block that is lifted before its
    end.

    A thread writes it, so that no decision waits for the disk. A block that could not be written is lost only at a
    restart.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lines: list[str] = []
        self._writing: asyncio.Task[None] | None = None

    def read(self, now: float) -> list[Blocked]:
        """Returns the blocks that have not ended. Afterwards the file contains only these blocks."""
        blocked: dict[str, Blocked] = {}
        try:
            for line in self._path.read_text("utf-8").splitlines():
                _apply(line, blocked)
        except FileNotFoundError:
            return []
        except (OSError, UnicodeDecodeError) as error:
            log.error("blocked_clients_unreadable", path=str(self._path), reason=type(error).__name__)
            return []
        acting = [block for block in blocked.values() if now < block.ends_at]
        self._rewrite(acting)
        return acting

    def block(self, blocked: Blocked) -> None:
        self._add(_line(blocked))

    def lift(self, client: str) -> None:
        self._add(json.dumps({"lifted": client}) + "\n")

    async def close(self) -> None:
        """Returns when everything is written."""
        while self._writing is not None:
            await self._writing

    def _add(self, line: str) -> None:
        self._lines.append(line)
        if self._writing is None:
            self._writing = asyncio.create_task(self._write())

    async def _write(self) -> None:
        try:
            while self._lines:
                lines, self._lines = self._lines, []
                await asyncio.to_thread(self._append, "".join(lines))
        finally:
            self._writing = None

    def _append(self, text: str) -> None:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            with os.fdopen(descriptor, "a", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(descriptor)
        except OSError as error:
            log.error("blocked_clients_unwritable", path=str(self._path), reason=error.strerror)

    def _rewrite(self, acting: Iterable[Blocked]) -> None:
        try:
            write_private(self._path, "".join(map(_line, acting)).encode())
        except OSError as error:
            log.error("blocked_clients_unwritable", path=str(self._path), reason=error.strerror)


def _line(blocked: Blocked) -> str:
    return json.dumps({name: getattr(blocked, name) for name in Blocked.__dataclass_fields__}) + "\n"


def _apply(line: str, blocked: dict[str, Blocked]) -> None:
    """Applies one line of the file. A damaged line is ignored, for example a line that was truncated when the process
    died.
    """
    try:
        fields = json.loads(line)
        if "lifted" in fields:
            blocked.pop(fields["lifted"], None)
            return
        if not isinstance(fields["client"], str) or not isinstance(fields["ends_at"], int | float):
            raise TypeError
        blocked[fields["client"]] = Blocked(**fields)
    except (ValueError, TypeError, LookupError):
        log.warning("blocked_clients_line_damaged")
