"""Rules about the names of the client: its reverse name and its HELO name. This module is pure."""

from __future__ import annotations

from functools import lru_cache

from libs.smtp.address import HeloKind, parse_helo
from libs.smtp.reply import (
    CLIENT_NAME_UNKNOWN,
    CLIENT_NAME_UNKNOWN_NOW,
    HELO_UNKNOWN,
    HELO_UNKNOWN_NOW,
    NON_FQDN_HELO,
)
from libs.smtp.value import fast_value
from services.policy.rules import exemptions
from services.policy.rules.lookup import Lookup, Outcome, Question
from services.policy.rules.model import Facts, Rule, RuleMatch, Snapshot, Stage

_NO_NAME = RuleMatch(CLIENT_NAME_UNKNOWN, explanation="No reverse name of the client maps back to its address.")
_NO_NAME_ANSWER = RuleMatch(
    CLIENT_NAME_UNKNOWN_NOW, explanation="The DNS gives no answer about the client's reverse name."
)
_NON_FQDN = RuleMatch(NON_FQDN_HELO, explanation="The HELO name is neither a full name nor an address literal.")
_UNKNOWN = RuleMatch(HELO_UNKNOWN, explanation="The HELO name has neither MX nor address.")
_NO_ANSWER = RuleMatch(HELO_UNKNOWN_NOW, explanation="The DNS gives no answer about the HELO name.")

_FOUND, _NONE = Outcome.FOUND, Outcome.NONE


@fast_value(frozen=True, slots=True)
class _Helo:
    """A HELO name in the form that rules use."""

    # The name in canonical form. It is empty when HELO has an address literal, or no valid name.
    name: str
    is_literal: bool
    is_full: bool
    question: tuple[Question, ...]


@lru_cache(maxsize=8192)
def _helo(raw: bytes) -> _Helo:
    parsed = parse_helo(raw)
    name = parsed.name if parsed.kind in (HeloKind.FQDN, HeloKind.NON_FQDN) else ""
    # An address without brackets is not a DNS name (RFC 1123 2.1).
    is_number = name.rpartition(".")[2].isdigit()
    return _Helo(
        name=name,
        is_literal=parsed.kind is HeloKind.LITERAL,
        is_full=parsed.kind in (HeloKind.FQDN, HeloKind.LITERAL),
        question=(Question(Lookup.HELO_DOMAIN, name),) if name and not is_number else (),
    )


def helo_domain(helo_name: bytes) -> str:
    """Returns the canonical HELO name. The result is empty when HELO has an address literal, or no valid name."""
    return _helo(helo_name).name


def client_name_question(facts: Facts, _snapshot: Snapshot) -> tuple[Question, ...]:
    return facts.client.name_questions


def _unknown_client(facts: Facts, _snapshot: Snapshot) -> RuleMatch | None:
    outcome = facts.lookup_results[facts.client.name_questions[0]].outcome
    if outcome is _FOUND:
        return None
    return _NO_NAME if outcome is _NONE else _NO_NAME_ANSWER


def _non_fqdn(facts: Facts, _snapshot: Snapshot) -> RuleMatch | None:
    return None if _helo(facts.helo_name).is_full else _NON_FQDN


def _helo_question(facts: Facts, _snapshot: Snapshot) -> tuple[Question, ...]:
    return _helo(facts.helo_name).question


def _unknown_helo(facts: Facts, _snapshot: Snapshot) -> RuleMatch | None:
    helo = _helo(facts.helo_name)
    if not helo.question:
        # A text that cannot be a DNS name does not exist in the DNS.
        return None if helo.is_literal else _UNKNOWN
    outcome = facts.lookup_results[helo.question[0]].outcome
    if outcome is _FOUND:
        return None
    return _UNKNOWN if outcome is _NONE else _NO_ANSWER


UNKNOWN_CLIENT = Rule(
    "unknown_client_hostname",
    Stage.RCPT,
    lambda snapshot: snapshot.connection_policy.reject_unknown_client_hostname,
    _unknown_client,
    exempt=exemptions.client_identity,
    lookups=client_name_question,
    begins_at_connect=True,
)
NON_FQDN_HELO_NAME = Rule(
    "non_fqdn_helo",
    Stage.RCPT,
    lambda snapshot: snapshot.advanced.reject_non_fqdn_helo,
    _non_fqdn,
    exempt=exemptions.client_identity,
)
UNKNOWN_HELO = Rule(
    "unknown_helo",
    Stage.RCPT,
    lambda snapshot: snapshot.advanced.reject_unknown_helo,
    _unknown_helo,
    exempt=exemptions.client_identity,
    lookups=_helo_question,
)
