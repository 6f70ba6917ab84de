"""The actions of operators on the queue. Each action runs in batches, and each batch is one transaction, which also
writes the events of the timelines.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

import structlog

from services.relay.clock import Clock
from services.relay.configuration.model import Configuration
from services.relay.model.message import Action as ReportAction
from services.relay.model.message import NewMessage, ReportedRecipient, queue_id
from services.relay.model.redirect import Redirect, as_json
from services.relay.model.states import QUARANTINE, State
from services.relay.queue import ending, redirecting
from services.relay.queue.database import Connection, Database, QueueError
from services.relay.queue.ending import Open
from services.relay.queue.filters import MessageFilter
from services.relay.queue.identifiers import Identifiers
from services.relay.queue.reading import Position, candidates
from services.relay.queue.settling import Event, record_events
from services.relay.queue.statistics import CountedEvent, Statistics
from services.relay.queue.storing import store
from services.relay.reports.reporting import reports, waiting_copy
from services.relay.routing.recipients import SubmittedRecipient, hears_of_failure
from services.relay.routing.redirecting import is_same_recipient, redirected
from services.relay.routing.rules import resolve_redirected

log = structlog.get_logger(__name__)

_BATCH = 200
BOUNCED_BY_OPERATOR = "returned by the administrator of the mail system"


class Action(Enum):
    RETRY = "retry"
    HOLD = "hold"
    RELEASE = "release"
    BOUNCE = "bounce"
    DELETE = "delete"
    REDIRECT = "redirect"


# The name of each action in timelines.
_EVENTS = {
    Action.RETRY: "retried",
    Action.HOLD: "held",
    Action.RELEASE: "released",
    Action.BOUNCE: "bounced",
    Action.DELETE: "deleted",
    Action.REDIRECT: "redirected",
}
# The largest number of redirected recipients that the progress of an action names.
_NAMED = 10


@dataclass(slots=True)
class Progress:
    """The numbers of deliveries that an action has processed so far."""

    matched: int = 0
    acted: int = 0
    skipped: int = 0
    done: bool = False
    # The first recipients that were redirected, or that a dry run would redirect.
    redirected_recipients: list[bytes] = field(default_factory=list)


class Operator:
    """Carries out the actions of operators. There is one in each process."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        identifiers: Identifiers,
        configuration: Callable[[], Configuration | None],
        wake: Callable[[], None],
        statistics: Statistics,
    ) -> None:
        self._database = database
        self._statistics = statistics
        self._clock = clock
        self._identifiers = identifiers
        self._configuration = configuration
        self._wake = wake

    async def act(
        self,
        action: Action,
        wanted: MessageFilter,
        message_id: int | None,
        actor: str,
        *,
        dry_run: bool,
        redirect: Redirect | None = None,
    ) -> AsyncIterator[Progress]:
        """Acts on the stored messages that match, and yields the progress after each batch. Raises QueueError.

        `redirect` says where the mail goes, and is given with Action.REDIRECT only.
        """
        until = self._clock.now()
        progress = Progress()
        after: Position | None = None
        while not progress.done:
            if message_id is not None:
                chosen, after = [message_id], None
            else:
                chosen, after = await self._choose(wanted, after, until)
            outcome = await self._batch(action, wanted, chosen, actor, dry_run=dry_run, redirect=redirect)
            acted, skipped = outcome.acted, outcome.skipped
            progress.matched += acted + skipped
            progress.redirected_recipients = (progress.redirected_recipients + outcome.redirected_recipients)[:_NAMED]
            progress.acted += 0 if dry_run else acted
            if action is Action.BOUNCE and not dry_run:
                self._statistics.count(CountedEvent.BOUNCED, acted)
            progress.skipped += skipped
            progress.done = after is None
            yield progress
        if not dry_run:
            log.info(
                "queue_action",
                action=action.value,
                actor=actor,
                # This is empty when the action applied to all messages that match.
                queue_id="" if message_id is None else queue_id(message_id),
                acted=progress.acted,
                skipped=progress.skipped,
            )
            self._wake()

    async def _choose(
        self, wanted: MessageFilter, after: Position | None, until: int
    ) -> tuple[list[int], Position | None]:
        """Finds the next messages to act on. The search uses a connection for reading, so that other writers do not
        have to wait for it.
        """
        now = self._clock.now()
        return await self._database.view(lambda connection: candidates(connection, wanted, after, until, _BATCH, now))

    async def _batch(
        self,
        action: Action,
        wanted: MessageFilter,
        chosen: list[int],
        actor: str,
        *,
        dry_run: bool,
        redirect: Redirect | None,
    ) -> Progress:
        configuration = self._configuration()

        def applies(row: Any) -> bool:
            if redirect is None or configuration is None:
                return _applies(action, row)
            return _can_be_redirected(configuration, redirect, row)

        def work(connection: Connection) -> Progress:
            now = self._clock.now()
            outcome = Progress()
            for entry in ending.chosen(connection, chosen, wanted, now):
                apply = [row for row in entry.waiting if applies(row)]
                outcome.acted += len(apply)
                outcome.skipped += len(entry.waiting) - len(apply) + entry.others
                if redirect is not None:
                    outcome.redirected_recipients += [row.recipient for row in apply]
                if apply and not dry_run:
                    entry.waiting = apply
                    self._apply(connection, action, entry, actor, now, redirect)
            return outcome

        return await self._database.write(work) if chosen else Progress()

    def _apply(
        self,
        connection: Connection,
        action: Action,
        entry: Open,
        actor: str,
        now: int,
        redirect: Redirect | None,
    ) -> None:
        rows = entry.waiting
        detail = ""
        if redirect is not None:
            self._redirect(connection, entry, redirect, now)
            detail = redirect.text
        elif action in (Action.RETRY, Action.RELEASE):
            if any(row.destination == QUARANTINE for row in rows):
                ending.lift_quarantine(connection, entry.message.id)
            ending.change(connection, [(row, State.QUEUED, now) for row in rows])
        elif action is Action.HOLD:
            ending.change(connection, [(row, State.HELD, None) for row in rows])
        elif action is Action.DELETE:
            ending.end(connection, [(row, State.DELETED, "") for row in rows], now)
        else:
            made = self._bounce(connection, entry, now)
            ending.end(connection, [(row, State.BOUNCED, BOUNCED_BY_OPERATOR) for row in rows], now)
            store(connection, made, 0, now)
        record_events(
            connection,
            [
                Event(self._identifiers.next(), row.message_id, now, _EVENTS[action], row.recipient, detail, actor)
                for row in rows
            ],
        )

    def _redirect(self, connection: Connection, entry: Open, redirect: Redirect, now: int) -> None:
        configuration = self._configuration()
        if configuration is None:
            raise QueueError("there is no configuration")
        message, rows = entry.message, entry.waiting
        if not redirect.recipient:
            next_hop = redirect.next_hop
            moved = []
            for row in rows:
                route = resolve_redirected(
                    configuration, message.sender, row.recipient, next_hop, quarantine=message.quarantine
                )
                is_held = row.state == State.HELD or route.destination == QUARANTINE
                moved.append((row, route.destination, None if is_held else now))
            redirecting.send_by(connection, moved, None if next_hop is None else as_json(next_hop), now)
            return
        addressed = redirected(
            configuration,
            self._identifiers.next,
            message,
            [
                SubmittedRecipient(row.recipient, _notify(row), row.orcpt, submitted_recipient=row.submitted_recipient)
                for row in rows
            ],
            redirect.recipient,
            redirecting.recipients_present(connection, message.id, [row.id for row in rows]),
            held=all(row.state == State.HELD for row in rows),
        )
        made: Sequence[NewMessage] = ()
        if addressed.reported:
            with_content = ending.with_content(connection, message)
            made = reports(configuration, self._identifiers.next, with_content, addressed.reported, now)
        redirecting.add_deliveries(connection, message, addressed.deliveries, now)
        ending.end(connection, [(row, State.REDIRECTED, f"redirected {redirect.text}") for row in rows], now)
        store(connection, [waiting_copy(report) for report in made], 0, now)

    def _bounce(self, connection: Connection, entry: Open, now: int) -> list[NewMessage]:
        """Makes the reports for the sender, which wait in the database for their delivery. Quarantined mail causes no
        report.
        """
        configuration = self._configuration()
        reported = [
            ReportedRecipient(
                row.recipient,
                ReportAction.FAILED,
                "5.0.0",
                row.orcpt,
                text=BOUNCED_BY_OPERATOR,
                submitted_recipient=row.submitted_recipient,
            )
            for row in entry.waiting
            if row.destination != QUARANTINE and hears_of_failure(entry.message.kind, _notify(row))
        ]
        if configuration is None or not reported:
            return []
        message = ending.with_content(connection, entry.message)
        made = reports(configuration, self._identifiers.next, message, reported, now)
        return [waiting_copy(report) for report in made]


def _notify(row: Any) -> tuple[str, ...]:
    return tuple(filter(None, row.notify.split(",")))


def _can_be_redirected(configuration: Configuration, redirect: Redirect, row: Any) -> bool:
    """Returns whether the redirect changes where this delivery goes."""
    if redirect.recipient:
        return not is_same_recipient(configuration, row.recipient, redirect.recipient)
    stored: str | None = row.next_hop
    return stored != (None if redirect.next_hop is None else as_json(redirect.next_hop))


def _applies(action: Action, row: object) -> bool:
    state, due_at = row.state, row.due_at  # type: ignore[attr-defined]
    held = state == State.HELD or due_at is None
    if action is Action.RELEASE:
        return bool(held)
    if action in (Action.RETRY, Action.HOLD):
        return not held if action is Action.RETRY else bool(state != State.HELD)
    return True
