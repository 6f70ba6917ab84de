"""Chooses the webhooks that this replica serves: it leases webhooks that no replica serves, and follows changes of the
settings.
"""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import structlog
from sqlalchemy.exc import SQLAlchemyError

from services.config_api.events.feed import EventFeed
from services.config_api.events.sending import SECONDS, Outcome, Sender
from services.config_api.events.webhook_worker import WebhookWorker
from services.config_api.events.wire import Event
from services.config_api.metrics import WEBHOOKS_DISABLED, WEBHOOKS_SERVED
from services.config_api.problems import Problem
from services.config_api.resources.description import Body
from services.config_api.resources.webhooks import WEBHOOKS, sealed_secrets
from services.config_api.secrets.sealing import Sealer
from services.config_api.storage.documents import Store, find
from services.config_api.storage.identifiers import now_us
from services.config_api.storage.revision import Actor, Write
from services.config_api.storage.webhook_states import (
    LEASE_SECONDS,
    DeliveryRecord,
    Progress,
    WebhookStates,
)

log = structlog.get_logger(__name__)

_LOOK_SECONDS = 2.0
_RENEW_SECONDS = 5.0
# No attempt begins when less than this time of a lease is left. It is enough for an attempt and for the answer to a
# renewal of the lease.
_MARGIN_SECONDS = 2 * SECONDS
_OURSELVES = Actor("posthouse", "admin")


@dataclass(slots=True)
class _Served:
    """A webhook that this replica serves. `body` has the settings with which it is served."""

    body: Body
    worker: WebhookWorker
    task: asyncio.Task[None]
    # The end of the lease, by the clock of the event loop.
    until: float


class Dispatcher:
    """Starts and stops the workers of webhooks. Each process has one dispatcher."""

    def __init__(
        self, store: Store, sealer: Sealer, feed: EventFeed, sender: Sender, webhooks: Callable[[], Mapping[str, Body]]
    ) -> None:
        """`webhooks` returns the present settings of all webhooks: their complete bodies, by id."""
        self._store = store
        self._sealer = sealer
        self._feed = feed
        self._sender = sender
        self._webhooks = webhooks
        self.states = WebhookStates(store.database, uuid.uuid4().hex)
        self._served: dict[str, _Served] = {}
        self._loop = asyncio.get_running_loop()

    async def run(self) -> None:
        """Serves webhooks until it is cancelled."""
        renew_at = 0.0
        try:
            while True:
                # An outage of the database is ignored here, because the publisher reports it.
                with contextlib.suppress(SQLAlchemyError, OSError, Problem):
                    if self._served and self._loop.time() >= renew_at:
                        await self._renew()
                        renew_at = self._loop.time() + _RENEW_SECONDS
                    await self._follow_settings()
                WEBHOOKS_SERVED.set(len(self._served))
                await asyncio.sleep(_LOOK_SECONDS)
        finally:
            await self._stop(list(self._served))

    async def begin(self, webhook_id: str) -> None:
        """Stores that a new webhook gets all events from now on."""
        # If relay or the database does not answer now, the webhook gets events from the time when both answer.
        with contextlib.suppress(SQLAlchemyError, OSError, Problem):
            await self.states.begin(webhook_id, await self._feed.end())

    async def send(self, body: Body, event: Event) -> Outcome:
        """Makes one attempt with the settings in `body`."""
        secrets = [self._sealer.open(sealed) for sealed in sealed_secrets(body)]
        return await self._sender.send(body["url"], secrets, event.id, event.body)

    async def send_once(self, webhook_id: str, body: Body, event: Event) -> DeliveryRecord:
        """Makes an attempt that a client asked for, and stores its result like any other."""
        began = now_us()
        outcome = await self.send(body, event)
        record = DeliveryRecord(
            event.id,
            event.kind,
            event.queue_id,
            outcome.delivered,
            1,
            began,
            outcome.http_status,
            outcome.error,
            outcome.took_us,
        )
        await self.states.record_one(webhook_id, record)
        return record

    async def _renew(self) -> None:
        until = self._loop.time() + LEASE_SECONDS
        renewed = await self.states.renew(self._served)
        for webhook_id, served in self._served.items():
            if webhook_id in renewed:
                served.until = until
        lost = [webhook_id for webhook_id in self._served if webhook_id not in renewed]
        for webhook_id in lost:
            log.warning("webhook_lease_lost", webhook=webhook_id)
        await self._stop(lost)

    async def _follow_settings(self) -> None:
        enabled_webhooks = {webhook_id: body for webhook_id, body in self._webhooks().items() if body["enabled"]}
        ended = [
            webhook_id
            for webhook_id, served in self._served.items()
            if served.task.done() or enabled_webhooks.get(webhook_id) != served.body
        ]
        await self._stop(ended)
        known_states = await self.states.known()
        if gone := known_states - self._webhooks().keys():
            # The settings in memory may lack a new webhook, whose state must not be removed. So the database is asked,
            # too.
            stored = {document.id for document in await self._store.all(WEBHOOKS.kind)}
            await self.states.forget(gone - stored)
        for webhook_id in enabled_webhooks.keys() - known_states:
            await self.states.begin(webhook_id, await self._feed.end())
        until = self._loop.time() + LEASE_SECONDS
        for webhook_id, progress in (await self.states.take(enabled_webhooks.keys() - self._served.keys())).items():
            self._serve(webhook_id, enabled_webhooks[webhook_id], progress, until)

    def _serve(self, webhook_id: str, body: Body, progress: Progress, until: float) -> None:
        async def send(event: Event) -> Outcome:
            return await self.send(body, event)

        async def record(new: Progress, deliveries: list[DeliveryRecord]) -> bool:
            return await self.states.record(webhook_id, new, deliveries)

        async def give_up() -> None:
            await self._disable(webhook_id, body)

        def may_send() -> bool:
            served = self._served.get(webhook_id)
            return served is not None and self._loop.time() < served.until - _MARGIN_SECONDS

        worker = WebhookWorker(self._feed, frozenset(body["events"]), progress, send, record, give_up, may_send)
        task = asyncio.create_task(self._work(webhook_id, worker))
        self._served[webhook_id] = _Served(body, worker, task, until)

    async def _work(self, webhook_id: str, worker: WebhookWorker) -> None:
        try:
            await worker.run()
        except (SQLAlchemyError, OSError) as error:
            # When the database answers again, the webhook continues from its stored state.
            log.warning("webhook_interrupted", webhook=webhook_id, error=type(error).__name__)
        except Exception:
            log.exception("webhook_failed", webhook=webhook_id)

    async def _stop(self, webhook_ids: list[str]) -> None:
        """Stops the workers, stores their positions, and gives up the leases."""
        stopped = [(webhook_id, self._served.pop(webhook_id)) for webhook_id in webhook_ids]
        for _, served in stopped:
            served.task.cancel()
        await asyncio.gather(*(served.task for _, served in stopped), return_exceptions=True)
        with contextlib.suppress(SQLAlchemyError, OSError):
            for _, served in stopped:
                await served.worker.finish()
            if stopped:
                await self.states.give_back([webhook_id for webhook_id, _ in stopped])

    async def _disable(self, webhook_id: str, body: Body) -> None:
        async with self._store.revision(_OURSELVES, "disableWebhook") as revision:
            document = await find(revision.connection, WEBHOOKS.kind, webhook_id)
            if document is None or document.body != body:
                return
            stored: dict[str, Any] = {**document.stored, "enabled": False}
            await revision.apply([Write(WEBHOOKS, webhook_id, document.stored, stored)])
            revision.target = f"{WEBHOOKS.kind}/{webhook_id}"
            revision.summary = "webhook disabled: no event was accepted for 3 days"
        WEBHOOKS_DISABLED.inc()
        log.error("webhook_disabled", webhook=webhook_id, reason="its oldest event was not accepted for 3 days")


def test_event(webhook_id: str) -> Event:
    """Returns the event that the action `:test` sends. It belongs to no message."""
    event_id = f"test-{uuid.uuid4().hex}"
    at = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    body = {"type": "test", "timestamp": at, "data": {"event_id": event_id, "webhook_id": webhook_id}}
    return Event(event_id, "test", "", body)
