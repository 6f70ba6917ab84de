"""Facts about one session and the mail transaction in it. This module does no I/O."""

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
        """Returns the name of the kind: smtp, submission or submissions."""
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
    """A verdict in which a rule matched, possibly a rule in shadow mode. `at` is the Unix time in nanoseconds."""

    at: int
    stage: Stage
    verdict: Verdict


# The largest number of verdicts that are recorded for a session outside its messages, and for one message.
_MOST_VERDICTS = 25


def remember(verdicts: list[PastVerdict], past: PastVerdict) -> None:
    """Adds a verdict for relay's history. Many recipients may get the same verdict object, which is added only once."""
    if len(verdicts) < _MOST_VERDICTS and all(earlier.verdict is not past.verdict for earlier in verdicts):
        verdicts.append(past)


@fast_value(frozen=True, slots=True)
class Credentials:
    """The credentials that the client sent with AUTH. They are sent to policy once and then dropped. `repr` never shows
    them.
    """

    mechanism: str
    authorization_identity: bytes = field(repr=False)
    login: bytes = field(repr=False)
    password: bytes = field(repr=False)


@dataclass(slots=True)
class SessionFacts:
    """The facts of one session. Only its own commands change them."""

    id: str
    peer: Peer
    listener: Listener
    # The Unix time at which the client connected, in nanoseconds.
    connected_at: int
    tls: Tls | None = None
    # The name from HELO or EHLO: as the client sent it, and in canonical form. Both are empty before the command.
    helo_sent: bytes = b""
    helo_name: str = ""
    esmtp: bool = False
    account: str = ""
    # The proof that the login used the account's present password. It is sent to policy.
    account_proof: bytes = field(default=b"", repr=False)
    junk_commands: int = 0
    junk_commands_uncharged: int = 0
    violation: Violation = Violation.NONE
    profile: Profile | None = None
    # The profile from before the login, which is used again when the login ends.
    profile_before_login: Profile | None = None
    messages: int = 0
    auth_failures: int = 0
    errors: int = 0
    # The number of recipients that policy refused, and the number of those that it refused permanently.
    refused_recipients: int = 0
    permanently_refused_recipients: int = 0
    # The verdicts outside of mail transactions. A Transaction has its own verdicts.
    verdicts: list[PastVerdict] = field(default_factory=list)
    # The facts that were last sent to policy, and the encoded request. Only clients.wire uses them.
    told: tuple[tuple[object, ...], bytes] | None = field(default=None, repr=False)

    @property
    def on_submission_port(self) -> bool:
        return self.listener is not Listener.SMTP

    def log_in(self, account: str, proof: bytes, profile_before: Profile) -> None:
        """Notes the account of a successful AUTH. The new profile of policy's verdict is already in force."""
        self.account = account
        self.account_proof = proof
        self.profile_before_login = profile_before

    def forget_dialogue(self) -> None:
        """Forgets what the client sent before TLS, including its login (RFC 3207 4.2). The profile from before the
        login may be outdated. This does no harm, because the next verdict brings the newest profile.
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
    """The reason for dropping mail that was answered as accepted. Relay records the reason and the rule."""

    reason_id: str
    rule_id: str


@fast_value(frozen=True, slots=True)
class Recipient:
    """One recipient that was answered with 250. `discard` is None when it will be delivered."""

    # The address in the form of the gRPC contracts, which is the form between the angle brackets of RCPT.
    address: bytes
    parameters: RcptParameters = NO_RCPT_PARAMETERS
    discard: Discard | None = None


@dataclass(slots=True)
class Transaction:
    """A mail transaction: it begins with MAIL, and ends with the reply after the content, or earlier with RSET, HELO,
    EHLO or STARTTLS.
    """

    # The sender, in the form of `Recipient.address`. It is empty for the null sender.
    sender: bytes
    parameters: MailParameters
    # The key is the form in which addresses are compared, so that each mailbox occurs only once (C56).
    recipients: dict[str, Recipient] = field(default_factory=dict)
    # The number of recipients about which policy has decided, whatever the verdict was.
    recipients_asked: int = 0
    checks: Checks = NO_CHECKS
    # The result of relay's verification, with which policy is asked again about a recipient. 0 means that there was
    # none.
    recipient_verification: int = 0
    # The results about the envelope, and the client's verified name. Policy sends them at RCPT, and rspamd gets them.
    envelope_results: tuple[AuthenticationResult, ...] = ()
    client_name: str = ""
    # The results of content checks as sentences, and rspamd's score.
    check_results: tuple[str, ...] = ()
    spam_score: float = 0.0
    # aiosmtpd's Envelope for the hooks of a site's handler. It exists from the first hook on.
    envelope: Any = None
    # The reason_id with which policy refuses the whole message. It is empty while policy does not refuse it.
    refusal_reason: str = ""
    # Why the whole message must be dropped. It is None when the message must not be dropped.
    discard: Discard | None = None
    verdicts: list[PastVerdict] = field(default_factory=list)

    @property
    def all_discarded(self) -> bool:
        """Whether there is nothing to deliver. There must be at least one recipient."""
        if self.discard is not None:
            return True
        for recipient in self.recipients.values():  # noqa: SIM110 - a generator is slower, and every message comes here
            if recipient.discard is None:
                return False
        return True
