"""Recipients: which exist here, how many a message may have, which are always valid. Pure."""

from __future__ import annotations

from libs.smtp.reply import ALIAS_LOOP, NO_SUCH_USER, RECIPIENT_OVER_MESSAGE_LIMIT, TOO_MANY_RECIPIENTS
from services.policy.rules.configuration import Mode
from services.policy.rules.model import Facts, Objection, Rule, Snapshot, Stage, always, when
from services.policy.rules.party import DISABLED, Party

_UNKNOWN = Objection(NO_SUCH_USER, explanation="No account, alias or listed recipient has this address.")
_ENDS_NOWHERE = Objection(NO_SUCH_USER, explanation="The address is an alias that ends at no account.")
_LEADS_BACK = Objection(ALIAS_LOOP, explanation="The address is an alias that leads back to itself.")
_DEFERRED = Objection(TOO_MANY_RECIPIENTS, explanation="The message has as many recipients as it may have.")
_MESSAGE_REFUSED = Objection(
    RECIPIENT_OVER_MESSAGE_LIMIT,
    refuses_message=True,
    explanation="The message has more recipients than it may have and is refused as a whole.",
)
# Postmasters must be reachable (RFC 5321 4.5.1), so the limit holds for them a little later. It does hold: the case of
# the local part and the domain can be varied.
_POSTMASTERS_OVER_LIMIT = 10
# What names a further destination in a local part: percent hack, bang path, and a quoted @.
_ROUTING = frozenset("%!@")


# Of an address with its keys alone; rules read `Party`.


def is_postmaster(recipient: Party, snapshot: Snapshot) -> bool:
    """Addresses that always take mail (RFC 5321 4.5.1), so that a refused sender can still reach a person."""
    domain = recipient.domain
    is_here = domain in snapshot.local_domains or domain == snapshot.profile.hostname
    if recipient.local == "postmaster":
        return not domain or is_here or domain in snapshot.relay_domains
    return recipient.local == "mailer-daemon" and is_here


def is_unknown(recipient: Party, snapshot: Snapshot) -> bool:
    """Whether the domain is ours, and the address is neither an account's, nor an alias, nor listed."""
    key = recipient.key
    if key in snapshot.aliases or is_postmaster(recipient, snapshot):
        return False
    if recipient.domain in snapshot.local_domains:
        return snapshot.owners.get(key, DISABLED) == DISABLED
    listed = snapshot.relay_domains.get(recipient.domain)
    return listed is not None and key not in listed


def is_account(recipient: Party, snapshot: Snapshot) -> bool:
    """Whether the recipient is an account here; aliases and postmaster count, relay-domain recipients do not."""
    if recipient.domain in snapshot.local_domains:
        return not is_unknown(recipient, snapshot)
    return recipient.domain not in snapshot.relay_domains and is_postmaster(recipient, snapshot)


def is_routed(recipient: Party, snapshot: Snapshot) -> bool:
    """Whether a relay domain's server might send the mail on to a destination that the local part names."""
    if recipient.domain not in snapshot.relay_domains or _ROUTING.isdisjoint(recipient.local):
        return False
    return recipient.key not in (snapshot.relay_domains[recipient.domain] or ())


def _unknown(facts: Facts, _snapshot: Snapshot) -> Objection | None:
    return _UNKNOWN if facts.recipient.is_unknown else None


def _ends_nowhere(facts: Facts, _snapshot: Snapshot) -> Objection | None:
    return _ENDS_NOWHERE if facts.recipient.ends_nowhere else None


def _leads_back(facts: Facts, _snapshot: Snapshot) -> Objection | None:
    return _LEADS_BACK if facts.recipient.leads_back else None


def _any_alias(snapshot: Snapshot) -> Mode:
    return when(bool(snapshot.aliases))


def _excess(facts: Facts, snapshot: Snapshot) -> Objection | None:
    profile = snapshot.profile
    if facts.recipient_count < profile.max_recipients + (_POSTMASTERS_OVER_LIMIT if facts.for_postmaster else 0):
        return None
    return _MESSAGE_REFUSED if profile.reject_message_over_recipient_limit else _DEFERRED


UNKNOWN = Rule("unknown_recipient", Stage.RCPT, always, _unknown)
ALIAS_LEADS_BACK = Rule("alias_leads_back", Stage.RCPT, _any_alias, _leads_back)
ALIAS_ENDS_NOWHERE = Rule("alias_ends_nowhere", Stage.RCPT, _any_alias, _ends_nowhere)
EXCESS = Rule(
    "too_many_recipients",
    Stage.RCPT,
    lambda snapshot: when(snapshot.profile.max_recipients > 0),
    _excess,
    for_postmaster=True,
)
