"""Groups the objects that report events to other systems, so that endpoints get them together."""

from __future__ import annotations

from dataclasses import dataclass, field

from services.config_api.clients import RelayClient
from services.config_api.events import wire
from services.config_api.events.dispatcher import Dispatcher
from services.config_api.events.feed import EventFeed
from services.config_api.events.streams import StreamShares
from services.config_api.events.wire import Event, EventPage


@dataclass(frozen=True, slots=True)
class EventHub:
    """The objects that report events. Each process has one hub."""

    relay: RelayClient
    feed: EventFeed
    dispatcher: Dispatcher
    streams: StreamShares = field(default_factory=StreamShares)

    async def one(self, event_id: str) -> Event | None:
        """Returns the event with this id, or None when it is not in the history. Raises Problem."""
        page = wire.page(await self.relay.events(wire.request(event_id, 1, including_cursor=True)))
        return next((event for event in page.events if event.id == event_id), None)


def feed_of(relay: RelayClient) -> EventFeed:
    """Returns a new reader of relay's events."""

    async def read(cursor: str, size: int, wait_seconds: float) -> EventPage:
        return wire.page(await relay.events(wire.request(cursor, size, wait_seconds)))

    return EventFeed(read)
