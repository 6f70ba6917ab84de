"""What a scripted SMTP peer does at each stage of a session, in place of its own answer."""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tests.peers.background import Gate


class Stage(enum.Enum):
    """Where in a session a script may step in."""

    # The greeting, before which nothing was sent.
    CONNECT = enum.auto()
    # EHLO, HELO and LHLO.
    EHLO = enum.auto()
    STARTTLS = enum.auto()
    # The AUTH command; and the verdict on the credentials.
    AUTH = enum.auto()
    AUTH_RESULT = enum.auto()
    MAIL = enum.auto()
    RCPT = enum.auto()
    # The DATA command, answered with 354.
    DATA = enum.auto()
    # In the content, once `after_octets` of it have come (DATA only).
    CONTENT = enum.auto()
    # The answer after the last dot or the last BDAT chunk; for LMTP once for each accepted recipient.
    END_OF_DATA = enum.auto()
    # The answer to a BDAT chunk that is not the last.
    BDAT = enum.auto()
    RSET = enum.auto()
    NOOP = enum.auto()
    QUIT = enum.auto()
    # Any other command.
    OTHER = enum.auto()
    # Unasked, right after a message was answered.
    IDLE = enum.auto()


@dataclass(frozen=True, slots=True)
class Send:
    """These octets as a packet of their own: the next step is taken when the client's host has them."""

    octets: bytes


@dataclass(frozen=True, slots=True)
class Wait:
    """Until the test opens the gate."""

    gate: Gate


@dataclass(frozen=True, slots=True)
class Endless:
    """These octets again and again until the client goes."""

    octets: bytes


@dataclass(frozen=True, slots=True)
class Close:
    """Ends the connection in order (FIN)."""


@dataclass(frozen=True, slots=True)
class Reset:
    """Breaks the connection (RST)."""


@dataclass(frozen=True, slots=True)
class Proceed:
    """The answer that would have been given without the script."""


@dataclass(frozen=True, slots=True)
class UpgradeBroken:
    """At STARTTLS: the 220, then octets that are no TLS handshake, then the end."""


Step = Send | Wait | Endless | Close | Reset | Proceed | UpgradeBroken


def reply(*lines: str) -> Send:
    """A whole reply: `reply("250 ok")`, or several lines in full (`reply("250-a", "250 b")`)."""
    return Send(b"".join(line.encode() + b"\r\n" for line in lines))


def in_packets(*parts: str | bytes) -> tuple[Send, ...]:
    """Octets sent as one packet for each part; each has reached the client's host before the next goes."""
    return tuple(Send(part.encode() if isinstance(part, str) else part) for part in parts)


@dataclass(slots=True)
class Rule:
    """Steps for a stage; the conditions that are set must all hold."""

    stage: Stage
    steps: Sequence[Step]
    # The recipient (or, at MAIL, the sender) between its angle brackets, compared as it is.
    address: bytes | None = None
    # How many times the rule still applies; None is for ever.
    times: int | None = None
    # Only in the session with this number, the first being 1.
    session: int | None = None
    # CONTENT only.
    after_octets: int = 0
    # Only when this says so of the command line (without its line end).
    when: Callable[[bytes], bool] | None = None


class Script:
    """The rules of one peer; of those that fit, the last one added is followed."""

    def __init__(self) -> None:
        self._rules: list[Rule] = []

    def add(self, rule: Rule) -> None:
        self._rules.insert(0, rule)

    def clear(self) -> None:
        self._rules.clear()

    def take(self, stage: Stage, session: int, line: bytes = b"", address: bytes | None = None) -> Sequence[Step]:
        """The steps for this moment, one use of their rule spent; Proceed when no rule fits."""
        for rule in self._rules:
            if (
                rule.stage is stage
                and rule.times != 0
                and rule.session in (None, session)
                and rule.address in (None, address)
                and (rule.when is None or rule.when(line))
            ):
                if rule.times is not None:
                    rule.times -= 1
                return rule.steps
        return (Proceed(),)

    def content_rule(self, session: int) -> Rule | None:
        """The rule that steps in during DATA's content, if one does; spent when its octets have come."""
        for rule in self._rules:
            if rule.stage is Stage.CONTENT and rule.times != 0 and rule.session in (None, session):
                return rule
        return None
