"""The route of a recipient's mail by the order of rules, as a pure function of the configuration.

Aliases are expanded before. The rules are applied in the order of `_STEPS`. Sender rules and the single relay host come
after the domains, so they never apply to mail for our own domains. There is no fallback: mail for a relay host is never
sent to MX hosts instead.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
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

# Ingress never checks whether these addresses exist (SETTINGS, ground rules), so their mail may arrive here although no
# account accepts it.
_ROLES = (b"postmaster", b"mailer-daemon")
_REMEMBERED_ROUTES = 10_000


@dataclass(frozen=True, slots=True)
class RuleReport:
    """One rule that was checked, and why it decided or did not."""

    # One of alias, recipient_rule, local_domain, relay_domain, sender_rule, mode.
    kind: str
    rule_id: str
    name: str
    won: bool
    reason: str


@dataclass(frozen=True, slots=True)
class _Mail:
    """The facts about one recipient's mail that the rules read. The empty sender is `<>`."""

    configuration: Configuration
    sender: bytes
    recipient: bytes
    quarantine: bool
    # The recipient in the form that rules compare, its parts, and its untagged form.
    address: bytes
    local_part: bytes
    domain: str
    base: bytes


@dataclass(frozen=True, slots=True)
class _Step:
    """One rule, or the rules of one kind, as functions.

    `route` returns the route, or None when the rule does not apply. `reports` returns what Explain shows. Its second
    argument says why an earlier step has decided, and is empty when none has. `reason` says why later steps do not
    decide after this one.
    """

    route: Callable[[_Mail], Route | None]
    reports: Callable[[_Mail, str], Iterable[RuleReport]]
    reason: Callable[[_Mail], str]


def resolve(configuration: Configuration, sender: bytes, recipient: bytes, *, quarantine: bool) -> Route:
    """Returns the route of one recipient. Addresses are canonical, and an empty sender is `<>`.

    The result is cached in the configuration, because the same route is needed at intake, at each attempt, and for
    later mail.
    """
    routes: dict[tuple[bytes, bytes, bool], Route] = configuration.known_routes
    question = (sender, recipient, quarantine)
    route = routes.get(question)
    if route is None:
        if len(routes) >= _REMEMBERED_ROUTES:
            routes.clear()
        mail = _mail(configuration, sender, recipient, quarantine)
        route = routes[question] = next(route for step in _STEPS if (route := step.route(mail)) is not None)
    return route


def resolve_redirected(
    configuration: Configuration, sender: bytes, recipient: bytes, next_hop: Mailbox | None, *, quarantine: bool
) -> Route:
    """Returns the route of a recipient. An operator may have set the next hop. Quarantined mail stays in quarantine."""
    route = resolve(configuration, sender, recipient, quarantine=quarantine)
    if next_hop is None or route.destination == QUARANTINE:
        return route
    domain = _split(key_of(recipient))[1]
    return Route(RouteKind.RELAY_DOMAIN, f"relay:{address_of(next_hop)}", domain=domain, next_hop=next_hop)


def examine(
    configuration: Configuration, sender: bytes, recipient: bytes, *, quarantine: bool
) -> tuple[Route, tuple[RuleReport, ...]]:
    """Returns the route that `resolve` gives, and a report of every rule, in the order in which they are applied."""
    mail = _mail(configuration, sender, recipient, quarantine)
    decided: Route | None = None
    taken = ""
    reports: list[RuleReport] = []
    for step in _STEPS:
        reports += step.reports(mail, taken)
        if decided is None and (route := step.route(mail)) is not None:
            decided, taken = route, step.reason(mail)
    assert decided is not None  # noqa: S101 - the last step always decides
    return decided, tuple(reports)


def _mail(configuration: Configuration, sender: bytes, recipient: bytes, quarantine: bool) -> _Mail:
    address = key_of(recipient)
    local_part, domain = _split(address)
    base = base_of(configuration, address)
    return _Mail(configuration, sender, recipient, quarantine, address, local_part, domain, base)


# Quarantine


def _held_in_quarantine(mail: _Mail) -> Route | None:
    if mail.quarantine and mail.configuration.quarantine is Quarantine.HOLD:
        return Route(RouteKind.HOLD, QUARANTINE, reason="held in quarantine until an operator releases it")
    return None


# A recipient without a domain


def _without_domain(mail: _Mail) -> Route | None:
    if mail.domain:
        return None
    recipient = mail.recipient.decode("ascii", "backslashreplace")
    return _hold(f"{recipient} has no domain and no external postmaster is configured")


# Rules of recipients


def _recipient_rule(mail: _Mail) -> RelayRule | None:
    return mail.configuration.recipient_targets.match(mail.address, mail.base, mail.domain) if mail.domain else None


def _by_recipient_rule(mail: _Mail) -> Route | None:
    rule = _recipient_rule(mail)
    return None if rule is None else _by_relay_host(mail.configuration, rule.relay_host, rule.id)


def _reports_of_recipient_rules(mail: _Mail, taken: str) -> Iterable[RuleReport]:
    rules, addresses = mail.configuration.relay_rules, (mail.address, mail.base)
    return _rule_reports(rules, RuleType.RECIPIENT, _recipient_rule(mail), addresses, mail.domain, taken)


# Local domains


def _by_local_domain(mail: _Mail) -> Route | None:
    local = mail.configuration.local_domains.get(mail.domain)
    if local is None:
        return None
    return _into_mailbox(mail.configuration, local, mail.local_part, mail.base, mail.quarantine)


def _report_of_local_domain(mail: _Mail, taken: str) -> Iterable[RuleReport]:
    local = mail.configuration.local_domains.get(mail.domain)
    yield _domain_report("local_domain", local.id if local else "", mail.domain, local is not None, taken)


# Relay domains


def _by_relay_domain(mail: _Mail) -> Route | None:
    relayed = mail.configuration.relay_domains.get(mail.domain)
    if relayed is None:
        return None
    destination = f"domain:{mail.domain}"
    return Route(RouteKind.RELAY_DOMAIN, destination, domain=mail.domain, next_hop=relayed.next_hop, rule_id=relayed.id)


def _report_of_relay_domain(mail: _Mail, taken: str) -> Iterable[RuleReport]:
    relayed = mail.configuration.relay_domains.get(mail.domain)
    yield _domain_report("relay_domain", relayed.id if relayed else "", mail.domain, relayed is not None, taken)


# Roles at the gateway's own name


def _own_role(mail: _Mail) -> Route | None:
    if not is_own_role(mail.configuration, mail.local_part, mail.domain):
        return None
    # If it were sent on, it would come back (F20).
    return _hold(f"no account, alias or external postmaster accepts mail for {mail.address.decode('ascii')}")


# Rules of senders


def _sender_rule(mail: _Mail) -> RelayRule | None:
    if not mail.sender:
        return None
    address = key_of(mail.sender)
    base = base_of(mail.configuration, address)
    return mail.configuration.sender_targets.match(address, base, _split(address)[1])


def _by_sender_rule(mail: _Mail) -> Route | None:
    rule = _sender_rule(mail)
    return None if rule is None else _by_relay_host(mail.configuration, rule.relay_host, rule.id)


def _reports_of_sender_rules(mail: _Mail, taken: str) -> Iterable[RuleReport]:
    address = key_of(mail.sender)
    addresses = address, base_of(mail.configuration, address)
    rules, domain = mail.configuration.relay_rules, _split(address)[1]
    return _rule_reports(rules, RuleType.SENDER, _sender_rule(mail), addresses, domain, taken)


# The mode: the single relay host, or MX


def _by_mode(mail: _Mail) -> Route:
    if mail.configuration.relay_host is not None:
        return _by_relay_host(mail.configuration, mail.configuration.relay_host, "")
    return Route(RouteKind.DIRECT, f"domain:{mail.domain}", domain=mail.domain)


def _report_of_mode(mail: _Mail, taken: str) -> Iterable[RuleReport]:
    is_direct = mail.configuration.relay_host is None
    text = "direct: the domain's MX hosts" if is_direct else "the single relay host"
    yield RuleReport("mode", "", text.partition(":")[0], not taken, taken or f"no rule decided: {text}")


def _nothing(_mail: _Mail, _taken: str) -> Iterable[RuleReport]:
    return ()


# The order in which all rules are applied, for routing and for Explain. The last step always decides.
_STEPS: tuple[_Step, ...] = (
    _Step(_held_in_quarantine, _nothing, lambda _: "it is held in quarantine"),
    _Step(_without_domain, _nothing, lambda _: "the recipient has no domain"),
    _Step(
        _by_recipient_rule,
        _reports_of_recipient_rules,
        lambda mail: f"the recipient rule {_name(_recipient_rule(mail))} comes first",
    ),
    _Step(_by_local_domain, _report_of_local_domain, lambda mail: f"{mail.domain} is a local domain"),
    _Step(_by_relay_domain, _report_of_relay_domain, lambda mail: f"{mail.domain} is a relay domain"),
    _Step(_own_role, _nothing, lambda mail: f"{mail.domain} is this gateway's own name"),
    _Step(
        _by_sender_rule,
        _reports_of_sender_rules,
        lambda mail: f"the sender rule {_name(_sender_rule(mail))} comes first",
    ),
    _Step(_by_mode, _report_of_mode, lambda _: ""),
)


def _name(rule: RelayRule | None) -> str:
    return rule.name if rule is not None else "another rule"


def is_own_role(configuration: Configuration, local_part: bytes, domain: str) -> bool:
    """Returns whether the recipient is a role at the gateway's own hostname. This address is ours although the hostname
    is not a local domain.
    """
    return local_part in _ROLES and domain == configuration.hostname and domain not in configuration.relay_domains


def _split(address: bytes) -> tuple[bytes, str]:
    local_part, at, domain = address.rpartition(b"@")
    return (local_part, domain.decode("ascii", "backslashreplace")) if at else (address, "")


def relay_hosts(configuration: Configuration) -> dict[str, RelayHost]:
    """Returns every relay host by its destination. Of several hosts with the same destination the first is used, and
    the single relay host comes before those of rules.
    """
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
        # A wrong password must hold only the mail for its own login, not the mail for other logins at the same host.
        destination = f"{destination}:{quote(host.login, safe='@+')}"
    return destination


def _into_mailbox(
    configuration: Configuration, local: LocalDomain, local_part: bytes, address: bytes, quarantine: bool
) -> Route:
    exists = has_mailbox(configuration, local, address)
    if local_part in _ROLES and not exists:
        return _hold(f"no account, alias or external postmaster accepts mail for {address.decode('ascii')}", local.id)
    mailbox = local.mailbox
    if quarantine and configuration.quarantine is Quarantine.MAILBOX and local.quarantine_mailbox is not None:
        mailbox = local.quarantine_mailbox
    if mailbox is None:
        return _hold(f"the local domain {local.domain} has no mailbox", local.id)
    if not exists:
        # An alias may lead to this address, or its account may have been removed. The mail must not go to a mailbox
        # that belongs to nobody (F18).
        reason = f"no account has the address {address.decode('utf-8', 'replace')}"
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
    """Reports on every relay rule of one type. `taken` says why none of them may decide, and is empty when one of them
    may decide.

    `addresses` has the address and its untagged form.
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
            won, reason = False, f"{target} matches, but {_name(winner)} comes first"
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
