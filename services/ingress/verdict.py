"""The answers of policy: accept, reject or discard, the session profile, and the content checks. This module does no
I/O.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field

from libs.smtp.reply import Reply
from libs.smtp.value import fast_value


class Action(enum.IntEnum):
    """The actions of a verdict. The numbers are those of policy.v1."""

    ACCEPT = 1
    REJECT = 2
    DISCARD = 3


class CheckResult(enum.IntEnum):
    """The results of SPF, DKIM, DMARC and ARC (RFC 8601 2.7). The numbers are those of policy.v1."""

    NONE = 1
    NEUTRAL = 2
    PASS = 3
    FAIL = 4
    SOFTFAIL = 5
    POLICY = 6
    TEMPERROR = 7
    PERMERROR = 8


@fast_value(frozen=True, slots=True, eq=False)
class Profile:
    """The limits and options of the session. `max_message_size` is in octets, and a limit of 0 means that there is no
    limit. `ask_stages` has numbers of Stage. Profiles are compared and hashed by identity, because values that are
    computed from a profile are cached under it for all sessions.
    """

    revision: int
    hostname: str
    banner: str
    auth_plaintext: tuple[str, ...]
    auth_tls: tuple[str, ...]
    max_message_size: int
    # This limit is only shown in the reply to EHLO. The verdict of RCPT refuses further recipients.
    max_recipients: int
    max_hops: int
    max_junk_commands: int
    junk_commands_per_delay: int
    ask_stages: frozenset[int]
    authserv_id: str
    may_relay: bool = False
    max_refused_recipients: int = 0


@dataclass(frozen=True, slots=True)
class Rspamd:
    """The address of rspamd and the options of a question to it. `url` has no path. An empty password is not sent."""

    url: str
    password: str = field(default="", repr=False)
    seconds: float = 10.0


@fast_value(frozen=True, slots=True)
class Checks:
    """The content checks to run before END_OF_DATA. `clamd` is host:port or the path of a socket. If it is empty, the
    content is not scanned for viruses.
    """

    dkim: bool = False
    arc: bool = False
    clamd: str = ""
    clamd_seconds: float = 0.0
    # None means that rspamd is not asked.
    rspamd: Rspamd | None = None

    def united(self, other: Checks) -> Checks:
        """Returns the checks that `self` or `other` asks for, with the longer time for clamd."""
        if other == NO_CHECKS:
            return self
        return Checks(
            dkim=self.dkim or other.dkim,
            arc=self.arc or other.arc,
            clamd=self.clamd or other.clamd,
            clamd_seconds=max(self.clamd_seconds, other.clamd_seconds),
            rspamd=self.rspamd or other.rspamd,
        )

    @property
    def wanted(self) -> bool:
        return self.dkim or self.arc or bool(self.clamd) or self.rspamd is not None


NO_CHECKS = Checks()


@fast_value(frozen=True, slots=True)
class AuthenticationResult:
    """The result of one method for Authentication-Results. `properties` are (ptype, property, value) (RFC 8601 2.2)."""

    method: str
    result: CheckResult
    reason: str = ""
    properties: tuple[tuple[str, str, bytes], ...] = ()


@fast_value(frozen=True, slots=True)
class ShadowOutcome:
    """A refusal that a rule in shadow mode would have made."""

    reason_id: str
    rule_id: str


@fast_value(frozen=True, slots=True)
class Verdict:
    """One answer of policy. `delay` is in seconds. `reply` exists when the action is REJECT."""

    action: Action
    reply: Reply | None = None
    close: bool = False
    reason_id: str = ""
    rule_id: str = ""
    delay: float = 0.0
    profile: Profile | None = None
    checks: Checks = NO_CHECKS
    # For AUTH: the login, and its proof, which is sent to policy with every later request.
    account: str = ""
    account_proof: bytes = field(default=b"", repr=False)
    # Whether the login is no longer valid, so that the session must end.
    login_lapsed: bool = False
    # For RCPT: whether the whole message is refused, and not only this recipient.
    refuses_message: bool = False
    # For RCPT: whether relay must be asked about the recipient, and then policy again. `reply` is the answer when relay
    # cannot be asked.
    verify_recipient: bool = False
    results: tuple[AuthenticationResult, ...] = ()
    quarantine: bool = False
    quarantine_reasons: tuple[str, ...] = ()
    # For END_OF_DATA: whether X-Spam is added. None means that such fields of the sender are not changed.
    spam_mark: bool | None = None
    # For RCPT: the client's verified name, for rspamd. It is empty when none is known.
    client_name: str = ""
    shadow: tuple[ShadowOutcome, ...] = ()

    @property
    def tells_something(self) -> bool:
        """Whether a rule decided, or a rule in shadow mode would have decided."""
        return bool(self.reason_id or self.rule_id or self.shadow)


class InvalidVerdictError(ValueError):
    """The answer of policy violates the contract. Such an answer is treated like no answer."""
