"""Facts about a message's content that ingress tells policy: sizes, hops, From, and the results of the checks.

This module does no I/O.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from libs.smtp.address import Address
from libs.smtp.value import fast_value
from services.ingress.verdict import CheckResult


@fast_value(frozen=True, slots=True)
class DkimSignature:
    """One DKIM-Signature and its verification. `domain` and `selector` are A-labels in lower case. `reason` is in our
    words.
    """

    result: CheckResult
    domain: bytes
    selector: bytes
    algorithm: str
    signature_prefix: bytes
    identity: bytes = b""
    reason: str = ""


@fast_value(frozen=True, slots=True)
class ArcChain:
    """The validation of the chain (RFC 8617 5.2): none, pass or fail, or temperror when a key could not be looked
    up.
    """

    result: CheckResult
    instances: int
    sealer_domain: bytes


class ScanOutcome(enum.IntEnum):
    """The results of a virus scan. The numbers are those of policy.v1."""

    CLEAN = 1
    INFECTED = 2
    ERROR = 3


@fast_value(frozen=True, slots=True)
class VirusScan:
    """clamd's answer. `signature` names the virus, and `reason` (in our words) the error."""

    outcome: ScanOutcome
    signature: bytes = b""
    reason: str = ""


class SpamAction(enum.IntEnum):
    """The action that rspamd recommends. The numbers are those of policy.v1."""

    NO_ACTION = 1
    GREYLIST = 2
    ADD_HEADER = 3
    REWRITE_SUBJECT = 4
    SOFT_REJECT = 5
    REJECT = 6
    # rspamd gave no answer.
    ERROR = 7


@dataclass(frozen=True, slots=True)
class SpamScan:
    """rspamd's answer. `symbols` are its rules with the most weight. `reason` (in our words) says why there is no
    answer.
    """

    action: SpamAction
    score: float = 0.0
    required_score: float = 0.0
    symbols: tuple[str, ...] = ()
    reason: str = ""

    @property
    def sentence(self) -> str:
        """Returns the result as a sentence for the timeline."""
        if self.action is SpamAction.ERROR:
            return f"rspamd: no answer, {self.reason}"
        action = self.action.name.lower().replace("_", " ")
        symbols = f": {', '.join(self.symbols)}" if self.symbols else ""
        return f"rspamd: {action}, score {self.score:.2f} of {self.required_score:.2f}{symbols}"


@fast_value(frozen=True, slots=True)
class ContentFacts:
    """The facts about one message's content. `size` is in octets, without our own trace fields. `dkim`, `arc`, `virus`
    and `spam` are None when they were not asked for.
    """

    size: int
    hops: int
    from_fields: int
    from_addresses: tuple[Address, ...]
    # Whether a From field, or a part of one, is not a valid mailbox list (C98).
    from_unparsable: bool = False
    dkim: tuple[DkimSignature, ...] | None = None
    arc: ArcChain | None = None
    virus: VirusScan | None = None
    spam: SpamScan | None = None
