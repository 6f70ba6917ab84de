"""Sends the events of one webhook. The events of one message are sent in order, and each is repeated until it is
accepted or the webhook is disabled. Events of different messages may be sent at the same time.

A window has the events after the stored cursor that were read. The cursor moves past events that were accepted or that
the webhook does not get. After a crash, another worker continues from the cursor. So some events may be sent twice, but
none is lost.
"""

from __future__ import annotations

import asyncio
import random
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import structlog

from services.config_api.events.feed import EventFeed
from services.config_api.events.sending import Outcome
from services.config_api.events.wire import Event
from services.config_api.problems import Problem
from services.config_api.storage.identifiers import now_us
from services.config_api.storage.webhook_states import DeliveryRecord, Progress

log = structlog.get_logger(__name__)

# The largest number of simultaneous requests of one webhook, and the number of events in its window from which no more
# are read.
_AT_ONCE = 8
WINDOW = 400
# After so many failures in a row the receiver is probably down, and only the oldest event is sent.
_DOWN = 5
_FIRST_PAUSE = 1.0
_LONGEST_PAUSE = 600.0
_GROWTH = 2.0
# The seconds between two writes of the position. After a crash, events that were sent since the last write are sent
# again.
_RECORD_SECONDS = 1.0
_RETRY_SECONDS = 1.0
GIVE_UP_US = 3 * 24 * 3600 * 1_000_000


@dataclass(slots=True, eq=False)
class _Item:
    """An event in the window. `wanted` says whether the webhook gets events of its kind. `due` is the time of its next
    attempt, by the clock of the event loop.
    """

    event: Event
    wanted: bool
    due: float = 0.0
    failures: int = 0
    running: bool = False
    done: bool = False


@dataclass(slots=True)
class _Window:
    """The events after the stored cursor, in their order, and the unfinished events of each message."""

    items: deque[_Item] = field(default_factory=deque)
    of_message: dict[str, deque[_Item]] = field(default_factory=dict)

    def add(self, item: _Item) -> None:
        self.items.append(item)
        if item.wanted:
            self.of_message.setdefault(item.event.queue_id, deque()).append(item)
        else:
            item.done = True

    def finish(self, item: _Item) -> None:
        item.done = True
        waiting = self.of_message[item.event.queue_id]
        waiting.popleft()
        if not waiting:
            del self.of_message[item.event.queue_id]

    def next_items(self) -> list[_Item]:
        """Returns the first item of each message, the oldest first."""
        return [items[0] for items in self.of_message.values()]


Send = Callable[[Event], Awaitable[Outcome]]
Record = Callable[[Progress, list[DeliveryRecord]], Awaitable[bool]]


class WebhookWorker:
    """Serves one webhook until it is cancelled, loses its lease, or gives up.

    `send` makes one attempt. `record` stores the position and the results of attempts, and returns False when this
    replica no longer has the lease. `give_up` is called when the oldest event has failed for three days. `may_send`
    tells whether the lease lasts longer than an attempt.
    """

    def __init__(
        self,
        feed: EventFeed,
        kinds: frozenset[str],
        progress: Progress,
        send: Send,
        record: Record,
        give_up: Callable[[], Awaitable[None]],
        may_send: Callable[[], bool],
    ) -> None:
        self._feed = feed
        self._kinds = kinds
        self._cursor = progress.cursor
        self._failing_since = progress.failing_since
        self._read_cursor = progress.cursor
        self._send = send
        self._record = record
        self._give_up = give_up
        self._may_send = may_send
        self._window = _Window()
        self._running: set[asyncio.Task[None]] = set()
        self._failures_in_a_row = 0
        # The error of an attempt that failed because of a fault in our code.
        self._failure: BaseException | None = None
        self._changed = asyncio.Event()
        self._records: OrderedDict[str, DeliveryRecord] = OrderedDict()
        self._recorded = progress
        self._recorded_at = 0.0
        self._loop = asyncio.get_running_loop()

    async def run(self) -> None:
        """Sends events until the lease is lost or the webhook is given up. To end it earlier, cancel it and then call
        `finish`.
        """
        reading = asyncio.create_task(self._fill())
        try:
            while True:
                self._changed.clear()
                self._start_due()
                if self._failure is not None:
                    raise self._failure
                if self._loop.time() - self._recorded_at >= _RECORD_SECONDS and not await self.finish():
                    return
                if self._failing_since is not None and now_us() - self._failing_since >= GIVE_UP_US:
                    self._failing_since = None
                    await self.finish()
                    await self._give_up()
                    return
                if reading.done():
                    reading.result()
                await self._wait()
        finally:
            for task in (reading, *self._running):
                task.cancel()
            await asyncio.gather(reading, *self._running, return_exceptions=True)

    async def finish(self) -> bool:
        """Stores the position and the results of attempts. Returns False when this replica no longer has the lease."""
        self._advance()
        progress = Progress(self._cursor, self._failing_since)
        self._recorded_at = self._loop.time()
        if progress == self._recorded and not self._records:
            return True
        records = list(self._records.values())
        # The records are removed before the write, so that attempts during the write are not lost.
        self._records.clear()
        if not await self._record(progress, records):
            return False
        self._recorded = progress
        return True

    async def _fill(self) -> None:
        """Reads events into the window while it has space, until the feed is closed."""
        with self._feed.followed():
            while not self._feed.closed:
                if len(self._window.items) >= WINDOW:
                    await asyncio.sleep(_RETRY_SECONDS)
                    continue
                try:
                    page = await self._feed.after(self._read_cursor)
                except Problem as problem:
                    log.warning("events_unavailable", reason=problem.detail or problem.title)
                    await asyncio.sleep(_RETRY_SECONDS)
                    continue
                self._read_cursor = page.next_cursor
                for event in page.events:
                    self._window.add(_Item(event, event.kind in self._kinds))
                self._changed.set()

    def _start_due(self) -> None:
        if not self._may_send():
            return
        now = self._loop.time()
        leading = self._window.next_items()
        if self._failures_in_a_row >= _DOWN:
            # Only the oldest event is tried, to find out whether the receiver works again.
            leading = leading[:1]
        for item in leading:
            if len(self._running) >= _AT_ONCE:
                return
            if not item.running and item.due <= now:
                item.running = True
                task = asyncio.create_task(self._try(item))
                self._running.add(task)
                task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        if not task.cancelled() and (failure := task.exception()) is not None:
            self._failure = failure
        self._changed.set()

    async def _try(self, item: _Item) -> None:
        began = now_us()
        try:
            outcome = await self._send(item.event)
        finally:
            item.running = False
        self._note(item, outcome, began)
        if outcome.delivered:
            if self._failures_in_a_row >= _DOWN:
                self._make_due()
            self._failures_in_a_row = 0
            self._window.finish(item)
            return
        self._failures_in_a_row += 1
        item.failures += 1
        pause = min(_FIRST_PAUSE * _GROWTH ** min(item.failures - 1, 20), _LONGEST_PAUSE)
        item.due = self._loop.time() + pause * (0.75 + random.random() / 2)  # noqa: S311 - no secret
        if self._failing_since is None and self._window.items and self._first_open() is item:
            self._failing_since = began

    def _make_due(self) -> None:
        """Makes the next event of each message due at once, because the receiver works again."""
        for item in self._window.next_items():
            item.due = 0.0

    def _first_open(self) -> _Item | None:
        return next((item for item in self._window.items if not item.done), None)

    def _advance(self) -> None:
        """Moves the cursor past the events at the beginning of the window that were accepted or that the webhook does
        not get.
        """
        items = self._window.items
        moved = False
        while items and items[0].done:
            self._cursor = items.popleft().event.id
            moved = True
        if not items:
            self._cursor = self._read_cursor
        if moved or not items:
            oldest = self._first_open()
            if oldest is None or not oldest.failures:
                self._failing_since = None
            elif moved:
                # The three days are counted again from now, for the event that has just become the oldest.
                self._failing_since = now_us()

    def _note(self, item: _Item, outcome: Outcome, began: int) -> None:
        event = item.event
        before = self._records.pop(event.id, None)
        self._records[event.id] = DeliveryRecord(
            event.id,
            event.kind,
            event.queue_id,
            outcome.delivered,
            1 + (before.attempts if before is not None else 0),
            began,
            outcome.http_status,
            outcome.error,
            outcome.took_us,
        )

    async def _wait(self) -> None:
        """Waits until something has changed or may be due."""
        now = self._loop.time()
        until = now + _RECORD_SECONDS
        if self._window.of_message and len(self._running) < _AT_ONCE:
            dues = [item.due for item in self._window.next_items() if not item.running]
            until = min([until, *(due for due in dues if due > now)])
        try:
            async with asyncio.timeout_at(until):
                await self._changed.wait()
        except TimeoutError:
            return
