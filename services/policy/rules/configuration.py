"""The settings of operators, as rules read them. This module is pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from enum import IntEnum, StrEnum
from functools import lru_cache
from hashlib import blake2b


class Mode(IntEnum):
    OFF = 1
    SHADOW = 2
    ENFORCE = 3


@dataclass(frozen=True, slots=True)
class Account:
    id: str
    login: str
    password_hash: str = field(repr=False)
    # The proof of an earlier hash of the same password. Sessions that logged in before the hash was replaced send this
    # proof.
    earlier_proof: bytes = field(default=b"", repr=False)

    @property
    def proof(self) -> bytes:
        """Returns a value that changes with the password and does not reveal it. With this value, policy recognises a
        session that logged in with an earlier password.
        """
        return self.earlier_proof or _proof(self.password_hash)


@lru_cache(maxsize=16_384)
def _proof(password_hash: str) -> bytes:
    return blake2b(password_hash.encode(), digest_size=16).digest()


class Criterion(StrEnum):
    SENDER = "sender"
    RECIPIENT = "recipient"
    IP = "ip"
    NETWORK = "network"
    DOMAIN = "domain"


@dataclass(frozen=True, slots=True)
class AccessRule:
    id: str
    criterion: Criterion
    allow: bool
    mode: Mode
    discard: bool = False
    # The time at which the rule ends, in seconds since the epoch. Infinity means never.
    expires_at: float = float("inf")


class ExistingRecipients(IntEnum):
    """How policy knows which recipients of a local or relay domain exist. The numbers are those of config.v1."""

    ACCOUNTS = 1
    LIST = 2
    ANY = 3
    VERIFY = 4


@dataclass(frozen=True, slots=True)
class SmtpAuth:
    enabled: bool = False
    skip_for_local_networks: bool = False
    sender_must_match_login: bool = False
    skip_sender_match_for_trusted_networks: bool = False
    forbid_plaintext_auth_without_tls: bool = False


@dataclass(frozen=True, slots=True)
class Profile:
    hostname: str = ""
    banner: str = ""
    # For each of these, 0 means no limit.
    max_recipients: int = 0
    max_hops: int = 0
    max_message_size: int = 0
    reject_message_over_recipient_limit: bool = False


@dataclass(frozen=True, slots=True)
class SenderPolicy:
    reject_non_fqdn_sender: Mode = Mode.OFF
    reject_unknown_sender_domain: Mode = Mode.OFF


@dataclass(frozen=True, slots=True)
class ConnectionPolicy:
    reject_unknown_client_hostname: Mode = Mode.OFF
    # For each of these, 0 means no limit.
    max_concurrent_connections: int = 0
    max_messages_per_minute: int = 0
    max_connections_per_minute: int = 0


@dataclass(frozen=True, slots=True)
class AdvancedSecurity:
    reject_unauthorized_pipelining: Mode = Mode.OFF
    reject_non_fqdn_helo: Mode = Mode.OFF
    reject_unknown_helo: Mode = Mode.OFF
    # For each of these, 0 means off.
    max_unknown_recipients_per_day: int = 0
    max_junk_commands: int = 0
    max_refused_recipients: int = 0


@dataclass(frozen=True, slots=True)
class DnsblZone:
    zone: str
    # Inclusive ranges of addresses in 127.0.0.0/8, as numbers.
    codes: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Antivirus:
    mode: Mode = Mode.OFF
    clamd: str = ""
    accept_on_error: bool = False
    discard: bool = False
    timeout: timedelta = timedelta(0)


@dataclass(frozen=True, slots=True)
class Spam:
    mode: Mode = Mode.OFF
    # The URL of rspamd, which begins with http or https and has a host and a port.
    rspamd: str = ""
    password: str = field(default="", repr=False)
    accept_on_error: bool = True
    timeout: timedelta = timedelta(0)
    # Whether mail of logged-in clients is checked too.
    check_outgoing: bool = False


@dataclass(frozen=True, slots=True)
class ContentChecks:
    dnsbl: Mode = Mode.OFF
    dnsbl_zones: tuple[DnsblZone, ...] = ()
    spf: Mode = Mode.OFF
    spf_reject_softfail: bool = False
    spf_reject_permerror: bool = False
    dkim: Mode = Mode.OFF
    dmarc: Mode = Mode.OFF
    arc: bool = False
    antivirus: Antivirus = Antivirus()
    spam: Spam = Spam()
