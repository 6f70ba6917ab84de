"""The settings of delivery from the environment: ports, name servers, time-outs, prohibited networks."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from ipaddress import ip_network
from pathlib import Path

from libs.runtime.maildir_roots import MaildirRoots, maildir_roots
from services.relay.delivery.targets.own_addresses import Network, OwnAddresses, canonical

# RELAY_PROHIBITED_NETWORKS: networks to which an MX record, or an address literal of a recipient, must never lead:
# "this" network, loopback, multicast and reserved space (C53, C111). IPv4 addresses mapped to IPv6 are judged as IPv4.
# Private networks are not in this list, because the MX host of a relay domain may be in one. An empty value allows all
# networks, which a set-up on loopback (tests, demo, benchmark) needs. Even then no mail is sent to the gateway's own
# addresses.
PROHIBITED_NETWORKS = "0.0.0.0/8,127.0.0.0/8,224.0.0.0/4,240.0.0.0/4,::/128,::1/128,ff00::/8"
# The networks to which an address literal of a recipient must not lead either, unless the operator has set
# RELAY_PROHIBITED_NETWORKS. If they were open, a sender could choose an internal host to connect to (C53).
PRIVATE_NETWORKS = "10.0.0.0/8,100.64.0.0/10,169.254.0.0/16,172.16.0.0/12,192.168.0.0/16,fc00::/7,fe80::/10"


def networks(text: str) -> tuple[Network, ...]:
    """Reads networks: CIDR, separated by commas. Raises ValueError."""
    return tuple(ip_network(part.strip()) for part in text.split(",") if part.strip())


def of_literals(prohibited: str) -> tuple[Network, ...]:
    """Returns the networks that are closed to address literals only: the private ones, unless RELAY_PROHIBITED_NETWORKS
    was changed.
    """
    return networks(PRIVATE_NETWORKS) if prohibited == PROHIBITED_NETWORKS else ()


def own_addresses(text: str) -> OwnAddresses:
    """Reads RELAY_OWN_ADDRESSES: `address`, `address:port` or `[address]:port`, separated by commas. Port 0 stands for
    every port.

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
        # The pairs have the same form as the addresses that they are compared with.
        pairs.add((canonical(host), int(port)))
    return OwnAddresses(pairs)


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Time-outs in seconds: those of RFC 5321 4.5.3.2, and those that it does not define."""

    connect: float = 15.0
    greeting: float = 300.0
    ehlo: float = 300.0
    tls: float = 60.0
    auth: float = 120.0
    mail: float = 300.0
    rcpt: float = 300.0
    data: float = 120.0
    # The longest time for which relay waits until the peer receives the next piece of the content.
    block: float = 180.0
    end_of_data: float = 600.0
    reset: float = 20.0
    # The time for one DNS look-up, over all name servers.
    lookup: float = 12.0
    # The time for fetching an MTA-STS policy.
    policy: float = 20.0
    # The time for all tries to reach a host in one attempt. A transaction that has begun may take longer.
    reach: float = 120.0

    def capped(self, seconds: float) -> Timeouts:
        """Returns the same time-outs, but none longer than `seconds`, for a caller that waits for the result."""
        return Timeouts(**{name.name: min(seconds, getattr(self, name.name)) for name in fields(self)})


@dataclass(frozen=True, slots=True)
class DeliveryOptions:
    """How this process delivers. All settings that an operator changes at run time are in the Configuration instead."""

    # RELAY_NAMESERVERS: each is host[:port]. Empty means the name servers of the system.
    nameservers: tuple[str, ...] = ()
    # RELAY_MX_PORT: the port of MX hosts.
    mx_port: int = 25
    # RELAY_PROHIBITED_NETWORKS
    prohibited: tuple[Network, ...] = field(default_factory=lambda: networks(PROHIBITED_NETWORKS))
    # The default belongs to the default of `prohibited`: see `of_literals`.
    prohibited_literals: tuple[Network, ...] = field(default_factory=lambda: networks(PRIVATE_NETWORKS))
    # RELAY_OWN_ADDRESSES: the addresses of the suite's listeners. An MX record that leads to one of them is a loop.
    own_addresses: OwnAddresses = field(default_factory=OwnAddresses)
    # POSTHOUSE_MAILDIR_ROOTS: the folders in which Maildirs are allowed.
    maildir_roots: MaildirRoots = field(default_factory=lambda: maildir_roots("", Path("var")))
    # RELAY_TLS_CA_FILE: authorities that are trusted in addition to those of the system. None means only those of the
    # system.
    ca_file: Path | None = None
    # RELAY_DANE: whether DANE is followed. It needs a validating resolver that is reached over a trusted path.
    dane: bool = False
    # RELAY_MTA_STS: whether MTA-STS policies are followed.
    mta_sts: bool = True
    # The port of the web servers with MTA-STS policies. Tests use other ports.
    mta_sts_port: int = 443
    # Whether BDAT is used where CHUNKING is offered (RFC 3030). BDAT avoids faults with leading dots, but some servers
    # have faults with BDAT.
    chunking: bool = False
    timeouts: Timeouts = Timeouts()
    # The time in seconds after which an idle connection is closed.
    idle_seconds: float = 5.0
    # The largest number of idle connections, over all destinations.
    max_idle_connections: int = 400
    # The largest number of addresses that one attempt tries, unless an operator named the hosts.
    max_hosts: int = 6
    # The largest number of recipients of one transaction.
    max_recipients: int = 100
