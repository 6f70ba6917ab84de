"""Rules about recipients: which exist, how many a message may have, and which are always valid. This module is pure."""

from __future__ import annotations

from libs.smtp.reply import (
    ALIAS_LOOP,
    MAILBOX_FULL,
    NO_SUCH_USER,
    RECIPIENT_NOT_VERIFIED,
    RECIPIENT_OVER_MESSAGE_LIMIT,
    TOO_MANY_NEW_RECIPIENTS,
    TOO_MANY_RECIPIENTS,
)
from libs.smtp.tagged import untagged
from services.policy.rules.address_facts import DISABLED, AddressFacts
from services.policy.rules.configuration import ExistingRecipients, Mode
from services.policy.rules.model import (
    Exemption,
    Facts,
    Rule,
    RuleMatch,
    Snapshot,
    Stage,
    Verification,
    always,
    when,
)

_UNKNOWN = RuleMatch(NO_SUCH_USER, explanation="No account, alias or listed recipient has this address.")
_ENDS_NOWHERE = RuleMatch(NO_SUCH_USER, explanation="The address is an alias that leads to no account.")
_LEADS_BACK = RuleMatch(ALIAS_LOOP, explanation="The address is an alias that leads back to itself.")
_DEFERRED = RuleMatch(TOO_MANY_RECIPIENTS, explanation="The message already has as many recipients as it may have.")
_MESSAGE_REFUSED = RuleMatch(
    RECIPIENT_OVER_MESSAGE_LIMIT,
    refuses_message=True,
    explanation="The message has more recipients than it may have, so it is refused as a whole.",
)
# Postmasters must be reachable (RFC 5321 4.5.1), so they have a higher limit. There must be a limit, because one
# postmaster can be named with many spellings of the local part, in upper and lower case, and with many domains.
_POSTMASTERS_OVER_LIMIT = 10
_ACCOUNTS, _LIST, _VERIFY = ExistingRecipients.ACCOUNTS, ExistingRecipients.LIST, ExistingRecipients.VERIFY
# The characters in a local part that name a further destination: percent hack, bang path, and a quoted @.
_ROUTING = frozenset("%!@")


# The functions below accept AddressFacts in which only the facts that need no snapshot are set. Rules read their
# results from complete AddressFacts.


def is_postmaster(recipient: AddressFacts, snapshot: Snapshot) -> bool:
    """Whether the address always accepts mail (RFC 5321 4.5.1), so that a refused sender can still reach a person."""
    domain = recipient.domain
    is_here = domain in snapshot.local_domains or domain == snapshot.profile.hostname
    if recipient.local == "postmaster":
        return not domain or is_here or domain in snapshot.relay_domains
    return recipient.local == "mailer-daemon" and is_here


def is_named(key: str, domain: str, snapshot: Snapshot) -> bool:
    """Whether an address is an alias, an address of an enabled account, or listed where the domain's recipients are
    listed.
    """
    if key in snapshot.aliases:
        return True
    local = snapshot.local_domains.get(domain)
    if local is not None and snapshot.owners.get(key, DISABLED) != DISABLED:
        return True
    recipients = snapshot.relay_domains.get(domain) if local is None else local.recipients
    return recipients is _LIST and key.encode() in snapshot.listed_recipients


def has_mailbox(key: str, domain: str, snapshot: Snapshot) -> bool:
    """Whether a local domain's mailbox accepts mail for an address, as far as this configuration tells."""
    local = snapshot.local_domains.get(domain)
    if local is None:
        return False
    if local.recipients not in (_ACCOUNTS, _LIST) or snapshot.owners.get(key, DISABLED) != DISABLED:
        return True
    return local.recipients is _LIST and key.encode() in snapshot.listed_recipients


def base_key(recipient: AddressFacts, snapshot: Snapshot) -> str:
    """Returns the key of the address without its tag. Returns the key unchanged when it has no tag, or is configured
    with the tag.
    """
    local = snapshot.local_domains.get(recipient.domain)
    if local is not None and local.delimiter and not is_named(recipient.key, recipient.domain, snapshot):
        for key in untagged(recipient.key, local.delimiter):
            if is_named(key, recipient.domain, snapshot) or key in snapshot.owners:
                return key
    return recipient.key


def existence(recipient: AddressFacts, base: str, snapshot: Snapshot) -> tuple[bool, bool, AddressFacts | None]:
    """Returns whether an address of ours is unknown, whether its mailbox server decides this, and the catch-all that
    accepts its mail. `base` is the result of `base_key`. For a domain that is not ours, the result is (False, False,
    None).
    """
    domain = recipient.domain
    local = snapshot.local_domains.get(domain)
    existing = snapshot.relay_domains.get(domain) if local is None else local.recipients
    if existing is None or is_named(base, domain, snapshot) or is_postmaster(recipient, snapshot):
        return False, False, None
    if existing is _ACCOUNTS or existing is _LIST:
        taker = None if local is None else local.catch_all
        if taker is not None and taker.key != recipient.key:
            return False, False, taker
        return True, False, None
    return False, existing is _VERIFY, None


def is_account(recipient: AddressFacts, base: str, snapshot: Snapshot) -> bool:
    """Whether the recipient is an account, alias or postmaster here."""
    if recipient.domain in snapshot.local_domains:
        has_account = base in snapshot.aliases or snapshot.owners.get(base, DISABLED) != DISABLED
        return has_account or is_postmaster(recipient, snapshot)
    return recipient.domain not in snapshot.relay_domains and is_postmaster(recipient, snapshot)


def is_routed(recipient: AddressFacts, snapshot: Snapshot) -> bool:
    """Whether a relay domain's server might forward the mail to a destination in the local part."""
    if recipient.domain not in snapshot.relay_domains or _ROUTING.isdisjoint(recipient.local):
        return False
    return not is_named(recipient.key, recipient.domain, snapshot)


def _unknown(facts: Facts, _snapshot: Snapshot) -> RuleMatch | None:
    return _UNKNOWN if facts.recipient.is_unknown else None


def _ends_nowhere(facts: Facts, _snapshot: Snapshot) -> RuleMatch | None:
    return _ENDS_NOWHERE if facts.recipient.ends_nowhere else None


def _leads_back(facts: Facts, _snapshot: Snapshot) -> RuleMatch | None:
    return _LEADS_BACK if facts.recipient.leads_back else None


def _any_alias(snapshot: Snapshot) -> Mode:
    return when(bool(snapshot.aliases) or any(local.catch_all is not None for local in snapshot.local_domains.values()))


_NOT_VERIFIED = RuleMatch(
    RECIPIENT_NOT_VERIFIED, explanation="The mailbox server gave no answer, and the address was not known before."
)
_BY_VERIFICATION: dict[int, RuleMatch | None] = {
    Verification.NOT_ASKED_YET: RuleMatch(
        RECIPIENT_NOT_VERIFIED, verify_recipient=True, explanation="The mailbox server must be asked."
    ),
    Verification.NONE: RuleMatch(NO_SUCH_USER, explanation="The mailbox server accepts no mail for this address."),
    Verification.EXISTS: None,
    Verification.NEVER_ASKED: None,
    Verification.TOO_MANY: RuleMatch(
        TOO_MANY_NEW_RECIPIENTS, explanation="The client has named too many new addresses in this minute."
    ),
    Verification.MAILBOX_FULL: RuleMatch(MAILBOX_FULL, explanation="The mailbox server says that the mailbox is full."),
}


def _unverified(facts: Facts, _snapshot: Snapshot) -> RuleMatch | None:
    # A number of a newer relay that is unknown here counts as no answer.
    return _BY_VERIFICATION.get(facts.verification, _NOT_VERIFIED) if facts.recipient.is_verified else None


def _any_verified(snapshot: Snapshot) -> Mode:
    return when(
        _VERIFY in snapshot.relay_domains.values()
        or any(local.recipients is _VERIFY for local in snapshot.local_domains.values())
    )


def _not_asked(facts: Facts, _snapshot: Snapshot) -> str:
    is_spared = facts.recipient.is_verified and facts.verification == Verification.NEVER_ASKED
    return Exemption.NOT_ASKED if is_spared else ""


def _excess(facts: Facts, snapshot: Snapshot) -> RuleMatch | None:
    profile = snapshot.profile
    if facts.recipient_count < profile.max_recipients + (_POSTMASTERS_OVER_LIMIT if facts.for_postmaster else 0):
        return None
    return _MESSAGE_REFUSED if profile.reject_message_over_recipient_limit else _DEFERRED


UNKNOWN = Rule("unknown_recipient", Stage.RCPT, always, _unknown)
ALIAS_LEADS_BACK = Rule("alias_leads_back", Stage.RCPT, _any_alias, _leads_back)
ALIAS_ENDS_NOWHERE = Rule("alias_ends_nowhere", Stage.RCPT, _any_alias, _ends_nowhere)
# This is the last rule at RCPT, so that no mailbox server is asked about a recipient that is refused anyway.
VERIFICATION = Rule("recipient_verification", Stage.RCPT, _any_verified, _unverified, exempt=_not_asked)
EXCESS = Rule(
    "too_many_recipients",
    Stage.RCPT,
    lambda snapshot: when(snapshot.profile.max_recipients > 0),
    _excess,
    for_postmaster=True,
)
