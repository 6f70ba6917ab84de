"""config_api with a real relay, and functions with which tests read the requests that a webhook's receiver gets."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

from standardwebhooks import Webhook

from services.config_api.storage.database import Database
from services.config_api.storage.webhook_states import WebhookStates
from tests.config_api.service import Service, running
from tests.peers.web import Request, WebServer
from tests.relay.scripted_transport import ScriptedTransport, deferred, delivered, failed
from tests.relay.whole_relay import WholeRelay

HOOK = "/hook"
LATER = {b"later@one.test": [deferred, delivered], b"no@one.test": [failed]}
PATIENCE = 60.0


@contextlib.asynccontextmanager
async def relay_at(folder: Path, url: str = "") -> AsyncIterator[WholeRelay]:
    """Runs a real relay whose next hops are scripted."""
    await asyncio.to_thread(folder.mkdir, exist_ok=True)
    transport = ScriptedTransport({key: list(value) for key, value in LATER.items()})
    async with WholeRelay(url or f"sqlite:///{folder / 'queue.sqlite3'}", folder, transport=transport) as whole:
        yield whole


@contextlib.asynccontextmanager
async def service_with(relay: WholeRelay, url: str, folder: Path, resolver: str, **more: Any) -> AsyncIterator[Service]:
    """Runs a config_api that may send webhooks to loopback."""
    more = {"webhook_networks": "127.0.0.0/8", "nameservers": resolver, "relay_target": relay.address, **more}
    async with running(url, folder, **more) as service:
        yield service


async def make_webhook(
    service: Service, web: WebServer, *events: str, target: str = HOOK, **more: Any
) -> dict[str, Any]:
    """Creates a webhook and waits until it has a cursor, so that every later event is sent to it."""
    hook = await service.make(
        "webhooks", {"url": web.url + target, "events": list(events or ("delivered", "bounced")), **more}
    )
    await until(lambda: is_served(service, hook["id"]))
    return hook


async def is_served(service: Service, webhook_id: str) -> bool:
    """Returns whether the webhook has a cursor."""
    database = Database(service.url)
    try:
        return await WebhookStates(database, "test").progress(webhook_id) is not None
    finally:
        await database.close()


async def until(condition: Callable[[], Any]) -> None:
    """Waits until the condition holds. The condition may be a plain function or a coroutine function."""
    async with asyncio.timeout(PATIENCE):
        while True:
            found = condition()
            if await found if asyncio.iscoroutine(found) else found:
                return
            await asyncio.sleep(0.05)


def body(request: Request) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(request.body)
    return found


def verified(request: Request, secret: str) -> dict[str, Any]:
    """Checks the signature as a receiver does, and returns the body."""
    found: dict[str, Any] = Webhook(secret).verify(request.body, dict(request.headers))
    return found


def of_recipients(requests: list[Request]) -> list[tuple[str, str]]:
    """Returns the type and the recipient of each event."""
    return [(one["type"], one["data"]["recipients"][0]) for one in map(body, requests)]
