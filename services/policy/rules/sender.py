"""The sender policy: the sender's domain must be a full name, and must exist. This module is pure."""

from __future__ import annotations

from libs.smtp.reply import NON_FQDN_SENDER, SENDER_DOMAIN_UNKNOWN, SENDER_DOMAIN_UNKNOWN_NOW, SENDER_NULL_MX
from services.policy.rules import exemptions
from services.policy.rules.lookup import NULL_MX, Outcome, Question
from services.policy.rules.model import Facts, Rule, RuleMatch, Snapshot, Stage

_FOUND = Outcome.FOUND

_NON_FQDN = RuleMatch(NON_FQDN_SENDER, explanation="The sender's domain has only one label.")
_NO_ANSWER = RuleMatch(SENDER_DOMAIN_UNKNOWN_NOW, explanation="The DNS gives no answer about the sender's domain.")
_UNKNOWN = RuleMatch(SENDER_DOMAIN_UNKNOWN, explanation="The sender's domain has neither MX nor address.")
_TAKES_NO_MAIL = RuleMatch(SENDER_NULL_MX, explanation="The sender's domain says that it accepts no mail (RFC 7505).")


def _non_fqdn(facts: Facts, _snapshot: Snapshot) -> RuleMatch | None:
    return _NON_FQDN if facts.sender.is_short else None


def _questions(facts: Facts, _snapshot: Snapshot) -> tuple[Question, ...]:
    return () if facts.recipient.is_account else facts.sender.domain_questions


def _unknown(facts: Facts, snapshot: Snapshot) -> RuleMatch | None:
    for question in _questions(facts, snapshot):
        lookup_result = facts.lookup_results[question]
        if lookup_result.outcome is _FOUND:
            return None
        if lookup_result.outcome is Outcome.NO_ANSWER:
            return _NO_ANSWER
        if lookup_result.outcome is Outcome.NONE:
            return _TAKES_NO_MAIL if lookup_result.detail == NULL_MX else _UNKNOWN
    return None


NON_FQDN = Rule(
    "non_fqdn_sender",
    Stage.RCPT,
    lambda snapshot: snapshot.sender_policy.reject_non_fqdn_sender,
    _non_fqdn,
    exempt=exemptions.sender_policy,
)
UNKNOWN_DOMAIN = Rule(
    "unknown_sender_domain",
    Stage.RCPT,
    lambda snapshot: snapshot.sender_policy.reject_unknown_sender_domain,
    _unknown,
    exempt=exemptions.sender_policy,
    lookups=_questions,
)
