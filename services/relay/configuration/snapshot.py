"""Converts the protobuf snapshot of config_api into the Configuration of relay."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from google.protobuf.duration_pb2 import Duration
from immutables import Map
from posthouse.config.v1 import config_pb2

from libs.runtime.configuration_watch import PieceChange
from libs.smtp.address_set import AddressSet
from services.relay.configuration.model import (
    Alias,
    Configuration,
    DkimKey,
    ExistingRecipients,
    FallbackHost,
    LocalDomain,
    Mailbox,
    MailboxKind,
    Quarantine,
    QueueSettings,
    RelayDomain,
    RelayHost,
    RelayHostAuth,
    RelayRule,
    Resolvers,
    RuleType,
    TargetType,
    TlsLevel,
    key_of,
)

_QUARANTINE = {
    config_pb2.QUARANTINE_ACTION_MARK: Quarantine.MARK,
    config_pb2.QUARANTINE_ACTION_HOLD: Quarantine.HOLD,
}
_MAILBOX_KINDS = {
    config_pb2.Mailbox.KIND_SMTP: MailboxKind.SMTP,
    config_pb2.Mailbox.KIND_LMTP: MailboxKind.LMTP,
    config_pb2.Mailbox.KIND_MAILDIR: MailboxKind.MAILDIR,
}
_EXISTING_RECIPIENTS = {
    config_pb2.EXISTING_RECIPIENTS_UNSPECIFIED: ExistingRecipients.ACCOUNTS,
    config_pb2.EXISTING_RECIPIENTS_ACCOUNTS: ExistingRecipients.ACCOUNTS,
    config_pb2.EXISTING_RECIPIENTS_LIST: ExistingRecipients.LIST,
    config_pb2.EXISTING_RECIPIENTS_ANY: ExistingRecipients.ANY,
    config_pb2.EXISTING_RECIPIENTS_VERIFY: ExistingRecipients.VERIFY,
}
_TLS_LEVELS = {
    config_pb2.TLS_LEVEL_UNSPECIFIED: TlsLevel.MAY,
    config_pb2.TLS_LEVEL_NONE: TlsLevel.NONE,
    config_pb2.TLS_LEVEL_MAY: TlsLevel.MAY,
    config_pb2.TLS_LEVEL_ENCRYPT: TlsLevel.ENCRYPT,
    config_pb2.TLS_LEVEL_VERIFY: TlsLevel.VERIFY,
}

# The kinds of which there may be many objects, and which change while mail is accepted.
_OFTEN_CHANGED = ("accounts/", "aliases/", "recipients/")


class RelaySnapshotReader:
    """Makes configurations from pieces. A change of one object costs little even when there are many of its kind.

    Tables are never changed once they are in a configuration: a change makes new ones, which share most of the content.
    """

    def __init__(self) -> None:
        self._configuration: Configuration | None = None
        # The pieces of all other kinds, by key. There are few of these.
        self._others: dict[str, bytes] = {}
        self._aliases: Map[bytes, Alias] = Map()
        # The keys are the addresses of accounts. The values mean nothing.
        self._account_addresses: Map[bytes, None] = Map()

    def read(self, changes: Sequence[PieceChange], revision: int) -> Configuration:
        """Returns the configuration after these changes. Raises ValueError when the configuration contradicts
        itself.
        """
        others = {change.key: change.after for change in changes if not change.key.startswith(_OFTEN_CHANGED)}
        before = self._configuration
        if others or before is None:
            self._others.update(others)
            message = _merged(self._others[key] for key in sorted(self._others))
            message.revision = revision
            made = configuration(message)
        else:
            made = replace(before, revision=revision)
        often_changed = [change for change in changes if change.key.startswith(_OFTEN_CHANGED)]
        removed = _merged(change.before for change in often_changed)
        added = _merged(change.after for change in often_changed)
        self._aliases = _changed_aliases(self._aliases, removed, added)
        self._account_addresses = _changed_addresses(self._account_addresses, removed, added)
        self._configuration = replace(
            made,
            aliases=self._aliases,
            account_addresses=self._account_addresses,
            listed_recipients=_changed_recipients(
                before.listed_recipients if before is not None else AddressSet({}), removed, added
            ),
        )
        return self._configuration


def _merged(pieces: Iterable[bytes]) -> config_pb2.RelaySnapshot:
    # Protobuf merges serialised messages that are concatenated, when it reads them.
    return config_pb2.RelaySnapshot.FromString(b"".join(pieces))


def _changed_aliases(
    aliases: Map[bytes, Alias], removed: config_pb2.RelaySnapshot, added: config_pb2.RelaySnapshot
) -> Map[bytes, Alias]:
    if not removed.aliases and not added.aliases:
        return aliases
    changed = aliases.mutate()
    for alias in removed.aliases:
        changed.pop(key_of(alias.address.encode()), None)
    for alias in added.aliases:
        targets = tuple(target.encode() for target in alias.targets)
        changed[key_of(alias.address.encode())] = Alias(alias.id, alias.address.encode(), targets)
    return changed.finish()


def _changed_addresses(
    addresses: Map[bytes, None], removed: config_pb2.RelaySnapshot, added: config_pb2.RelaySnapshot
) -> Map[bytes, None]:
    if not removed.account_addresses and not added.account_addresses:
        return addresses
    changed = addresses.mutate()
    for address in removed.account_addresses:
        changed.pop(key_of(address.encode()), None)
    for address in added.account_addresses:
        changed[key_of(address.encode())] = None
    return changed.finish()


def _changed_recipients(
    recipients: AddressSet, removed: config_pb2.RelaySnapshot, added: config_pb2.RelaySnapshot
) -> AddressSet:
    if not removed.recipients and not added.recipients:
        return recipients
    return recipients.changed(
        [bucket.number for bucket in removed.recipients], {bucket.number: bucket.keys for bucket in added.recipients}
    )


def configuration(snapshot: config_pb2.RelaySnapshot) -> Configuration:
    """Reads the snapshot. Raises ValueError when it contradicts itself."""
    nothing = config_pb2.RelaySnapshot()
    keys: dict[str, list[DkimKey]] = {}
    for key in snapshot.dkim_keys:
        keys.setdefault(key.domain, []).append(
            DkimKey(key.id, key.domain, key.selector, key.algorithm, bytes(key.private_key))
        )
    use_relay_host = snapshot.delivery.mode == config_pb2.Delivery.MODE_RELAY_HOST
    if use_relay_host and not snapshot.delivery.relay_host.host:
        raise ValueError("delivery mode relay_host without a relay host")
    return Configuration(
        revision=snapshot.revision,
        hostname=snapshot.profile.hostname,
        max_message_size=snapshot.profile.max_message_size,
        max_hops=snapshot.profile.max_hops or 50,
        external_postmasters=tuple(address.encode() for address in snapshot.external_postmasters),
        relay_host=_relay_host(snapshot.delivery.relay_host) if use_relay_host else None,
        relay_rules=tuple(sorted(map(_relay_rule, snapshot.relay_rules), key=lambda rule: rule.position)),
        relay_domains={domain.domain: _relay_domain(domain) for domain in snapshot.relay_domains},
        local_domains={domain.domain: _local_domain(domain) for domain in snapshot.local_domains},
        aliases=_changed_aliases(Map(), nothing, snapshot),
        account_addresses=_changed_addresses(Map(), nothing, snapshot),
        listed_recipients=_changed_recipients(AddressSet({}), nothing, snapshot),
        resolvers=Resolvers(tuple(snapshot.resolvers.preferred), tuple(snapshot.resolvers.alternate)),
        queue=_queue(snapshot.queue),
        tls_policies={policy.domain: _TLS_LEVELS[policy.level] for policy in snapshot.tls_policies},
        dkim_keys={domain: tuple(of_domain) for domain, of_domain in keys.items()},
        # A snapshot on disk from an older release does not have this field.
        quarantine=_QUARANTINE.get(snapshot.quarantine, Quarantine.MAILBOX),
    )


def _relay_host(host: config_pb2.RelayHost) -> RelayHost:
    auth = None
    if host.HasField("auth"):
        auth = RelayHostAuth(host.auth.username, host.auth.password, host.auth.allow_without_tls)
    return RelayHost(
        host=host.host,
        port=host.port or 25,
        always_tls=host.always_tls,
        implicit_tls=host.implicit_tls,
        verify_certificate=host.verify_certificate,
        auth=auth,
        fallback_hosts=_fallback_hosts(host.fallback_hosts),
    )


def _fallback_hosts(hosts: Iterable[config_pb2.FallbackHost]) -> tuple[FallbackHost, ...]:
    return tuple(FallbackHost(host.host, host.port) for host in hosts)


def _relay_domain(domain: config_pb2.RelayDomain) -> RelayDomain:
    next_hop = _mailbox(domain.next_hop) if domain.HasField("next_hop") else None
    return RelayDomain(domain.id, domain.domain, next_hop)


def _relay_rule(rule: config_pb2.RelayRule) -> RelayRule:
    return RelayRule(
        id=rule.id,
        name=rule.name,
        type=RuleType.SENDER if rule.type == config_pb2.RelayRule.TYPE_SENDER else RuleType.RECIPIENT,
        target_type=(
            TargetType.ADDRESS if rule.target_type == config_pb2.RelayRule.TARGET_TYPE_ADDRESS else TargetType.DOMAIN
        ),
        targets=tuple(key_of(target.encode()).decode() for target in rule.targets),
        relay_host=_relay_host(rule.relay_host),
        position=rule.position,
    )


def _mailbox(mailbox: config_pb2.Mailbox) -> Mailbox:
    kind = _MAILBOX_KINDS.get(mailbox.kind)
    if kind is None:
        raise ValueError(f"mailbox kind {mailbox.kind} is unknown")
    return Mailbox(
        kind=kind,
        host=mailbox.host,
        port=mailbox.port,
        path=mailbox.path,
        tls=_TLS_LEVELS[mailbox.tls],
        fallback_hosts=_fallback_hosts(mailbox.fallback_hosts),
    )


def _local_domain(domain: config_pb2.LocalDomain) -> LocalDomain:
    return LocalDomain(
        id=domain.id,
        domain=domain.domain,
        mailbox=_mailbox(domain.mailbox) if domain.HasField("mailbox") else None,
        quarantine_mailbox=_mailbox(domain.quarantine_mailbox) if domain.HasField("quarantine_mailbox") else None,
        recipients=_EXISTING_RECIPIENTS[domain.existing_recipients],
        catch_all=domain.catch_all.encode(),
        delimiter=domain.recipient_delimiter,
    )


def _queue(queue: config_pb2.QueueSettings) -> QueueSettings:
    default = QueueSettings()

    def seconds(name: str, otherwise: float) -> float:
        value: Duration = getattr(queue, name)
        return value.ToTimedelta().total_seconds() if queue.HasField(name) else otherwise  # type: ignore[arg-type]

    return QueueSettings(
        first_retry=seconds("first_retry", default.first_retry),
        retry_growth=queue.retry_growth or default.retry_growth,
        max_retry=seconds("max_retry", default.max_retry),
        expire_after=seconds("expire_after", default.expire_after),
        delay_notice_after=seconds("delay_notice_after", default.delay_notice_after),
        bounce_expire_after=seconds("bounce_expire_after", default.bounce_expire_after),
        max_concurrency_per_destination=queue.max_concurrency_per_destination
        or default.max_concurrency_per_destination,
        max_messages_per_minute_per_destination=queue.max_messages_per_minute_per_destination,
        max_messages_per_connection=queue.max_messages_per_connection or default.max_messages_per_connection,
        retention=seconds("retention", default.retention),
        keep_subjects=queue.keep_subjects,
    )
