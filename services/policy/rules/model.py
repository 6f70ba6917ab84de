"""The values that rules meet in: the snapshot, the facts of a session, matches and verdicts. Pure.

`Facts` and `Verdict` are made for every decision and are therefore plain slotted classes; nothing changes them once
the rules have them. Everything that lives longer is frozen.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta, tzinfo
from enum import Enum, IntEnum, StrEnum

from libs.smtp.address_set import AddressSet
from libs.smtp.reply import Reply
from libs.smtp.value import fast_value
from services.policy.rules.access_tables import AccessTables
from services.policy.rules.address_facts import NULL_ADDRESS, AddressFacts
from services.policy.rules.clients import Client, ClientTable
from services.policy.rules.configuration import (
    AccessRule,
    Account,
    AdvancedSecurity,
    ConnectionPolicy,
    ContentChecks,
    ExistingRecipients,
    Mode,
    Profile,
    SenderPolicy,
    SmtpAuth,
)
from services.policy.rules.lookup import LookupResults, Question


class Stage(IntEnum):
    """The numbers are those of the contract."""

    CONNECT = 1
    HELO = 2
    AUTH = 3
    MAIL = 4
    RCPT = 5
    DATA = 6
    END_OF_DATA = 7
    JUNK_COMMAND = 8
    PIPELINING = 9


class Listener(IntEnum):
    SMTP = 1
    SUBMISSION = 2
    SUBMISSIONS = 3


class Action(IntEnum):
    ACCEPT = 1
    REJECT = 2
    DISCARD = 3


class CheckResult(IntEnum):
    """RFC 8601 2.7; the numbers are those of the contract."""

    NONE = 1
    NEUTRAL = 2
    PASS = 3
    FAIL = 4
    SOFTFAIL = 5
    POLICY = 6
    TEMPERROR = 7
    PERMERROR = 8


class Verification(IntEnum):
    """The mailbox server's answer about the recipient. All numbers but the last are those of the contract."""

    NOT_ASKED_YET = 0
    EXISTS = 1
    NONE = 2
    NO_ANSWER = 3
    # The client has named too many new recipients in this minute.
    TOO_MANY = 4
    MAILBOX_FULL = 5
    # Explain asks no mailbox server.
    NEVER_ASKED = 100


class ScanOutcome(IntEnum):
    NOT_SCANNED = 0
    CLEAN = 1
    INFECTED = 2
    ERROR = 3


class SpamAction(IntEnum):
    """The action that rspamd recommends. The numbers are those of the contract."""

    NO_ACTION = 1
    GREYLIST = 2
    ADD_HEADER = 3
    REWRITE_SUBJECT = 4
    SOFT_REJECT = 5
    REJECT = 6
    # rspamd gave no answer.
    ERROR = 7


# Configuration


@dataclass(frozen=True, slots=True)
class LocalDomain:
    recipients: ExistingRecipients = ExistingRecipients.ACCOUNTS
    # Takes the mail for addresses that do not exist, with its key alone.
    catch_all: AddressFacts | None = None
    # The delimiter between user and tag; empty: addresses have no tags.
    delimiter: str = ""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The configuration, compiled for look-ups. Replaced as a whole, never changed."""

    revision: int
    smtp_auth: SmtpAuth
    profile: Profile
    sender_policy: SenderPolicy
    connection_policy: ConnectionPolicy
    advanced: AdvancedSecurity
    content_checks: ContentChecks
    timezone: tzinfo
    # Facts about clients by their address.
    clients: ClientTable
    access: AccessTables
    relay_domains: Mapping[str, ExistingRecipients]
    local_domains: Mapping[str, LocalDomain]
    # The recipients of domains whose recipients are listed (`AddressFacts.key` in UTF-8).
    listed_recipients: AddressSet
    # The key is the login as configured.
    accounts: Mapping[str, Account]
    # The key is the login without case (`login_key`).
    logins: Mapping[str, Account]
    # By address (`AddressFacts.key`) of enabled accounts.
    addressees: Mapping[str, Account]
    # Address (`AddressFacts.key`) to the id of the account that has it, DISABLED for one that is disabled.
    owners: Mapping[str, str]
    # Address of an alias (`AddressFacts.key`) to its targets, with their keys alone.
    aliases: Mapping[str, tuple[AddressFacts, ...]]
    # Addresses that were met lately, by `AddressFacts.wire`.
    known_addresses: dict[bytes, AddressFacts] = field(default_factory=dict)


# Facts


@fast_value(frozen=True, slots=True)
class DkimSignature:
    result: CheckResult
    domain: str
    selector: str = ""
    algorithm: str = ""
    signature_prefix: bytes = b""
    identity: bytes = b""
    reason: str = ""


@fast_value(frozen=True, slots=True)
class ArcChain:
    result: CheckResult
    instances: int
    sealer_domain: str = ""


@dataclass(frozen=True, slots=True)
class SpamScan:
    action: SpamAction
    score: float = 0.0
    # The score from which on rspamd rejects.
    required_score: float = 0.0
    # Names of the rules of rspamd that decided most.
    symbols: tuple[str, ...] = ()
    # Why there is no answer.
    reason: str = ""

    @property
    def is_marked(self) -> bool:
        return self.action in (SpamAction.ADD_HEADER, SpamAction.REWRITE_SUBJECT)


@dataclass(slots=True, eq=False)
class Content:
    size: int = 0
    hops: int = 0
    from_fields: int = 0
    # The mailboxes of all From fields.
    authors: tuple[AddressFacts, ...] = ()
    # A From field can't be read to its end: `authors` may not be all.
    from_unparsable: bool = False
    dkim_checked: bool = False
    dkim: tuple[DkimSignature, ...] = ()
    arc: ArcChain | None = None
    scan: ScanOutcome = ScanOutcome.NOT_SCANNED
    # None: rspamd was not asked.
    spam: SpamScan | None = None


NO_CONTENT = Content()


@dataclass(slots=True, eq=False)
class Counts:
    """The numbers of the counters for this decision.

    None: not counted, since the rule is off, the client is exempt, or the store is away.
    """

    connections: int | None = None
    connections_this_minute: int | None = None
    messages_this_minute: int | None = None
    blocked: int | None = None


NO_COUNTS = Counts()
# The look-up results at stages where no rule looks anything up; nothing is ever put into them.
NO_LOOKUP_RESULTS = LookupResults()


@dataclass(slots=True)
class Facts:
    """All that is known of a session at one stage."""

    stage: int
    # Seconds since the epoch.
    now: float
    session_id: str
    client: Client
    listener: int = Listener.SMTP
    tls: bool = False
    helo_name: bytes = b""
    # The account that the session proved by AUTH, if it still exists with the password that was proved.
    account: Account | None = None
    junk_commands: int = 0
    junk_commands_uncharged: int = 0
    pipelining_violation: int = 0
    # The revision of the profile that ingress holds for the session.
    profile_revision: int = 0
    sender: AddressFacts = NULL_ADDRESS
    declared_size: int = 0
    recipient: AddressFacts = NULL_ADDRESS
    # Recipients of this message that were asked about before this one, whatever the answer.
    recipients_asked: int = 0
    # The number of recipients that were answered with 250; at END_OF_DATA also who they are.
    recipient_count: int = 0
    recipients: tuple[AddressFacts, ...] = ()
    # At RCPT: what is known of the recipient, where its domain's recipients are verified.
    verification: int = Verification.NOT_ASKED_YET
    # At RCPT, this recipient; at END_OF_DATA, every recipient that was not discarded.
    for_postmaster: bool = False
    content: Content = NO_CONTENT
    counts: Counts = NO_COUNTS
    lookup_results: LookupResults = field(default_factory=LookupResults)
    # Access rules that match, and the allow rules in force among them; found once by access.matches and allow_rules.
    listed: tuple[AccessRule, ...] | None = None
    allowed_by: tuple[AccessRule, ...] | None = None
    # False: no rule's exemption holds (exemptions.may_hold), and none need be asked.
    may_be_exempt: bool = True
    # The same request was sent to another replica before, which may have counted it and died.
    asked_before: bool = False
    # The session proved an account by AUTH that has gone since, or has another password.
    login_lapsed: bool = False


# Verdicts


@fast_value(frozen=True, slots=True, eq=False)
class RuleMatch:
    """The answer of a rule that matches. A rule makes it once; only access rules make new ones."""

    reply: Reply | None
    action: Action = Action.REJECT
    close: bool = False
    rule_id: str = ""
    # Nothing is refused: the message is marked for quarantine, and the rules after this one are tried.
    quarantine: bool = False
    # At RCPT: not just this recipient is refused, but the whole message.
    refuses_message: bool = False
    # At RCPT: nothing is decided yet, the mailbox server has to be asked for the recipient.
    verify_recipient: bool = False
    # One sentence for Explain.
    explanation: str = ""


@fast_value(frozen=True, slots=True)
class ShadowOutcome:
    reason_id: str
    rule_id: str
    reply: Reply | None


@dataclass(frozen=True, slots=True)
class Rspamd:
    """The address of rspamd, and how it is asked."""

    url: str
    password: str = field(default="", repr=False)
    timeout: timedelta = timedelta(0)


@fast_value(frozen=True, slots=True)
class Checks:
    """The content checks that a message still needs."""

    dkim: bool = False
    arc: bool = False
    clamd: str = ""
    clamd_timeout: timedelta = timedelta(0)
    rspamd: Rspamd | None = None


NO_CHECKS = Checks()


@dataclass(slots=True, eq=False)
class Verdict:
    """The decision of the rules. Most decisions share one of a rulebook's: nothing changes a verdict that was given."""

    action: Action = Action.ACCEPT
    reply: Reply | None = None
    close: bool = False
    reason_id: str = ""
    rule_id: str = ""
    shadow: tuple[ShadowOutcome, ...] = ()
    # Seconds to wait before the answer.
    delay: int = 0
    checks: Checks = NO_CHECKS
    # Names of the rules that ask for quarantine.
    quarantine: tuple[str, ...] = ()
    # AUTH: the login proved, and the proof that the session shows from then on.
    account: str = ""
    account_proof: bytes = b""
    # At RCPT: the whole message is refused.
    refuses_message: bool = False
    # At RCPT: nothing is decided yet, the mailbox server has to be asked for the recipient.
    verify_recipient: bool = False
    # Access rules that matched.
    hits: tuple[str, ...] = ()
    # True: the rulebook uses this verdict for many messages.
    shared: bool = False


# Rules


class Exemption(StrEnum):
    LOGGED_IN = "logged_in"
    TRUSTED_NETWORK = "trusted_network"
    LOCAL_NETWORK = "local_network"
    SUBMISSION = "submission"
    # An exemption of the whole session, which no rule's report names.
    MAIL_PORT = "mail_port"
    NOT_LOGGED_IN = "not_logged_in"
    POSTMASTER = "postmaster"
    # Explain asks no mailbox server.
    NOT_ASKED = "not_asked"


class Check(Enum):
    """The columns of the allow matrix."""

    DNSBL = "dnsbl"
    SPF = "spf"
    ANTIVIRUS = "antivirus"
    DKIM = "dkim"
    DMARC = "dmarc"
    SPAM = "spam"


Match = Callable[[Facts, Snapshot], RuleMatch | None]
# Name of the exemption or id of the allow rule that lets these facts pass unchecked; empty: none.
Exempt = Callable[[Facts, Snapshot], str]
RuleLookups = Callable[[Facts, Snapshot], tuple[Question, ...]]


def _never(_facts: Facts, _snapshot: Snapshot) -> str:
    return ""


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule at one stage."""

    reason_id: str
    stage: Stage
    mode: Callable[[Snapshot], Mode]
    match: Match
    exempt: Exempt = _never
    # Look-ups that `match` reads.
    lookups: RuleLookups | None = None
    # The client's address is enough for `lookups`, so that look-ups can begin at CONNECT.
    begins_at_connect: bool = False
    # Look-ups that begin at CONNECT, whose outcome is told to a content check if it is known by RCPT.
    lookups_for_checks: RuleLookups | None = None
    # `match` reads a counter.
    counted: bool = False
    # Tried for postmaster too.
    for_postmaster: bool = False
    # `match` can only match where access rules match.
    by_access_rules: bool = False
    # ingress applies the rule by itself, from numbers in the session profile.
    applied_by_ingress: bool = False
    # The exemption that holds for a session whatever it will send. It reads the client, the listener and the login only
    # (see `profile.profile_key`). A stage at which every rule is exempt is not asked.
    session_exempt: Exempt = _never
    # What the rule sees in the facts, as a sentence for Explain; empty: nothing.
    describe: Callable[[Facts], str] = lambda _: ""


def always(_snapshot: Snapshot) -> Mode:
    """The mode of a rule that no setting turns off."""
    return Mode.ENFORCE


def when(on: bool) -> Mode:
    """The mode of a rule that a number or a switch without shadow turns on."""
    return Mode.ENFORCE if on else Mode.OFF
