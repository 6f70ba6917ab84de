"""The settings of delivery from the environment: ports, name servers, time-outs, prohibited networks."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from ipaddress import ip_network
from pathlib import Path

from libs.runtime.maildir_roots import MaildirRoots, maildir_roots
from services.relay.delivery.targets.own_addresses import Network, OwnAddresses, canonical

# RELAY_PROHIBITED_NETWORKS: where an MX record or a literal in somebody's address must never lead: "this" network,
# loopback, multicast and reserved space (C53, C111). Mapped IPv4 addresses are judged as IPv4. Private ranges are not
# among them, since a relay domain's own MX may well be there. An empty value lets everything through, which is what a
# set-up on loopback (tests, demo, benchmark) needs; own addresses are left out all the same.
PROHIBITED_NETWORKS = "0.0.0.0/8,127.0.0.0/8,224.0.0.0/4,240.0.0.0/4,::/128,::1/128,ff00::/8"
# Where moreover a literal in somebody's address leads nowhere, unless the operator has said what is prohibited: else a
# sender could choose a host inside to connect to (C53).
PRIVATE_NETWORKS = "10.0.0.0/8,100.64.0.0/10,169.254.0.0/16,172.16.0.0/12,192.168.0.0/16,fc00::/7,fe80::/10"


def networks(text: str) -> tuple[Network, ...]:
    """Comma-separated CIDR. Raises ValueError."""
    return tuple(ip_network(part.strip()) for part in text.split(",") if part.strip())


def of_literals(prohibited: str) -> tuple[Network, ...]:
    """Networks closed to literals alone, by RELAY_PROHIBITED_NETWORKS: private ones unless that was changed."""
    return networks(PRIVATE_NETWORKS) if prohibited == PROHIBITED_NETWORKS else ()


def own_addresses(text: str) -> OwnAddresses:
    """RELAY_OWN_ADDRESSES: comma-separated `address`, `address:port` or `[address]:port`; port 0 is every port.

    The address 0.0.0.0 or :: stands for every address of the machine. Raises ValueError.
    """
    pairs = set()
    for part in filter(None, (part.strip() for part in text.split(","))):
        host, port = part, "0"
        if part.startswith("["):
            host, _, port = part[1:].partition("]")
            port = port.removeprefix(":") or "0"
        elif part.count(":") == 1:
            host, _, port = part.partition(":")
        # In the same form as the addresses that are compared with them.
        pairs.add((canonical(host), int(port)))
    return OwnAddresses(pairs)


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds to wait for the peer, from RFC 5321 4.5.3.2, and for what that section leaves open."""

    connect: float = 15.0
    greeting: float = 300.0
    ehlo: float = 300.0
    tls: float = 60.0
    auth: float = 120.0
    mail: float = 300.0
    rcpt: float = 300.0
    data: float = 120.0
    # Between two pieces of content that the peer takes.
    block: float = 180.0
    end_of_data: float = 600.0
    reset: float = 20.0
    # The time for one DNS look-up, over all name servers.
    lookup: float = 12.0
    # Fetching an MTA-STS policy.
    policy: float = 20.0
    # The time for all tries to reach a host in one attempt. A transaction that began goes on to its end.
    reach: float = 120.0

    def capped(self, seconds: float) -> Timeouts:
        """The same time-outs, with none longer than `seconds`, for callers who wait for the result."""
        return Timeouts(**{name.name: min(seconds, getattr(self, name.name)) for name in fields(self)})


@dataclass(frozen=True, slots=True)
class DeliveryOptions:
    """How this process delivers. Everything an operator changes at run time is in the Configuration instead."""

    # RELAY_NAMESERVERS: host[:port]; empty: the system's.
    nameservers: tuple[str, ...] = ()
    # RELAY_MX_PORT
    mx_port: int = 25
    # RELAY_PROHIBITED_NETWORKS
    prohibited: tuple[Network, ...] = field(default_factory=lambda: networks(PROHIBITED_NETWORKS))
    # The default goes with that of `prohibited`: see `of_literals`.
    prohibited_literals: tuple[Network, ...] = field(default_factory=lambda: networks(PRIVATE_NETWORKS))
    # RELAY_OWN_ADDRESSES: addresses of the suite's listeners, an MX there is a loop.
    own_addresses: OwnAddresses = field(default_factory=OwnAddresses)
    # POSTHOUSE_MAILDIR_ROOTS
    maildir_roots: MaildirRoots = field(default_factory=lambda: maildir_roots("", Path("var")))
    # RELAY_TLS_CA_FILE: trusted besides the system's; None: only those.
    ca_file: Path | None = None
    # RELAY_DANE: only with a validating resolver that is reached over a trusted path.
    dane: bool = False
    # RELAY_MTA_STS
    mta_sts: bool = True
    # The port of the web servers with MTA-STS policies. Tests use other ports.
    mta_sts_port: int = 443
    # BDAT where CHUNKING is offered (RFC 3030): one fault less to make with dots, one more to meet in servers.
    chunking: bool = False
    timeouts: Timeouts = Timeouts()
    # Seconds that an unused connection is kept.
    idle_seconds: float = 5.0
    # Open and unused, over all destinations.
    max_idle_connections: int = 400
    # Addresses tried in one attempt.
    max_hosts: int = 6
    # Recipients of one transaction.
    max_recipients: int = 100
