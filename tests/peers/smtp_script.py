"""Scripts for an SMTP peer, which replace its own answers at certain stages of a session."""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tests.peers.background import Gate


class Stage(enum.Enum):
    """The points of a session at which a script may act."""

    # Before the greeting, when nothing has been sent yet.
    CONNECT = enum.auto()
    # The commands EHLO, HELO and LHLO.
    EHLO = enum.auto()
    STARTTLS = enum.auto()
    # AUTH is the command, and AUTH_RESULT is the verdict on the credentials.
    AUTH = enum.auto()
    AUTH_RESULT = enum.auto()
    MAIL = enum.auto()
    RCPT = enum.auto()
    # The DATA command, which is answered with 354.
    DATA = enum.auto()
    # In the middle of the content of DATA, once `after_octets` octets have come.
    CONTENT = enum.auto()
    # The answer after the last dot or the last BDAT chunk. With LMTP there is one for each accepted recipient.
    END_OF_DATA = enum.auto()
    # The answer to a BDAT chunk that is not the last.
    BDAT = enum.auto()
    RSET = enum.auto()
    NOOP = enum.auto()
    QUIT = enum.auto()
    # Any other command.
    OTHER = enum.auto()
    # Directly after a message was answered, when the client has sent no further command.
    IDLE = enum.auto()


@dataclass(frozen=True, slots=True)
class Send:
    """Sends these octets in their own packet: the next step begins when the client's host has received them."""

    octets: bytes


@dataclass(frozen=True, slots=True)
class Wait:
    """Waits until the test opens the gate."""

    gate: Gate


@dataclass(frozen=True, slots=True)
class Endless:
    """Sends these octets again and again until the client closes the connection."""

    octets: bytes


@dataclass(frozen=True, slots=True)
class Close:
    """Closes the connection in order (FIN)."""


@dataclass(frozen=True, slots=True)
class Reset:
    """Breaks the connection (RST)."""


@dataclass(frozen=True, slots=True)
class Proceed:
    """Gives the answer that the peer would give without the script."""


@dataclass(frozen=True, slots=True)
class UpgradeBroken:
    """At STARTTLS, sends the reply 220, then octets that are no TLS handshake, and then closes the connection."""


Step = Send | Wait | Endless | Close | Reset | Proceed | UpgradeBroken


def reply(*lines: str) -> Send:
    """Sends a complete reply: `reply("250 ok")`, or one of several lines: `reply("250-a", "250 b")`."""
    return Send(b"".join(line.encode() + b"\r\n" for line in lines))


def in_packets(*parts: str | bytes) -> tuple[Send, ...]:
    """Sends each part as one packet. A packet is sent when the client's host has received the one before."""
    return tuple(Send(part.encode() if isinstance(part, str) else part) for part in parts)


@dataclass(slots=True)
class Rule:
    """The steps for a stage. A rule applies when all of its conditions that are set hold."""

    stage: Stage
    steps: Sequence[Step]
    # The address of the recipient or (at MAIL) of the sender, without the angle brackets. It is case-sensitive.
    address: bytes | None = None
    # The number of times that the rule still applies; None means that there is no limit.
    times: int | None = None
    # The number of the only session to which the rule applies; sessions are numbered from 1.
    session: int | None = None
    # The number of content octets after which the rule applies; for CONTENT only.
    after_octets: int = 0
    # A condition on the command line. The function gets the line without its line end.
    when: Callable[[bytes], bool] | None = None


class Script:
    """The rules of one peer. When several rules apply, the one that was added last is used."""

    def __init__(self) -> None:
        self._rules: list[Rule] = []

    def add(self, rule: Rule) -> None:
        self._rules.insert(0, rule)

    def clear(self) -> None:
        self._rules.clear()

    def take(self, stage: Stage, session: int, line: bytes = b"", address: bytes | None = None) -> Sequence[Step]:
        """Returns the steps for this moment and counts one use of their rule. Returns Proceed when no rule applies."""
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
        """Returns the rule that acts during the content of DATA, or None.

        The caller counts a use of the rule when the rule's number of octets has come.
        """
        for rule in self._rules:
            if rule.stage is Stage.CONTENT and rule.times != 0 and rule.session in (None, session):
                return rule
        return None
