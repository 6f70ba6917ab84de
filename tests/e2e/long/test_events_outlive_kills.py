"""Each service is killed with SIGKILL while webhooks are sent, with two replicas of config_api and a receiver that
fails.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.e2e import world
from tests.peers.dns import DnsServer
from tests.peers.postgres import Postgres
from tests.peers.process import until
from tests.peers.smtp_sink import SmtpSink
from tests.peers.suite import Suite
from tests.peers.web import WebServer

# The retries of failed deliveries take time, since the pauses between them grow.
pytestmark = [pytest.mark.e2e, pytest.mark.timeout(400)]

HOOK = "/hook"
EACH = 4


@pytest.fixture(scope="module")
def web() -> Iterator[WebServer]:
    with WebServer() as server:
        yield server


@pytest.fixture(scope="module")
def suite(_postgres: Postgres, web: WebServer) -> Iterator[Suite]:
    _postgres.ensure_running()
    url = _postgres.create_database()
    with DnsServer() as outside, SmtpSink() as far:
        outside.add("far.test", "MX", "10 mx.far.test.")
        outside.add("mx.far.test", "A", far.host)
        environment = {
            "RELAY_MX_PORT": str(far.port),
            "RELAY_LEASE_SECONDS": "3",
            "CONFIG_API_WEBHOOK_NETWORKS": "127.0.0.0/8",
        }
        replicas = {"config_api": 2}
        with Suite(environment, nameservers=outside.address, postgres_url=url, replicas=replicas) as running:
            world.local_domain(running)
            world.account(running)
            world.until_in_force(running)
            yield running
            print(running.logs[-20_000:])
    _postgres.drop_database(url)


def test_each_event_is_sent_at_least_once_and_in_order(suite: Suite, web: WebServer) -> None:
    body = {"name": "shop", "role": "sender", "account": world.LOGIN}
    key = world.create(suite, "/v1/api-keys", body)["key"]
    world.create(suite, "/v1/webhooks", {"url": web.url + HOOK, "events": ["delivered", "deferred", "bounced"]})
    sent: list[str] = []
    for name in list(suite.layout):
        # Three requests are answered with 500, so that some events wait for a retry when the service dies. The first
        # call removes the answers with 500 that are left over. Otherwise their pauses would add up to minutes while no
        # replica serves the webhook.
        web.answer(HOOK)
        web.answer(HOOK, status=500, times=3)
        for _ in range(EACH):
            sent.append(_send(suite, key, f"u{len(sent)}@far.test"))
        suite.kill(name)
        suite.start_service(name)
    sent.append(_send(suite, key, "last@far.test"))

    until(
        lambda: {event["data"]["queue_id"] for event in _events(web)} >= set(sent),
        "the webhook has told of each message",
        120,
    )

    by_message: dict[str, list[str]] = {}
    for event in _events(web):
        ids = by_message.setdefault(event["data"]["queue_id"], [])
        if event["data"]["event_id"] not in ids:
            ids.append(event["data"]["event_id"])
    for ids in by_message.values():
        assert ids == sorted(ids, key=lambda event_id: [int(part) for part in event_id.split("-")])


def _send(suite: Suite, key: str, recipient: str) -> str:
    """Submits a message by HTTP, again and again while services restart, and returns its queue id."""
    taken: list[str] = []

    def send() -> bool:
        try:
            answer = httpx.post(
                f"{suite.api_url}/v1/messages",
                json={"from": {"address": world.ALICE}, "to": [{"address": recipient}], "text": "x"},
                headers={"Authorization": f"Bearer {key}"},
                timeout=60,
            )
        except httpx.HTTPError:
            return False
        if answer.status_code != 202:
            assert answer.status_code == 503, answer.text
            return False
        taken.append(answer.json()["queue_id"])
        return True

    until(send, f"a message to {recipient} is accepted", 60)
    return taken[0]


def _events(web: WebServer) -> list[dict[str, Any]]:
    return [json.loads(request.body) for request in web.requests]
