"""A scripted stand-in for the mail transport. With it, tests of the queue decide which outcomes next hops give."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field

from services.relay.configuration.model import Configuration, RelayHost
from services.relay.delivery.recipient_question import ServerAnswer
from services.relay.delivery.relay_host_check import Step
from services.relay.delivery.targets.explain import RouteExplanation
from services.relay.model.attempt import Outcome, OutgoingMessage, OutgoingRecipient, Result, Route


@dataclass(frozen=True, slots=True)
class Transaction:
    """The arguments of one call of `deliver`."""

    destination: str
    sender: bytes
    recipients: tuple[bytes, ...]
    content: bytes
    queue_id: str
    revision: int


Answer = Callable[[OutgoingRecipient], Outcome]


def delivered(recipient: OutgoingRecipient) -> Outcome:
    return Outcome(recipient.delivery_id, Result.DELIVERED, 250, "2.0.0", "2.0.0 Ok", "mx.test", "192.0.2.1", 25)


def deferred(recipient: OutgoingRecipient) -> Outcome:
    return Outcome(recipient.delivery_id, Result.DEFERRED, 451, "4.3.0", "4.3.0 later", "mx.test", "192.0.2.1", 25)


def failed(recipient: OutgoingRecipient) -> Outcome:
    return Outcome(recipient.delivery_id, Result.FAILED, 550, "5.1.1", "5.1.1 no such user", "mx.test", "192.0.2.1", 25)


@dataclass(slots=True)
class ScriptedTransport:
    """A transport with a list of answers for each recipient. It uses each answer once, and repeats the last one. Mail
    for recipients without a list is delivered.
    """

    answers: dict[bytes, list[Answer]] = field(default_factory=dict)
    capacities: dict[str, int] = field(default_factory=dict)
    # The transactions of these recipients wait until the event is set.
    gates: dict[bytes, asyncio.Event] = field(default_factory=dict)
    # Seconds until a dead destination is tried again.
    probes: dict[str, float] = field(default_factory=dict)
    begun: list[Transaction] = field(default_factory=list)
    ended: list[Transaction] = field(default_factory=list)
    most_at_once: dict[str, int] = field(default_factory=dict)
    _running: dict[str, int] = field(default_factory=dict)
    _changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def deliver(
        self,
        configuration: Configuration,
        route: Route,
        message: OutgoingMessage,
        recipients: Sequence[OutgoingRecipient],
    ) -> Sequence[Outcome]:
        transaction = Transaction(
            route.destination,
            message.sender,
            tuple(recipient.address for recipient in recipients),
            message.content,
            message.queue_id,
            configuration.revision,
        )
        running = self._running[route.destination] = self._running.get(route.destination, 0) + 1
        self.most_at_once[route.destination] = max(running, self.most_at_once.get(route.destination, 0))
        try:
            await self._note(self.begun, transaction)
            for recipient in recipients:
                gate = self.gates.get(recipient.address)
                if gate is not None:
                    await gate.wait()
            outcomes = [self._answer(recipient) for recipient in recipients]
            await self._note(self.ended, transaction)
            return outcomes
        finally:
            self._running[route.destination] -= 1

    def capacity(self, destination: str, _: Configuration) -> int:
        return self.capacities.get(destination, 20)

    def probe_in(self, destination: str) -> float:
        return self.probes.get(destination, 0.0)

    async def look_up_text(self, name: str) -> Sequence[str] | None:
        return None

    async def close(self, grace_seconds: float) -> None:
        return

    async def explain(self, configuration: Configuration, sender: bytes, recipient: bytes) -> RouteExplanation:
        return RouteExplanation(recipient, "direct", "domain:nowhere.test", ())

    async def test_relay_host(self, relay_host: RelayHost, hostname: str, *, configured: bool) -> AsyncIterator[Step]:
        yield Step("resolve", True, relay_host.host, 0.0, last=True)

    async def ask_recipient(self, configuration: Configuration, route: Route, recipient: bytes) -> ServerAnswer:
        return ServerAnswer.YES

    async def until(self, condition: Callable[[], bool]) -> None:
        """Waits until `condition` holds for the transactions so far."""
        async with asyncio.timeout(60), self._changed:
            await self._changed.wait_for(condition)

    async def until_ended(self, count: int) -> None:
        await self.until(lambda: len(self.ended) >= count)

    async def until_begun(self, count: int) -> None:
        await self.until(lambda: len(self.begun) >= count)

    def to(self, recipient: bytes) -> list[Transaction]:
        """Returns the ended transactions that had this recipient."""
        return [each for each in self.ended if recipient in each.recipients]

    def _answer(self, recipient: OutgoingRecipient) -> Outcome:
        answers = self.answers.get(recipient.address)
        if not answers:
            return delivered(recipient)
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        return answer(recipient)

    async def _note(self, where: list[Transaction], transaction: Transaction) -> None:
        async with self._changed:
            where.append(transaction)
            self._changed.notify_all()
