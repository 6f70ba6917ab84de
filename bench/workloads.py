"""The workloads by which the gateways are compared. This module is pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

SENDER_DOMAIN = "source.example"
RECIPIENT_DOMAIN = "sink.example"


@dataclass(frozen=True, slots=True)
class Workload:
    """The messages to send, and what the gateway must do with them."""

    name: str
    # The size of the body in octets.
    size: int
    messages: int
    sessions: int = 20
    # Whether each connection sends many messages instead of one.
    keep_connection: bool = False
    # The number of recipients of each message. Each recipient is in another domain, which has its own next hop.
    domains: int = 1
    # Whether STARTTLS comes before MAIL.
    tls: bool = False
    # Whether AUTH PLAIN comes before MAIL, from a client that could not relay otherwise.
    auth: bool = False
    # Whether SPF and DNSBL are checked, with a name server on loopback. Only Posthouse makes these checks. The other
    # gateways relay without checks.
    checks: bool = False
    # Whether Posthouse's queue and configuration are in PostgreSQL. The other gateways use files.
    postgresql: bool = False
    # Whether the queue is filled while nothing is delivered. In this case only the time until the queue is empty is
    # measured.
    drain: bool = False
    # Environment variables for Posthouse in addition to the defaults.
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def recipient_domains(self) -> tuple[str, ...]:
        if self.domains == 1:
            return (RECIPIENT_DOMAIN,)
        return tuple(f"d{number}.{RECIPIENT_DOMAIN}" for number in range(1, self.domains + 1))

    @property
    def recipients(self) -> tuple[str, ...]:
        return tuple(f"recipient@{domain}" for domain in self.recipient_domains)

    @property
    def plain(self) -> bool:
        """Whether smtp-source can send the messages of this workload."""
        return not (self.domains > 1 or self.tls or self.auth or self.checks)

    def scaled(self, scale: float) -> Workload:
        return replace(self, messages=max(100, round(self.messages * scale)))


# For these four workloads, the goal is three times the rate of the best other gateway.
MAIN = (
    Workload("4 KB, one a connection", 4096, 6000),
    Workload("4 KB, many a connection", 4096, 12_000, keep_connection=True),
    Workload("50 KB, one a connection", 50_000, 4000),
    Workload("50 KB, many a connection", 50_000, 6000, keep_connection=True),
)
FURTHER = (
    Workload("5 recipients in 5 domains", 4096, 1500, keep_connection=True, domains=5),
    Workload("STARTTLS, one a connection", 4096, 2000, tls=True),
    Workload("AUTH, one a connection", 4096, 2000, auth=True),
    Workload("SPF and DNSBL, one a connection", 4096, 2000, checks=True),
    Workload("PostgreSQL, many a connection", 4096, 4000, keep_connection=True, postgresql=True),
    Workload("2 ingress workers, one a connection", 4096, 3000, environment={"INGRESS_WORKERS": "2"}),
)
DRAIN = Workload("a queue drained", 4096, 10_000, keep_connection=True, drain=True)
FULL_DRAIN = Workload("a queue of 100,000 drained", 4096, 100_000, keep_connection=True, drain=True)
