"""Facts about one session and the mail transaction in it. No I/O."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import Any

from libs.smtp.parameters import NO_RCPT_PARAMETERS, MailParameters, RcptParameters
from libs.smtp.value import fast_value
from services.ingress.verdict import NO_CHECKS, AuthenticationResult, Checks, Profile, Verdict


class Stage(enum.IntEnum):
    """The points of a session at which policy can be asked. The numbers are those of policy.v1."""

    CONNECT = 1
    HELO = 2
    AUTH = 3
    MAIL = 4
    RCPT = 5
    DATA = 6
    END_OF_DATA = 7
    JUNK_COMMAND = 8
    PIPELINING = 9


class Listener(enum.IntEnum):
    """The kinds of port. The numbers are those of policy.v1."""

    SMTP = 1
    SUBMISSION = 2
    SUBMISSIONS = 3

    @property
    def label(self) -> str:
        """smtp, submission or submissions."""
        return _LABELS[self]


_LABELS = {listener: listener.name.lower() for listener in Listener}


class Violation(enum.IntEnum):
    """The point at which a client sent data before a reply that it had to wait for.

    The numbers are those of policy.v1.
    """

    NONE = 0
    BEFORE_GREETING = 1
    AFTER_HELO = 2
    AFTER_DATA = 3
    AFTER_STARTTLS = 4
    NOT_OFFERED = 5


@fast_value(frozen=True, slots=True)
class Peer:
    """The ends of a connection. Addresses are canonical text: an IPv4-mapped IPv6 address is IPv4."""

    client_address: str
    client_port: int
    local_address: str
    local_port: int


@fast_value(frozen=True, slots=True)
class Tls:
    """The result of a TLS handshake.

    `version` is written as `TLSv1.3`, and `cipher` is OpenSSL's name. `server_name` comes from SNI; it may be empty.
    """

    version: str
    cipher: str
    server_name: str


@fast_value(frozen=True, slots=True)
class PastVerdict:
    """A verdict in which a rule matched, also a rule in shadow mode. `at` is the Unix time in nanoseconds."""

    at: int
    stage: Stage
    verdict: Verdict


# The most verdicts kept of one session outside its messages, and the most of one message.
_MOST_VERDICTS = 25


def remember(verdicts: list[PastVerdict], past: PastVerdict) -> None:
    """Adds a verdict for relay's history. Many recipients may get the same verdict object: it is added only once."""
    if len(verdicts) < _MOST_VERDICTS and all(earlier.verdict is not past.verdict for earlier in verdicts):
        verdicts.append(past)


@fast_value(frozen=True, slots=True)
class Credentials:
    """The credentials that the client sent with AUTH.

    Policy gets it once, then it is dropped; `repr` never shows it.
    """

    mechanism: str
    authorization_identity: bytes = field(repr=False)
    login: bytes = field(repr=False)
    password: bytes = field(repr=False)


@dataclass(slots=True)
class SessionFacts:
    """The facts of one session, changed by its own commands only."""

    id: str
    peer: Peer
    listener: Listener
    # Unix time in nanoseconds.
    connected_at: int
    tls: Tls | None = None
    # The name given with HELO or EHLO: as the client sent it, and in canonical form. Both are empty before.
    helo_sent: bytes = b""
    helo_name: str = ""
    esmtp: bool = False
    account: str = ""
    # Shows policy that the login was proved by the account's present password.
    account_proof: bytes = field(default=b"", repr=False)
    junk_commands: int = 0
    junk_commands_uncharged: int = 0
    violation: Violation = Violation.NONE
    profile: Profile | None = None
    # The profile that was in force before the login, and is again when the login ends.
    profile_before_login: Profile | None = None
    messages: int = 0
    auth_failures: int = 0
    errors: int = 0
    # Recipients that policy refused, and those of them that were refused for good.
    refused_recipients: int = 0
    permanently_refused_recipients: int = 0
    # Verdicts outside of mail transactions; a Transaction holds its own.
    verdicts: list[PastVerdict] = field(default_factory=list)
    # Only clients.wire uses this: the facts that policy was last sent, and the encoded request that carried them.
    told: tuple[tuple[object, ...], bytes] | None = field(default=None, repr=False)

    @property
    def on_submission_port(self) -> bool:
        return self.listener is not Listener.SMTP

    def log_in(self, account: str, proof: bytes, profile_before: Profile) -> None:
        """Notes the account that AUTH proved. Policy's verdict on AUTH has already put its new profile in force."""
        self.account = account
        self.account_proof = proof
        self.profile_before_login = profile_before

    def forget_dialogue(self) -> None:
        """Forgets what the client said before TLS, and the login that it got by that (RFC 3207 4.2).

        The profile from before the login may be older than policy's present one. It does no harm, because the next
        verdict brings the newest profile.
        """
        self.helo_sent = b""
        self.helo_name = ""
        self.esmtp = False
        if self.account:
            self.account = ""
            self.account_proof = b""
            self.profile = self.profile_before_login
            self.profile_before_login = None


@fast_value(frozen=True, slots=True)
class Discard:
    """Why mail is dropped although the client is told that it was accepted. Relay records the reason and the rule."""

    reason_id: str
    rule_id: str


@fast_value(frozen=True, slots=True)
class Recipient:
    """One recipient answered with 250. `discard`: None when it is to be delivered."""

    # In the form of the gRPC contracts, which is also the form between the angle brackets of RCPT.
    address: bytes
    parameters: RcptParameters = NO_RCPT_PARAMETERS
    discard: Discard | None = None


@dataclass(slots=True)
class Transaction:
    """A mail transaction: it begins with an accepted MAIL, and ends with the reply after the content."""

    # In the form of `Recipient.address`; empty for the null sender.
    sender: bytes
    parameters: MailParameters
    # Keyed by the form in which addresses are compared, so that each mailbox is in it only once (C56).
    recipients: dict[str, Recipient] = field(default_factory=dict)
    # Recipients that policy has judged, whatever its verdict.
    recipients_asked: int = 0
    checks: Checks = NO_CHECKS
    # The result of relay's verification, when policy is asked about a recipient again because of it; 0: none was made.
    recipient_verification: int = 0
    # Told by policy at RCPT, for rspamd: the results about the envelope, and the client's verified name.
    envelope_results: tuple[AuthenticationResult, ...] = ()
    client_name: str = ""
    # The results of content checks in sentences, and rspamd's score.
    check_results: tuple[str, ...] = ()
    spam_score: float = 0.0
    # aiosmtpd's Envelope, as the hooks of a site's handler see it; there from the first hook on.
    envelope: Any = None
    # Why the whole message is refused, as policy's reason_id; empty while it is not.
    refusal_reason: str = ""
    # The whole message is to be dropped.
    discard: Discard | None = None
    verdicts: list[PastVerdict] = field(default_factory=list)

    @property
    def all_discarded(self) -> bool:
        """Whether nothing is left to deliver. There must be at least one recipient."""
        if self.discard is not None:
            return True
        for recipient in self.recipients.values():  # noqa: SIM110 - a generator is slower, and every message comes here
            if recipient.discard is None:
                return False
        return True
