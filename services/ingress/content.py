"""The content of one message: the first part in memory, and a large rest in an unnamed file."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from services.ingress.data import ChunkReader, LineReader
from services.ingress.submission import INLINE_OCTETS

# The octets of each message that stay in memory. For an accepted message, these octets include the whole header, whose
# limit is lower.
MEMORY_OCTETS = 256 * 1024


class Content:
    """The octets of one message. `folder` is used for a message that is too large for memory."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._parts: list[bytes] = []
        self._in_memory = 0
        self._file: IO[bytes] | None = None
        self.size = 0

    def add(self, octets: bytes) -> None:
        """Adds octets at the end. Raises OSError when the file system has no space."""
        self.size += len(octets)
        if self._file is not None:
            self._file.write(octets)
            return
        self._parts.append(octets)
        self._in_memory += len(octets)
        if self._in_memory > MEMORY_OCTETS:
            self._spill()
        elif len(self._parts) > 512:
            # Thousands of tiny objects would use many times the memory of their octets (C45).
            self._parts = [b"".join(self._parts)]

    def discard(self) -> None:
        """Releases memory and file."""
        self._parts.clear()
        self._in_memory = 0
        self.size = 0
        if self._file is not None:
            # On a full disk the remaining octets cannot be written either, and nobody needs them.
            with contextlib.suppress(OSError):
                self._file.close()
            self._file = None

    close = discard

    def complete(self) -> None:
        """Call this after the last octet. It writes the rest to the file. Raises OSError when the file system has no
        space.
        """
        if self._file is not None:
            self._file.flush()

    @property
    def head(self) -> bytes:
        """Returns the part in memory: the whole content, or its first part while the rest is in the file."""
        if len(self._parts) != 1:
            self._parts = [b"".join(self._parts)]
        return self._parts[0]

    def replace_start(self, octets: int, start: bytes) -> None:
        """Replaces the first `octets`, which are in memory, by `start`."""
        self._parts = [start + self.head[octets:]]
        self._in_memory = len(self._parts[0])
        self.size += len(start) - octets

    def tail(self) -> Iterator[bytes]:
        """Yields the content after `head`, in pieces. Several callers may call this method at the same time."""
        if self._file is None:
            return
        self._file.flush()
        number, position = self._file.fileno(), 0
        while piece := os.pread(number, INLINE_OCTETS, position):
            position += len(piece)
            yield piece

    def pieces(self) -> Iterator[bytes]:
        """Yields the whole content, in pieces."""
        yield self.head
        yield from self.tail()

    def _spill(self) -> None:
        everything = b"".join(self._parts)
        self._file = tempfile.TemporaryFile(dir=self._folder, buffering=64 * 1024)  # noqa: SIM115 - lives as long as we
        self._file.write(everything[MEMORY_OCTETS:])
        self._parts = [everything[:MEMORY_OCTETS]]
        self._in_memory = MEMORY_OCTETS


class Rewritten:
    """The content with another head before the same tail, as it is handed to relay."""

    def __init__(self, head: tuple[bytes | memoryview, ...], content: Content) -> None:
        self._head = head
        self._content = content
        self.size = sum(map(len, head)) + content.size - len(content.head)

    def pieces(self) -> Iterator[bytes]:
        """Yields the whole content, in pieces of at most INLINE_OCTETS."""
        head = b"".join(self._head)
        for start in range(0, len(head), INLINE_OCTETS):
            yield head[start : start + INLINE_OCTETS]
        yield from self._content.tail()


@dataclass(slots=True)
class Chunks:
    """A message that arrives by BDAT. `began` is a time of the event loop's clock."""

    content: Content
    lines: LineReader
    reader: ChunkReader
    began: float
    count: int = 0
    octets: int = 0
