"""What TLS each MX host of a domain must have: DANE, else MTA-STS, else whatever it offers."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from libs.smtp.value import value
from services.relay.delivery.targets.dane import Dane, of_host
from services.relay.delivery.targets.dns import Finding, Lookup, Resolver
from services.relay.delivery.targets.endpoint import Endpoint, Loop
from services.relay.delivery.targets.mta_sts import MtaStsPolicies, Sought
from services.relay.delivery.targets.mx import Host, Targets, parse_literal
from services.relay.delivery.targets.tls import OPPORTUNISTIC, TlsPlan
from services.relay.model.outcome import Verdict, deferred

_MTA_STS = TlsPlan("mta-sts", verify=True)


@value(frozen=True, slots=True)
class Found:
    """Endpoints in the order in which they are tried; `failure` when there is none. The rest is for reports."""

    endpoints: tuple[Endpoint, ...] = ()
    failure: Verdict | None = None
    hosts: tuple[Host, ...] = ()
    lookups: tuple[Lookup, ...] = ()


def found(targets: Targets, plan: TlsPlan, loop: Loop, *, lmtp: bool = False) -> Found:
    """Targets that all have the same plan."""
    endpoints = tuple(
        Endpoint(host.name, address, host.port, plan, lmtp=lmtp, loop=loop)
        for host in targets.hosts
        if not host.left_out
        for address in host.addresses
    )
    return Found(endpoints, targets.failure, targets.hosts, targets.lookups)


class MxSecurity:
    """For the life of the process. `policies` None: no MTA-STS. `dane`: the name servers validate, and are trusted."""

    def __init__(self, resolver: Resolver, policies: MtaStsPolicies | None, *, dane: bool) -> None:
        self._resolver = resolver
        self._policies = policies
        self._dane = dane

    async def applied(self, domain: str, targets: Targets) -> Found:
        """The domain's hosts with what each must have; those left out that may not be used."""
        if targets.failure is not None or parse_literal(domain) is not None:
            return found(targets, OPPORTUNISTIC, Loop.BOUNCE)
        usable = [host for host in targets.hosts if not host.left_out]
        if self._policies is None and not (self._dane and any(host.authenticated for host in usable)):
            return found(targets, OPPORTUNISTIC, Loop.BOUNCE)
        sought, records = await asyncio.gather(
            self._policy(domain), asyncio.gather(*(self._records(host) for host in usable))
        )
        lookups = [*targets.lookups, *((sought.lookup,) if sought is not None else ())]
        endpoints: list[Endpoint] = []
        left: list[Host] = []
        kept: list[Host] = []
        silent: Lookup | None = None
        for host, dane in zip(usable, records, strict=True):
            if dane is not None:
                lookups.append(dane.lookup)
            plan = _plan(host, domain, dane, sought)
            if plan is None:
                unanswered = dane is not None and dane.lookup.finding is Finding.NO_ANSWER
                silent = dane.lookup if dane is not None and unanswered else silent
                reason = "no answer to its TLSA look-up" if unanswered else "is not named by the MTA-STS policy"
                left.append(replace(host, left_out=reason))
                continue
            kept.append(host)
            endpoints += [Endpoint(host.name, address, host.port, plan) for address in host.addresses]
        others = [host for host in targets.hosts if host.left_out]
        hosts = (*kept, *left, *others)
        return Found(tuple(endpoints), None if endpoints else _nothing(domain, silent), hosts, tuple(lookups))

    async def _policy(self, domain: str) -> Sought | None:
        return await self._policies.of(domain) if self._policies is not None else None

    async def _records(self, host: Host) -> Dane | None:
        if not self._dane or not host.authenticated:
            return None
        return await of_host(self._resolver, host.name, host.port)


def _plan(host: Host, domain: str, dane: Dane | None, sought: Sought | None) -> TlsPlan | None:
    """None: the host must not be used. DANE comes first (RFC 8461 2)."""
    if dane is not None and dane.lookup.finding is Finding.NO_ANSWER:
        return None
    if dane is not None and dane.present:
        return TlsPlan("dane", tlsa=dane.records, tlsa_names=(host.name, domain))
    policy = sought.policy if sought is not None else None
    if policy is None or policy.mode != "enforce":
        # A policy in testing blocks nothing (C129).
        return OPPORTUNISTIC
    return _MTA_STS if policy.allows(host.name) else None


def _nothing(domain: str, silent: Lookup | None) -> Verdict:
    if silent is not None:
        return deferred(451, "4.4.3", f"no answer from the name servers for {silent.name} TLSA: {silent.error}")
    return deferred(451, "4.7.5", f"no mail server of {domain} is one that its MTA-STS policy names")
