"""The interface between queue and delivery: a transport gets a route and a message, and returns one outcome for each
recipient.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from functools import partial

import structlog

from libs.runtime.lifecycle import finished_within
from services.relay.configuration.model import Configuration, MailboxKind, RelayHost
from services.relay.delivery.attempt import Attempt, DeliveryContext
from services.relay.delivery.concurrency import Concurrency, ConcurrencyLimits
from services.relay.delivery.dkim import Signer
from services.relay.delivery.maildir import store
from services.relay.delivery.maildir_writer import MaildirWriter
from services.relay.delivery.recipient_question import RecipientQuestions, ServerAnswer
from services.relay.delivery.relay_host_check import RelayHostTester, Step
from services.relay.delivery.smtp.message import PreparedMessage
from services.relay.delivery.smtp.opening import SessionConnector
from services.relay.delivery.smtp.pool import Pool
from services.relay.delivery.smtp.recipient_limits import RecipientLimits
from services.relay.delivery.smtp.session import SessionOpener
from services.relay.delivery.targets.dns import Resolver
from services.relay.delivery.targets.explain import RouteExplainer, RouteExplanation
from services.relay.delivery.targets.finder import TargetFinder
from services.relay.delivery.targets.mta_sts import MtaStsPolicies
from services.relay.delivery.targets.mx import MxResolver
from services.relay.delivery.targets.mx_security import MxSecurity
from services.relay.delivery.targets.options import DeliveryOptions, Timeouts
from services.relay.delivery.targets.tls import Contexts
from services.relay.model.attempt import Outcome, OutgoingMessage, OutgoingRecipient, Result, Route, RouteKind
from services.relay.model.outcome import ReplyMeaning, deferred, of_recipient

# The longest time of one step when a relay host is tested, because a person waits for the result.
_TEST_SECONDS = 20.0
# The longest time between two tries of a dead destination, as a share of the first interval of the retry schedule.
_PROBE_SHARE = 0.1

log = structlog.get_logger(__name__)


class MailTransport:
    """Implements services.relay.model.attempt.Transport with SMTP, LMTP and Maildir.

    There is one in each process, for its event loop.
    """

    def __init__(
        self,
        options: DeliveryOptions,
        clock: Callable[[], float],
        wall_clock: Callable[[], float],
        rng: random.Random,
    ) -> None:
        self._clock = clock
        self.resolver = Resolver(options.nameservers, seconds=options.timeouts.lookup)
        self._limits = ConcurrencyLimits()
        self._maildirs = MaildirWriter(partial(store, options.maildir_roots))
        self._pool = Pool(options.idle_seconds, options.max_idle_connections, clock)
        # The number of deliveries that are running. `close` waits until it is 0.
        self._running = 0
        self._quiet = asyncio.Event()
        contexts = Contexts(options.ca_file)
        self._policies = MtaStsPolicies(
            self.resolver,
            contexts,
            clock,
            options.prohibited,
            options.mta_sts_port,
            options.timeouts.policy,
        )
        security = MxSecurity(self.resolver, self._policies if options.mta_sts else None, dane=options.dane)
        finder = TargetFinder(MxResolver(self.resolver, rng, options.mx_port), security, options)

        def connector(timeouts: Timeouts) -> SessionConnector:
            opener = SessionOpener(contexts, timeouts, chunking=options.chunking)
            return SessionConnector(opener, finder.families, clock, timeouts.connect)

        self._context = DeliveryContext(
            options, clock, finder, connector(options.timeouts), self._pool, RecipientLimits(clock)
        )
        self._signer = Signer(wall_clock)
        self._explainer = RouteExplainer(finder)
        patience = options.timeouts.capped(_TEST_SECONDS)
        self._questions = RecipientQuestions(finder, connector(patience), patience)
        self._tester = RelayHostTester(finder, connector(patience), patience, options.prohibited)

    async def deliver(
        self,
        configuration: Configuration,
        route: Route,
        message: OutgoingMessage,
        recipients: Sequence[OutgoingRecipient],
    ) -> Sequence[Outcome]:
        """Makes one attempt. Returns one outcome for each recipient, in their order. Raises only CancelledError."""
        concurrency = self._limits.of(route.destination)
        concurrency.running += 1
        self._running += 1
        try:
            if route.kind in (RouteKind.HOLD, RouteKind.FAIL):
                return _same(recipients, _refused(route))
            if route.mailbox is not None and route.mailbox.kind is MailboxKind.MAILDIR:
                outcomes = await self._store(route.mailbox.path, message, recipients)
                # A fault of one Maildir, such as a quota, tells nothing about other Maildirs, and a try costs little.
                self._adapt(concurrency, configuration, reached=True)
                return outcomes
            if configuration.dkim_keys and route.mailbox is None:
                content = await self._signer.signed(configuration, message)
                message = message if content is message.content else replace(message, content=content)
            prepared = PreparedMessage(message)
            limit = self._context.options.max_recipients
            if len(recipients) <= limit:
                return await self._attempt(concurrency, configuration, route, prepared, recipients)
            outcomes = []
            for start in range(0, len(recipients), limit):
                part = recipients[start : start + limit]
                outcomes += await self._attempt(concurrency, configuration, route, prepared, part)
            return outcomes
        except Exception:
            # A fault of our code must not cost the message. The message stays in the queue, and the log has the reason.
            log.exception("delivery_failed_internally", queue_id=message.queue_id, destination=route.destination)
            return _same(recipients, deferred(451, "4.3.0", "internal error"))
        finally:
            concurrency.running -= 1
            self._running -= 1
            if self._running == 0:
                self._quiet.set()

    def capacity(self, destination: str, configuration: Configuration) -> int:
        """Returns the number of transactions that may run to the destination at once. It is 0 while a dead destination
        waits for its next try.
        """
        maximum = configuration.queue.max_concurrency_per_destination
        return self._limits.of(destination).capacity(self._clock(), maximum)

    def probe_in(self, destination: str) -> float:
        """Returns the seconds until the destination is tried again, or 0 when it is not dead or is being tried."""
        concurrency = self._limits.known(destination)
        return concurrency.probe_in(self._clock()) if concurrency is not None else 0.0

    async def explain(self, configuration: Configuration, sender: bytes, recipient: bytes) -> RouteExplanation:
        """Explains the route that mail from `sender` to `recipient` (after the expansion of aliases) would take now."""
        return await self._explainer.explain(configuration, sender, recipient)

    def test_relay_host(self, relay_host: RelayHost, hostname: str, *, configured: bool) -> AsyncIterator[Step]:
        """Yields the steps of a session with a relay host while the session runs. No mail is sent.

        A host that is not `configured` must not be in a prohibited network.
        """
        return self._tester.run(relay_host, hostname, configured=configured)

    async def ask_recipient(self, configuration: Configuration, route: Route, recipient: bytes) -> ServerAnswer:
        """Asks whether the server of the route accepts mail for a recipient. No mail is sent."""
        return await self._questions.ask(configuration, route, recipient)

    async def look_up_text(self, name: str) -> Sequence[str] | None:
        """Returns the TXT records of a name: empty when it has none, None when there was no answer."""
        lookup = await self.resolver.lookup(name, "TXT")
        return lookup.texts

    async def close(self, grace_seconds: float) -> None:
        """Closes idle connections at once. Others are closed when their transaction ends. The longest wait for that is
        `grace_seconds`.
        """
        self._pool.close()
        if self._running:
            self._quiet.clear()
            await finished_within(grace_seconds, self._quiet.wait())
        self._maildirs.close()
        await self._policies.close()
        await self.resolver.close()

    async def _attempt(
        self,
        concurrency: Concurrency,
        configuration: Configuration,
        route: Route,
        prepared: PreparedMessage,
        recipients: Sequence[OutgoingRecipient],
    ) -> list[Outcome]:
        attempt = Attempt(self._context, configuration, route, prepared, recipients, concurrency)
        outcomes = await attempt.run()
        if attempt.turned_away:
            # The message is given back at once, and waits for one of the open connections. This was not a try.
            concurrency.turned_away(self._clock())
            return [replace(outcome, counts=False) for outcome in outcomes]
        self._adapt(concurrency, configuration, reached=attempt.reached)
        return outcomes

    def _adapt(self, concurrency: Concurrency, configuration: Configuration, *, reached: bool) -> None:
        if reached:
            concurrency.succeeded(configuration.queue.max_concurrency_per_destination)
        else:
            # A retry is delayed by at most a tenth of the schedule's first interval (F65).
            concurrency.failed(self._clock(), configuration.queue.first_retry * _PROBE_SHARE)

    async def _store(
        self, path: str, message: OutgoingMessage, recipients: Sequence[OutgoingRecipient]
    ) -> list[Outcome]:
        meanings = await asyncio.gather(
            *(
                self._maildirs.store(path, message.sender, recipient.address, message.content)
                for recipient in recipients
            )
        )
        return [
            of_recipient(recipient.delivery_id, meaning)
            for recipient, meaning in zip(recipients, meanings, strict=True)
        ]


def open_transport(
    options: DeliveryOptions,
    *,
    clock: Callable[[], float] = time.monotonic,
    wall_clock: Callable[[], float] = time.time,
    rng: random.Random | None = None,
) -> MailTransport:
    """Makes the transport of this process. Call it in the event loop. Raises ValueError for bad name servers."""
    return MailTransport(options, clock, wall_clock, rng or random.Random())  # noqa: S311 - spreads load, guards nothing


def _refused(route: Route) -> ReplyMeaning:
    if route.kind is RouteKind.FAIL:
        return ReplyMeaning(Result.FAILED, route.code or 550, route.enhanced_code or "5.4.0", route.reason)
    return deferred(451, "4.3.5", route.reason or "held")


def _same(recipients: Sequence[OutgoingRecipient], meaning: ReplyMeaning) -> list[Outcome]:
    return [of_recipient(recipient.delivery_id, meaning) for recipient in recipients]
