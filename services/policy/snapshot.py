"""Compiles the protobuf snapshot of config_api into the tables that rules use."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, timedelta, tzinfo
from ipaddress import IPv4Address
from typing import NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from posthouse.config.v1 import config_pb2

from libs.runtime.configuration_watch import PieceChange
from libs.smtp.address import parse_address
from libs.smtp.address_set import AddressSet
from libs.smtp.network import AddressPattern, parse_pattern
from services.policy.rules.access_tables import AccessTables
from services.policy.rules.address_facts import DISABLED, AddressFacts
from services.policy.rules.addresses import bare_facts
from services.policy.rules.authentication import login_key
from services.policy.rules.clients import ClientTable
from services.policy.rules.configuration import (
    AccessRule,
    Account,
    AdvancedSecurity,
    Antivirus,
    ConnectionPolicy,
    ContentChecks,
    Criterion,
    DnsblZone,
    ExistingRecipients,
    Mode,
    Profile,
    SenderPolicy,
    SmtpAuth,
    Spam,
)
from services.policy.rules.model import LocalDomain, Snapshot

_CRITERIA = {
    config_pb2.AccessRule.CRITERION_SENDER: Criterion.SENDER,
    config_pb2.AccessRule.CRITERION_RECIPIENT: Criterion.RECIPIENT,
    config_pb2.AccessRule.CRITERION_IP: Criterion.IP,
    config_pb2.AccessRule.CRITERION_NETWORK: Criterion.NETWORK,
    config_pb2.AccessRule.CRITERION_DOMAIN: Criterion.DOMAIN,
}
_DEFAULT_CODES = ("127.0.0.2-127.0.0.11",)
_DEFAULT_SCAN_SECONDS = 60
_DEFAULT_RSPAMD_SECONDS = 10
# The kinds of which there may be many objects, and which change while mail is taken.
_OFTEN_CHANGED = ("accounts/", "aliases/", "access-rules/", "recipients/")


class PolicySnapshotReader:
    """Makes snapshots from pieces. A change of one object costs little even when there are many of its kind.

    Tables are never changed once they are in a snapshot: a change makes copies of those that it touches.
    """

    def __init__(self) -> None:
        self._snapshot: Snapshot | None = None
        # The pieces of all other kinds, by key. There are few of these.
        self._others: dict[str, bytes] = {}
        self._others_message = config_pb2.PolicySnapshot()
        self._accounts = _Accounts()
        self._aliases: Mapping[str, tuple[AddressFacts, ...]] = {}
        self._rules: Mapping[str, _PlacedRule] = {}
        # The buckets of listed recipients, by number.
        self._buckets: Mapping[int, bytes] = {}

    def read(self, changes: Sequence[PieceChange], revision: int) -> Snapshot:
        """Returns the snapshot after these changes. Raises ValueError for values that config_api never accepts."""
        removed, added = _merged(change.before for change in changes), _merged(change.after for change in changes)
        others = {change.key: change.after for change in changes if not change.key.startswith(_OFTEN_CHANGED)}
        self._accounts = self._accounts.changed(removed, added)
        self._aliases = _changed_aliases(self._aliases, removed, added)
        self._rules = _changed_rules(self._rules, removed, added)
        self._buckets = _changed_buckets(self._buckets, removed, added)
        if others or self._snapshot is None:
            self._others.update(others)
            self._others_message = _merged(self._others[key] for key in sorted(self._others))
            self._others_message.revision = revision
            self._snapshot = _compiled(self._others_message, self._accounts, self._aliases, self._rules, self._buckets)
        elif changes:
            self._snapshot = replace(
                self._snapshot,
                revision=revision,
                accounts=self._accounts.by_login,
                logins=self._accounts.by_login_key,
                addressees=self._accounts.by_address,
                owners=self._accounts.owners,
                aliases=self._aliases,
                listed_recipients=_listed_recipients(self._others_message, self._buckets),
                known_addresses={},
            )
            if removed.access_rules or added.access_rules:
                access, on_addresses = _access(self._rules)
                clients = _clients(self._others_message, on_addresses)
                self._snapshot = replace(self._snapshot, access=access, clients=clients)
        else:
            self._snapshot = replace(self._snapshot, revision=revision)
        return self._snapshot


def _merged(pieces: Iterable[bytes]) -> config_pb2.PolicySnapshot:
    # Protobuf merges serialised messages that are concatenated, when it reads them.
    return config_pb2.PolicySnapshot.FromString(b"".join(pieces))


def compile_snapshot(message: config_pb2.PolicySnapshot) -> Snapshot:
    """Returns the tables of one snapshot. An absent field is off. It takes about a second for 100,000 access rules.
    Raises ValueError for values that config_api never accepts.
    """
    nothing = config_pb2.PolicySnapshot()
    return _compiled(
        message,
        _Accounts().changed(nothing, message),
        _changed_aliases({}, nothing, message),
        _changed_rules({}, nothing, message),
        _changed_buckets({}, nothing, message),
    )


def with_access_rule(snapshot: Snapshot, message: config_pb2.AccessRule) -> Snapshot:
    """Returns the snapshot with one more access rule, the newest. Raises ValueError for an invalid rule."""
    rule = _access_rule(message)
    if rule.mode is Mode.OFF:
        return snapshot
    key = _rule_key(rule.criterion, message.value)
    # The cached facts about addresses contain the rules that match them, so the caches start empty.
    if isinstance(key, AddressPattern):
        clients = snapshot.clients.with_rule(key, rule)
        return replace(snapshot, clients=clients, access=snapshot.access.with_rule(rule, ""), known_addresses={})
    return replace(snapshot, access=snapshot.access.with_rule(rule, key), known_addresses={})


def _compiled(
    message: config_pb2.PolicySnapshot,
    accounts: _Accounts,
    aliases: Mapping[str, tuple[AddressFacts, ...]],
    rules: Mapping[str, _PlacedRule],
    buckets: Mapping[int, bytes],
) -> Snapshot:
    """`message` is read for all kinds except accounts, aliases, access rules and buckets of listed recipients."""
    auth, profile = message.general.smtp_auth, message.general.profile
    access, on_addresses = _access(rules)
    connection, advanced = message.connection_policy, message.advanced_security
    return Snapshot(
        revision=message.revision,
        smtp_auth=SmtpAuth(
            enabled=auth.enabled,
            skip_for_local_networks=auth.skip_for_local_networks,
            sender_must_match_login=auth.sender_must_match_login,
            skip_sender_match_for_trusted_networks=auth.skip_sender_match_for_trusted_networks,
            forbid_plaintext_auth_without_tls=auth.forbid_plaintext_auth_without_tls,
        ),
        profile=Profile(
            hostname=profile.hostname,
            banner=profile.banner,
            max_recipients=profile.max_recipients,
            max_hops=profile.max_hops,
            max_message_size=profile.max_message_size,
            reject_message_over_recipient_limit=profile.reject_message_over_recipient_limit,
        ),
        sender_policy=SenderPolicy(
            _mode(message.sender_policy.reject_non_fqdn_sender),
            _mode(message.sender_policy.reject_unknown_sender_domain),
        ),
        connection_policy=ConnectionPolicy(
            reject_unknown_client_hostname=_mode(connection.reject_unknown_client_hostname),
            max_concurrent_connections=connection.max_concurrent_connections,
            max_messages_per_minute=connection.max_messages_per_minute,
            max_connections_per_minute=connection.max_connections_per_minute,
        ),
        advanced=AdvancedSecurity(
            reject_unauthorized_pipelining=_mode(advanced.reject_unauthorized_pipelining),
            reject_non_fqdn_helo=_mode(advanced.reject_non_fqdn_helo),
            reject_unknown_helo=_mode(advanced.reject_unknown_helo),
            max_unknown_recipients_per_day=advanced.max_unknown_recipients_per_day,
            max_junk_commands=advanced.max_junk_commands,
            max_refused_recipients=advanced.max_refused_recipients,
        ),
        content_checks=_content_checks(message.content_checks),
        timezone=_timezone(advanced.timezone),
        clients=_clients(message, on_addresses),
        access=access,
        relay_domains={domain.domain: _of_relay_domain(domain) for domain in message.relay_domains},
        local_domains={domain.domain: _local_domain(domain) for domain in message.local_domains},
        listed_recipients=_listed_recipients(message, buckets),
        accounts=accounts.by_login,
        logins=accounts.by_login_key,
        addressees=accounts.by_address,
        owners=accounts.owners,
        aliases=aliases,
    )


def _clients(message: config_pb2.PolicySnapshot, rules: Mapping[AddressPattern, tuple[AccessRule, ...]]) -> ClientTable:
    return ClientTable(
        trusted=_patterns(text for networks in message.trusted_networks for text in networks.networks),
        local=_patterns(message.general.smtp_auth.local_networks),
        rules=rules,
        zones=(zone.zone for zone in message.content_checks.dnsbl.zones),
    )


def _mode(value: int) -> Mode:
    return Mode(value) if value else Mode.OFF


def _party(text: str) -> AddressFacts:
    return bare_facts(parse_address(text))


def _patterns(texts: Iterable[str]) -> list[AddressPattern]:
    return [parse_pattern(text) for text in texts]


def _timezone(name: str) -> tzinfo:
    if not name:
        return UTC
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, OSError) as error:
        raise ValueError(f"timezone {name!r} is unknown on this machine") from error


def _of_relay_domain(message: config_pb2.RelayDomain) -> ExistingRecipients:
    if message.existing_recipients:
        return ExistingRecipients(message.existing_recipients)
    return ExistingRecipients.LIST if message.recipients else ExistingRecipients.ANY


def _local_domain(message: config_pb2.LocalDomain) -> LocalDomain:
    return LocalDomain(
        recipients=ExistingRecipients(message.existing_recipients or ExistingRecipients.ACCOUNTS),
        catch_all=_party(message.catch_all) if message.catch_all else None,
        delimiter=message.recipient_delimiter,
    )


def _listed_recipients(message: config_pb2.PolicySnapshot, buckets: Mapping[int, bytes]) -> AddressSet:
    """Uses the buckets without parsing, so that even a million recipients take little time."""
    earlier = [_party(text).key.encode() for domain in message.relay_domains for text in domain.recipients]
    if earlier:
        return AddressSet.of(earlier)
    return AddressSet(buckets)


def _changed_buckets(
    buckets: Mapping[int, bytes], removed: config_pb2.PolicySnapshot, added: config_pb2.PolicySnapshot
) -> Mapping[int, bytes]:
    if not removed.recipients and not added.recipients:
        return buckets
    changed = dict(buckets)
    for bucket in removed.recipients:
        changed.pop(bucket.number, None)
    changed.update((bucket.number, bucket.keys) for bucket in added.recipients)
    return changed


@dataclass(frozen=True, slots=True)
class _Accounts:
    """The tables of accounts. `Snapshot` describes their keys."""

    by_login: dict[str, Account] = field(default_factory=dict)
    by_login_key: dict[str, Account] = field(default_factory=dict)
    by_address: dict[str, Account] = field(default_factory=dict)
    owners: dict[str, str] = field(default_factory=dict)

    def changed(self, removed: config_pb2.PolicySnapshot, added: config_pb2.PolicySnapshot) -> _Accounts:
        """Returns copies of the tables without the accounts of one message and with those of the other."""
        if not any(each.accounts or each.disabled_account_addresses for each in (removed, added)):
            return self
        copy = _Accounts(self.by_login.copy(), self.by_login_key.copy(), self.by_address.copy(), self.owners.copy())
        copy._remove(removed)
        copy._add(added)
        return copy

    def _remove(self, message: config_pb2.PolicySnapshot) -> None:
        for account in message.accounts:
            self.by_login.pop(account.login, None)
            self.by_login_key.pop(login_key(account.login), None)
            for text in account.addresses:
                key = _party(text).key
                self.by_address.pop(key, None)
                self.owners.pop(key, None)
        for text in message.disabled_account_addresses:
            self.owners.pop(_party(text).key, None)

    def _add(self, message: config_pb2.PolicySnapshot) -> None:
        for text in message.disabled_account_addresses:
            self.owners[_party(text).key] = DISABLED
        for each in message.accounts:
            account = Account(each.id, each.login, each.password_hash, each.proof)
            self.by_login[account.login] = self.by_login_key[login_key(account.login)] = account
            for text in each.addresses:
                key = _party(text).key
                self.by_address[key] = account
                self.owners[key] = account.id


def _changed_aliases(
    aliases: Mapping[str, tuple[AddressFacts, ...]],
    removed: config_pb2.PolicySnapshot,
    added: config_pb2.PolicySnapshot,
) -> Mapping[str, tuple[AddressFacts, ...]]:
    if not removed.aliases and not added.aliases:
        return aliases
    changed = dict(aliases)
    for alias in removed.aliases:
        changed.pop(_party(alias.address).key, None)
    for alias in added.aliases:
        changed[_party(alias.address).key] = tuple(_party(text) for text in alias.targets)
    return changed


class _PlacedRule(NamedTuple):
    """Returns an access rule and the key of its table: a pattern of client addresses, or the key of an address or
    domain.
    """

    rule: AccessRule
    # For a rule on subdomains: the domain with a dot before it.
    key: AddressPattern | str


def _changed_rules(
    rules: Mapping[str, _PlacedRule], removed: config_pb2.PolicySnapshot, added: config_pb2.PolicySnapshot
) -> Mapping[str, _PlacedRule]:
    """Returns rules by id."""
    if not removed.access_rules and not added.access_rules:
        return rules
    changed = dict(rules)
    for message in removed.access_rules:
        changed.pop(message.id, None)
    for message in added.access_rules:
        rule = _access_rule(message)
        if rule.mode is not Mode.OFF:
            changed[message.id] = _PlacedRule(rule, _rule_key(rule.criterion, message.value))
    # The ids are sorted, and so in the order of creation.
    return dict(sorted(changed.items()))


def _rule_key(criterion: Criterion, value: str) -> AddressPattern | str:
    if criterion in (Criterion.IP, Criterion.NETWORK):
        return parse_pattern(value)
    return value if criterion is Criterion.DOMAIN else _party(value).key


def _access(
    placed_rules: Mapping[str, _PlacedRule],
) -> tuple[AccessTables, dict[AddressPattern, tuple[AccessRule, ...]]]:
    """Returns the tables, and the rules on addresses by pattern."""
    senders: defaultdict[str, list[AccessRule]] = defaultdict(list)
    recipients: defaultdict[str, list[AccessRule]] = defaultdict(list)
    domains: defaultdict[str, list[AccessRule]] = defaultdict(list)
    subdomains: defaultdict[str, list[AccessRule]] = defaultdict(list)
    by_address: defaultdict[AddressPattern, list[AccessRule]] = defaultdict(list)
    for rule, key in placed_rules.values():
        if isinstance(key, AddressPattern):
            by_address[key].append(rule)
        elif rule.criterion is Criterion.SENDER:
            senders[key].append(rule)
        elif rule.criterion is Criterion.RECIPIENT:
            recipients[key].append(rule)
        elif key.startswith("."):
            subdomains[key[1:]].append(rule)
        else:
            domains[key].append(rule)
    rules = [placed.rule for placed in placed_rules.values()]
    blocks = frozenset((rule.criterion, rule.discard, rule.mode) for rule in rules if not rule.allow)
    tables = AccessTables(
        senders=_frozen(senders),
        recipients=_frozen(recipients),
        domains=_frozen(domains),
        subdomains=_frozen(subdomains),
        blocks=blocks,
        has_allow=any(rule.allow for rule in rules),
        has_discard=any(discard and mode is Mode.ENFORCE for _, discard, mode in blocks),
    )
    return tables, {pattern: tuple(of_pattern) for pattern, of_pattern in by_address.items()}


def _frozen(table: dict[str, list[AccessRule]]) -> dict[str, tuple[AccessRule, ...]]:
    return {key: tuple(rules) for key, rules in table.items()}


def _access_rule(message: config_pb2.AccessRule) -> AccessRule:
    criterion = _CRITERIA.get(message.criterion)
    if criterion is None:
        raise ValueError(f"access rule {message.id}: criterion {message.criterion} is unknown")
    return AccessRule(
        id=message.id,
        criterion=criterion,
        allow=message.list == config_pb2.AccessRule.LIST_ALLOW,
        mode=_mode(message.mode),
        discard=message.action == config_pb2.AccessRule.BLOCK_ACTION_DISCARD,
        expires_at=(
            message.expires_at.seconds + message.expires_at.nanos / 1e9
            if message.HasField("expires_at")
            else float("inf")
        ),
    )


def _content_checks(message: config_pb2.ContentChecks) -> ContentChecks:
    scanner = message.antivirus
    seconds = scanner.timeout.seconds + scanner.timeout.nanos / 1e9
    return ContentChecks(
        dnsbl=_mode(message.dnsbl.mode),
        dnsbl_zones=tuple(
            DnsblZone(zone.zone, tuple(_codes(text) for text in zone.codes or _DEFAULT_CODES))
            for zone in message.dnsbl.zones
        ),
        spf=_mode(message.spf.mode),
        spf_reject_softfail=message.spf.on_softfail == config_pb2.Spf.ON_SOFTFAIL_REJECT,
        spf_reject_permerror=message.spf.reject_permerror,
        dkim=_mode(message.dkim),
        dmarc=_mode(message.dmarc),
        arc=message.arc,
        antivirus=Antivirus(
            mode=_mode(scanner.mode),
            clamd=scanner.clamd,
            accept_on_error=scanner.on_error == config_pb2.Antivirus.ON_ERROR_ACCEPT,
            discard=scanner.action == config_pb2.Antivirus.FOUND_ACTION_DISCARD,
            timeout=timedelta(seconds=seconds or _DEFAULT_SCAN_SECONDS),
        ),
        spam=_spam(message.spam),
    )


def _spam(message: config_pb2.Spam) -> Spam:
    return Spam(
        mode=_mode(message.mode),
        rspamd=message.rspamd,
        password=message.password,
        accept_on_error=message.on_error != config_pb2.Spam.ON_ERROR_TEMPFAIL,
        timeout=timedelta(seconds=message.timeout.seconds + message.timeout.nanos / 1e9 or _DEFAULT_RSPAMD_SECONDS),
        check_outgoing=message.check_outgoing,
    )


def _codes(text: str) -> tuple[int, int]:
    low, _, high = text.partition("-")
    return int(IPv4Address(low.strip())), int(IPv4Address((high or low).strip()))
