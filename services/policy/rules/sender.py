"""Sender policy: the sender's domain must be a full name, and must exist. Pure."""

from __future__ import annotations

from functools import lru_cache

from libs.smtp.address import is_fqdn
from libs.smtp.reply import NON_FQDN_SENDER, SENDER_DOMAIN_UNKNOWN, SENDER_DOMAIN_UNKNOWN_NOW, SENDER_NULL_MX
from services.policy.rules import exemptions
from services.policy.rules.lookup import NULL_MX, Lookup, Outcome, Question
from services.policy.rules.model import Facts, Objection, Rule, Snapshot, Stage
from services.policy.rules.recipients import is_account
from services.policy.rules.relaying import is_ours

_FOUND = Outcome.FOUND

_NON_FQDN = Objection(NON_FQDN_SENDER, explanation="The sender's domain is one label only.")
_NO_ANSWER = Objection(SENDER_DOMAIN_UNKNOWN_NOW, explanation="The DNS gives no answer about the sender's domain.")
_UNKNOWN = Objection(SENDER_DOMAIN_UNKNOWN, explanation="The sender's domain has neither MX nor address.")
_TAKES_NO_MAIL = Objection(SENDER_NULL_MX, explanation="The sender's domain says that it takes no mail (RFC 7505).")


def _non_fqdn(facts: Facts, _snapshot: Snapshot) -> Objection | None:
    domain = facts.sender.domain
    if not domain or domain.startswith("[") or is_fqdn(domain):
        return None
    return _NON_FQDN


@lru_cache(maxsize=8192)
def _question(domain: str) -> tuple[Question, ...]:
    return (Question(Lookup.SENDER_DOMAIN, domain),)


def _questions(facts: Facts, snapshot: Snapshot) -> tuple[Question, ...]:
    domain = facts.sender.domain
    if not domain or domain.startswith("[") or is_ours(domain, snapshot) or is_account(facts.recipient, snapshot):
        return ()
    return _question(domain)


def _unknown(facts: Facts, snapshot: Snapshot) -> Objection | None:
    for question in _questions(facts, snapshot):
        finding = facts.findings[question]
        if finding.outcome is _FOUND:
            return None
        if finding.outcome is Outcome.NO_ANSWER:
            return _NO_ANSWER
        if finding.outcome is Outcome.NONE:
            return _TAKES_NO_MAIL if finding.detail == NULL_MX else _UNKNOWN
    return None


NON_FQDN = Rule(
    "non_fqdn_sender",
    Stage.RCPT,
    lambda snapshot: snapshot.sender_policy.reject_non_fqdn_sender,
    _non_fqdn,
    exempt=exemptions.allowed_ip,
)
UNKNOWN_DOMAIN = Rule(
    "unknown_sender_domain",
    Stage.RCPT,
    lambda snapshot: snapshot.sender_policy.reject_unknown_sender_domain,
    _unknown,
    exempt=exemptions.allowed_ip,
    asks=_questions,
)
