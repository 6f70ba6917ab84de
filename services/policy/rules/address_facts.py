"""Facts about the address of a sender, recipient or author. This module is pure."""

from __future__ import annotations

from libs.smtp.value import fast_value
from services.policy.rules.configuration import AccessRule
from services.policy.rules.lookup import Question


@fast_value(frozen=True, slots=True)
class AddressFacts:
    """The address of a sender, recipient or author, with the facts that follow from it. `<>` has no local part.

    `addresses.facts_of_address` fills in the facts that follow from a snapshot.
    """

    wire: bytes
    # The local part, in lower case.
    local: str
    # The domain in A-labels, or an address literal. It is empty in `<>` and in `postmaster` without a domain.
    domain: str
    # The key under which the address is compared: local parts are compared without case, whatever the domain.
    key: str
    # Whether mail for the domain is accepted from everybody.
    is_ours: bool = False
    is_postmaster: bool = False
    # Whether the domain is ours, and the address is known not to exist: no account, alias, list of recipients or
    # catch-all accepts its mail.
    is_unknown: bool = False
    # Whether the address is an alias that leads to no address that accepts mail, and whether it is an alias that leads
    # back to itself.
    ends_nowhere: bool = False
    leads_back: bool = False
    # Whether the address belongs to an account, an alias or a postmaster here.
    is_account: bool = False
    # Whether the mailbox server decides if the address exists.
    is_verified: bool = False
    # Whether the local part names a further destination, at a relay domain that does not list the address.
    is_routed: bool = False
    # The ids of the accounts that own the address. DISABLED stands for any disabled account.
    owners: frozenset[str] = frozenset()
    # Whether the domain has only one label.
    is_short: bool = False
    # The access rules that match the address as a sender, and as a recipient, including expired ones.
    as_sender: tuple[AccessRule, ...] = ()
    as_recipient: tuple[AccessRule, ...] = ()
    # The look-ups about the domain that mail from this address needs.
    domain_questions: tuple[Question, ...] = ()
    # The address as a JSON string, for logs.
    quoted: str = '""'


NULL_ADDRESS = AddressFacts(b"", "", "", "")

# An id that no account has.
DISABLED = ""
