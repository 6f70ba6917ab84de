"""Finds the addresses to try for a route, each with the TLS that a connection to it needs."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from services.relay.configuration.model import Configuration, FallbackHost, Mailbox, MailboxKind, RelayHost
from services.relay.delivery.targets.address_families import AddressFamilyCache
from services.relay.delivery.targets.endpoint import Endpoint, Loop
from services.relay.delivery.targets.mx import Host, MxResolver, OwnIdentity, Targets
from services.relay.delivery.targets.mx_security import MxSecurity, TargetEndpoints, plan_of, with_one_plan
from services.relay.delivery.targets.options import DeliveryOptions
from services.relay.delivery.targets.tls import OPPORTUNISTIC, TlsPlan
from services.relay.model.attempt import Route, RouteKind

_SMTP_PORT = 25
# RFC 2033 assigns no port to LMTP, and forbids port 25.
_LMTP_PORT = 24


class TargetFinder:
    """Finds endpoints. There is one in each process, for as long as the process lives."""

    def __init__(self, mx_resolver: MxResolver, security: MxSecurity, options: DeliveryOptions) -> None:
        self._mx_resolver = mx_resolver
        self._security = security
        self._options = options

    @property
    def families(self) -> AddressFamilyCache:
        return self._mx_resolver.families

    async def find(self, configuration: Configuration, route: Route) -> TargetEndpoints:
        """Returns the endpoints for a DIRECT or RELAY_DOMAIN route, a RELAY_HOST route, or a MAILBOX route with SMTP or
        LMTP.
        """
        if route.relay_host is not None:
            return await self.of_relay_host(route.relay_host)
        if route.mailbox is not None:
            return await self._of_mailbox(route.mailbox)
        if route.next_hop is not None:
            return await self._of_mailbox(route.next_hop, Loop.BY_TRACE)
        if route.kind is RouteKind.RELAY_DOMAIN:
            resolvers = configuration.resolvers
            targets = await self._mx_resolver.of_relay_domain(
                route.domain, self._ourselves(configuration), resolvers.preferred, resolvers.alternate
            )
            return with_one_plan(targets, OPPORTUNISTIC, Loop.BY_TRACE)
        targets = await self._mx_resolver.of_domain(route.domain, self._ourselves(configuration))
        return await self._security.applied(route.domain, targets, configuration.tls_level(route.domain))

    async def of_relay_host(self, relay_host: RelayHost) -> TargetEndpoints:
        targets = await self._named(relay_host.host, relay_host.port, relay_host.fallback_hosts)
        endpoints = tuple(
            Endpoint(host.name, address, host.port, relay_host_plan(relay_host), relay_host.auth, loop=Loop.DEFER)
            for host in targets.hosts
            for address in host.addresses
        )
        return TargetEndpoints(endpoints, targets.failure, targets.hosts, targets.lookups, all_wanted=True)

    async def _named(self, host: str, port: int, fallback_hosts: Sequence[FallbackHost]) -> Targets:
        """Returns the hosts of a list with their addresses, in their order, and a failure when none has an address."""
        if not fallback_hosts:
            return await self._mx_resolver.of_named_host(host, port)
        resolved = await asyncio.gather(
            self._mx_resolver.of_named_host(host, port),
            *(self._mx_resolver.of_named_host(other.host, other.port) for other in fallback_hosts),
        )
        hosts = tuple(
            replace(of_one, preference=number) for number, targets in enumerate(resolved) for of_one in targets.hosts
        )
        failure = None if any(targets.failure is None for targets in resolved) else resolved[0].failure
        return Targets(hosts, failure, tuple(lookup for targets in resolved for lookup in targets.lookups))

    async def _of_mailbox(self, mailbox: Mailbox, loop: Loop = Loop.IGNORE) -> TargetEndpoints:
        lmtp = mailbox.kind is MailboxKind.LMTP
        if lmtp and not mailbox.host and mailbox.path:
            endpoint = Endpoint("localhost", mailbox.path, 0, TlsPlan("none"), lmtp=True, loop=Loop.IGNORE)
            return TargetEndpoints((endpoint,), hosts=(Host(0, "localhost", 0, (mailbox.path,)),))
        port = mailbox.port or (_LMTP_PORT if lmtp else _SMTP_PORT)
        targets = await self._named(mailbox.host, port, mailbox.fallback_hosts)
        return replace(with_one_plan(targets, plan_of(mailbox.tls), loop, lmtp=lmtp), all_wanted=True)

    def _ourselves(self, configuration: Configuration) -> OwnIdentity:
        options = self._options
        return OwnIdentity(
            frozenset((configuration.hostname.lower(),)),
            options.own_addresses,
            options.prohibited,
            options.prohibited_literals,
        )


def relay_host_plan(relay_host: RelayHost) -> TlsPlan:
    """Returns the TLS plan. Without `always_tls`, TLS is used when the server offers it. The port for implicit TLS
    never uses plaintext.
    """
    required = relay_host.always_tls or relay_host.implicit_tls
    return TlsPlan(
        "required" if required else "opportunistic",
        implicit=relay_host.implicit_tls,
        verify=relay_host.verify_certificate,
    )
