"""Which way a recipient's mail goes: the order of rules, as a pure function of the configuration.

Aliases are expanded before. The order is: recipient rule, local domain, relay domain, sender rule, mode; so sender
rules and the single relay host never take mail for domains of ours. There is no falling back: mail meant for a relay
host never goes by MX instead.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote

from services.relay.configuration.model import (
    Configuration,
    LocalDomain,
    Mailbox,
    Quarantine,
    RelayHost,
    RelayRule,
    RuleType,
    TargetType,
    key_of,
)
from services.relay.model.attempt import Route, RouteKind
from services.relay.model.redirect import address_of
from services.relay.model.states import HELD_BY_ROUTE, QUARANTINE
from services.relay.routing.existing import base_of, has_mailbox

# Never judged by existence at ingress (SETTINGS, ground rules), so they can name no account here.
_ROLES = (b"postmaster", b"mailer-daemon")
_REMEMBERED_ROUTES = 10_000


@dataclass(frozen=True, slots=True)
class RuleReport:
    """One rule that was looked at, and why it won or lost."""

    # alias, recipient_rule, local_domain, relay_domain, sender_rule, mode
    kind: str
    rule_id: str
    name: str
    won: bool
    reason: str


def resolve(configuration: Configuration, sender: bytes, recipient: bytes, *, quarantine: bool) -> Route:
    """The route of one recipient. Addresses are canonical; an empty sender is `<>`.

    The same question about the same configuration (at intake and again at the attempt, to the same people every day)
    has the very same answer.
    """
    routes: dict[tuple[bytes, bytes, bool], Route] = configuration.known_routes
    question = (sender, recipient, quarantine)
    route = routes.get(question)
    if route is None:
        if len(routes) >= _REMEMBERED_ROUTES:
            routes.clear()
        route = routes[question] = _resolve(configuration, sender, recipient, quarantine)
    return route


def resolve_redirected(
    configuration: Configuration, sender: bytes, recipient: bytes, next_hop: Mailbox | None, *, quarantine: bool
) -> Route:
    """The route of a recipient, where an operator may have named the next hop; quarantined mail stays where it is."""
    route = resolve(configuration, sender, recipient, quarantine=quarantine)
    if next_hop is None or route.destination == QUARANTINE:
        return route
    domain = _split(key_of(recipient))[1]
    return Route(RouteKind.RELAY_DOMAIN, f"relay:{address_of(next_hop)}", domain=domain, next_hop=next_hop)


def _resolve(configuration: Configuration, sender: bytes, recipient: bytes, quarantine: bool) -> Route:
    if quarantine and configuration.quarantine is Quarantine.HOLD:
        return Route(RouteKind.HOLD, QUARANTINE, reason="held in quarantine, until an operator releases it")
    address = key_of(recipient)
    local_part, domain = _split(address)
    if not domain:
        return _hold(f"{recipient.decode('ascii', 'backslashreplace')} has no domain and no external postmaster is set")
    base = base_of(configuration, address)
    rule = configuration.recipient_targets.match(address, base, domain)
    if rule is not None:
        return _by_relay_host(configuration, rule.relay_host, rule.id)
    local = configuration.local_domains.get(domain)
    if local is not None:
        return _into_mailbox(configuration, local, local_part, base, quarantine)
    relayed = configuration.relay_domains.get(domain)
    if relayed is not None:
        return Route(
            RouteKind.RELAY_DOMAIN, f"domain:{domain}", domain=domain, next_hop=relayed.next_hop, rule_id=relayed.id
        )
    if is_own_role(configuration, local_part, domain):
        # Sent on, it would come back (F20).
        return _hold(f"no account, alias or external postmaster takes mail for {address.decode('ascii')}")
    if sender:
        from_address = key_of(sender)
        from_base = base_of(configuration, from_address)
        rule = configuration.sender_targets.match(from_address, from_base, _split(from_address)[1])
        if rule is not None:
            return _by_relay_host(configuration, rule.relay_host, rule.id)
    if configuration.relay_host is not None:
        return _by_relay_host(configuration, configuration.relay_host, "")
    return Route(RouteKind.DIRECT, f"domain:{domain}", domain=domain)


def examine(
    configuration: Configuration, sender: bytes, recipient: bytes, *, quarantine: bool
) -> tuple[Route, tuple[RuleReport, ...]]:
    """The route that `resolve` gives, and a report of every rule in the order in which they are asked."""
    route = resolve(configuration, sender, recipient, quarantine=quarantine)
    address, from_address = key_of(recipient), key_of(sender)
    domain = _split(address)[1]
    reports: list[RuleReport] = []

    base, from_base = base_of(configuration, address), base_of(configuration, from_address)
    by_recipient = configuration.recipient_targets.match(address, base, domain) if domain else None
    reports += _rule_reports(configuration.relay_rules, RuleType.RECIPIENT, by_recipient, (address, base), domain, "")
    taken = f"the recipient rule {by_recipient.name} comes first" if by_recipient else ""

    local = configuration.local_domains.get(domain)
    reports.append(_domain_report("local_domain", local.id if local else "", domain, local is not None, taken))
    taken = taken or (f"{domain} is a local domain" if local else "")

    relayed = configuration.relay_domains.get(domain)
    reports.append(_domain_report("relay_domain", relayed.id if relayed else "", domain, relayed is not None, taken))
    taken = taken or (f"{domain} is a relay domain" if relayed else "")

    if is_own_role(configuration, _split(address)[0], domain):
        taken = taken or f"{domain} is this gateway's own name"

    from_domain = _split(from_address)[1]
    by_sender = configuration.sender_targets.match(from_address, from_base, from_domain) if sender else None
    reports += _rule_reports(
        configuration.relay_rules, RuleType.SENDER, by_sender, (from_address, from_base), from_domain, taken
    )
    taken = taken or (f"the sender rule {by_sender.name} comes first" if by_sender else "")
    taken = taken or ("" if domain else "the recipient has no domain")

    mode = "direct: the domain's MX hosts" if configuration.relay_host is None else "the single relay host"
    reports.append(RuleReport("mode", "", mode.partition(":")[0], not taken, taken or f"no rule took it: {mode}"))
    return route, tuple(reports)


def is_own_role(configuration: Configuration, local_part: bytes, domain: str) -> bool:
    """Whether this is a role at the gateway's own hostname, which is ours though the hostname is no domain of ours."""
    return local_part in _ROLES and domain == configuration.hostname and domain not in configuration.relay_domains


def _split(address: bytes) -> tuple[bytes, str]:
    local_part, at, domain = address.rpartition(b"@")
    return (local_part, domain.decode("ascii", "backslashreplace")) if at else (address, "")


def relay_hosts(configuration: Configuration) -> dict[str, RelayHost]:
    """Every relay host by its destination; of several with one destination the first, the single one before rules."""
    hosts = [configuration.relay_host] if configuration.relay_host is not None else []
    hosts += [rule.relay_host for rule in configuration.relay_rules]
    by_destination: dict[str, RelayHost] = {}
    for host in hosts:
        by_destination.setdefault(_destination(configuration, host), host)
    return by_destination


def _by_relay_host(configuration: Configuration, host: RelayHost, rule_id: str) -> Route:
    return Route(RouteKind.RELAY_HOST, _destination(configuration, host), relay_host=host, rule_id=rule_id)


def _destination(configuration: Configuration, host: RelayHost) -> str:
    destination = f"relay:{host.host}:{host.port}"
    if host.login and (host.host, host.port) in configuration.shared_relay_hosts:
        # A wrong password holds the mail of its own login, not of the others at that host.
        destination = f"{destination}:{quote(host.login, safe='@+')}"
    return destination


def _into_mailbox(
    configuration: Configuration, local: LocalDomain, local_part: bytes, address: bytes, quarantine: bool
) -> Route:
    exists = has_mailbox(configuration, local, address)
    if local_part in _ROLES and not exists:
        return _hold(f"no account, alias or external postmaster takes mail for {address.decode('ascii')}", local.id)
    mailbox = local.mailbox
    if quarantine and configuration.quarantine is Quarantine.MAILBOX and local.quarantine_mailbox is not None:
        mailbox = local.quarantine_mailbox
    if mailbox is None:
        return _hold(f"the local domain {local.domain} has no mailbox", local.id)
    if not exists:
        # An alias may lead here, or the account was removed since: a mailbox of nobody would take the mail (F18).
        reason = f"nobody has the address {address.decode('utf-8', 'replace')}"
        return Route(RouteKind.FAIL, "fail", rule_id=local.id, code=550, enhanced_code="5.1.1", reason=reason)
    return Route(RouteKind.MAILBOX, f"mailbox:{local.domain}", domain=local.domain, mailbox=mailbox, rule_id=local.id)


def _hold(reason: str, rule_id: str = "") -> Route:
    return Route(RouteKind.HOLD, HELD_BY_ROUTE, rule_id=rule_id, reason=reason)


def _domain_report(kind: str, rule_id: str, domain: str, listed: bool, taken: str) -> RuleReport:
    what = kind.replace("_", " ")
    if not listed:
        return RuleReport(kind, "", "", False, f"{domain or 'nothing'} is no {what}")
    return RuleReport(kind, rule_id, domain, not taken, taken or f"{domain} is a {what}")


def _rule_reports(
    rules: Sequence[RelayRule],
    type_: RuleType,
    winner: RelayRule | None,
    addresses: tuple[bytes, bytes],
    domain: str,
    taken: str,
) -> list[RuleReport]:
    """Every relay rule of one type. `taken` says why none of them may win; empty when one may.

    `addresses`: the address, and the one of which it is a tagged form.
    """
    reports = []
    address = addresses[0]
    for rule in rules:
        if rule.type is not type_:
            continue
        target = _matching_target(rule, addresses, domain)
        if not target:
            whose = (
                "the null sender" if type_ is RuleType.SENDER and not address else address.decode("ascii", "replace")
            )
            won, reason = False, f"no target is {whose} or its domain"
        elif taken:
            won, reason = False, f"{target} matches, but {taken}"
        elif rule is winner:
            won, reason = True, f"{target} matches"
        else:
            won, reason = False, f"{target} matches, but {winner.name if winner else 'another rule'} comes first"
        reports.append(RuleReport(f"{type_.value}_rule", rule.id, rule.name, won, reason))
    return reports


def _matching_target(rule: RelayRule, addresses: tuple[bytes, bytes], domain: str) -> str:
    for target in rule.targets:
        if rule.target_type is TargetType.ADDRESS:
            if target.encode() in addresses:
                return target
        elif domain and (target == domain or (target.startswith(".") and domain.endswith(target))):
            return target
    return ""
