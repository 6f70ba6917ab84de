"""Rules about who may send where, and with which addresses: relay permission, login on submission ports, and senders
that belong to logins. This module is pure.
"""

from __future__ import annotations

from libs.smtp.reply import AUTH_REQUIRED, FROM_LOGIN_MISMATCH, RELAY_DENIED, SENDER_LOGIN_MISMATCH
from services.policy.rules import exemptions
from services.policy.rules.configuration import Mode
from services.policy.rules.model import Exemption, Facts, Listener, Rule, RuleMatch, Snapshot, Stage, always, when

_SMTP = Listener.SMTP.value

_LOGIN_REQUIRED = RuleMatch(AUTH_REQUIRED, explanation="Submission ports accept mail only from logged-in clients.")
_RELAY_DENIED = RuleMatch(
    RELAY_DENIED, explanation="The domain is not ours, and the client is neither logged in nor trusted."
)
_ROUTED = RuleMatch(
    RELAY_DENIED, explanation="The local part names a further destination, to which the client may not send."
)
_NOT_OF_LOGIN = RuleMatch(
    SENDER_LOGIN_MISMATCH,
    explanation="The sender is neither an address of the logged-in account nor an alias that leads to it.",
)
_OF_ANOTHER = RuleMatch(
    SENDER_LOGIN_MISMATCH,
    explanation="The sender belongs to an account, and the client is not logged in as that account.",
)
_FROM_NOT_OF_LOGIN = RuleMatch(
    FROM_LOGIN_MISMATCH, explanation="A From address does not belong to the logged-in account."
)


def permission(facts: Facts, snapshot: Snapshot) -> str:
    """Returns the exemption by which this client may send to any domain. The result is empty when there is none."""
    return (
        exemptions.logged_in(facts, snapshot)
        or exemptions.trusted_network(facts, snapshot)
        or exemptions.local_network(facts, snapshot)
    )


def _login_required(facts: Facts, snapshot: Snapshot) -> RuleMatch | None:
    if facts.listener == _SMTP or permission(facts, snapshot):
        return None
    return _LOGIN_REQUIRED


def _relay_denied(facts: Facts, snapshot: Snapshot) -> RuleMatch | None:
    if facts.recipient.is_ours or permission(facts, snapshot):
        return None
    return _RELAY_DENIED


def _untrusted_routing(facts: Facts, snapshot: Snapshot) -> RuleMatch | None:
    return _ROUTED if facts.recipient.is_routed and not permission(facts, snapshot) else None


def _match_mode(snapshot: Snapshot) -> Mode:
    # The rule is off while AUTH is off: nobody can log in then, so it would refuse every message from an account's
    # address.
    return when(snapshot.smtp_auth.enabled and snapshot.smtp_auth.sender_must_match_login)


def _match_exempt(facts: Facts, snapshot: Snapshot) -> str:
    if facts.client.trusted and snapshot.smtp_auth.skip_sender_match_for_trusted_networks:
        return Exemption.TRUSTED_NETWORK
    return exemptions.local_network(facts, snapshot)


def _sender_mismatch(facts: Facts, _snapshot: Snapshot) -> RuleMatch | None:
    sender = facts.sender
    if not sender.domain:
        return None
    if facts.account is not None:
        return None if facts.account.id in sender.owners else _NOT_OF_LOGIN
    return _OF_ANOTHER if sender.owners else None


def _from_mismatch(facts: Facts, _snapshot: Snapshot) -> RuleMatch | None:
    content = facts.content
    if facts.account is None or content.from_fields == 0:
        return None
    # A field that cannot be read completely may show any address to a person.
    readable = content.authors and not content.from_unparsable
    if readable and all(facts.account.id in author.owners for author in content.authors):
        return None
    return _FROM_NOT_OF_LOGIN


def _needs_no_login(facts: Facts, snapshot: Snapshot) -> str:
    return Exemption.MAIL_PORT if facts.listener == _SMTP else permission(facts, snapshot)


def _without_login(facts: Facts, _snapshot: Snapshot) -> str:
    return Exemption.NOT_LOGGED_IN if facts.account is None else ""


LOGIN_REQUIRED = Rule("login_required", Stage.MAIL, always, _login_required, session_exempt=_needs_no_login)
RELAY = Rule("relay_denied", Stage.RCPT, always, _relay_denied)
# The domain's own server might trust this gateway, and forward such mail to any destination.
UNTRUSTED_ROUTING = Rule("untrusted_routing", Stage.RCPT, always, _untrusted_routing)
SENDER_LOGIN = Rule("sender_login_mismatch", Stage.RCPT, _match_mode, _sender_mismatch, exempt=_match_exempt)
FROM_LOGIN = Rule(
    "from_login_mismatch",
    Stage.END_OF_DATA,
    _match_mode,
    _from_mismatch,
    exempt=_match_exempt,
    session_exempt=_without_login,
)
