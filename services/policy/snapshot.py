"""Compiles the protobuf snapshot of config_api into the tables that rules use."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, timedelta, tzinfo
from ipaddress import IPv4Address
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from immutables import Map
from posthouse.config.v1 import config_pb2

from libs.runtime.configuration_watch import PieceChange
from libs.smtp.address import parse_address
from libs.smtp.address_set import AddressSet
from libs.smtp.network import AddressPattern, parse_pattern
from services.policy.rules.access_tables import AccessTables, PlacedRule
from services.policy.rules.address_facts import DISABLED, AddressFacts
from services.policy.rules.addresses import bare_facts
from services.policy.rules.authentication import login_key
from services.policy.rules.clients import ClientRules, ClientTable
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
# The kinds of which there may be many objects, and which change while mail is accepted.
_OFTEN_CHANGED = ("accounts/", "aliases/", "access-rules/", "recipients/")


class PolicySnapshotReader:
    """Makes snapshots from pieces. A change of one object costs little even when there are many of its kind.

    Tables are never changed once they are in a snapshot: a change makes new tables, which share most of the content.
    """

    def __init__(self) -> None:
        self._snapshot: Snapshot | None = None
        # The pieces of all other kinds, by key. There are few such pieces.
        self._others: dict[str, bytes] = {}
        self._others_message = config_pb2.PolicySnapshot()
        self._accounts = _Accounts()
        self._aliases: Map[str, tuple[AddressFacts, ...]] = Map()
        self._rules = _AccessRules()
        # The buckets of listed recipients, by number.
        self._buckets: Mapping[int, bytes] = {}

    def read(self, changes: Sequence[PieceChange], revision: int) -> Snapshot:
        """Returns the snapshot after these changes. Raises ValueError for values that config_api never accepts."""
        removed, added = _merged(change.before for change in changes), _merged(change.after for change in changes)
        others = {change.key: change.after for change in changes if not change.key.startswith(_OFTEN_CHANGED)}
        self._accounts = self._accounts.changed(removed, added)
        self._aliases = _changed_aliases(self._aliases, removed, added)
        rules_before, self._rules = self._rules, self._rules.changed(removed, added)
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
                access=self._rules.tables,
                listed_recipients=_listed_recipients(self._others_message, self._buckets),
                known_addresses={},
            )
            if self._rules.of_clients is not rules_before.of_clients:
                self._snapshot = replace(
                    self._snapshot, clients=self._snapshot.clients.with_rules(self._rules.of_clients)
                )
        else:
            self._snapshot = replace(self._snapshot, revision=revision)
        return self._snapshot


def _merged(pieces: Iterable[bytes]) -> config_pb2.PolicySnapshot:
    # Protobuf merges serialised messages that are concatenated, when it reads them.
    return config_pb2.PolicySnapshot.FromString(b"".join(pieces))


def compile_snapshot(message: config_pb2.PolicySnapshot) -> Snapshot:
    """Returns the tables of one snapshot. A rule whose field is absent is off. This takes about a second for 100,000
    access rules. Raises ValueError for values that config_api never accepts.
    """
    nothing = config_pb2.PolicySnapshot()
    return _compiled(
        message,
        _Accounts().changed(nothing, message),
        _changed_aliases(Map(), nothing, message),
        _AccessRules().changed(nothing, message),
        _changed_buckets({}, nothing, message),
    )


def with_access_rule(snapshot: Snapshot, message: config_pb2.AccessRule) -> Snapshot:
    """Returns the snapshot with one more access rule. Raises ValueError for an invalid rule."""
    placed, of_clients = _placed([message])
    access = snapshot.access.changed(added=placed, added_of_clients=[rule for _, rule in of_clients])
    clients = snapshot.clients
    if of_clients:
        clients = clients.with_rules(clients.rules.changed(added=of_clients))
    # The cached facts about addresses contain the rules that match them, so the caches start empty.
    return replace(snapshot, access=access, clients=clients, known_addresses={})


def _compiled(
    message: config_pb2.PolicySnapshot,
    accounts: _Accounts,
    aliases: Map[str, tuple[AddressFacts, ...]],
    rules: _AccessRules,
    buckets: Mapping[int, bytes],
) -> Snapshot:
    """Makes a snapshot. Accounts, aliases, access rules and buckets of listed recipients are given as tables. All other
    objects are read from `message`.
    """
    auth, profile = message.general.smtp_auth, message.general.profile
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
        clients=_clients(message, rules.of_clients),
        access=rules.tables,
        relay_domains={domain.domain: _of_relay_domain(domain) for domain in message.relay_domains},
        local_domains={domain.domain: _local_domain(domain) for domain in message.local_domains},
        listed_recipients=_listed_recipients(message, buckets),
        accounts=accounts.by_login,
        logins=accounts.by_login_key,
        addressees=accounts.by_address,
        owners=accounts.owners,
        aliases=aliases,
    )


def _clients(message: config_pb2.PolicySnapshot, rules: ClientRules) -> ClientTable:
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
    """Returns the listed recipients. The buckets are not parsed, so that even a million recipients take little time."""
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

    by_login: Map[str, Account] = field(default_factory=Map)
    by_login_key: Map[str, Account] = field(default_factory=Map)
    by_address: Map[str, Account] = field(default_factory=Map)
    owners: Map[str, str] = field(default_factory=Map)

    def changed(self, removed: config_pb2.PolicySnapshot, added: config_pb2.PolicySnapshot) -> _Accounts:
        """Returns the tables without the accounts in `removed`, and with the accounts in `added`."""
        if not any(each.accounts or each.disabled_account_addresses for each in (removed, added)):
            return self
        by_login, by_login_key = self.by_login.mutate(), self.by_login_key.mutate()
        by_address, owners = self.by_address.mutate(), self.owners.mutate()
        for account in removed.accounts:
            by_login.pop(account.login, None)
            by_login_key.pop(login_key(account.login), None)
            for key in _keys(account.addresses):
                by_address.pop(key, None)
                owners.pop(key, None)
        for key in _keys(removed.disabled_account_addresses):
            owners.pop(key, None)
        for key in _keys(added.disabled_account_addresses):
            owners[key] = DISABLED
        for each in added.accounts:
            made = Account(each.id, each.login, each.password_hash, each.proof)
            by_login[made.login] = by_login_key[login_key(made.login)] = made
            for key in _keys(each.addresses):
                by_address[key] = made
                owners[key] = made.id
        return _Accounts(by_login.finish(), by_login_key.finish(), by_address.finish(), owners.finish())


def _keys(addresses: Iterable[str]) -> Iterator[str]:
    for text in addresses:
        yield _party(text).key


def _changed_aliases(
    aliases: Map[str, tuple[AddressFacts, ...]],
    removed: config_pb2.PolicySnapshot,
    added: config_pb2.PolicySnapshot,
) -> Map[str, tuple[AddressFacts, ...]]:
    if not removed.aliases and not added.aliases:
        return aliases
    changed = aliases.mutate()
    for alias in removed.aliases:
        changed.pop(_party(alias.address).key, None)
    for alias in added.aliases:
        changed[_party(alias.address).key] = tuple(_party(text) for text in alias.targets)
    return changed.finish()


@dataclass(frozen=True, slots=True)
class _AccessRules:
    """The tables of access rules: those on addresses of clients, and all others."""

    tables: AccessTables = field(default_factory=AccessTables)
    of_clients: ClientRules = field(default_factory=ClientRules)

    def changed(self, removed: config_pb2.PolicySnapshot, added: config_pb2.PolicySnapshot) -> _AccessRules:
        """Returns the tables without the rules in `removed`, and with the rules in `added`."""
        if not removed.access_rules and not added.access_rules:
            return self
        removed_rules, removed_of_clients = _placed(removed.access_rules)
        added_rules, added_of_clients = _placed(added.access_rules)
        tables = self.tables.changed(
            removed_rules,
            added_rules,
            [rule for _, rule in removed_of_clients],
            [rule for _, rule in added_of_clients],
        )
        if not removed_of_clients and not added_of_clients:
            return _AccessRules(tables, self.of_clients)
        return _AccessRules(tables, self.of_clients.changed(removed_of_clients, added_of_clients))


def _placed(
    messages: Iterable[config_pb2.AccessRule],
) -> tuple[list[PlacedRule], list[tuple[AddressPattern, AccessRule]]]:
    """Returns the rules that are not off, each with its key, and those on addresses of clients with their pattern."""
    placed: list[PlacedRule] = []
    of_clients: list[tuple[AddressPattern, AccessRule]] = []
    for message in messages:
        rule = _access_rule(message)
        if rule.mode is Mode.OFF:
            continue
        if rule.criterion in (Criterion.IP, Criterion.NETWORK):
            of_clients.append((parse_pattern(message.value), rule))
        else:
            key = message.value if rule.criterion is Criterion.DOMAIN else _party(message.value).key
            placed.append(PlacedRule(rule, key))
    return placed, of_clients


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
