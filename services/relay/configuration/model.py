"""The configuration in the form that the rest of relay reads: immutable values, with tables for look-ups that are built
once. This module is pure.

Addresses are canonical wire forms (`libs.smtp.address`): the local part as written, the domain an A-label in lower
case. Aliases, local accounts, relay rules and the recipients of relay domains are typed by operators. Their local parts
are compared without case, so `key_of` makes the keys for them.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from libs.smtp.address import from_wire
from libs.smtp.address_set import AddressSet


def key_of(address: bytes) -> bytes:
    """Returns the key of an address whose local part is compared without case: the `Address.local_key` of its wire
    form.
    """
    if address.isascii():
        return address.lower()
    try:
        return from_wire(address).local_key().encode()
    except ValueError:
        return address.lower()


class MailboxKind(Enum):
    SMTP = "smtp"
    LMTP = "lmtp"
    MAILDIR = "maildir"


class TlsLevel(Enum):
    """How a connection to a server must be secured."""

    NONE = "none"
    MAY = "may"
    ENCRYPT = "encrypt"
    VERIFY = "verify"


@dataclass(frozen=True, slots=True)
class FallbackHost:
    """A server that is tried after the first server of a relay host or mailbox. All other values are those of the first
    server.
    """

    host: str
    port: int


@dataclass(frozen=True, slots=True)
class Mailbox:
    kind: MailboxKind
    host: str = ""
    port: int = 0
    # For maildir: the directory that holds one Maildir for each recipient.
    path: str = ""
    tls: TlsLevel = TlsLevel.MAY
    fallback_hosts: tuple[FallbackHost, ...] = ()


class ExistingRecipients(Enum):
    """How relay knows which recipients of a local domain exist."""

    ACCOUNTS = "accounts"
    LIST = "list"
    ANY = "any"
    VERIFY = "verify"


@dataclass(frozen=True, slots=True)
class LocalDomain:
    id: str
    domain: str
    # None means that mail for the domain is held.
    mailbox: Mailbox | None
    quarantine_mailbox: Mailbox | None = None
    recipients: ExistingRecipients = ExistingRecipients.ACCOUNTS
    # The address that gets the mail for addresses that do not exist. Empty means that the domain has no catch-all.
    catch_all: bytes = b""
    # The delimiter between user and tag. Empty means that addresses have no tags.
    delimiter: str = ""


@dataclass(frozen=True, slots=True)
class RelayDomain:
    id: str
    domain: str
    # The server that accepts the domain's mail. None means that its MX hosts accept it.
    next_hop: Mailbox | None = None


class Quarantine(Enum):
    """What happens to mail that is marked for quarantine."""

    MARK = "mark"
    # The mail goes into the quarantine mailbox of its local domain, if the domain has such a mailbox.
    MAILBOX = "mailbox"
    HOLD = "hold"


@dataclass(frozen=True, slots=True)
class RelayHostAuth:
    username: str
    password: str = field(repr=False)
    allow_without_tls: bool = False


@dataclass(frozen=True, slots=True)
class RelayHost:
    host: str
    port: int = 25
    always_tls: bool = False
    implicit_tls: bool = False
    verify_certificate: bool = False
    auth: RelayHostAuth | None = None
    fallback_hosts: tuple[FallbackHost, ...] = ()

    @property
    def login(self) -> str:
        """Returns the login at the host. The result is empty when there is no login."""
        return self.auth.username if self.auth is not None else ""


class RuleType(Enum):
    RECIPIENT = "recipient"
    SENDER = "sender"


class TargetType(Enum):
    ADDRESS = "address"
    DOMAIN = "domain"


@dataclass(frozen=True, slots=True)
class RelayRule:
    id: str
    name: str
    type: RuleType
    target_type: TargetType
    # Lower-cased addresses, or domains. `.example.com` stands for the subdomains of example.com.
    targets: tuple[str, ...]
    relay_host: RelayHost
    position: int = 0


@dataclass(frozen=True, slots=True)
class RuleTargets:
    """Relay rules of one type, by their targets. When several rules have the same target, the first by position is
    used.
    """

    by_address: Mapping[bytes, RelayRule]
    by_domain: Mapping[str, RelayRule]
    # The rules for subdomains: the target `.example.com` has the key `example.com`.
    by_parent: Mapping[str, RelayRule]

    @classmethod
    def of(cls, rules: Sequence[RelayRule], type_: RuleType) -> RuleTargets:
        """Reads `rules`, which are in order of position. Rules of another type are skipped."""
        addresses: dict[bytes, RelayRule] = {}
        domains: dict[str, RelayRule] = {}
        parents: dict[str, RelayRule] = {}
        for rule in rules:
            if rule.type is not type_:
                continue
            for target in rule.targets:
                if rule.target_type is TargetType.ADDRESS:
                    addresses.setdefault(target.encode(), rule)
                elif target.startswith("."):
                    parents.setdefault(target[1:], rule)
                else:
                    domains.setdefault(target, rule)
        return cls(addresses, domains, parents)

    def match(self, address: bytes, base: bytes, domain: str) -> RelayRule | None:
        """Returns the rule for `address` (as `key_of` returns it) at `domain`, or None when no rule matches. A rule for
        the address takes precedence over rules for the domain. Among rules for the domain and its parent domains, the
        position decides.

        `base` is the untagged form of the address, or the address itself.
        """
        if not self.by_address and not self.by_domain and not self.by_parent:
            return None
        rule = self.by_address.get(address) or self.by_address.get(base)
        if rule is not None:
            return rule
        found = []
        if domain in self.by_domain:
            found.append(self.by_domain[domain])
        parent = domain.partition(".")[2] if self.by_parent else ""
        while parent:
            if parent in self.by_parent:
                found.append(self.by_parent[parent])
            parent = parent.partition(".")[2]
        return min(found, key=lambda rule: rule.position, default=None)


@dataclass(frozen=True, slots=True)
class Alias:
    id: str
    address: bytes
    targets: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Resolvers:
    # Each entry has the form host[:port].
    preferred: tuple[str, ...] = ()
    alternate: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class QueueSettings:
    """The settings of the queue. All times are in seconds."""

    first_retry: float = 300.0
    retry_growth: float = 1.5
    max_retry: float = 7200.0
    expire_after: float = 120 * 3600.0
    # 0 means that no notice is sent.
    delay_notice_after: float = 4 * 3600.0
    bounce_expire_after: float = 24 * 3600.0
    max_concurrency_per_destination: int = 20
    max_messages_per_connection: int = 100
    # 0 means that there is no limit.
    max_messages_per_minute_per_destination: int = 0
    retention: float = 7 * 86400.0
    keep_subjects: bool = False


@dataclass(frozen=True, slots=True)
class DkimKey:
    id: str
    domain: str
    selector: str
    # The algorithm is rsa-sha256 or ed25519-sha256.
    algorithm: str
    private_key: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Configuration:
    """One revision of the configuration. A new revision replaces it as a whole."""

    revision: int
    hostname: str
    # The largest size of a message in octets. 0 means that there is no limit.
    max_message_size: int = 25 * 1024 * 1024
    max_hops: int = 50
    external_postmasters: tuple[bytes, ...] = ()
    # None means that mail is delivered directly.
    relay_host: RelayHost | None = None
    # The enabled rules, by position.
    relay_rules: tuple[RelayRule, ...] = ()
    relay_domains: Mapping[str, RelayDomain] = field(default_factory=dict)
    local_domains: Mapping[str, LocalDomain] = field(default_factory=dict)
    # The key is `key_of` of the address.
    aliases: Mapping[bytes, Alias] = field(default_factory=dict)
    # The addresses are as `key_of` returns them.
    account_addresses: Container[bytes] = frozenset()
    # The recipients of those domains that list their recipients.
    listed_recipients: AddressSet = field(default_factory=lambda: AddressSet({}))
    resolvers: Resolvers = Resolvers()
    queue: QueueSettings = QueueSettings()
    # The key is the domain.
    dkim_keys: Mapping[str, tuple[DkimKey, ...]] = field(default_factory=dict)
    # The TLS levels for direct mail, by domain; `.example.com` stands for the subdomains of example.com.
    tls_policies: Mapping[str, TlsLevel] = field(default_factory=dict)
    quarantine: Quarantine = Quarantine.MAILBOX
    # The pairs of host and port for which more than one login is configured.
    shared_relay_hosts: frozenset[tuple[str, int]] = field(init=False, repr=False, compare=False)
    # Whether any address may be replaced by another one, by an alias or by the catch-all of a domain.
    has_aliases: bool = field(init=False, repr=False, compare=False)
    # These are made from relay_rules.
    recipient_targets: RuleTargets = field(init=False, repr=False, compare=False)
    sender_targets: RuleTargets = field(init=False, repr=False, compare=False)
    # A cache of routes. It is stored in the configuration, so that a new configuration begins with an empty cache.
    known_routes: dict[Any, Any] = field(init=False, repr=False, compare=False, default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "shared_relay_hosts", _shared(self.relay_host, self.relay_rules))
        catches_all = any(domain.catch_all for domain in self.local_domains.values())
        object.__setattr__(self, "has_aliases", bool(self.aliases) or catches_all)
        object.__setattr__(self, "recipient_targets", RuleTargets.of(self.relay_rules, RuleType.RECIPIENT))
        object.__setattr__(self, "sender_targets", RuleTargets.of(self.relay_rules, RuleType.SENDER))

    def tls_level(self, domain: str) -> TlsLevel:
        """Returns the lowest TLS level that a connection for direct mail to the domain must have."""
        policies = self.tls_policies
        if not policies:
            return TlsLevel.MAY
        level = policies.get(domain)
        parent = domain.partition(".")[2]
        while level is None and parent:
            level, parent = policies.get(f".{parent}"), parent.partition(".")[2]
        return TlsLevel.MAY if level is None else level


def _shared(relay_host: RelayHost | None, rules: Sequence[RelayRule]) -> frozenset[tuple[str, int]]:
    logins: dict[tuple[str, int], set[str]] = {}
    for host in (*((relay_host,) if relay_host is not None else ()), *(rule.relay_host for rule in rules)):
        logins.setdefault((host.host, host.port), set()).add(host.login)
    return frozenset(place for place, names in logins.items() if len(names) > 1)
