"""Rules about the protocol: early talkers, junk commands, message size and hops. No allow rule lifts them. This module
is pure.
"""

from __future__ import annotations

from libs.smtp.reply import MESSAGE_TOO_BIG, TOO_MANY_HOPS, TOO_MANY_JUNK_COMMANDS, UNAUTHORISED_PIPELINING
from services.policy.rules.configuration import Mode
from services.policy.rules.model import Facts, Rule, RuleMatch, Snapshot, Stage, when

# The number of junk commands for which the answer to the next MAIL is delayed by one more second.
JUNK_COMMANDS_PER_DELAY = 10
MAX_DELAY_SECONDS = 30

_PIPELINING = RuleMatch(
    UNAUTHORISED_PIPELINING, close=True, explanation="The client sent data before the reply that it had to wait for."
)
_JUNK = RuleMatch(
    TOO_MANY_JUNK_COMMANDS, close=True, explanation="The client sent too many commands outside mail transactions."
)
_DECLARED_TOO_BIG = RuleMatch(MESSAGE_TOO_BIG, explanation="The size declared at MAIL is over the limit.")
_TOO_BIG = RuleMatch(MESSAGE_TOO_BIG, explanation="The message is over the size limit.")
_TOO_MANY_HOPS = RuleMatch(TOO_MANY_HOPS, explanation="The message has passed too many hosts.")


def _size_on(snapshot: Snapshot) -> Mode:
    return when(snapshot.profile.max_message_size > 0)


def _pipelining(facts: Facts, _snapshot: Snapshot) -> RuleMatch | None:
    return _PIPELINING if facts.pipelining_violation else None


def _junk(facts: Facts, snapshot: Snapshot) -> RuleMatch | None:
    return _JUNK if facts.junk_commands > snapshot.advanced.max_junk_commands else None


def _declared_size(facts: Facts, snapshot: Snapshot) -> RuleMatch | None:
    return _DECLARED_TOO_BIG if facts.declared_size > snapshot.profile.max_message_size else None


def _size(facts: Facts, snapshot: Snapshot) -> RuleMatch | None:
    return _TOO_BIG if facts.content.size > snapshot.profile.max_message_size else None


def _hops(facts: Facts, snapshot: Snapshot) -> RuleMatch | None:
    return _TOO_MANY_HOPS if facts.content.hops > snapshot.profile.max_hops else None


def junk_delay(facts: Facts, snapshot: Snapshot) -> int:
    """Returns the seconds by which the answer to MAIL is delayed because of junk commands."""
    if snapshot.advanced.max_junk_commands == 0:
        return 0
    return min(facts.junk_commands_uncharged // JUNK_COMMANDS_PER_DELAY, MAX_DELAY_SECONDS)


PIPELINING = Rule(
    "unauthorized_pipelining",
    Stage.PIPELINING,
    lambda snapshot: snapshot.advanced.reject_unauthorized_pipelining,
    _pipelining,
)
JUNK = Rule(
    "too_many_junk_commands",
    Stage.JUNK_COMMAND,
    lambda snapshot: when(snapshot.advanced.max_junk_commands > 0),
    _junk,
)
DECLARED_SIZE = Rule("message_too_big", Stage.MAIL, _size_on, _declared_size, applied_by_ingress=True)
SIZE = Rule("message_too_big", Stage.END_OF_DATA, _size_on, _size, for_postmaster=True, applied_by_ingress=True)
HOPS = Rule(
    "too_many_hops",
    Stage.END_OF_DATA,
    lambda snapshot: when(snapshot.profile.max_hops > 0),
    _hops,
    for_postmaster=True,
    applied_by_ingress=True,
)
