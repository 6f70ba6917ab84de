"""Limits on clients: connections, messages in a minute, and clients that are blocked for naming unknown recipients.
This module is pure.
"""

from __future__ import annotations

from libs.smtp.reply import (
    CLIENT_BLOCKED,
    CONNECTION_RATE,
    MESSAGE_RATE,
    TOO_MANY_CONNECTIONS,
)
from services.policy.rules import exemptions
from services.policy.rules.access import discarded_by
from services.policy.rules.configuration import Mode
from services.policy.rules.model import Facts, Rule, RuleMatch, Snapshot, Stage, when

_BLOCKED = RuleMatch(CLIENT_BLOCKED, close=True, explanation="The client is blocked until the end of the day.")
_TOO_MANY = RuleMatch(
    TOO_MANY_CONNECTIONS, close=True, explanation="The client has as many connections open as it may have."
)
_TOO_FAST = RuleMatch(CONNECTION_RATE, close=True, explanation="The client opened too many connections this minute.")
_TOO_MUCH_MAIL = RuleMatch(MESSAGE_RATE, explanation="The client began too many messages this minute.")


def blocking(snapshot: Snapshot) -> Mode:
    return when(snapshot.advanced.max_unknown_recipients_per_day > 0)


def connection_rate(snapshot: Snapshot) -> Mode:
    return when(snapshot.connection_policy.max_connections_per_minute > 0)


def concurrency(snapshot: Snapshot) -> Mode:
    return when(snapshot.connection_policy.max_concurrent_connections > 0)


def message_rate(snapshot: Snapshot) -> Mode:
    return when(snapshot.connection_policy.max_messages_per_minute > 0)


def block_acts(client: str, snapshot: Snapshot, now: float) -> bool:
    """Whether a block on a client (`Client.key`) refuses it now. The client is not refused when the limit is off, or
    when an exemption applies.
    """
    if blocking(snapshot) is Mode.OFF:
        return False
    facts = Facts(Stage.CONNECT, now, "", snapshot.clients.find(client.partition("/")[0]))
    return not exemptions.never_blocked(facts, snapshot)


def _blocked(facts: Facts, _snapshot: Snapshot) -> RuleMatch | None:
    """Refuses a blocked client. The recipient that reaches the limit still gets its own answer. The block begins with
    the next recipient.
    """
    if not facts.counts.blocked or (facts.asked_before and facts.recipient.is_unknown):
        return None
    return _BLOCKED


def _too_many_connections(facts: Facts, snapshot: Snapshot) -> RuleMatch | None:
    count = facts.counts.connections
    return _TOO_MANY if count is not None and count > snapshot.connection_policy.max_concurrent_connections else None


def _too_fast(facts: Facts, snapshot: Snapshot) -> RuleMatch | None:
    count = facts.counts.connections_this_minute
    return _TOO_FAST if count is not None and count > snapshot.connection_policy.max_connections_per_minute else None


def _too_much_mail(facts: Facts, snapshot: Snapshot) -> RuleMatch | None:
    count = facts.counts.messages_this_minute
    return _TOO_MUCH_MAIL if count is not None and count > snapshot.connection_policy.max_messages_per_minute else None


BLOCKED_CLIENT = Rule(
    "client_blocked", Stage.CONNECT, blocking, _blocked, exempt=exemptions.never_blocked, counted=True
)
BLOCKED_SENDER = Rule(
    "client_blocked",
    Stage.MAIL,
    blocking,
    _blocked,
    # Mail that is discarded because of a rule on the client or the sender must not be refused.
    exempt=exemptions.any_of(exemptions.never_blocked, discarded_by),
    session_exempt=exemptions.never_blocked,
    counted=True,
)
BLOCKED_RECIPIENT = Rule(
    "client_blocked",
    Stage.RCPT,
    blocking,
    _blocked,
    exempt=exemptions.never_blocked,
    counted=True,
    for_postmaster=True,
)
CONNECTION_RATE_LIMIT = Rule(
    "connection_rate", Stage.CONNECT, connection_rate, _too_fast, exempt=exemptions.connection_policy, counted=True
)
CONCURRENCY_LIMIT = Rule(
    "too_many_connections",
    Stage.CONNECT,
    concurrency,
    _too_many_connections,
    exempt=exemptions.connection_policy,
    counted=True,
)
MESSAGE_RATE_LIMIT = Rule(
    "message_rate",
    Stage.MAIL,
    message_rate,
    _too_much_mail,
    exempt=exemptions.connection_policy,
    session_exempt=exemptions.connection_policy,
    counted=True,
)
