"""Webhooks are signed, sent in order for each message, and repeated until a real server has accepted them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from services.config_api.events import webhook_worker
from services.config_api.storage import webhook_states
from tests.config_api.events.world import (
    HOOK,
    body,
    make_webhook,
    of_recipients,
    relay_at,
    service_with,
    until,
    verified,
)
from tests.config_api.service import Service, writing
from tests.peers.web import WebServer
from tests.relay.whole_relay import WholeRelay


@pytest.fixture
async def relay(memory_path: Path) -> AsyncIterator[WholeRelay]:
    async with relay_at(memory_path / "relay") as whole:
        yield whole


@pytest.fixture
async def service(relay: WholeRelay, begun: Path, resolver: str) -> AsyncIterator[Service]:
    async with service_with(relay, f"sqlite:///{begun / 'config.sqlite3'}", begun, resolver) as found:
        yield found


async def test_an_event_is_sent_with_a_signature_and_the_result_of_the_message(
    service: Service, relay: WholeRelay
) -> None:
    with WebServer() as web:
        web.answer(HOOK)
        hook = await make_webhook(service, web, "delivered")
        ack = await relay.submit(b"b@one.test")

        (request,) = await web.requests_came(1)

        event = verified(request, hook["secret"])
        assert event["type"] == "delivered"
        assert event["data"]["queue_id"] == ack.queue_id
        assert event["data"]["recipients"] == ["b@one.test"]
        assert event["data"]["attempt"]["code"] == 250
        assert event["data"]["event_id"] == request.headers["webhook-id"]
        assert request.headers["content-type"] == "application/json"
        with pytest.raises(WebhookVerificationError):
            Webhook("whsec_" + "A" * 40).verify(request.body, dict(request.headers))


async def test_each_webhook_gets_only_the_types_of_events_that_it_chose(service: Service, relay: WholeRelay) -> None:
    with WebServer() as web:
        web.answer("/good")
        web.answer("/bad")
        await make_webhook(service, web, "delivered", target="/good")
        await make_webhook(service, web, "bounced", "deferred", target="/bad")
        await relay.submit(b"b@one.test", b"no@one.test", b"later@one.test")
        # Four requests come, because the report about the failure is delivered too.
        requests = await web.requests_came(4)

    sent = {
        target: of_recipients([request for request in requests if request.target == target])
        for target in ("/good", "/bad")
    }
    assert sorted(sent["/good"]) == [("delivered", "a@sender.test"), ("delivered", "b@one.test")]
    assert sorted(sent["/bad"]) == [("bounced", "no@one.test"), ("deferred", "later@one.test")]


async def test_a_receiver_that_fails_at_first_gets_all_events_in_the_order_of_each_message(
    service: Service, relay: WholeRelay
) -> None:
    with WebServer() as web:
        web.answer(HOOK)
        web.answer(HOOK, status=500, times=3)
        hook = await make_webhook(service, web, "delivered", "deferred")
        await relay.submit(b"later@one.test")
        await relay.settled(1)
        await relay.after(3600)

        requests = await web.requests_came(5)

        assert of_recipients(requests) == [("deferred", "later@one.test")] * 4 + [("delivered", "later@one.test")]
        assert len({request.headers["webhook-id"] for request in requests}) == 2
        path = f"/v1/webhooks/{hook['id']}/deliveries"
        await until(lambda: _states(service, path, ["delivered", "delivered"]))
        newest, oldest = (await service.get(path))["items"]
        assert (newest["type"], newest["attempts"], newest["http_status"]) == ("delivered", 1, 200)
        assert (oldest["type"], oldest["attempts"], oldest["error"]) == ("deferred", 4, None)


async def _states(service: Service, path: str, states: list[str]) -> bool:
    return [each["state"] for each in (await service.get(path))["items"]] == states


async def test_a_slow_receiver_delays_no_other(service: Service, relay: WholeRelay) -> None:
    with WebServer() as web:
        web.answer("/quick")
        gate = web.hold("/slow")
        await make_webhook(service, web, target="/slow")
        await make_webhook(service, web, target="/quick")
        for number in range(20):
            await relay.submit(f"u{number}@one.test".encode(), submission_id=f"{number:032}")

        await until(lambda: sum(request.target == "/quick" for request in web.requests) == 20)
        gate.open()
        await until(lambda: sum(request.target == "/slow" for request in web.requests) >= 20)


async def test_a_webhook_continues_at_its_position_after_a_restart_of_config_api(
    relay: WholeRelay, begun_url: str, begun: Path, resolver: str
) -> None:
    with WebServer() as web:
        web.answer(HOOK)
        async with service_with(relay, begun_url, begun, resolver) as service:
            await make_webhook(service, web)
            await relay.submit(b"one@one.test")
            await web.requests_came(1)
        await relay.submit(b"two@one.test", submission_id="0" * 31 + "2")
        await relay.settled(2)
        async with service_with(relay, begun_url, begun, resolver):
            requests = await web.requests_came(2)
    assert of_recipients(requests) == [("delivered", "one@one.test"), ("delivered", "two@one.test")]


async def test_a_secret_is_shown_once_and_rotated_with_an_overlap(service: Service, relay: WholeRelay) -> None:
    with WebServer() as web:
        web.answer(HOOK)
        hook = await make_webhook(service, web)
        path = f"/v1/webhooks/{hook['id']}"
        shown = await service.get(path)
        assert "secret" not in shown
        assert hook["secret"].startswith("whsec_")

        rotated = (await service.api.post(path + ":rotate-secret", json={"overlap_minutes": 60})).json()
        assert rotated["secret"] not in ("", hook["secret"])
        assert rotated["previous_secret_ends_at"] is not None
        (await service.api.post(path + ":test")).raise_for_status()
        (request,) = await web.requests_came(1)
        assert verified(request, hook["secret"])["type"] == verified(request, rotated["secret"])["type"] == "test"

        again = (await service.api.post(path + ":rotate-secret", json={"overlap_minutes": 0})).json()
        (await service.api.post(path + ":test")).raise_for_status()
        request = (await web.requests_came(2))[-1]
        assert verified(request, again["secret"])
        with pytest.raises(WebhookVerificationError):
            verified(request, rotated["secret"])


async def test_a_secret_that_is_given_is_not_shown_and_a_weak_one_is_refused(service: Service) -> None:
    given = {"url": "https://hooks.example.com/x", "events": ["held"]}
    own = "whsec_" + "QUJD" * 10
    made = await service.make("webhooks", {**given, "secret": own})
    assert "secret" not in made
    for secret in ("QUJD" * 10, "whsec_QUJD", "whsec_!!!", "whsec_" + "QUJD" * 30):
        answer = await service.api.post("/v1/webhooks", json={**given, "secret": secret})
        assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "/secret"), secret
        assert secret not in answer.text


async def test_secrets_of_webhooks_are_encrypted_in_the_database(service: Service) -> None:
    own = "whsec_" + "QUJD" * 10
    await service.make("webhooks", {"url": "https://hooks.example.com/x", "events": ["held"], "secret": own})
    async with writing(service) as connection:
        queries = ("SELECT body FROM documents", "SELECT after FROM changes")
        rows = [str(row) for query in queries for row in await connection.exec_driver_sql(query)]
    assert rows
    assert not [row for row in rows if "QUJD" in row]


async def test_an_event_is_sent_once_more_on_demand(service: Service, relay: WholeRelay) -> None:
    with WebServer() as web:
        web.answer(HOOK)
        hook = await make_webhook(service, web)
        await relay.submit(b"b@one.test")
        (first,) = await web.requests_came(1)
        path = f"/v1/webhooks/{hook['id']}/deliveries/{first.headers['webhook-id']}:resend"

        answer = await service.api.post(path)

        assert answer.json()["state"] == "delivered", answer.text
        second = (await web.requests_came(2))[1]
        assert body(second) == body(first)
        assert second.headers["webhook-id"] == first.headers["webhook-id"]
        for unknown in ("1-1-1", "x"):
            path = f"/v1/webhooks/{hook['id']}/deliveries/{unknown}:resend"
            assert (await service.api.post(path)).status_code in (404, 422)


async def test_a_webhook_that_accepts_nothing_for_three_days_is_disabled_and_continues_when_it_is_enabled(
    service: Service, relay: WholeRelay, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhook_worker, "GIVE_UP_US", 0)
    with WebServer() as web:
        web.answer(HOOK, status=503)
        hook = await make_webhook(service, web)
        path = f"/v1/webhooks/{hook['id']}"
        await relay.submit(b"b@one.test")
        await until(lambda: _is_disabled(service, path))
        monkeypatch.undo()
        count = len(web.requests)
        web.answer(HOOK)
        await service.change(path, {"enabled": True})

        requests = await web.requests_came(count + 1)

        assert of_recipients(requests[count:]) == [("delivered", "b@one.test")]


async def _is_disabled(service: Service, path: str) -> bool:
    return not (await service.get(path))["enabled"]


@pytest.mark.parametrize("begun_url", ["postgresql"], indirect=True)
async def test_two_replicas_serve_each_webhook_once_and_one_takes_over_from_another(
    relay: WholeRelay, begun_url: str, begun: Path, resolver: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhook_states, "_LEASE_US", 3_000_000)
    with WebServer() as web:
        web.answer(HOOK)
        async with service_with(relay, begun_url, begun, resolver) as second:
            async with service_with(relay, begun_url, begun, resolver) as first:
                await make_webhook(first, web)
                for number in range(10):
                    await relay.submit(f"u{number}@one.test".encode(), submission_id=f"{number:032}")
                await web.requests_came(10)
            await relay.submit(b"last@one.test", submission_id="f" * 32)
            requests = await web.requests_came(11)
            assert second.api is not None
    assert len({request.headers["webhook-id"] for request in requests}) == len(requests) == 11


async def test_the_number_of_stored_deliveries_is_limited(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhook_states, "DELIVERIES_KEPT", 5)
    with WebServer() as web:
        web.answer(HOOK)
        hook = await make_webhook(service, web)
        for _ in range(8):
            (await service.api.post(f"/v1/webhooks/{hook['id']}:test")).raise_for_status()
        path = f"/v1/webhooks/{hook['id']}/deliveries"
        first = await service.get(path + "?limit=3")
        second = await service.get(path + f"?limit=3&cursor={first['next_cursor']}")
    ids = [each["event_id"] for each in first["items"] + second["items"]]
    assert len(ids) == len(set(ids)) == 5
    assert second["next_cursor"] is None
