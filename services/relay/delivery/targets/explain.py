"""Explains the route of mail: each rule with its reason, the hosts in their order, and the result of each look-up."""

from __future__ import annotations

from dataclasses import dataclass

from services.relay.configuration.model import Configuration, MailboxKind
from services.relay.delivery.targets.dns import Lookup
from services.relay.delivery.targets.finder import TargetFinder
from services.relay.delivery.targets.mx import Host
from services.relay.delivery.targets.mx_security import TargetEndpoints
from services.relay.delivery.targets.tls import TlsPlan
from services.relay.model.attempt import Route, RouteKind
from services.relay.routing.rules import RuleReport, examine

_KINDS = {RouteKind.HOLD: "held", RouteKind.FAIL: "failed"}


@dataclass(frozen=True, slots=True)
class RouteExplanation:
    """The route of one recipient, computed by the code that delivers."""

    recipient: bytes
    # One of direct, relay_domain, relay_host, mailbox, held, failed.
    kind: str
    destination: str
    rules: tuple[RuleReport, ...]
    # First the hosts that are tried, in their order, and then the other hosts with the reason for each.
    hosts: tuple[Host, ...] = ()
    lookups: tuple[Lookup, ...] = ()
    # One of none, opportunistic, required, implicit, mta-sts, dane.
    tls_policy: str = "none"
    verify_certificate: bool = False
    auth_username: str = ""
    # The reason why no host would be tried. It is empty when hosts would be tried.
    code: int = 0
    enhanced_code: str = ""
    reason: str = ""


class RouteExplainer:
    """Explains routes. There is one in each process, for as long as the process lives."""

    def __init__(self, finder: TargetFinder) -> None:
        self._finder = finder

    async def explain(self, configuration: Configuration, sender: bytes, recipient: bytes) -> RouteExplanation:
        """Explains the route for `recipient`, which is an address after the expansion of aliases."""
        route, rules = examine(configuration, sender, recipient, quarantine=False)
        target_endpoints = TargetEndpoints()
        if route.kind not in (RouteKind.HOLD, RouteKind.FAIL) and not _is_directory(route):
            target_endpoints = await self._finder.find(configuration, route)
        auth = route.relay_host.auth if route.relay_host is not None else None
        plan = target_endpoints.endpoints[0].tls if target_endpoints.endpoints else TlsPlan("none")
        failure = target_endpoints.failure
        return RouteExplanation(
            recipient=recipient,
            kind=_KINDS.get(route.kind, route.kind.value),
            destination=route.destination,
            rules=rules,
            hosts=target_endpoints.hosts,
            lookups=target_endpoints.lookups,
            tls_policy="implicit" if plan.implicit else plan.policy,
            verify_certificate=plan.verify,
            auth_username=auth.username if auth is not None else "",
            code=failure.code if failure is not None else route.code,
            enhanced_code=failure.enhanced_code if failure is not None else route.enhanced_code,
            reason=failure.text if failure is not None else route.reason,
        )


def _is_directory(route: Route) -> bool:
    return route.mailbox is not None and route.mailbox.kind is MailboxKind.MAILDIR
