"""The log of a process: structured events, one line each, on standard error.

When they are written: lines of the general pipeline at once, so that whatever ends the process is preceded by all it
had to say. `FrequentEvent`s are gathered for up to a twentieth of a second, since a system call a line costs more than
making it. A line of the general pipeline takes those before it along, so the order holds, and the end of the process
writes the rest. Only a process that is killed outright loses what it gathered, so only what stands elsewhere too may
be told that way (an attempt is in the queue's database).
"""

from __future__ import annotations

import asyncio
import atexit
import json
import logging
import os
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from json.encoder import encode_basestring_ascii
from pathlib import Path
from typing import Any, TextIO, cast

import structlog

LEVELS = ("debug", "info", "warning", "error", "critical")
_GATHER_SECONDS = 0.05
_GATHERED_LINES = 500

# A text as JSON, quotes and all.
quoted: Callable[[str], str] = encode_basestring_ascii


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
            self._lost += text.count("\n")
            return len(text)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except (OSError, ValueError):
            # The stream keeps what it has, as far as its buffer goes.
            return


class Output:
    """A stream that takes lines from any thread, at once or gathered."""

    def __init__(self, stream: _Unfailing) -> None:
        self._stream = stream
        self._gathered: list[str] = []
        self._lock = threading.Lock()

    def write(self, text: str) -> int:
        """What has gathered, and this."""
        with self._lock:
            self._gathered.append(text)
            self._write_out()
        return len(text)

    def flush(self) -> None:
        with self._lock:
            if self._gathered:
                self._write_out()

    def gather(self, line: str) -> None:
        """Written within a twentieth of a second where an event loop runs in this thread, else at once."""
        loop = asyncio._get_running_loop()  # noqa: SLF001 - the public one raises, which is dear
        with self._lock:
            self._gathered.append(line)
            count = len(self._gathered)
            if loop is None or count >= _GATHERED_LINES:
                self._write_out()
                return
        if count == 1:
            loop.call_later(_GATHER_SECONDS, self.flush)

    def _write_out(self) -> None:
        text = "".join(self._gathered)
        self._gathered.clear()
        self._stream.write(text)
        self._stream.flush()


class FrequentEvent:
    """An event of level info that is told for every message: its fields are rendered by who tells it."""

    def __init__(self, service: str, event: str) -> None:
        """To be made after `configure`. `enabled`: whether there is any use in rendering fields."""
        self.enabled = logging.getLogger().isEnabledFor(logging.INFO)
        self._middle = f'"level": "info", "event": {quoted(event)}, "service": {quoted(service)}'
        self._second = -1
        self._stamp = ""

    def tell(self, at: int, fields: str) -> None:
        """`at`: microseconds since 1970; `fields`: the inside of a JSON object, not empty (`"a": 1, "b": "c"`)."""
        second, fraction = divmod(at, 1_000_000)
        if second != self._second:
            self._second = second
            self._stamp = datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S")
        line = f'{{"timestamp": "{self._stamp}.{fraction:06d}Z", {self._middle}, {fields}}}\n'
        output().gather(_for_console(line) if for_persons() else line)


_output: Output | None = None
_console = False


def output() -> Output:
    """Where the lines of this process go."""
    return _output if _output is not None else Output(_Unfailing(sys.stderr))


def configure(service: str, level: str, *, console: bool = False) -> None:
    """Sends structlog's events and the standard library's records through one pipeline.

    Lines are JSON; with `console` they are readable for a person. Values that hold control
    characters are escaped by both renderers, so that one event is always one line (C37).

    Raises ValueError for a level that does not exist.
    """
    global _console  # noqa: PLW0603 - one for the process, as standard error is
    _console = console
    name = level.lower()
    if name not in LEVELS:
        raise ValueError(f"log level must be one of {', '.join(LEVELS)}, not {level!r}")
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    renderer: Any = _as_json
    if for_persons():
        renderer = structlog.processors.KeyValueRenderer(key_order=["timestamp", "level", "event"])
    stream = _redirected()
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


def _redirected() -> TextIO:
    """Standard error, behind what gathers lines; for libraries that want a file."""
    global _output  # noqa: PLW0603 - one for the process, as standard error is
    if _output is None:
        atexit.register(_at_exit)
    else:
        _output.flush()
    _output = Output(_Unfailing(sys.stderr))
    return cast("TextIO", _output)


def _at_exit() -> None:
    """Writes what has gathered. What a full disk does not take is dropped: Python would end with status 120 for it."""
    output().flush()
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            with suppress(OSError, ValueError), Path(os.devnull).open("wb") as nowhere:
                os.dup2(nowhere.fileno(), stream.fileno())


def for_persons() -> bool:
    """Whether this process' lines are made for people instead of programs."""
    return _console


def _for_console(line: str) -> str:
    """As structlog's key=value form begins: time, level, event, then the rest."""
    return " ".join(f"{key}={value!r}" for key, value in json.loads(line).items()) + "\n"


def _render(value: object) -> str:
    """Bytes that clients sent, as text with every odd byte escaped; anything else as its repr."""
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value).decode("ascii", "backslashreplace")
    return repr(value)


# One encoder for all lines: json.dumps with a `default` makes another for each of them.
_encode = json.JSONEncoder(default=_render).encode


def _as_json(_logger: object, _method: str, event: structlog.typing.EventDict) -> str:
    return _encode(event)
