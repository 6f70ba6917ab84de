"""The output of `posthouse up`: its own events and the lines of its children, as text for people or as JSON objects."""

from __future__ import annotations

import json
import re
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Protocol

_MAX_HELD_LINES = 1_000
# In the console form, the level comes after the time.
_LOUD_LINE = re.compile(r"\| \S+Z (warning|error|critical)")


class Output(Protocol):
    """Receives all output."""

    def tell(self, event: str, text: str, *, level: str = "info", **fields: object) -> None:
        """Shows an event of the suite itself: `text` for people, `event` and `fields` for programs."""
        ...

    def show(self, process: str, line: str) -> None:
        """Shows a line of a child."""
        ...

    def show_held(self) -> None:
        """Shows the lines that were held back, and from now on everything at once."""
        ...

    def drop_held(self) -> None:
        """Shows warnings and errors among the lines that were held back, and every line from now on."""
        ...


class ConsoleOutput:
    """The output for people, in which the lines of a child begin with its name. While the services start, their lines
    are held back, because nobody needs them when all goes well.
    """

    def __init__(self, write: Callable[[str], object], width: int) -> None:
        """`width` is the length of the longest name."""
        self._write = write
        self._width = width
        self._held: deque[str] | None = deque(maxlen=_MAX_HELD_LINES)

    def tell(self, event: str, text: str, *, level: str = "info", **fields: object) -> None:  # noqa: ARG002
        self._write(f"{text}\n")

    def show(self, process: str, line: str) -> None:
        text = f"{process:<{self._width}} | {line}\n"
        if self._held is None:
            self._write(text)
        else:
            self._held.append(text)

    def show_held(self) -> None:
        for text in self._held or ():
            self._write(text)
        self._held = None

    def drop_held(self) -> None:
        for text in self._held or ():
            if _LOUD_LINE.search(text):
                self._write(text)
        self._held = None


class JsonOutput:
    """The output for programs: each line is a JSON object. Lines of a child that are not JSON (a traceback) become
    events.
    """

    def __init__(self, write: Callable[[str], object]) -> None:
        self._write = write

    def tell(self, event: str, text: str, *, level: str = "info", **fields: object) -> None:
        self._event(event, level, service="suite", text=text, **fields)

    def show(self, process: str, line: str) -> None:
        if line.startswith('{"') and line.endswith("}"):
            # The lines of the services are already JSON objects. Parsing each one would cost more than making it.
            self._write(f'{{"child": {json.dumps(process)}, {line[1:]}\n')
        else:
            self._event("output", "warning", child=process, text=line)

    def show_held(self) -> None:
        """Does nothing, because programs get every line at once."""

    def drop_held(self) -> None:
        """Does nothing, because programs get every line at once."""

    def _event(self, event: str, level: str, **fields: object) -> None:
        timestamp = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        head = {"timestamp": timestamp, "level": level, "event": event}
        self._write(json.dumps({**head, **fields}) + "\n")
