"""What policy answers: accept, reject or discard, the session profile, the content checks wanted. No I/O."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field

from libs.smtp.reply import Reply
from libs.smtp.value import fast_value


class Action(enum.IntEnum):
    """The numbers are the contract's."""

    ACCEPT = 1
    REJECT = 2
    DISCARD = 3


class CheckResult(enum.IntEnum):
    """Results of SPF, DKIM, DMARC and ARC (RFC 8601 2.7); the numbers are the contract's."""

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
    """How to hold the session. `max_message_size` in octets; limits of 0 are none. `ask_stages`: numbers of Stage.

    Compared and hashed by identity, since what is made of a profile once is looked up by it in every session.
    """

    revision: int
    hostname: str
    banner: str
    auth_plaintext: tuple[str, ...]
    auth_tls: tuple[str, ...]
    max_message_size: int
    # It only stands in EHLO's reply; RCPT's verdict refuses the excess.
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
    """Where and how rspamd is asked. `url` without a path; an empty password is not sent."""

    url: str
    password: str = field(default="", repr=False)
    seconds: float = 10.0


@fast_value(frozen=True, slots=True)
class Checks:
    """The content checks to run before END_OF_DATA. `clamd`: host:port or a socket's path; empty: no scan."""

    dkim: bool = False
    arc: bool = False
    clamd: str = ""
    clamd_seconds: float = 0.0
    # None: rspamd is not asked.
    rspamd: Rspamd | None = None

    def united(self, other: Checks) -> Checks:
        """What either asks for; the longer time for clamd."""
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
    """One method's result for Authentication-Results; `properties` are (ptype, property, value) (RFC 8601 2.2)."""

    method: str
    result: CheckResult
    reason: str = ""
    properties: tuple[tuple[str, str, bytes], ...] = ()


@fast_value(frozen=True, slots=True)
class ShadowOutcome:
    """What a rule in shadow mode would have refused."""

    reason_id: str
    rule_id: str


@fast_value(frozen=True, slots=True)
class Verdict:
    """One answer of policy. `delay` in seconds; `reply` is there when the action is REJECT."""

    action: Action
    reply: Reply | None = None
    close: bool = False
    reason_id: str = ""
    rule_id: str = ""
    delay: float = 0.0
    profile: Profile | None = None
    checks: Checks = NO_CHECKS
    # AUTH: the login, and its proof, which goes to policy with every later request.
    account: str = ""
    account_proof: bytes = field(default=b"", repr=False)
    # The login is proved no longer; the session has to end.
    login_lapsed: bool = False
    # RCPT: the whole message is refused with this recipient.
    refuses_message: bool = False
    # RCPT: relay has to be asked for the recipient, and policy once more; `reply` is for when that can't be.
    verify_recipient: bool = False
    results: tuple[AuthenticationResult, ...] = ()
    quarantine: bool = False
    quarantine_reasons: tuple[str, ...] = ()
    # END_OF_DATA: whether X-Spam is added; None: such fields stay as they came.
    spam_mark: bool | None = None
    # RCPT: the client's verified name, for rspamd; empty: none is known.
    client_name: str = ""
    shadow: tuple[ShadowOutcome, ...] = ()

    @property
    def tells_something(self) -> bool:
        """A rule matched, or would have in shadow mode."""
        return bool(self.reason_id or self.rule_id or self.shadow)


class NonsenseError(ValueError):
    """An answer of policy that contradicts the contract. It is treated like no answer."""
