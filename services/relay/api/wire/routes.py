"""Converts explanations of routes, and tests of relay hosts, to messages of relay.v1."""

from __future__ import annotations

from collections.abc import Iterable

from posthouse.relay.v1 import relay_pb2 as pb

from services.relay.configuration.model import RelayHost, RelayHostAuth
from services.relay.delivery.relay_host_check import Step
from services.relay.delivery.targets.explain import RouteExplanation
from services.relay.routing.aliases import Expanded


def resolved(of: RouteExplanation, expanded: Expanded) -> pb.ResolvedRoute:
    """Returns the route of one recipient. The first of the rules says which alias led to the recipient, if any."""
    rules = [_alias(expanded)]
    rules += [
        pb.RouteRuleReport(kind=rule.kind, rule_id=rule.rule_id, name=rule.name, won=rule.won, reason=rule.reason)
        for rule in of.rules
    ]
    return pb.ResolvedRoute(
        recipient=of.recipient,
        kind="direct" if of.kind == "relay_domain" else of.kind,
        destination=of.destination,
        rules=rules,
        hosts=[
            pb.RouteHost(
                preference=host.preference,
                host=host.name,
                port=host.port,
                addresses=host.addresses,
                left_out=host.left_out,
            )
            for host in of.hosts
        ],
        lookups=[
            pb.RouteLookup(
                query=f"{lookup.name} {lookup.kind}",
                outcome=lookup.outcome.value,
                answers=lookup.answers,
                name_server=", ".join(lookup.servers),
                took_us=int(lookup.took_seconds * 1_000_000),
            )
            for lookup in of.lookups
        ],
        tls_policy=of.tls_policy,
        verify_certificate=of.verify_certificate,
        auth_username=of.auth_username,
        code=of.code,
        enhanced_code=of.enhanced_code,
        reason=of.reason,
    )


def unroutable(expanded: Expanded) -> pb.ResolvedRoute:
    """Returns the explanation for a recipient whose aliases lead to no address, or cannot be expanded."""
    enhanced_code, text = expanded.fault or ("5.4.6", "")
    return pb.ResolvedRoute(
        recipient=expanded.submitted,
        kind="failed",
        destination="fail",
        rules=[_alias(expanded)],
        code=550,
        enhanced_code=enhanced_code,
        reason=text,
    )


def response(routes: Iterable[pb.ResolvedRoute], revision: int) -> pb.ResolveRouteResponse:
    return pb.ResolveRouteResponse(routes=routes, snapshot_revision=revision)


def relay_host(of: pb.RelayHostToTest) -> RelayHost:
    """Returns the relay host with the values that a test request gives."""
    auth = None
    if of.auth_username:
        auth = RelayHostAuth(of.auth_username, of.auth_password, of.auth_allow_without_tls)
    return RelayHost(of.host.strip("[]"), of.port or 25, of.always_tls, of.implicit_tls, of.verify_certificate, auth)


def step(of: Step) -> pb.TestRelayHostStep:
    return pb.TestRelayHostStep(
        step=of.name, ok=of.ok, detail=of.detail, took_us=int(of.seconds * 1_000_000), last=of.last
    )


def _alias(of: Expanded) -> pb.RouteRuleReport:
    if not of.replaced:
        return pb.RouteRuleReport(kind="alias", reason="the recipient is not an alias")
    shown = ", ".join(target.decode("utf-8", "replace") for target in of.targets[:20])
    return pb.RouteRuleReport(
        kind="alias", rule_id=of.by, won=True, reason=f"stands for {shown}" if shown else "stands for no address"
    )
