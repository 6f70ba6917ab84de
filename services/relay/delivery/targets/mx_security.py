"""The TLS that each MX host of a domain needs: by DANE, otherwise by MTA-STS, otherwise what the host offers."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace

from services.relay.configuration.model import TlsLevel
from services.relay.delivery.targets.dane import NO_DANE, Dane, of_host
from services.relay.delivery.targets.dns import Lookup, Resolver
from services.relay.delivery.targets.endpoint import Endpoint, Loop
from services.relay.delivery.targets.mta_sts import MtaStsPolicies, PolicyLookup
from services.relay.delivery.targets.mx import Host, Targets, no_answer, parse_literal
from services.relay.delivery.targets.tls import NO_TLS, OPPORTUNISTIC, TlsPlan
from services.relay.model.outcome import ReplyMeaning, deferred

_MTA_STS = TlsPlan("mta-sts", verify=True)
_NO_DANE_ANSWER = "no answer to a look-up that DANE needs"
_NOT_IN_POLICY = "is not named by the MTA-STS policy"


@dataclass(frozen=True, slots=True)
class TargetEndpoints:
    """Endpoints in the order in which they are tried, or `failure` when there is none. `hosts` and `lookups`
    are for reports.
    """

    endpoints: tuple[Endpoint, ...] = ()
    failure: ReplyMeaning | None = None
    hosts: tuple[Host, ...] = ()
    lookups: tuple[Lookup, ...] = ()
    # Whether the operator named the hosts. Then no host is left out, however many there are.
    all_wanted: bool = False


def with_one_plan(targets: Targets, plan: TlsPlan, loop: Loop, *, lmtp: bool = False) -> TargetEndpoints:
    """Returns endpoints that all have the same plan. An address that several hosts have is tried only once."""
    endpoints: dict[tuple[str, int], Endpoint] = {}
    for host in targets.hosts:
        if host.left_out:
            continue
        for address in host.addresses:
            endpoint = Endpoint(host.name, address, host.port, plan, lmtp=lmtp, loop=loop)
            endpoints.setdefault((address, host.port), endpoint)
    return TargetEndpoints(tuple(endpoints.values()), targets.failure, targets.hosts, targets.lookups)


class MxSecurity:
    """Finds secure targets. There is one in each process.

    `policies` is None when MTA-STS is off. `dane` means that the name servers validate, and that their answers are
    trusted.
    """

    def __init__(self, resolver: Resolver, policies: MtaStsPolicies | None, *, dane: bool) -> None:
        self._resolver = resolver
        self._policies = policies
        self._dane = dane

    async def applied(self, domain: str, targets: Targets, level: TlsLevel = TlsLevel.MAY) -> TargetEndpoints:
        """Returns the hosts of the domain, each with the TLS that it needs. Hosts that must not be used are left out.

        `level` is the level that the operator demands in addition to DANE and MTA-STS. NONE turns both off.
        """
        least = plan_of(level)
        if targets.failure is not None or parse_literal(domain) is not None or level is TlsLevel.NONE:
            return with_one_plan(targets, least, Loop.BOUNCE)
        usable = [host for host in targets.hosts if not host.left_out]
        if self._policies is None and not (self._dane and any(host.authenticated for host in usable)):
            return with_one_plan(targets, least, Loop.BOUNCE)
        policy_lookup, records = await asyncio.gather(
            self._policy(domain), asyncio.gather(*(self._records(host) for host in usable))
        )
        lookups = [*targets.lookups, *((policy_lookup.lookup,) if policy_lookup is not None else ())]
        endpoints: list[Endpoint] = []
        left: list[Host] = []
        secure_hosts: list[Host] = []
        silent: Lookup | None = None
        for host, dane in zip(usable, records, strict=True):
            lookups += dane.lookups
            plan = _plan(host, domain, dane, policy_lookup, least)
            if plan is None:
                silent = dane.unanswered or silent
                left.append(replace(host, left_out=_NO_DANE_ANSWER if dane.unanswered else _NOT_IN_POLICY))
                continue
            secure_hosts.append(host)
            endpoints += [Endpoint(host.name, address, host.port, plan) for address in _addresses(host, dane)]
        others = [host for host in targets.hosts if host.left_out]
        hosts = (*secure_hosts, *left, *others)
        return TargetEndpoints(tuple(endpoints), None if endpoints else _nothing(domain, silent), hosts, tuple(lookups))

    async def _policy(self, domain: str) -> PolicyLookup | None:
        return await self._policies.of(domain) if self._policies is not None else None

    async def _records(self, host: Host) -> Dane:
        return await of_host(self._resolver, host) if self._dane else NO_DANE


def _addresses(host: Host, dane: Dane) -> tuple[str, ...]:
    """Returns the addresses that may be used. When the host has TLSA records, only addresses that DNSSEC authenticates
    are used, and never a forged one (F01).

    An alias that leads into an unsigned zone has no such addresses. Then the records of the alias apply to all its
    addresses (RFC 7672 2.1.3).
    """
    if not dane.present or not host.secure_addresses:
        return host.addresses
    return tuple(address for address in host.addresses if address in host.secure_addresses)


def plan_of(level: TlsLevel) -> TlsPlan:
    """Returns the TLS plan for a level that an operator has set."""
    if level is TlsLevel.NONE:
        return NO_TLS
    if level is TlsLevel.MAY:
        return OPPORTUNISTIC
    return TlsPlan("required", verify=level is TlsLevel.VERIFY)


def _plan(host: Host, domain: str, dane: Dane, policy_lookup: PolicyLookup | None, least: TlsPlan) -> TlsPlan | None:
    """Returns the plan, or None when the host must not be used. DANE comes before MTA-STS (RFC 8461 2). `least` is the
    plan when neither of the two demands anything.
    """
    if dane.unanswered is not None:
        return None
    if dane.present:
        if least.verify and not dane.records:
            # Records that cannot be used demand TLS only, and the operator demands a valid certificate.
            return least
        return TlsPlan("dane", tlsa=dane.records, tlsa_names=(dane.base_domain, domain), server_name=dane.base_domain)
    policy = policy_lookup.policy if policy_lookup is not None else None
    if policy is None or policy.mode != "enforce":
        # A policy in the mode testing blocks no mail (C129).
        return least
    return _MTA_STS if policy.allows(host.name) else None


def _nothing(domain: str, silent: Lookup | None) -> ReplyMeaning:
    if silent is not None:
        return no_answer(silent)
    return deferred(451, "4.7.5", f"no mail server of {domain} is one that its MTA-STS policy names")
