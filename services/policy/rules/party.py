"""A sender, recipient or author, with the keys that its address is compared by. Pure."""

from __future__ import annotations

from libs.smtp.value import value
from services.policy.rules.configuration import AccessRule
from services.policy.rules.lookup import Question


@value(frozen=True, slots=True)
class Party:
    """A sender, recipient or author: an address with the keys that it is compared by. `<>` has no local part.

    What follows from the address under one snapshot is filled in by `parties.party`.
    """

    wire: bytes
    # Lower case.
    local: str
    # A-labels or a literal; empty in `<>` and in `postmaster` with no domain.
    domain: str
    # Among accounts and aliases, where the local part's case has no meaning; and anywhere else.
    local_key: str
    matching_key: str
    # Mail for the domain is taken from anyone.
    is_ours: bool = False
    is_postmaster: bool = False
    # The domain is ours, and the address does not exist there.
    is_unknown: bool = False
    # An account here, an alias or postmaster.
    is_account: bool = False
    # An account has the address.
    is_owned: bool = False
    # The domain is one label only.
    is_short: bool = False
    # Access rules that match it as a sender and as a recipient, expired ones included.
    as_sender: tuple[AccessRule, ...] = ()
    as_recipient: tuple[AccessRule, ...] = ()
    # What to look up about the domain of mail from it; empty where there is nothing to.
    domain_questions: tuple[Question, ...] = ()
    # As JSON, for logs.
    quoted: str = '""'


NOBODY = Party(b"", "", "", "", "")


def matching_key(party: Party, local_domains: frozenset[str]) -> str:
    """The key of an address in the tables: a local part's case has a meaning except at our own domains."""
    return party.local_key if party.domain in local_domains else party.matching_key
