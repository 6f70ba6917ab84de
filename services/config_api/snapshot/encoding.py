"""Encodes stored objects for policy and relay: each object is one piece of a protobuf snapshot.

When serialised protobuf messages are concatenated, they merge: repeated fields are appended, and absent fields change
nothing. So a snapshot is the concatenation of the pieces of its objects, and only a changed object is encoded again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from posthouse.config.v1 import config_pb2 as pb

from services.config_api.resources.access_rules import canonical_value
from services.config_api.resources.description import Body
from services.config_api.secrets.sealing import Sealer

_MEGABYTE = 1_048_576
_MODES = {"off": pb.MODE_OFF, "shadow": pb.MODE_SHADOW, "enforce": pb.MODE_ENFORCE}


@dataclass(frozen=True, slots=True)
class Pieces:
    """The serialised piece of one object for each consumer. The piece is empty for a consumer that does not need the
    object.
    """

    policy: bytes = b""
    relay: bytes = b""


NOTHING = Pieces()
Encode = Callable[[str, Body, Sealer], Pieces]


def pieces(kind: str, document_id: str, body: Body, sealer: Sealer) -> Pieces:
    """Returns the pieces of an object. Raises SealError when a secret in it cannot be decrypted."""
    encode = _ENCODERS.get(kind)
    if encode is None:
        return NOTHING
    if body.get("enabled") is False:
        return _disabled_account(body) if kind == "accounts" else NOTHING
    return encode(document_id, body, sealer)


def ending(revision: int, digest: bytes) -> bytes:
    """Returns the part that ends a revision. `digest` is the digest of all pieces that the consumer has after this
    revision.
    """
    created = Timestamp()
    created.GetCurrentTime()
    return pb.SnapshotPart(last=True, revision=revision, created_at=created, digest=digest).SerializeToString()


WHOLE = pb.SnapshotPart(whole=True).SerializeToString()


def _general(_: str, body: Body, __: Sealer) -> Pieces:
    auth, profile = body["smtp_auth"], body["profile"]
    shared = pb.Profile(
        hostname=profile["hostname"],
        banner=profile["banner"],
        max_recipients=profile["max_recipients"],
        reject_message_over_recipient_limit=profile["recipients_over_limit"] == "reject_message",
        max_hops=profile["max_hops"],
        max_message_size=profile["max_message_size_mb"] * _MEGABYTE,
    )
    general = pb.General(
        smtp_auth=pb.SmtpAuth(**auth), profile=shared, external_postmasters=body["external_postmasters"]
    )
    return Pieces(
        pb.PolicySnapshot(general=general).SerializeToString(),
        pb.RelaySnapshot(profile=shared, external_postmasters=body["external_postmasters"]).SerializeToString(),
    )


def _fallback_hosts(server: Body) -> list[pb.FallbackHost]:
    return [pb.FallbackHost(host=host["host"], port=host["port"]) for host in server.get("fallback_hosts", ())]


def _relay_host(host: Body, sealer: Sealer) -> pb.RelayHost:
    message = pb.RelayHost(
        host=host["host"],
        port=host["port"],
        always_tls=host["always_tls"],
        implicit_tls=host["implicit_tls"],
        verify_certificate=host["verify_certificate"],
        fallback_hosts=_fallback_hosts(host),
    )
    auth = host["auth"]
    if auth is not None:
        message.auth.username = auth["username"]
        message.auth.password = sealer.open(auth["password"])
        message.auth.allow_without_tls = auth["allow_without_tls"]
    return message


def _delivery(_: str, body: Body, sealer: Sealer) -> Pieces:
    use_relay_host = body["mode"] == "relay_host"
    delivery = pb.Delivery(mode=pb.Delivery.MODE_RELAY_HOST if use_relay_host else pb.Delivery.MODE_DIRECT)
    if body["relay_host"] is not None:
        delivery.relay_host.CopyFrom(_relay_host(body["relay_host"], sealer))
    return Pieces(relay=pb.RelaySnapshot(delivery=delivery).SerializeToString())


def _relay_rule(document_id: str, body: Body, sealer: Sealer) -> Pieces:
    sender, address = body["type"] == "sender", body["target_type"] == "address"
    rule = pb.RelayRule(
        id=document_id,
        name=body["name"],
        type=pb.RelayRule.TYPE_SENDER if sender else pb.RelayRule.TYPE_RECIPIENT,
        target_type=pb.RelayRule.TARGET_TYPE_ADDRESS if address else pb.RelayRule.TARGET_TYPE_DOMAIN,
        targets=body["targets"],
        relay_host=_relay_host(body["relay_host"], sealer),
        position=body["position"],
    )
    return Pieces(relay=pb.RelaySnapshot(relay_rules=[rule]).SerializeToString())


def _trusted_network(document_id: str, body: Body, _: Sealer) -> Pieces:
    network = pb.NetworkSet(id=document_id, name=body["name"], networks=body["networks"])
    return Pieces(policy=pb.PolicySnapshot(trusted_networks=[network]).SerializeToString())


_EXISTING_RECIPIENTS = {
    "accounts": pb.EXISTING_RECIPIENTS_ACCOUNTS,
    "list": pb.EXISTING_RECIPIENTS_LIST,
    "any": pb.EXISTING_RECIPIENTS_ANY,
    "verify": pb.EXISTING_RECIPIENTS_VERIFY,
}


def recipient_bucket(number: int, keys: bytes) -> Pieces:
    """Returns the piece of one bucket of the listed recipients. It is empty when the bucket is empty."""
    if not keys:
        return NOTHING
    of_bucket = [pb.RecipientBucket(number=number, keys=keys)]
    return Pieces(
        pb.PolicySnapshot(recipients=of_bucket).SerializeToString(),
        pb.RelaySnapshot(recipients=of_bucket).SerializeToString(),
    )


def _relay_domain(document_id: str, body: Body, _: Sealer) -> Pieces:
    domain = pb.RelayDomain(
        id=document_id, domain=body["domain"], existing_recipients=_EXISTING_RECIPIENTS[body["recipients"]]
    )
    if body["next_hop"] is not None:
        domain.next_hop.CopyFrom(_mailbox(body["next_hop"]))
    return Pieces(
        pb.PolicySnapshot(relay_domains=[domain]).SerializeToString(),
        pb.RelaySnapshot(relay_domains=[domain]).SerializeToString(),
    )


_TLS_LEVELS = {
    "none": pb.TLS_LEVEL_NONE,
    "may": pb.TLS_LEVEL_MAY,
    "encrypt": pb.TLS_LEVEL_ENCRYPT,
    "verify": pb.TLS_LEVEL_VERIFY,
}


def _tls_policy(document_id: str, body: Body, _: Sealer) -> Pieces:
    policy = pb.TlsPolicy(id=document_id, domain=body["domain"], level=_TLS_LEVELS[body["level"]])
    return Pieces(relay=pb.RelaySnapshot(tls_policies=[policy]).SerializeToString())


def _mailbox(body: Body) -> pb.Mailbox:
    kinds = {"smtp": pb.Mailbox.KIND_SMTP, "lmtp": pb.Mailbox.KIND_LMTP, "maildir": pb.Mailbox.KIND_MAILDIR}
    return pb.Mailbox(
        kind=kinds[body["kind"]],
        host=body.get("host", ""),
        port=body.get("port", 0),
        path=body.get("path", ""),
        tls=_TLS_LEVELS[body.get("tls", "may")],
        fallback_hosts=_fallback_hosts(body),
    )


def _local_domain(document_id: str, body: Body, _: Sealer) -> Pieces:
    domain = pb.LocalDomain(
        id=document_id,
        domain=body["name"],
        existing_recipients=_EXISTING_RECIPIENTS[body["recipients"]],
        catch_all=body["catch_all"] or "",
        recipient_delimiter=body["recipient_delimiter"] or "",
    )
    for name in ("mailbox", "quarantine_mailbox"):
        if body[name] is not None:
            getattr(domain, name).CopyFrom(_mailbox(body[name]))
    return Pieces(
        pb.PolicySnapshot(local_domains=[domain]).SerializeToString(),
        pb.RelaySnapshot(local_domains=[domain]).SerializeToString(),
    )


def _account(document_id: str, body: Body, _: Sealer) -> Pieces:
    password_hash, *proof = str(body.get("password", "")).split(" ")
    account = pb.PolicyAccount(
        id=document_id,
        login=body["login"],
        password_hash=password_hash,
        addresses=body["addresses"],
        proof=bytes.fromhex("".join(proof)),
    )
    return Pieces(
        pb.PolicySnapshot(accounts=[account]).SerializeToString(),
        pb.RelaySnapshot(account_addresses=body["addresses"]).SerializeToString(),
    )


def _disabled_account(body: Body) -> Pieces:
    """Returns the pieces of a disabled account. The account keeps its addresses, so that nobody else may send with
    them.
    """
    return Pieces(pb.PolicySnapshot(disabled_account_addresses=body["addresses"]).SerializeToString())


def _alias(document_id: str, body: Body, _: Sealer) -> Pieces:
    alias = pb.Alias(id=document_id, address=body["address"], targets=body["targets"])
    return Pieces(
        pb.PolicySnapshot(aliases=[alias]).SerializeToString(),
        pb.RelaySnapshot(aliases=[alias]).SerializeToString(),
    )


def _queue(_: str, body: Body, __: Sealer) -> Pieces:
    retry = body["retry_schedule"]
    queue = pb.QueueSettings(
        first_retry=_duration(minutes=retry["first_minutes"]),
        retry_growth=retry["growth"],
        max_retry=_duration(minutes=retry["max_minutes"]),
        expire_after=_duration(hours=body["expire_after_hours"]),
        delay_notice_after=_duration(hours=body["delay_notice_after_hours"]),
        bounce_expire_after=_duration(hours=body["bounce_expire_hours"]),
        max_concurrency_per_destination=body["max_concurrency_per_destination"],
        max_messages_per_connection=body["max_messages_per_connection"],
        max_messages_per_minute_per_destination=body["max_messages_per_minute_per_destination"],
        retention=_duration(days=body["retention_days"]),
        keep_subjects=body["keep_subjects"],
    )
    return Pieces(relay=pb.RelaySnapshot(queue=queue).SerializeToString())


def _resolvers(_: str, body: Body, __: Sealer) -> Pieces:
    return Pieces(relay=pb.RelaySnapshot(resolvers=pb.Resolvers(**body)).SerializeToString())


def _sender_policy(_: str, body: Body, __: Sealer) -> Pieces:
    policy = pb.SenderPolicy(**{name: _MODES[mode] for name, mode in body.items()})
    return Pieces(policy=pb.PolicySnapshot(sender_policy=policy).SerializeToString())


def _connection_policy(_: str, body: Body, __: Sealer) -> Pieces:
    policy = pb.ConnectionPolicy(**_with_modes(body))
    return Pieces(policy=pb.PolicySnapshot(connection_policy=policy).SerializeToString())


def _advanced_security(_: str, body: Body, __: Sealer) -> Pieces:
    security = pb.AdvancedSecurity(**_with_modes(body))
    return Pieces(policy=pb.PolicySnapshot(advanced_security=security).SerializeToString())


def _with_modes(body: Body) -> Body:
    return {name: _MODES.get(value, value) if isinstance(value, str) else value for name, value in body.items()}


_QUARANTINE = {
    "mark": pb.QUARANTINE_ACTION_MARK,
    "mailbox": pb.QUARANTINE_ACTION_MAILBOX,
    "hold": pb.QUARANTINE_ACTION_HOLD,
}


def _spam(body: Body, sealer: Sealer) -> pb.Spam:
    tempfail = body["on_error"] == "tempfail"
    password = body.get("password")
    return pb.Spam(
        mode=_MODES[body["mode"]],
        rspamd=body["rspamd"],
        password=sealer.open(password) if password else "",
        on_error=pb.Spam.ON_ERROR_TEMPFAIL if tempfail else pb.Spam.ON_ERROR_ACCEPT,
        timeout=_duration(seconds=body["timeout_s"]),
        check_outgoing=body["check_outgoing"],
    )


def _content_checks(_: str, body: Body, sealer: Sealer) -> Pieces:
    dnsbl, spf, antivirus = body["dnsbl"], body["spf"], body["antivirus"]
    reject, accept = pb.Spf.ON_SOFTFAIL_REJECT, pb.Spf.ON_SOFTFAIL_ACCEPT
    tempfail = antivirus["on_error"] == "tempfail"
    discard = antivirus["action"] == "discard"
    checks = pb.ContentChecks(
        dnsbl=pb.Dnsbl(mode=_MODES[dnsbl["mode"]], zones=[pb.DnsblZone(**zone) for zone in dnsbl["zones"]]),
        spf=pb.Spf(
            mode=_MODES[spf["mode"]],
            on_softfail=reject if spf["on_softfail"] == "reject" else accept,
            reject_permerror=spf["reject_permerror"],
        ),
        dkim=_MODES[body["dkim"]["mode"]],
        dmarc=_MODES[body["dmarc"]["mode"]],
        antivirus=pb.Antivirus(
            mode=_MODES[antivirus["mode"]],
            clamd=antivirus["clamd"],
            on_error=pb.Antivirus.ON_ERROR_TEMPFAIL if tempfail else pb.Antivirus.ON_ERROR_ACCEPT,
            action=pb.Antivirus.FOUND_ACTION_DISCARD if discard else pb.Antivirus.FOUND_ACTION_REJECT,
            timeout=_duration(seconds=antivirus["timeout_seconds"]),
        ),
        arc=body["arc"]["verify"],
        spam=_spam(body["spam"], sealer),
    )
    return Pieces(
        pb.PolicySnapshot(content_checks=checks).SerializeToString(),
        pb.RelaySnapshot(quarantine=_QUARANTINE[body["quarantine"]]).SerializeToString(),
    )


_CRITERIA = {
    "sender": pb.AccessRule.CRITERION_SENDER,
    "recipient": pb.AccessRule.CRITERION_RECIPIENT,
    "ip": pb.AccessRule.CRITERION_IP,
    "network": pb.AccessRule.CRITERION_NETWORK,
    "domain": pb.AccessRule.CRITERION_DOMAIN,
}
_ACTIONS = {
    None: pb.AccessRule.BLOCK_ACTION_UNSPECIFIED,
    "reject": pb.AccessRule.BLOCK_ACTION_REJECT,
    "discard": pb.AccessRule.BLOCK_ACTION_DISCARD,
}


def access_rule_message(document_id: str, body: Body) -> pb.AccessRule:
    rule = pb.AccessRule(
        id=document_id,
        name=body["name"],
        list=pb.AccessRule.LIST_BLOCK if body["list"] == "block" else pb.AccessRule.LIST_ALLOW,
        criterion=_CRITERIA[body["criterion"]],
        value=canonical_value(body["criterion"], body["value"]),
        action=_ACTIONS[body["action"]],
        mode=_MODES[body["mode"]],
    )
    if body["expires_at"] is not None:
        rule.expires_at.FromDatetime(datetime.fromisoformat(body["expires_at"]))
    return rule


def _access_rule(document_id: str, body: Body, _: Sealer) -> Pieces:
    rule = access_rule_message(document_id, body)
    return Pieces(policy=pb.PolicySnapshot(access_rules=[rule]).SerializeToString())


def _dkim_key(document_id: str, body: Body, sealer: Sealer) -> Pieces:
    key = pb.DkimKey(
        id=document_id,
        domain=body["domain"],
        selector=body["selector"],
        algorithm=body["algorithm"],
        private_key=sealer.open(body["private_key"]).encode("ascii"),
    )
    return Pieces(relay=pb.RelaySnapshot(dkim_keys=[key]).SerializeToString())


def _duration(*, days: float = 0, hours: float = 0, minutes: float = 0, seconds: float = 0) -> Duration:
    duration = Duration()
    duration.FromTimedelta(timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds))
    return duration


_ENCODERS: dict[str, Encode] = {
    "settings/general": _general,
    "settings/delivery": _delivery,
    "settings/queue": _queue,
    "settings/resolvers": _resolvers,
    "settings/sender-policy": _sender_policy,
    "settings/connection-policy": _connection_policy,
    "settings/advanced-security": _advanced_security,
    "settings/content-checks": _content_checks,
    "relay-rules": _relay_rule,
    "trusted-networks": _trusted_network,
    "relay-domains": _relay_domain,
    "local-domains": _local_domain,
    "accounts": _account,
    "aliases": _alias,
    "access-rules": _access_rule,
    "dkim-keys": _dkim_key,
    "tls-policies": _tls_policy,
}
