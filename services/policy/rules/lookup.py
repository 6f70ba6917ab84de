"""Look-ups in the DNS, and their results. This module is pure."""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum, StrEnum
from typing import NamedTuple

from libs.smtp.value import fast_value


class Outcome(IntEnum):
    """The outcome of a look-up: a definite yes, a definite no, or no answer."""

    FOUND = 1
    NONE = 2
    NO_ANSWER = 3


class Lookup(StrEnum):
    CLIENT_NAME = "client_name"
    HELO_DOMAIN = "helo_domain"
    SENDER_DOMAIN = "sender_domain"
    DNSBL = "dnsbl"
    SPF = "spf"
    DMARC = "dmarc"


class Question(NamedTuple):
    """One look-up. `subject` is the address, the name, or for SPF the identity to check."""

    lookup: Lookup
    subject: str
    # The zone of a look-up in a DNS block list.
    zone: str = ""
    # The HELO name and the address of the client, which only a check of SPF needs.
    helo: str = ""
    client: str = ""

    @property
    def name(self) -> str:
        """Returns the name in reports, for example client_name or dnsbl/ZONE."""
        return f"{self.lookup}/{self.zone}" if self.zone else str(self.lookup)


@fast_value(frozen=True, slots=True)
class LookupResult:
    """The result of a look-up. `records` depends on the kind: for CLIENT_NAME the confirmed names, for DNSBL the A
    records, for SPF the result.
    """

    outcome: Outcome
    records: tuple[str, ...] = ()
    # The reason in our words. It is NULL_MX when the domain declares that it accepts no mail (RFC 7505).
    detail: str = ""
    dmarc: DmarcRecord | None = None
    # The seconds that the look-up took when it was made.
    took: float = 0.0


NULL_MX = "null_mx"


class NotKnownError(Exception):
    """A look-up result is missing, so the look-up must be made."""


class LookupResults(dict[Question, LookupResult]):
    """The look-up results of one decision. `self[question]` raises NotKnownError when there is no result."""

    __slots__ = ()

    def __missing__(self, question: Question) -> LookupResult:
        raise NotKnownError

    def knows(self, question: Question) -> bool:
        """Whether `self[question]` is available now."""
        try:
            self[question]
        except NotKnownError:
            return False
        return True


class CachedLookupResults(LookupResults):
    """The look-up results of one decision, with the results in a cache, which `source` returns. Results that are read
    from the cache are also stored here, to be shown later.
    """

    # The caller must set `source`. A constructor in Python would take longer than everything else here, and most
    # decisions make such an object.
    __slots__ = ("source",)

    source: Callable[[Question], LookupResult | None]

    def __missing__(self, question: Question) -> LookupResult:
        lookup_result = self.source(question)
        if lookup_result is None:
            raise NotKnownError
        self[question] = lookup_result
        return lookup_result


@fast_value(frozen=True, slots=True)
class DmarcRecord:
    """The DMARC policy for one author domain (RFC 9989 4.10), and the data that its alignment needs."""

    # The domain of the record, and the disposition for the author domain: none, quarantine or reject.
    published_at: str
    policy: str
    strict_dkim: bool
    strict_spf: bool
    # The author domain's organizational domain.
    organizational_domain: str
    testing: bool = False
