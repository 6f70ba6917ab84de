"""One attempt at one destination. It uses an idle session if there is one, and then tries one host after the other
until every recipient has a result.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from services.relay.configuration.model import Configuration
from services.relay.delivery.concurrency import Concurrency
from services.relay.delivery.smtp.message import PreparedMessage
from services.relay.delivery.smtp.opening import SessionConnector
from services.relay.delivery.smtp.pool import Pool
from services.relay.delivery.smtp.recipient_limits import RecipientLimits
from services.relay.delivery.smtp.session import Session, looped
from services.relay.delivery.smtp.transaction import Transaction
from services.relay.delivery.targets.endpoint import Endpoint, HostFailedError
from services.relay.delivery.targets.finder import TargetFinder
from services.relay.delivery.targets.options import DeliveryOptions
from services.relay.model.attempt import Outcome, OutgoingRecipient, Result, Route, RouteKind
from services.relay.model.outcome import NO_PEER, Peer, ReplyMeaning, by_operators_own_host, deferred, of_recipient

_SERVICE_CLOSES = 421
_UNREACHED = deferred(451, "4.4.1", "no mail server could be reached")
_TOO_MANY = replace(deferred(452, "4.5.3", "the server accepts fewer recipients in one transaction"), too_many=True)


@dataclass(frozen=True, slots=True)
class DeliveryContext:
    """The objects that all attempts share. It lives as long as the process."""

    options: DeliveryOptions
    clock: Callable[[], float]
    finder: TargetFinder
    connector: SessionConnector
    pool: Pool
    recipient_limits: RecipientLimits


class Attempt:
    """Runs once. It tries hosts until every recipient has a result, no host is left, or the time for reaching a host is
    over.

    The results from a host are final. Recipients go to the next host when a host gave no result for them: because it
    could not be reached, because it refused the session or the sender temporarily, or because the connection was lost
    before the final dot. After the final dot no recipient goes to another host (C120). A refusal of this client's
    address is no result either, because another address family may be accepted (F03).
    """

    def __init__(
        self,
        context: DeliveryContext,
        configuration: Configuration,
        route: Route,
        message: PreparedMessage,
        recipients: Sequence[OutgoingRecipient],
        concurrency: Concurrency,
    ) -> None:
        self._context = context
        self._concurrency = concurrency
        self._configuration = configuration
        self._route = route
        self._message = message
        self._recipients = recipients
        self._verdicts: list[ReplyMeaning | None] = [None] * len(recipients)
        # Both lists are empty, or have an entry for each recipient. They are used only together with a reply.
        self._peers: list[Peer] = []
        self._passed_on: list[bool] = []
        self._failure: ReplyMeaning | None = None
        self._failed_at = NO_PEER
        # Whether the last host was this gateway itself.
        self._looped = False
        # The replies for recipients that were refused because of this client's address, and the address families that
        # were refused.
        self._address_refusals: dict[int, tuple[ReplyMeaning, Peer]] = {}
        self._refused_families: set[int] = set()
        self._key = (
            route.destination,
            route.relay_host,
            route.mailbox,
            route.next_hop,
            configuration.hostname,
            configuration.resolvers if route.kind is RouteKind.RELAY_DOMAIN else None,
            configuration.tls_level(route.domain) if route.kind is RouteKind.DIRECT else None,
        )
        # Whether a server took part in a transaction, or the look-ups failed permanently. In both cases the attempt
        # does not count as a failure of the destination.
        self.reached = False
        # Whether a server refused the session with a reply.
        self._refused_session = False
        # Whether no session with a host could be opened, although the host neither refused it nor kept silent.
        self._unconnected = False

    async def run(self) -> list[Outcome]:
        tried: set[tuple[str, int]] = set()
        while (session := self._context.pool.take(self._key)) is not None:
            if not await self._transact(session):
                tried.add((session.endpoint.address, session.endpoint.port))
                break
        if None in self._verdicts and not self._looped:
            await self._through_hosts(tried)
        for meaning in self._verdicts:
            if meaning is not None and meaning.too_many:
                await self._the_rest()
                break
        return self._outcomes()

    async def _the_rest(self) -> None:
        """Sends further transactions for the recipients that were too many for one transaction, as long as each
        transaction gives results for some of them.
        """
        waiting = self._too_many()
        while waiting:
            before = list(self._verdicts)
            for index in waiting:
                self._verdicts[index] = None
            session = self._context.pool.take(self._key)
            if session is not None:
                await self._transact(session)
            else:
                # No idle session is left, for example because the last one has carried as many messages as it may.
                await self._through_hosts(set())
            self._verdicts = [now or then for now, then in zip(self._verdicts, before, strict=True)]
            left = self._too_many()
            if len(left) == len(waiting):
                return
            waiting = left

    def _too_many(self) -> list[int]:
        return [index for index, meaning in enumerate(self._verdicts) if meaning is not None and meaning.too_many]

    async def _through_hosts(self, tried: set[tuple[str, int]]) -> None:
        context = self._context
        deadline = context.clock() + context.options.timeouts.reach
        found = await context.finder.find(self._configuration, self._route)
        if found.failure is not None:
            self._failure = found.failure
            self.reached = found.failure.result is Result.FAILED
            return
        untried = tuple(endpoint for endpoint in found.endpoints if (endpoint.address, endpoint.port) not in tried)
        chosen = context.connector.in_order(self._acceptable(untried))
        if not found.all_wanted:
            chosen = chosen[: context.options.max_hosts]
        endpoints = deque(chosen)
        while endpoints and None in self._verdicts:
            if context.clock() >= deadline:
                endpoints = _another_host(chosen, endpoints)
                if not endpoints:
                    return
            failures: list[HostFailedError] = []
            session = await context.connector.session(endpoints, self._configuration.hostname, failures)
            for failure in failures:
                self._note(failure)
            if session is not None:
                await self._transact(session)
                endpoints = deque(self._acceptable(endpoints))
            if self._looped:
                return

    def _acceptable(self, endpoints: Iterable[Endpoint]) -> tuple[Endpoint, ...]:
        """Returns the endpoints without those of an address family in which the server refuses this client."""
        refused = self._refused_families
        return tuple(endpoint for endpoint in endpoints if not refused or _family(endpoint) not in refused)

    async def _transact(self, session: Session) -> bool:
        """Runs one transaction with the recipients that have no result yet.

        The session goes back to the pool if it can be used again.

        Returns True when the session was reused, and the server had ended it or refused the sender temporarily. Neither
        counts as a try.
        """
        context = self._context
        if session.has_our_name and self._message.came_through(self._configuration.hostname):
            self._looped = True
            self._failure, self._failed_at = looped(session.endpoint), session.peer
            session.protocol.quit()
            return False
        indexes = self._to_be_named(session)
        everybody = len(indexes) == len(self._recipients)
        recipients = self._recipients if everybody else [self._recipients[index] for index in indexes]
        transaction = Transaction(session, self._message, recipients, context.options.timeouts)
        self._concurrency.sessions += 1
        try:
            await transaction.run()
        finally:
            self._concurrency.sessions -= 1
        if everybody:
            self._verdicts = transaction.meanings
            self._peers = [session.peer] * len(indexes)
            self._passed_on = [session.capabilities.dsn] * len(indexes)
        else:
            self._take_over(session, indexes, transaction)
        if transaction.failure is not None and not transaction.stale:
            self._failure, self._failed_at = transaction.failure, session.peer
        self.reached = self.reached or transaction.alive
        if not transaction.alive and transaction.failure is not None and transaction.failure.code == _SERVICE_CLOSES:
            self._refused_session = True
        if transaction.recipient_limit:
            context.recipient_limits.remember(session.endpoint, transaction.recipient_limit)
        if transaction.address_refused:
            self._refuse_family(session, indexes, transaction)
        used_up = session.messages >= self._configuration.queue.max_messages_per_connection
        if transaction.stale or transaction.address_refused or used_up:
            session.protocol.quit()
        else:
            context.pool.give(self._key, session)
        return transaction.stale

    def _to_be_named(self, session: Session) -> Sequence[int]:
        """Returns the indexes of the recipients of the next transaction, no more than the server is known to accept
        (F48).
        """
        undecided: Sequence[int] = range(len(self._verdicts))
        if self._verdicts.count(None) < len(self._verdicts):
            undecided = [index for index in undecided if self._verdicts[index] is None]
        limit = self._context.recipient_limits.of(session.endpoint)
        if not limit or limit >= len(undecided):
            return undecided
        for index in undecided[limit:]:
            self._verdicts[index] = _TOO_MANY
        return undecided[:limit]

    def _take_over(self, session: Session, indexes: Sequence[int], transaction: Transaction) -> None:
        """Takes over the results of a transaction with some of the recipients."""
        if not self._peers:
            self._peers = [NO_PEER] * len(self._recipients)
            self._passed_on = [False] * len(self._recipients)
        for index, meaning in zip(indexes, transaction.meanings, strict=True):
            if meaning is not None:
                self._verdicts[index] = meaning
                self._peers[index] = session.peer
                self._passed_on[index] = session.capabilities.dsn

    def _refuse_family(self, session: Session, indexes: Sequence[int], transaction: Transaction) -> None:
        """Clears the results of recipients that were refused because of this client's address, so that the other
        address family is tried.
        """
        self._refused_families.add(_family(session.endpoint))
        for position in transaction.address_refused:
            index = indexes[position]
            meaning = self._verdicts[index]
            if meaning is not None:
                self._address_refusals[index] = meaning, session.peer
                self._verdicts[index] = None
                self._failure, self._failed_at = None, NO_PEER

    def _note(self, error: HostFailedError) -> None:
        """Stores the reason that is reported if no later host gives a better one. It is the last reason, except that a
        loop does not replace an earlier failure of another host.
        """
        self._looped = error.is_ourselves
        if not error.meaning.own:
            self._refused_session = True
        elif error.meaning.code == 0 and not error.silent:
            self._unconnected = True
        if error.is_ourselves and self._failure is not None:
            return
        self._failure, self._failed_at = error.meaning, error.peer

    @property
    def turned_away(self) -> bool:
        """Whether a server seems to have refused the connection only because other connections of ours are open or are
        being opened (F47).
        """
        if self.reached or self._looped:
            return False
        others_run = self._concurrency.running > 1
        return (self._refused_session and others_run) or (self._unconnected and self._concurrency.sessions > 0)

    def _outcomes(self) -> list[Outcome]:
        is_relay_host = self._route.kind is RouteKind.RELAY_HOST
        is_operators = is_relay_host or self._route.kind is RouteKind.MAILBOX or self._route.next_hop is not None
        outcomes = []
        for index, recipient in enumerate(self._recipients):
            meaning, peer, passed_on = self._verdict_on(index)
            if is_operators:
                meaning = by_operators_own_host(meaning)
            outcomes.append(
                of_recipient(
                    recipient.delivery_id,
                    meaning,
                    peer,
                    dsn_passed_on=passed_on and meaning.result is Result.DELIVERED,
                    suspend_destination=self._route.destination if is_relay_host and meaning.bad_login else "",
                )
            )
        return outcomes

    def _verdict_on(self, index: int) -> tuple[ReplyMeaning, Peer, bool]:
        meaning = self._verdicts[index]
        if meaning is not None:
            return (meaning, self._peers[index], self._passed_on[index]) if self._peers else (meaning, NO_PEER, False)
        if self._failure is None and index in self._address_refusals:
            # No host was tried at an address of another family.
            return (*self._address_refusals[index], False)
        return self._failure or _UNREACHED, self._failed_at, False


def _family(endpoint: Endpoint) -> int:
    """Returns the version of IP. The path of a socket counts as 4."""
    return 6 if ":" in endpoint.address else 4


def _another_host(chosen: Sequence[Endpoint], left: Sequence[Endpoint]) -> deque[Endpoint]:
    """Returns the addresses of untried hosts when one host, or the look-ups, used all of the time. Otherwise returns
    none.

    RFC 5321 5.1 demands that at least two addresses are tried. If only one were tried, a best host that accepts
    connections and never answers would block all mail for the domain.
    """
    tried = {one.host for one in chosen if one not in left}
    return deque(one for one in left if one.host not in tried) if len(tried) < 2 else deque()
