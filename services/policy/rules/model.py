"""The values that all rules use: the snapshot, the facts of a session, matches and verdicts. This module is pure.

`Facts` and `Verdict` are made for every decision, so they are plain classes with slots. Rules change them only to store
a result in a field for it. All values that live longer are frozen.
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
    """The stages of a session. The numbers are those of policy.v1."""

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
    """The results of RFC 8601 2.7. The numbers are those of policy.v1."""

    NONE = 1
    NEUTRAL = 2
    PASS = 3
    FAIL = 4
    SOFTFAIL = 5
    POLICY = 6
    TEMPERROR = 7
    PERMERROR = 8


class Verification(IntEnum):
    """The mailbox server's answer about the recipient. All numbers except the last are those of policy.v1."""

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
    """The action that rspamd recommends. The numbers are those of policy.v1."""

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
    # The address that gets mail for addresses that do not exist. Of its facts, only those that need no snapshot are
    # set.
    catch_all: AddressFacts | None = None
    # The delimiter between user and tag. Empty means that addresses have no tags.
    delimiter: str = ""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The configuration, compiled for look-ups. A new snapshot replaces the old one as a whole."""

    revision: int
    smtp_auth: SmtpAuth
    profile: Profile
    sender_policy: SenderPolicy
    connection_policy: ConnectionPolicy
    advanced: AdvancedSecurity
    content_checks: ContentChecks
    timezone: tzinfo
    # The facts about clients, by address.
    clients: ClientTable
    access: AccessTables
    relay_domains: Mapping[str, ExistingRecipients]
    local_domains: Mapping[str, LocalDomain]
    # The recipients of domains whose recipients are listed (`AddressFacts.key` in UTF-8).
    listed_recipients: AddressSet
    # The key is the login in its configured spelling.
    accounts: Mapping[str, Account]
    # The key is the login without case (`login_key`).
    logins: Mapping[str, Account]
    # The account of each address (`AddressFacts.key`) of enabled accounts.
    addressees: Mapping[str, Account]
    # For each address (`AddressFacts.key`), the id of its account, or DISABLED for a disabled account.
    owners: Mapping[str, str]
    # For each address of an alias (`AddressFacts.key`), its targets. Of their facts, only those that need no snapshot
    # are set.
    aliases: Mapping[str, tuple[AddressFacts, ...]]
    # Addresses that were used recently, by `AddressFacts.wire`.
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
    # The names of the rspamd rules with the most weight.
    symbols: tuple[str, ...] = ()
    # The reason when there is no answer.
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
    # Whether a From field cannot be read completely, so that `authors` may lack some.
    from_unparsable: bool = False
    dkim_checked: bool = False
    dkim: tuple[DkimSignature, ...] = ()
    arc: ArcChain | None = None
    scan: ScanOutcome = ScanOutcome.NOT_SCANNED
    # None means that rspamd was not asked.
    spam: SpamScan | None = None


NO_CONTENT = Content()


@dataclass(slots=True, eq=False)
class Counts:
    """The counts for this decision. None means that there is no count, because the rule is off, the client is exempt,
    or the store does not answer.
    """

    connections: int | None = None
    connections_this_minute: int | None = None
    messages_this_minute: int | None = None
    blocked: int | None = None


NO_COUNTS = Counts()
# The look-up results for stages at which no rule makes look-ups. Nothing is ever added to them.
NO_LOOKUP_RESULTS = LookupResults()


@dataclass(slots=True)
class Facts:
    """The facts about a session at one stage. `wire.facts` sets those that the rules of the stage read. If a fact
    exists only at some stages, a comment names these stages.
    """

    stage: int
    # The time of the decision, in seconds since the epoch.
    now: float
    session_id: str
    client: Client
    listener: int = Listener.SMTP
    # The account of the session's login, if it still exists and still has the password of the login.
    account: Account | None = None
    # Whether the session logged in to an account that no longer exists, or has another password now.
    login_lapsed: bool = False
    helo_name: bytes = b""
    # The revision of the profile that ingress has for the session.
    profile_revision: int = 0
    # Whether the same request was sent before to another replica, which may have counted the request and then failed.
    asked_before: bool = False
    lookup_results: LookupResults = field(default_factory=LookupResults)
    # Only at AUTH: whether the session uses TLS.
    tls: bool = False
    # Only at JUNK_COMMAND and PIPELINING: the number of junk commands, and the point at which the client sent data too
    # early.
    junk_commands: int = 0
    pipelining_violation: int = 0
    # At MAIL, the number of junk commands since the last delay, and the size that the client declared.
    junk_commands_uncharged: int = 0
    declared_size: int = 0
    sender: AddressFacts = NULL_ADDRESS
    recipient: AddressFacts = NULL_ADDRESS
    # The number of earlier recipients of this message about which ingress asked, whatever the answer was.
    recipients_asked: int = 0
    # The number of recipients that were answered with 250. At END_OF_DATA, `recipients` names them.
    recipient_count: int = 0
    recipients: tuple[AddressFacts, ...] = ()
    # At RCPT: the mailbox server's answer about the recipient, if its domain's recipients are verified.
    verification: int = Verification.NOT_ASKED_YET
    # Whether this recipient is a postmaster (at RCPT), or every recipient that was not discarded (at END_OF_DATA).
    for_postmaster: bool = False
    content: Content = NO_CONTENT
    counts: Counts = NO_COUNTS
    # The access rules that match, and the allow rules in force among them. access.matches and access.allow_rules set
    # them when they are first needed.
    listed: tuple[AccessRule, ...] | None = None
    allowed_by: tuple[AccessRule, ...] | None = None
    # False means that no exemption applies (exemptions.may_hold), so that none needs to be checked.
    may_be_exempt: bool = True


# Verdicts


@fast_value(frozen=True, slots=True, eq=False)
class RuleMatch:
    """The answer of a rule that matches. Most rules make their answer only once. Access rules make an answer for each
    match.
    """

    reply: Reply | None
    action: Action = Action.REJECT
    close: bool = False
    rule_id: str = ""
    # Whether the message is marked for quarantine. A match with this mark refuses nothing, and the rules after it are
    # tried.
    quarantine: bool = False
    # At RCPT: the whole message is refused, and not only this recipient.
    refuses_message: bool = False
    # At RCPT: nothing is decided yet, because the mailbox server must be asked about the recipient.
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
    """The address of rspamd, and the options of a question to it."""

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
    """The decision of the rules. Most decisions share one verdict of a rulebook, so a verdict must not be changed after
    it was returned.
    """

    action: Action = Action.ACCEPT
    reply: Reply | None = None
    close: bool = False
    reason_id: str = ""
    rule_id: str = ""
    shadow: tuple[ShadowOutcome, ...] = ()
    # The seconds to wait before the answer.
    delay: int = 0
    checks: Checks = NO_CHECKS
    # The names of the rules that ask for quarantine.
    quarantine: tuple[str, ...] = ()
    # At AUTH: the login that was proved, and the proof that the session sends from then on.
    account: str = ""
    account_proof: bytes = b""
    # At RCPT: the whole message is refused.
    refuses_message: bool = False
    # At RCPT: nothing is decided yet, because the mailbox server must be asked about the recipient.
    verify_recipient: bool = False
    # The access rules that matched.
    hits: tuple[str, ...] = ()
    # Whether the rulebook uses this verdict for many messages.
    shared: bool = False


# Rules


class Exemption(StrEnum):
    LOGGED_IN = "logged_in"
    TRUSTED_NETWORK = "trusted_network"
    LOCAL_NETWORK = "local_network"
    SUBMISSION = "submission"
    # The next two exemptions are only for whole sessions, so no report of a rule names them.
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
# Returns the name of the exemption, or the id of the allow rule, that lets these facts pass. The result is empty when
# there is none.
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
    # Returns the look-ups that `match` reads.
    lookups: RuleLookups | None = None
    # Whether `lookups` needs only the client's address, so that these look-ups can begin at CONNECT.
    begins_at_connect: bool = False
    # Returns look-ups that begin at CONNECT. A content check gets the outcome of such a look-up if it is known by RCPT.
    lookups_for_checks: RuleLookups | None = None
    # Whether `match` reads a counter.
    counted: bool = False
    # Whether the rule is also tried for mail to a postmaster.
    for_postmaster: bool = False
    # Whether `match` can match only when an access rule matches.
    by_access_rules: bool = False
    # Whether ingress applies the rule itself, with numbers from the session profile.
    applied_by_ingress: bool = False
    # Returns an exemption for the whole session, whatever the client sends. This function reads only the client, the
    # listener and the login (see `profile.profile_key`). If every rule of a stage is exempt, ingress does not ask at
    # the stage.
    session_exempt: Exempt = _never
    # Describes in a sentence for Explain what the rule sees in the facts. The result is empty when there is nothing to
    # say.
    describe: Callable[[Facts], str] = lambda _: ""


def always(_snapshot: Snapshot) -> Mode:
    """Returns the mode of a rule that no setting turns off."""
    return Mode.ENFORCE


def when(on: bool) -> Mode:
    """Returns the mode of a rule that has no shadow mode: `on` tells whether it is in force."""
    return Mode.ENFORCE if on else Mode.OFF
