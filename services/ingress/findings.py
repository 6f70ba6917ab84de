"""What ingress reads from a message's content for policy: sizes, hops, From, and the results of the checks. No I/O."""

from __future__ import annotations

import enum

from libs.smtp.address import Address
from libs.smtp.value import fast_value
from services.ingress.verdict import CheckResult


@fast_value(frozen=True, slots=True)
class DkimSignature:
    """One DKIM-Signature and its verification. `domain`, `selector`: A-labels in lower case; `reason` in our words."""

    result: CheckResult
    domain: bytes
    selector: bytes
    algorithm: str
    signature_prefix: bytes
    identity: bytes = b""
    reason: str = ""


@fast_value(frozen=True, slots=True)
class ArcChain:
    """The chain's validation (RFC 8617 5.2): none, pass or fail; temperror when a key could not be looked up."""

    result: CheckResult
    instances: int
    sealer_domain: bytes


class ScanOutcome(enum.IntEnum):
    """The numbers are the contract's."""

    CLEAN = 1
    INFECTED = 2
    ERROR = 3


@fast_value(frozen=True, slots=True)
class VirusScan:
    """clamd's answer; `signature` names the find, `reason` (in our words) the error."""

    outcome: ScanOutcome
    signature: bytes = b""
    reason: str = ""


@fast_value(frozen=True, slots=True)
class Findings:
    """`size` in octets, before our own trace fields. `dkim`, `arc`, `virus`: None when not asked for."""

    size: int
    hops: int
    from_fields: int
    from_addresses: tuple[Address, ...]
    # A From field, or a part of one, is no mailbox list (C98).
    from_unparsable: bool = False
    dkim: tuple[DkimSignature, ...] | None = None
    arc: ArcChain | None = None
    virus: VirusScan | None = None
