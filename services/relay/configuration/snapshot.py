"""The protobuf snapshot that config_api sends, turned into relay's Configuration."""

from __future__ import annotations

from google.protobuf.duration_pb2 import Duration
from posthouse.config.v1 import config_pb2

from libs.smtp.address_set import AddressSet
from services.relay.configuration.model import (
    Alias,
    Configuration,
    DkimKey,
    ExistingRecipients,
    LocalDomain,
    Mailbox,
    MailboxKind,
    QueueSettings,
    RelayDomain,
    RelayHost,
    RelayHostAuth,
    RelayRule,
    Resolvers,
    RuleType,
    TargetType,
    key_of,
)

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


def configuration(snapshot: config_pb2.RelaySnapshot) -> Configuration:
    """The snapshot as a Configuration. Raises ValueError when it contradicts itself."""
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
        relay_domains={domain.domain: RelayDomain(domain.id, domain.domain) for domain in snapshot.relay_domains},
        local_domains={domain.domain: _local_domain(domain) for domain in snapshot.local_domains},
        aliases={
            key_of(alias.address.encode()): Alias(
                alias.id, alias.address.encode(), tuple(target.encode() for target in alias.targets)
            )
            for alias in snapshot.aliases
        },
        account_addresses=frozenset(key_of(address.encode()) for address in snapshot.account_addresses),
        listed_recipients=AddressSet({bucket.number: bucket.keys for bucket in snapshot.recipients}),
        resolvers=Resolvers(tuple(snapshot.resolvers.preferred), tuple(snapshot.resolvers.alternate)),
        queue=_queue(snapshot.queue),
        dkim_keys={domain: tuple(of_domain) for domain, of_domain in keys.items()},
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
    )


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
    return Mailbox(kind=kind, host=mailbox.host, port=mailbox.port, path=mailbox.path)


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
        max_messages_per_connection=queue.max_messages_per_connection or default.max_messages_per_connection,
        retention=seconds("retention", default.retention),
        keep_subjects=queue.keep_subjects,
    )
