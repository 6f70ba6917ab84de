"""The log of a process: structured events, one line each, on standard error.

A separate thread writes the lines (LineWriter), so that the log can never delay mail. Lines of the general pipeline go
to that thread at once. The lines of events for every message (`FrequentEvent`) are collected for up to 50 ms, because
waking the thread costs more than making the line. The collected lines are written before each line of the general
pipeline, so the order is kept. Lines that are left are written at the end of the process. A killed process loses the
lines that were not written yet. So important facts are also stored elsewhere: each delivery attempt is in the database
of the queue.
"""

from __future__ import annotations

import asyncio
import atexit
import json
import logging
import os
import sys
import threading
from collections.abc import Callable, MutableMapping
from contextlib import suppress
from datetime import UTC, datetime
from json.encoder import encode_basestring_ascii
from pathlib import Path
from typing import Any, Protocol, TextIO, cast

import structlog
from prometheus_client import Counter

from libs.runtime.line_writer import LineWriter

LEVELS = ("debug", "info", "warning", "error", "critical")
_GATHER_SECONDS = 0.05
_GATHERED_LINES = 500
# The longest time for which the end of the process waits for unwritten lines.
_LAST_SECONDS = 2.0

# Libraries whose lines of level info are not useful for operators.
_TALKATIVE_LIBRARIES = ("alembic", "httpx", "uvicorn")

# A text as a JSON string, with its quotes.
quoted: Callable[[str], str] = encode_basestring_ascii


class Sink(Protocol):
    """An object that accepts finished lines. Its `write` neither fails nor waits."""

    def write(self, text: str) -> None: ...


class _StandardError:
    """Accepts the lines that are logged before `configure` is called, and writes them to standard error at once."""

    def write(self, text: str) -> None:
        with suppress(OSError, ValueError):
            sys.stderr.write(text)
            sys.stderr.flush()


class Output:
    """Accepts lines in any thread, and passes them to `sink` at once or collected."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._gathered: list[str] = []
        self._lock = threading.Lock()

    def write(self, text: str) -> int:
        """Passes on the collected lines, and then this text."""
        with self._lock:
            self._gathered.append(text)
            self._hand_on()
        return len(text)

    def flush(self) -> None:
        with self._lock:
            if self._gathered:
                self._hand_on()

    def gather(self, line: str) -> None:
        """Passes the line on within 50 ms if an event loop runs in this thread, and otherwise at once."""
        loop = asyncio._get_running_loop()  # noqa: SLF001 - the public one raises, which is slow
        with self._lock:
            self._gathered.append(line)
            count = len(self._gathered)
            if loop is None or count >= _GATHERED_LINES:
                self._hand_on()
                return
        if count == 1:
            loop.call_later(_GATHER_SECONDS, self.flush)

    def _hand_on(self) -> None:
        text = "".join(self._gathered)
        self._gathered.clear()
        self._sink.write(text)


class FrequentEvent:
    """An event of level info that is logged for every message. The caller renders its fields.

    structlog would need some 100 µs for such a line, which is as long as ingress needs for the rest of a short message.
    """

    def __init__(self, service: str, event: str, write: Callable[[str], object] | None = None) -> None:
        """Create the object after `configure`. `write` gets the finished lines; the default is the log of the process.
        The fields need to be rendered only if `enabled` is True.
        """
        self.enabled = write is not None or logging.getLogger().isEnabledFor(logging.INFO)
        self.write = write or gather
        self._middle = f'"level": "info", "event": {quoted(event)}, "service": {quoted(service)}'
        self._second = -1
        self._stamp = ""
        # The time of the last line, and the beginning of all lines with this time.
        self._at = -1
        self._head = ""

    def tell(self, at: int, fields: str) -> None:
        """Writes a line with a time in microseconds since 1970, and with the inside of a JSON object, which must not be
        empty (`"a": 1, "b": "c"`).
        """
        if at != self._at:
            self._at, self._head = at, self.beginning(at)
        self.write(f"{self._head}{fields}}}\n")

    def beginning(self, at: int) -> str:
        """Returns the beginning of a line with this time. A caller with many lines of one time may add the fields and
        `}\\n` itself, and pass the line to `write`.
        """
        second, fraction = divmod(at, 1_000_000)
        if second != self._second:
            self._second = second
            self._stamp = datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S")
        return f'{{"timestamp": "{self._stamp}.{fraction:06d}Z", {self._middle}, '


_writer: LineWriter | None = None
_output = Output(_StandardError())
_console = False


def output() -> Output:
    """Returns the output of this process."""
    return _output


def configure(service: str, level: str, *, console: bool = False) -> None:
    """Sends structlog's events and the standard library's records through one pipeline.

    Lines are JSON; with `console` they are readable for a person. Both renderers escape values with control characters,
    so that one event is always one line (C37).

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
    if console:
        renderer = _as_text
    stream = _redirected(service)
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
    for library in _TALKATIVE_LIBRARIES:
        logging.getLogger(library).setLevel(logging.NOTSET if name == "debug" else logging.WARNING)
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, name.upper())),
        logger_factory=structlog.WriteLoggerFactory(file=stream),
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(service=service)


def _redirected(service: str) -> TextIO:
    """Returns the output as a file object, for libraries that write to standard error."""
    global _output, _writer  # noqa: PLW0603 - one for the process, as standard error is
    if _writer is None:
        _writer = LineWriter(_loss_line)
        lost = Counter(f"posthouse_{service}_log_lines_lost_total", "Lines of the log that could not be written.")
        _writer.on_loss = lost.inc
        _output = Output(_writer)
        atexit.register(_at_exit)
    return cast("TextIO", _output)


def _loss_line(count: int) -> str:
    timestamp = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    line = _encode({"timestamp": timestamp, "level": "error", "event": "log_lines_lost", "count": count}) + "\n"
    return _for_console(line) if _console else line


def _at_exit() -> None:
    """Writes the collected lines.

    Lines for which a full disk has no space are dropped. Otherwise Python would end with status 120.
    """
    _output.flush()
    if _writer is not None:
        _writer.finish(_LAST_SECONDS)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            with suppress(OSError, ValueError), Path(os.devnull).open("wb") as nowhere:
                os.dup2(nowhere.fileno(), stream.fileno())


def gather(line: str) -> None:
    """Collects a finished JSON line, which ends in a newline, with other lines, and logs them together."""
    _output.gather(_for_console(line) if _console else line)


def _for_console(line: str) -> str:
    """Returns a JSON line in the form for people."""
    return _text_of(json.loads(line)) + "\n"


def _as_text(_logger: object, _method: str, event: structlog.typing.EventDict) -> str:
    return _text_of(event)


def _text_of(fields: MutableMapping[str, Any]) -> str:
    """Returns a line such as `12:00:01Z info    ready port=50052`. The service is not named, because the terminal or
    a prefix shows it.
    """
    values = dict(fields)
    values.pop("service", None)
    time, level, event = (str(values.pop(key, "")) for key in ("timestamp", "level", "event"))
    pairs = "".join(f" {key}={_text_value(value)}" for key, value in values.items())
    return f"{time[11:19]}Z {level:<8}{event if event.isprintable() else _encode(event)}{pairs}"


def _text_value(value: object) -> str:
    text = value if isinstance(value, str) else _encode(value)
    # The text is quoted as JSON if it could be read as more than one value or line (C37).
    return text if text.isprintable() and not set(text) & set(' "=') else _encode(value)


def _render(value: object) -> str:
    """Returns bytes, which come from clients, as text in which every byte that is not ASCII is escaped. Returns any
    other value as its repr.
    """
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value).decode("ascii", "backslashreplace")
    return repr(value)


# One encoder is made for all lines, because json.dumps with a `default` would make a new one for each line.
_encode = json.JSONEncoder(default=_render).encode


def _as_json(_logger: object, _method: str, event: structlog.typing.EventDict) -> str:
    return _encode(event)
