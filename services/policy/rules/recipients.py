"""Recipients: which exist here, how many a message may have, which are always valid. Pure."""

from __future__ import annotations

from libs.smtp.reply import NO_SUCH_USER, RECIPIENT_OVER_MESSAGE_LIMIT, TOO_MANY_RECIPIENTS
from services.policy.rules.model import Facts, Objection, Rule, Snapshot, Stage, always, when
from services.policy.rules.party import Party

_UNKNOWN = Objection(NO_SUCH_USER, explanation="No account, alias or listed recipient has this address.")
_DEFERRED = Objection(TOO_MANY_RECIPIENTS, explanation="The message has as many recipients as it may have.")
_MESSAGE_REFUSED = Objection(
    RECIPIENT_OVER_MESSAGE_LIMIT,
    refuses_message=True,
    explanation="The message has more recipients than it may have and is refused as a whole.",
)
# Postmasters must be reachable (RFC 5321 4.5.1), so the limit holds for them a little later. It does hold: the case of
# the local part and the domain can be varied.
_POSTMASTERS_OVER_LIMIT = 10


# Of an address with its keys alone; rules read `Party`.


def is_postmaster(recipient: Party, snapshot: Snapshot) -> bool:
    """Addresses that always take mail (RFC 5321 4.5.1), so that a refused sender can still reach a person."""
    if recipient.local == "postmaster":
        return (
            not recipient.domain
            or recipient.domain in snapshot.local_domains
            or (recipient.domain in snapshot.relay_domains)
        )
    return recipient.local == "mailer-daemon" and recipient.domain in snapshot.local_domains


def is_unknown(recipient: Party, snapshot: Snapshot) -> bool:
    """Whether the domain is ours and the recipient does not exist there."""
    if recipient.domain in snapshot.local_domains:
        return recipient.local_key not in snapshot.local_recipients
    listed = snapshot.relay_domains.get(recipient.domain)
    return listed is not None and recipient.matching_key not in listed


def is_account(recipient: Party, snapshot: Snapshot) -> bool:
    """Whether the recipient is an account here; aliases and postmaster count, relay-domain recipients do not."""
    if recipient.domain in snapshot.local_domains:
        return recipient.local_key in snapshot.local_recipients or is_postmaster(recipient, snapshot)
    return not recipient.domain and is_postmaster(recipient, snapshot)


def _unknown(facts: Facts, _snapshot: Snapshot) -> Objection | None:
    return _UNKNOWN if facts.recipient.is_unknown else None


def _excess(facts: Facts, snapshot: Snapshot) -> Objection | None:
    profile = snapshot.profile
    if facts.recipient_count < profile.max_recipients + (_POSTMASTERS_OVER_LIMIT if facts.for_postmaster else 0):
        return None
    return _MESSAGE_REFUSED if profile.reject_message_over_recipient_limit else _DEFERRED


UNKNOWN = Rule("unknown_recipient", Stage.RCPT, always, _unknown)
EXCESS = Rule(
    "too_many_recipients",
    Stage.RCPT,
    lambda snapshot: when(snapshot.profile.max_recipients > 0),
    _excess,
    for_postmaster=True,
)
