"""Who the client says it is: its reverse name and its HELO name. Pure."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

from libs.smtp.address import HeloKind, HeloName, parse_helo
from libs.smtp.reply import CLIENT_NAME_UNKNOWN, HELO_UNKNOWN, NON_FQDN_HELO
from services.policy.rules import exemptions
from services.policy.rules.model import Facts, Lookup, Objection, Outcome, Question, Rule, Snapshot, Stage

_NO_NAME = Objection(CLIENT_NAME_UNKNOWN, explanation="No reverse name of the client maps back to its address.")
_NO_NAME_ANSWER = Objection(CLIENT_NAME_UNKNOWN, explanation="The DNS gives no answer about the client's reverse name.")
_NON_FQDN = Objection(NON_FQDN_HELO, explanation="The HELO name is neither a full name nor an address literal.")
_UNKNOWN = Objection(HELO_UNKNOWN, explanation="The HELO name has neither MX nor address.")
_NO_ANSWER = Objection(HELO_UNKNOWN, explanation="The DNS gives no answer about the HELO name.")

_helo: Callable[[bytes], HeloName] = lru_cache(maxsize=8192)(parse_helo)


def helo_domain(helo_name: bytes) -> str:
    """The canonical HELO name, empty where it is a literal or no name."""
    helo = _helo(helo_name)
    return helo.name if helo.kind in (HeloKind.FQDN, HeloKind.NON_FQDN) else ""


def client_name_question(facts: Facts, _snapshot: Snapshot) -> tuple[Question, ...]:
    return (Question(Lookup.CLIENT_NAME, facts.client.address),)


def _unknown_client(facts: Facts, snapshot: Snapshot) -> Objection | None:
    finding = facts.findings[client_name_question(facts, snapshot)[0]]
    if finding.outcome is Outcome.FOUND:
        return None
    return _NO_NAME if finding.outcome is Outcome.NONE else _NO_NAME_ANSWER


def _non_fqdn(facts: Facts, _snapshot: Snapshot) -> Objection | None:
    kind = _helo(facts.helo_name).kind
    return None if kind in (HeloKind.FQDN, HeloKind.LITERAL) else _NON_FQDN


def _helo_question(facts: Facts, _snapshot: Snapshot) -> tuple[Question, ...]:
    helo = _helo(facts.helo_name)
    if helo.kind in (HeloKind.LITERAL, HeloKind.MALFORMED):
        return ()
    return (Question(Lookup.HELO_DOMAIN, helo.name),)


def _unknown_helo(facts: Facts, _snapshot: Snapshot) -> Objection | None:
    helo = _helo(facts.helo_name)
    if helo.kind is HeloKind.LITERAL:
        return None
    if helo.kind is HeloKind.MALFORMED:
        return _UNKNOWN
    finding = facts.findings[Question(Lookup.HELO_DOMAIN, helo.name)]
    if finding.outcome is Outcome.FOUND:
        return None
    return _UNKNOWN if finding.outcome is Outcome.NONE else _NO_ANSWER


UNKNOWN_CLIENT = Rule(
    "unknown_client_hostname",
    Stage.RCPT,
    lambda snapshot: snapshot.connection_policy.reject_unknown_client_hostname,
    _unknown_client,
    exempt=exemptions.any_of(exemptions.client_identity, exemptions.connection_policy),
    asks=client_name_question,
    early=True,
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
    asks=_helo_question,
)
