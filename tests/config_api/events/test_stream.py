"""GET /v1/events sends the events of messages as server-sent events, and resumes at Last-Event-ID."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from services.config_api.events import feed, streams
from services.config_api.events.feed import EventFeed
from services.config_api.events.wire import Event, EventPage
from tests.config_api.events.world import relay_at, service_with, until
from tests.config_api.service import Service
from tests.relay.whole_relay import WholeRelay


@pytest.fixture
async def relay(memory_path: Path) -> AsyncIterator[WholeRelay]:
    async with relay_at(memory_path / "relay") as whole:
        yield whole


@pytest.fixture
async def service(relay: WholeRelay, begun: Path, resolver: str) -> AsyncIterator[Service]:
    async with service_with(relay, f"sqlite:///{begun / 'config.sqlite3'}", begun, resolver) as found:
        yield found


class Stream:
    """The events of an open stream, in order."""

    def __init__(self, answer: httpx.Response) -> None:
        self.lines = answer.aiter_lines()

    async def next(self) -> dict[str, Any]:
        """Returns the fields of the next event. Comments are skipped."""
        fields: dict[str, Any] = {}
        async with asyncio.timeout(60):
            async for line in self.lines:
                if not line and fields:
                    return {**fields, "body": json.loads(fields["data"])}
                name, colon, value = line.partition(":")
                if name and colon:
                    fields[name] = value.strip()
        raise AssertionError("the stream ended before the next event")


@contextlib.asynccontextmanager
async def opened(service: Service, query: str = "", last: str = "") -> AsyncIterator[Stream]:
    headers = {"Last-Event-ID": last} if last else {}
    async with service.api.stream("GET", f"/v1/events{query}", headers=headers) as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        yield Stream(answer)


async def test_events_come_as_they_happen_and_a_stream_is_resumed(service: Service, relay: WholeRelay) -> None:
    async with opened(service) as stream:
        ack = await relay.submit(b"a@one.test")
        first = await stream.next()
        assert (first["event"], first["body"]["data"]["queue_id"]) == ("delivered", ack.queue_id)
        assert first["id"] == first["body"]["data"]["event_id"]
    await relay.submit(b"b@one.test", submission_id="b" * 32)
    await relay.submit(b"c@one.test", submission_id="c" * 32)
    await relay.settled(3)
    async with opened(service, last=first["id"]) as stream:
        missed = [await stream.next(), await stream.next()]
        await relay.submit(b"d@one.test", submission_id="d" * 32)
        new = await stream.next()
    recipients = [event["body"]["data"]["recipients"][0] for event in (*missed, new)]
    assert sorted(recipients[:2]) == ["b@one.test", "c@one.test"]
    assert recipients[2] == "d@one.test"


async def test_a_stream_has_only_the_chosen_types(service: Service, relay: WholeRelay) -> None:
    async with opened(service, "?type=bounced&type=deferred") as stream:
        await relay.submit(b"a@one.test", b"no@one.test")
        assert (await stream.next())["event"] == "bounced"


async def test_an_invalid_event_id_or_type_is_refused(service: Service) -> None:
    assert (await service.api.get("/v1/events", headers={"Last-Event-ID": "x"})).status_code == 422
    assert (await service.api.get("/v1/events?type=moved")).status_code == 422


async def test_a_stream_does_not_count_among_requests_and_has_its_own_limit(
    relay: WholeRelay, begun: Path, resolver: str
) -> None:
    url = f"sqlite:///{begun / 'config.sqlite3'}"
    async with (
        service_with(relay, url, begun, resolver, max_requests_per_key=1) as service,
        contextlib.AsyncExitStack() as stack,
    ):
        key = (await service.make("api-keys", {"name": "other", "role": "reader"}))["key"]
        for _ in range(streams.STREAMS_PER_KEY):
            await stack.enter_async_context(opened(service))
        assert (await service.api.get("/v1/settings/general")).status_code == 200
        answer = await service.api.get("/v1/events")
        assert (answer.status_code, answer.json()["type"]) == (429, "urn:posthouse:problem:too-many-streams")
        other = {"Authorization": f"Bearer {key}"}
        async with service.api.stream("GET", "/v1/events", headers=other) as stream:
            assert stream.status_code == 200
            await stack.aclose()
        await until(lambda: _opens(service))


async def _opens(service: Service) -> bool:
    async with service.api.stream("GET", "/v1/events") as answer:
        return answer.status_code == 200


async def test_a_stream_of_a_key_that_was_removed_ends(
    service: Service, relay: WholeRelay, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.config_api.operations.events.endpoints._PING_SECONDS", 0.2)
    made = await service.make("api-keys", {"name": "other", "role": "reader"})
    headers = {"Authorization": f"Bearer {made['key']}"}
    async with service.api.stream("GET", "/v1/events", headers=headers) as answer:
        await service.api.delete(f"/v1/api-keys/{made['id']}", headers={"If-Match": "*"})
        async with asyncio.timeout(60):
            async for _ in answer.aiter_lines():
                pass


async def test_streams_end_with_the_service(relay: WholeRelay, begun: Path, resolver: str) -> None:
    async with asyncio.timeout(60):
        async with service_with(relay, f"sqlite:///{begun / 'config.sqlite3'}", begun, resolver) as service:
            ending = asyncio.create_task(_read_to_the_end(service))
            await until(lambda: bool(asyncio.all_tasks()))
            async with opened(service):
                pass
        await ending


async def _read_to_the_end(service: Service) -> None:
    with contextlib.suppress(httpx.HTTPError):
        async with service.api.stream("GET", "/v1/events") as answer:
            async for _ in answer.aiter_lines():
                pass


class Relay:
    """A fake relay from which the feed reads. Its events are numbers."""

    def __init__(self) -> None:
        self.count = 0
        self.reads: list[str] = []
        self.more = asyncio.Event()

    async def read(self, cursor: str, size: int, wait_seconds: float) -> EventPage:
        self.reads.append(cursor)
        if not cursor:
            return EventPage((), str(self.count))
        if int(cursor) == self.count and wait_seconds:
            self.more.clear()
            await self.more.wait()
        numbers = range(int(cursor) + 1, self.count + 1)[:size]
        events = tuple(Event(str(number), "delivered", "", {}, 10) for number in numbers)
        return EventPage(events, events[-1].id if events else cursor)

    def happen(self, count: int) -> None:
        self.count += count
        self.more.set()


async def test_new_events_are_read_once_for_all_followers_and_old_ones_on_demand(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(feed, "_MOST_KEPT", 50)
    relay = Relay()
    relay.happen(10)
    reader = EventFeed(relay.read)
    running = asyncio.create_task(reader.run())

    async def follow(cursor: str, count: int) -> list[int]:
        found: list[int] = []
        with reader.followed():
            while len(found) < count:
                page = await reader.after(cursor)
                found += [int(event.id) for event in page.events]
                cursor = page.next_cursor
        return found

    late = asyncio.create_task(follow("0", 300))
    others = [asyncio.create_task(follow("10", 290)) for _ in range(20)]
    for _ in range(29):
        await until(lambda: not relay.more.is_set())
        relay.happen(10)
    async with asyncio.timeout(60):
        assert await late == list(range(1, 301))
        for other in others:
            assert await other == list(range(11, 301))
    assert len(relay.reads) < 20 * 29, "the followers read together, not each for itself"
    running.cancel()
