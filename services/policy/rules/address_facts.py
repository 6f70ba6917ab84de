"""Facts about the address of a sender, recipient or author. Pure."""

from __future__ import annotations

from libs.smtp.value import fast_value
from services.policy.rules.configuration import AccessRule
from services.policy.rules.lookup import Question


@fast_value(frozen=True, slots=True)
class AddressFacts:
    """The address of a sender, recipient or author, and what follows from it. `<>` has no local part.

    `addresses.facts_of_address` fills in the facts that follow from a snapshot.
    """

    wire: bytes
    # Lower case.
    local: str
    # A-labels or a literal; empty in `<>` and in `postmaster` with no domain.
    domain: str
    # Local parts are compared without case, whatever the domain.
    key: str
    # Mail for the domain is taken from anyone.
    is_ours: bool = False
    is_postmaster: bool = False
    # The domain is ours, and the address is neither an account's nor an alias.
    is_unknown: bool = False
    # An alias none of whose targets takes mail, and one that leads back to itself.
    ends_nowhere: bool = False
    leads_back: bool = False
    # An account here, an alias or postmaster.
    is_account: bool = False
    # The mailbox server says whether the address exists.
    is_verified: bool = False
    # The local part names a further destination, at a relay domain that does not list the address.
    is_routed: bool = False
    # Ids of the accounts that own the address; DISABLED stands for any account that is disabled.
    owners: frozenset[str] = frozenset()
    # The domain is one label only.
    is_short: bool = False
    # Access rules that match it as a sender and as a recipient, expired ones included.
    as_sender: tuple[AccessRule, ...] = ()
    as_recipient: tuple[AccessRule, ...] = ()
    # Look-ups about the domain, for mail from the address; empty when there are none.
    domain_questions: tuple[Question, ...] = ()
    # The address as a JSON string, for logs.
    quoted: str = '""'


NULL_ADDRESS = AddressFacts(b"", "", "", "")

# An id that no account has.
DISABLED = ""
