"""The log of a process: structured events, one line each, on standard error."""

from __future__ import annotations

import logging
import os
import sys
from typing import Any, TextIO

import structlog

_LEVELS = ("debug", "info", "warning", "error", "critical")


class _Unfailing:
    """A stream that loses lines where it can't write them, and says how many once it can again.

    What a line tells of has happened: a full disk must not make a delivered message look like one that broke (C133).
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._lost = 0

    def write(self, text: str) -> int:
        try:
            if self._lost:
                self._stream.write(f'{{"event": "log_lines_lost", "level": "error", "count": {self._lost}}}\n')
                self._lost = 0
            return self._stream.write(text)
        except (OSError, ValueError):
            self._lost += 1
            return len(text)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except (OSError, ValueError):
            # The stream keeps what it has, as far as its buffer goes.
            return


def configure(service: str, level: str) -> None:
    """Sends structlog's events and the standard library's records through one pipeline.

    Lines are JSON; `POSTHOUSE_LOG_FORMAT=console` makes them readable for a person. Values that hold control
    characters are escaped by both renderers, so that one event is always one line (C37).

    Raises ValueError for a level that does not exist.
    """
    name = level.lower()
    if name not in _LEVELS:
        raise ValueError(f"log level must be one of {', '.join(_LEVELS)}, not {level!r}")
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    renderer: Any = structlog.processors.JSONRenderer(default=_render)
    if os.environ.get("POSTHOUSE_LOG_FORMAT") == "console":
        renderer = structlog.processors.KeyValueRenderer(key_order=["timestamp", "level", "event"])
    stream: Any = _Unfailing(sys.stderr)
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(getattr(logging, name.upper()))
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, name.upper())),
        logger_factory=structlog.WriteLoggerFactory(file=stream),
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(service=service)


def _render(value: object) -> str:
    """Bytes that clients sent, as text with every odd byte escaped; anything else as its repr."""
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value).decode("ascii", "backslashreplace")
    return repr(value)
