"""Fixtures for a mail transport that delivers to scripted next hops on loopback."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import trustme
import uvloop

from services.relay.configuration.model import Configuration, LocalDomain, Mailbox, RelayHost, RelayHostAuth
from services.relay.delivery import DeliveryOptions, MailTransport, Timeouts, open_transport
from services.relay.model.attempt import Outcome, OutgoingMessage, OutgoingRecipient, Route
from services.relay.routing.rules import resolve
from tests.peers.dns import DnsServer
from tests.peers.ports import free_address, free_port
from tests.peers.smtp_sink import Offer, SmtpSink

GATEWAY = "gateway.posthouse.test"
SENDER = b"ann@example.org"
CONTENT = b"From: ann@example.org\r\nTo: bob@example.net\r\nSubject: hello\r\n\r\nGood day.\r\n"


@pytest.fixture(scope="session")
def event_loop_policy() -> uvloop.EventLoopPolicy:
    """Returns the policy of uvloop, the event loop of relay."""
    return uvloop.EventLoopPolicy()


# These time-outs are long enough for a busy machine. A test that waits for one of them shortens it first.
PATIENT = Timeouts(
    connect=10, greeting=10, ehlo=10, tls=10, auth=10, mail=10, rcpt=10, data=10, block=10, end_of_data=10, reset=10,
    lookup=10, reach=30, policy=10,
)  # fmt: skip


@dataclass
class Gateway:
    """The options and the configuration that a test sets, and methods that deliver mail with them."""

    options: DeliveryOptions
    configuration: Configuration = field(default_factory=lambda: Configuration(revision=1, hostname=GATEWAY))
    clock: Callable[[], float] = time.monotonic
    _transport: MailTransport | None = None

    @property
    def transport(self) -> MailTransport:
        """Returns the mail transport, which is opened at its first use. A test must set the options before that."""
        if self._transport is None:
            self._transport = open_transport(self.options, clock=self.clock)
        return self._transport

    def options_are(self, **changed: object) -> None:
        assert self._transport is None
        self.options = replace(self.options, **changed)  # type: ignore[arg-type]

    def times_out(self, **seconds: float) -> None:
        self.options_are(timeouts=replace(self.options.timeouts, **seconds))

    def configuration_is(self, **changed: object) -> None:
        self.configuration = replace(self.configuration, **changed)  # type: ignore[arg-type]

    def by_relay_host(self, sink: SmtpSink, *, auth: RelayHostAuth | None = None, host: str = "", **more: Any) -> None:
        self.configuration_is(relay_host=RelayHost(host or sink.host, sink.port, auth=auth, **more))

    def into_mailbox(self, domain: str, mailbox: Mailbox, *more_names: str) -> None:
        """Configures a local domain with a few accounts and this mailbox."""
        names = ("bob", "eve", "zoe", "ghost", *more_names)
        self.configuration_is(
            local_domains={domain: LocalDomain("l", domain, mailbox)},
            account_addresses=frozenset(f"{name}@{domain}".encode() for name in names),
        )

    def route(self, sender: bytes, recipient: bytes) -> Route:
        return resolve(self.configuration, sender, recipient, quarantine=False)

    async def deliver(
        self,
        *recipients: bytes | OutgoingRecipient,
        content: bytes = CONTENT,
        sender: bytes = SENDER,
        message: OutgoingMessage | None = None,
    ) -> Sequence[Outcome]:
        """Delivers one message to recipients that all have the first recipient's route. Returns an outcome for each."""
        sent = message or OutgoingMessage("queue-id", sender, content)
        named = [
            one if isinstance(one, OutgoingRecipient) else OutgoingRecipient(number, one)
            for number, one in enumerate(recipients or (b"bob@example.net",))
        ]
        route = self.route(sent.sender, named[0].address)
        return await self.transport.deliver(self.configuration, route, sent, named)

    async def deliver_one(self, recipient: bytes = b"bob@example.net", **more: object) -> Outcome:
        (outcome,) = await self.deliver(recipient, **more)  # type: ignore[arg-type]
        return outcome


@pytest.fixture
async def gateway(dns_server: DnsServer) -> AsyncIterator[Gateway]:
    """Yields a gateway whose direct delivery uses `dns_server` and may go to loopback."""
    made = Gateway(DeliveryOptions(nameservers=(dns_server.address,), prohibited=(), timeouts=PATIENT))
    yield made
    if made._transport is not None:
        await made._transport.close(1)


@dataclass
class MxHosts:
    """SMTP sinks that are the MX hosts of the domains of a test. Each has its own address; all use the same port."""

    dns: DnsServer
    port: int
    sinks: dict[str, SmtpSink] = field(default_factory=dict)

    def add(self, domain: str, preference: int, name: str, offer: Offer | None = None, **more: object) -> SmtpSink:
        sink = SmtpSink(offer, host=free_address(), port=self.port, **more).start()  # type: ignore[arg-type]
        self.sinks[name] = sink
        self.dns.add(domain, "MX", f"{preference} {name}.")
        self.dns.add(name, "A", sink.host)
        return sink

    def dead(self, domain: str, preference: int, name: str) -> None:
        """Adds an MX host on which no server listens."""
        self.dns.add(domain, "MX", f"{preference} {name}.")
        self.dns.add(name, "A", free_address())


@pytest.fixture
async def mx_hosts(dns_server: DnsServer, gateway: Gateway) -> AsyncIterator[MxHosts]:
    hosts = MxHosts(dns_server, free_port())
    gateway.options_are(mx_port=hosts.port)
    yield hosts
    for sink in hosts.sinks.values():
        sink.stop()


@pytest.fixture(scope="session")
def authority_file(certificates: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("authority") / "ca.pem"
    path.write_bytes(certificates.cert_pem.bytes())
    return path
