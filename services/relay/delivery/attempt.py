"""One attempt at one destination: a waiting session if there is one, else host after host until all is decided."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

from libs.smtp.value import value
from services.relay.configuration.model import Configuration
from services.relay.delivery.smtp.message import PreparedMessage
from services.relay.delivery.smtp.opening import Reacher
from services.relay.delivery.smtp.pool import Pool
from services.relay.delivery.smtp.session import Session
from services.relay.delivery.smtp.transaction import Transaction
from services.relay.delivery.targets.endpoint import Endpoint, HostFailedError
from services.relay.delivery.targets.finder import TargetFinder
from services.relay.delivery.targets.options import DeliveryOptions
from services.relay.model.attempt import Outcome, OutgoingRecipient, Result, Route, RouteKind
from services.relay.model.outcome import NOBODY, Peer, Verdict, by_operators_own_host, deferred, of_recipient

_UNREACHED = deferred(451, "4.4.1", "no mail server could be reached")


@value(frozen=True, slots=True)
class Means:
    """What attempts share, for the life of the process."""

    options: DeliveryOptions
    clock: Callable[[], float]
    finder: TargetFinder
    reacher: Reacher
    pool: Pool


class Attempt:
    """Runs once. Hosts are tried until every recipient is decided, no host is left, or time for reaching one is over.

    What a host decided stands; those that it left undecided (it could not be reached, it refused the session or the
    sender for now, or was lost before the final dot) go to the next. After the dot nothing goes elsewhere (C120).
    """

    def __init__(
        self,
        means: Means,
        configuration: Configuration,
        route: Route,
        message: PreparedMessage,
        recipients: Sequence[OutgoingRecipient],
    ) -> None:
        self._means = means
        self._configuration = configuration
        self._route = route
        self._message = message
        self._recipients = recipients
        self._verdicts: list[Verdict | None] = [None] * len(recipients)
        # By recipient, and of use only beside a verdict.
        self._peers: list[Peer] = []
        self._passed_on: list[bool] = []
        self._failure: Verdict | None = None
        self._failed_at = NOBODY
        # The last host was this gateway itself.
        self._looped = False
        self._key = (
            route.destination,
            route.relay_host,
            route.mailbox,
            configuration.hostname,
            configuration.resolvers if route.kind is RouteKind.RELAY_DOMAIN else None,
        )
        # A server took part, or it is known that there never will be one: nothing speaks against more of the same.
        self.reached = False

    async def run(self) -> list[Outcome]:
        tried: set[tuple[str, int]] = set()
        while (session := self._means.pool.take(self._key)) is not None:
            if not await self._transact(session):
                tried.add((session.endpoint.address, session.endpoint.port))
                break
        if None in self._verdicts:
            await self._through_hosts(tried)
        for verdict in self._verdicts:
            if verdict is not None and verdict.too_many:
                await self._the_rest()
                break
        return self._outcomes()

    async def _the_rest(self) -> None:
        """Those that were too many for one transaction go into others, as long as each serves somebody."""
        served = 0
        while True:
            waiting = [
                index for index, verdict in enumerate(self._verdicts) if verdict is not None and verdict.too_many
            ]
            now_served = sum(verdict is not None and verdict.result is Result.DELIVERED for verdict in self._verdicts)
            if not waiting or now_served == served:
                return
            session = self._means.pool.take(self._key)
            if session is None:
                return
            served, before = now_served, list(self._verdicts)
            for index in waiting:
                self._verdicts[index] = None
            await self._transact(session)
            self._verdicts = [now or then for now, then in zip(self._verdicts, before, strict=True)]

    async def _through_hosts(self, tried: set[tuple[str, int]]) -> None:
        means = self._means
        deadline = means.clock() + means.options.timeouts.reach
        found = await means.finder.find(self._configuration, self._route)
        if found.failure is not None:
            self._failure = found.failure
            self.reached = found.failure.result is Result.FAILED
            return
        untried = tuple(one for one in found.endpoints if (one.address, one.port) not in tried)
        chosen = means.reacher.in_order(untried)[: means.options.max_hosts]
        endpoints = deque(chosen)
        while endpoints and None in self._verdicts:
            if means.clock() >= deadline:
                endpoints = _another_host(chosen, endpoints)
                if not endpoints:
                    return
            failures: list[HostFailedError] = []
            session = await means.reacher.session(endpoints, self._configuration.hostname, failures)
            for failure in failures:
                self._note(failure)
            if session is not None:
                await self._transact(session)
            elif self._looped:
                return

    async def _transact(self, session: Session) -> bool:
        """One transaction with those not decided yet. The session goes back to the pool if it may.

        True: the session had come to its end before, and this was no try.
        """
        means, undecided = self._means, self._verdicts.count(None)
        everybody = undecided == len(self._recipients)
        indexes: Sequence[int] = () if everybody else [i for i, each in enumerate(self._verdicts) if each is None]
        recipients = self._recipients if everybody else [self._recipients[index] for index in indexes]
        transaction = Transaction(session, self._message, recipients, means.options.timeouts)
        await transaction.run()
        if everybody:
            self._verdicts = transaction.verdicts
            self._peers = [session.peer] * undecided
            self._passed_on = [session.capabilities.dsn] * undecided
        else:
            for index, verdict in zip(indexes, transaction.verdicts, strict=True):
                if verdict is not None:
                    self._verdicts[index] = verdict
                    self._peers[index] = session.peer
                    self._passed_on[index] = session.capabilities.dsn
        if transaction.failure is not None and not transaction.stale:
            self._failure, self._failed_at = transaction.failure, session.peer
        self.reached = self.reached or transaction.alive
        if not transaction.stale and session.messages < self._configuration.queue.max_messages_per_connection:
            means.pool.give(self._key, session)
        else:
            session.protocol.quit()
        return transaction.stale

    def _note(self, error: HostFailedError) -> None:
        """The reason that is given if nothing better comes: the last, but a loop behind a host that is only away."""
        self._looped = error.is_ourselves
        if error.is_ourselves and self._failure is not None:
            return
        self._failure, self._failed_at = error.verdict, error.peer

    def _outcomes(self) -> list[Outcome]:
        is_relay_host = self._route.kind is RouteKind.RELAY_HOST
        is_operators = is_relay_host or self._route.kind is RouteKind.MAILBOX
        outcomes = []
        for index, recipient in enumerate(self._recipients):
            verdict = self._verdicts[index]
            if verdict is None:
                verdict = self._failure or _UNREACHED
                peer, passed_on = self._failed_at, False
            else:
                peer, passed_on = self._peers[index], self._passed_on[index]
            if is_operators:
                verdict = by_operators_own_host(verdict)
            outcomes.append(
                of_recipient(
                    recipient.delivery_id,
                    verdict,
                    peer,
                    dsn_passed_on=passed_on and verdict.result is Result.DELIVERED,
                    suspend_destination=self._route.destination if is_relay_host and verdict.bad_login else "",
                )
            )
        return outcomes


def _another_host(chosen: Sequence[Endpoint], left: Sequence[Endpoint]) -> deque[Endpoint]:
    """The addresses of hosts not tried yet, when the time is over and one host or the look-ups took it all; else none.

    RFC 5321 5.1 wants two tried at least: behind a best host that takes connections and keeps silent nobody would ever
    get the message.
    """
    tried = {one.host for one in chosen if one not in left}
    return deque(one for one in left if one.host not in tried) if len(tried) < 2 else deque()
