"""Concurrent requests of each API key: many requests of one key do not delay a single request of another key."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import httpx
import pytest

from services.config_api.http.request_shares import ClientGone, Message, RequestShares
from services.config_api.metrics import REQUESTS_WAITING
from services.config_api.problems import Problem
from tests.config_api.service import ADMIN_KEY, Service, running

GENERAL = "/v1/settings/general"
DEADLINE_SECONDS = 60
MANY = 60
BODY: Message = {"type": "http.request", "body": b"whole", "more_body": False}
GONE: Message = {"type": "http.disconnect"}


class _Client:
    """One client's request, as ASGI messages. After the first messages, the test sends each further message itself."""

    def __init__(self, *messages: Message) -> None:
        self._messages: asyncio.Queue[Message] = asyncio.Queue()
        for message in messages:
            self.send(message)

    def send(self, message: Message) -> None:
        self._messages.put_nowait(message)

    async def receive(self) -> Message:
        return await self._messages.get()


async def _until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(DEADLINE_SECONDS):
        while not condition():  # noqa: ASYNC110 - the gauge does not report its changes
            await asyncio.sleep(0.01)


def _waiting() -> float:
    value: float = REQUESTS_WAITING._value.get()
    return value


async def test_requests_over_the_share_wait_in_their_order() -> None:
    shares = RequestShares(2)
    started: list[int] = []

    async def request(number: int) -> None:
        await shares.enter("one", _Client(BODY).receive)
        started.append(number)

    requests = [asyncio.create_task(request(number)) for number in range(10)]
    await _until(lambda: _waiting() == 8)
    assert started == [0, 1]
    await shares.enter("another", _Client(BODY).receive)
    shares.leave("another")
    for number in range(2, 10):
        shares.leave("one")
        await requests[number]
        assert started == list(range(number + 1))
    shares.leave("one")
    shares.leave("one")
    assert not shares._parties


async def test_data_that_arrives_while_a_request_waits_is_received_once() -> None:
    shares = RequestShares(1)
    await shares.enter("one", _Client().receive)
    client = _Client({"type": "http.request", "body": b"first", "more_body": True}, {**BODY, "body": b"last"}, GONE)
    entering = asyncio.create_task(shares.enter("one", client.receive))
    await _until(lambda: _waiting() == 1)
    shares.leave("one")
    receive = await entering
    assert [(await receive()).get("body") for _ in range(3)] == [b"first", b"last", None]


async def test_too_many_waiting_requests_are_refused_and_clients_that_leave_free_their_place() -> None:
    shares = RequestShares(1, most_waiting=2)
    await shares.enter("one", _Client(BODY).receive)
    leaving, staying = _Client(BODY), _Client(BODY)
    first = asyncio.create_task(shares.enter("one", leaving.receive))
    await _until(lambda: _waiting() == 1)
    second = asyncio.create_task(shares.enter("one", staying.receive))
    await _until(lambda: _waiting() == 2)
    with pytest.raises(Problem) as refusal:
        await shares.enter("one", _Client(BODY).receive)
    assert (refusal.value.status, refusal.value.headers) == (429, {"Retry-After": "2"})
    leaving.send(GONE)
    with pytest.raises(ClientGone):
        await first
    cancelled = asyncio.create_task(shares.enter("one", _Client(BODY).receive))
    await _until(lambda: _waiting() == 2)
    cancelled.cancel()
    await asyncio.gather(cancelled, return_exceptions=True)
    # When the next request in the queue is cancelled, a place that becomes free goes to the request after it.
    third = asyncio.create_task(shares.enter("one", _Client(BODY).receive))
    await _until(lambda: _waiting() == 2)
    shares.leave("one")
    second.cancel()
    await third
    assert second.cancelled()
    shares.leave("one")
    assert (_waiting(), shares._parties) == (0, {})


@pytest.fixture
async def with_one_place(begun: Path, resolver: str) -> AsyncIterator[Service]:
    url = f"sqlite:///{begun / 'config.sqlite3'}"
    async with running(url, begun, nameservers=resolver, max_requests_per_key=1) as service:
        yield service


async def _hold_a_place(service: Service, key: str) -> asyncio.StreamWriter:
    """Keeps a request running: the last octet of its body is missing until the test writes it."""
    reader, writer = await asyncio.open_connection("127.0.0.1", service.http_port)
    head = f"PATCH {GENERAL} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nAuthorization: Bearer {key}\r\n"
    # The server sends 100 when it reads the body, so by then the request holds its place.
    writer.write(f"{head}Expect: 100-continue\r\nContent-Length: 2\r\n\r\n".encode())
    async with asyncio.timeout(DEADLINE_SECONDS):
        assert b" 100 " in await reader.readline()
    writer.write(b"{")
    return writer


def _client(service: Service, key: str) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        base_url=str(service.api.base_url), headers={"Authorization": f"Bearer {key}"}, timeout=DEADLINE_SECONDS
    )


async def test_the_request_of_one_key_is_handled_while_many_requests_of_another_key_wait(
    with_one_place: Service,
) -> None:
    service = with_one_place
    key = (await service.make("api-keys", {"name": "integrator", "role": "admin"}))["key"]
    holder = await _hold_a_place(service, key)
    async with _client(service, key) as integrator, httpx.AsyncClient(base_url=integrator.base_url) as stranger:
        calls = []
        for number in range(MANY):
            body = {"domain": f"d{number}.example"}
            calls.append(asyncio.create_task(integrator.post("/v1/relay-domains", json=body)))
            await _until(lambda: _waiting() == len(calls))
        assert (await service.api.get(GENERAL)).status_code == 200
        assert (await stranger.get("/readyz")).status_code == 200
        assert (await stranger.get(GENERAL)).status_code == 401
        assert not any(call.done() for call in calls)
        # The server notices while the request waits that its client has gone.
        calls.pop(MANY // 2).cancel()
        await _until(lambda: _waiting() == MANY - 1)
        holder.write(b"}")
        assert {answer.status_code for answer in await asyncio.gather(*calls)} == {201}
        domains = (await service.get(f"/v1/relay-domains?limit={MANY}"))["items"]
        in_order = [f"d{number}.example" for number in range(MANY) if number != MANY // 2]
        assert [domain["domain"] for domain in domains] == in_order
    holder.close()


async def test_a_key_that_is_removed_while_its_request_waits_is_refused(with_one_place: Service) -> None:
    service = with_one_place
    made = await service.make("api-keys", {"name": "integrator", "role": "admin"})
    holder = await _hold_a_place(service, made["key"])
    async with _client(service, made["key"]) as integrator:
        call = asyncio.create_task(integrator.post("/v1/relay-domains", json={"domain": "late.example"}))
        await _until(lambda: _waiting() == 1)
        assert (await service.api.delete(f"/v1/api-keys/{made['id']}", headers={"If-Match": "*"})).status_code == 204
        holder.write(b"}")
        assert (await call).status_code == 401
    assert (await service.get("/v1/relay-domains"))["items"] == []
    holder.close()


async def test_probes_and_requests_without_a_key_do_not_wait_for_the_requests_of_a_key(with_one_place: Service) -> None:
    holder = await _hold_a_place(with_one_place, ADMIN_KEY)
    async with httpx.AsyncClient(base_url=with_one_place.api.base_url) as stranger:
        waiting = asyncio.create_task(with_one_place.api.get("/metrics"))
        await _until(lambda: _waiting() == 1)
        for path in ("/healthz", "/readyz", "/docs"):
            assert (await stranger.get(path)).status_code == 200
        assert not waiting.done()
        holder.write(b"}")
        assert (await waiting).status_code == 200
    holder.close()
