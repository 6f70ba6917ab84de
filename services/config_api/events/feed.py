"""Reads relay's events. New events are read once, and are stored in memory for all followers. Older events are read on
demand.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections import deque
from collections.abc import Awaitable, Callable, Iterator

import structlog

from services.config_api.events.wire import Event, EventPage
from services.config_api.metrics import EVENTS_READ
from services.config_api.problems import Problem

log = structlog.get_logger(__name__)

# A function that returns a page of events. It gets a cursor, the size of the page, and the seconds to wait for a first
# event. It raises Problem.
Read = Callable[[str, int, float], Awaitable[EventPage]]

PAGE = 200
# The largest number of new events that are stored in memory, and roughly the largest number of their octets.
_MOST_KEPT = 1_000
_MOST_OCTETS = 8 * 1024 * 1024
_WAIT_SECONDS = 20.0
_RETRY_SECONDS = 1.0


class EventFeed:
    """Reads events while it has followers. Each process has one feed. `close` ends the waits of all followers."""

    def __init__(self, read: Read) -> None:
        self._read = read
        self._kept: deque[Event] = deque()
        self._octets = 0
        # Stored events are numbered: the number of the oldest stored event, and the number of each stored event by its
        # id.
        self._first = 0
        self._numbers: dict[str, int] = {}
        # The cursor after the newest event, and the cursor before the oldest stored event. Both are empty while they
        # are unknown.
        self._end = self._start = ""
        self._changed = asyncio.Event()
        self._followers = 0
        self._followed = asyncio.Event()
        self.closed = False

    async def run(self) -> None:
        """Reads new events until it is cancelled."""
        while True:
            await self._followed.wait()
            try:
                if not self._end:
                    self._start = self._end = await self.end()
                    self._wake()
                page = await self._read(self._end, PAGE, _WAIT_SECONDS)
            except Problem as problem:
                log.warning("events_unavailable", reason=problem.detail or problem.title)
                await asyncio.sleep(_RETRY_SECONDS)
                continue
            if self._followers:
                self._keep(page)
            else:
                self._forget()

    @contextlib.contextmanager
    def followed(self) -> Iterator[None]:
        """Keeps the reader active while the caller wants new events."""
        self._followers += 1
        self._followed.set()
        try:
            yield
        finally:
            self._followers -= 1
            if not self._followers:
                self._followed.clear()

    async def end(self) -> str:
        """Returns the cursor after the newest event. Raises Problem."""
        return (await self._read("", 0, 0.0)).next_cursor

    async def after(self, cursor: str) -> EventPage:
        """Waits for events after a cursor, and returns them. The result is empty when the feed is closed. Call it
        inside `followed`. Raises Problem.
        """
        while not self.closed:
            changed = self._changed
            number = self._first - 1 if self._start and cursor == self._start else self._numbers.get(cursor)
            if number is not None:
                begin = number + 1 - self._first
                events = tuple(itertools.islice(self._kept, begin, begin + PAGE))
                page = EventPage(events, events[-1].id if events else cursor)
            else:
                page = await self._read(cursor, PAGE, 0.0)
            if page.events:
                return page
            cursor = page.next_cursor
            await changed.wait()
        return EventPage((), cursor)

    def close(self) -> None:
        self.closed = True
        self._wake()

    def _keep(self, page: EventPage) -> None:
        self._end = page.next_cursor
        if not page.events:
            return
        EVENTS_READ.inc(len(page.events))
        for event in page.events:
            self._numbers[event.id] = self._first + len(self._kept)
            self._kept.append(event)
            self._octets += event.octets
        while len(self._kept) > _MOST_KEPT or (self._octets > _MOST_OCTETS and len(self._kept) > 1):
            oldest = self._kept.popleft()
            self._octets -= oldest.octets
            self._start = oldest.id
            del self._numbers[oldest.id]
            self._first += 1
        self._wake()

    def _forget(self) -> None:
        self._kept.clear()
        self._numbers.clear()
        self._octets = 0
        self._end = self._start = ""

    def _wake(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()
