"""The results for the field Authentication-Results (RFC 8601): auth, iprev, spf, dkim, dmarc, arc.
This module is pure.
"""

from __future__ import annotations

from functools import lru_cache

from libs.smtp.value import fast_value
from services.policy.rules import content, exemptions
from services.policy.rules.configuration import Mode
from services.policy.rules.identity import client_name_question
from services.policy.rules.lookup import Outcome, Question
from services.policy.rules.model import CheckResult, Facts, Snapshot

_IPREV = {
    Outcome.FOUND: CheckResult.PASS,
    Outcome.NONE: CheckResult.FAIL,
    Outcome.NO_ANSWER: CheckResult.TEMPERROR,
}

# The largest number of results of each method that are cached.
_SHARED = 16_384


@fast_value(frozen=True, slots=True, eq=False)
class AuthenticationResult:
    """The result of one method. `properties` are (ptype, name, value) of RFC 8601 2.2. Results that many messages share
    are made only once.
    """

    method: str
    result: CheckResult
    reason: str = ""
    properties: tuple[tuple[str, str, bytes], ...] = ()


def questions(facts: Facts, snapshot: Snapshot) -> tuple[Question, ...]:
    """Returns the look-ups that the results read. Most of them were made for rules at RCPT, and are cached."""
    if facts.may_be_exempt and exemptions.stranger_checks(facts, snapshot):
        return ()
    dns_questions: tuple[Question, ...] = ()
    if snapshot.connection_policy.reject_unknown_client_hostname is not Mode.OFF:
        dns_questions += client_name_question(facts, snapshot)
    if snapshot.content_checks.spf is not Mode.OFF:
        dns_questions += (content.spf_question(facts),)
    return dns_questions


def expected(facts: Facts, snapshot: Snapshot) -> bool:
    """Whether a message of this session may have results. `facts` are only the facts of the session."""
    if facts.account is not None:
        return True
    if exemptions.stranger_checks(facts, snapshot):
        return False
    checks = snapshot.content_checks
    methods = (checks.spf, checks.dkim, checks.dmarc, snapshot.connection_policy.reject_unknown_client_hostname)
    return checks.arc or any(mode is not Mode.OFF for mode in methods)


def envelope_results(facts: Facts, snapshot: Snapshot) -> tuple[AuthenticationResult, ...]:
    """Returns the results that do not depend on the content: auth, iprev and spf, as far as they are known."""
    envelope: list[AuthenticationResult] = []
    if facts.account is not None:
        envelope.append(
            AuthenticationResult("auth", CheckResult.PASS, "", (("smtp", "auth", facts.account.login.encode()),))
        )
    if facts.may_be_exempt and exemptions.stranger_checks(facts, snapshot):
        return tuple(envelope)
    name = facts.lookup_results.get(client_name_question(facts, snapshot)[0])
    if name is not None:
        envelope.append(_iprev(facts.client.address, name.outcome))
    checks = snapshot.content_checks
    if checks.spf is not Mode.OFF or checks.dmarc is not Mode.OFF:
        envelope += _spf(facts)
    return tuple(envelope)


def client_name(facts: Facts, snapshot: Snapshot) -> str:
    """Returns the first verified name of the client. The result is empty when the client has no verified name, or when
    the name is not known yet.
    """
    question = client_name_question(facts, snapshot)[0]
    if not facts.lookup_results.knows(question) or not facts.lookup_results[question].records:
        return ""
    return facts.lookup_results[question].records[0]


def results(facts: Facts, snapshot: Snapshot) -> tuple[AuthenticationResult, ...]:
    """Returns the results of all methods, except methods that are off or from which the client is exempt."""
    all_results = list(envelope_results(facts, snapshot))
    if facts.may_be_exempt and exemptions.stranger_checks(facts, snapshot):
        return tuple(all_results)
    all_results += _dkim(facts)
    all_results += _dmarc(facts, snapshot)
    arc = facts.content.arc
    if arc is not None:
        properties = (("header", "d", arc.sealer_domain.encode()),) if arc.sealer_domain else ()
        all_results.append(AuthenticationResult("arc", arc.result, "", properties))
    return tuple(all_results)


def _spf(facts: Facts) -> list[AuthenticationResult]:
    question = content.spf_question(facts)
    lookup_result = facts.lookup_results.get(question)
    if lookup_result is None:
        return []
    result = content.spf_result(lookup_result)
    if question.subject:
        return [_of_spf(result, "mailfrom", facts.sender.wire)]
    return [_of_spf(result, "helo", question.helo.encode())]


@lru_cache(maxsize=_SHARED)
def _of_spf(result: CheckResult, name: str, identity: bytes) -> AuthenticationResult:
    return AuthenticationResult("spf", result, "", (("smtp", name, identity),))


@lru_cache(maxsize=_SHARED)
def _iprev(address: str, outcome: Outcome) -> AuthenticationResult:
    return AuthenticationResult("iprev", _IPREV[outcome], "", (("policy", "iprev", address.encode()),))


_NO_SIGNATURE = AuthenticationResult("dkim", CheckResult.NONE)


def _dkim(facts: Facts) -> list[AuthenticationResult]:
    if not facts.content.dkim_checked:
        return []
    if not facts.content.dkim:
        return [_NO_SIGNATURE]
    dkim_results = []
    for signature in facts.content.dkim:
        properties = [("header", "d", signature.domain.encode())]
        if signature.selector:
            properties.append(("header", "s", signature.selector.encode()))
        if signature.algorithm:
            properties.append(("header", "a", signature.algorithm.encode()))
        if signature.signature_prefix:
            properties.append(("header", "b", signature.signature_prefix))
        dkim_results.append(AuthenticationResult("dkim", signature.result, signature.reason, tuple(properties)))
    return dkim_results


def _dmarc(facts: Facts, snapshot: Snapshot) -> list[AuthenticationResult]:
    if snapshot.content_checks.dmarc is Mode.OFF or content.dmarc_exempt(facts, snapshot):
        return []
    if not all(map(facts.lookup_results.knows, content.dmarc_questions(facts, snapshot))):
        return []
    judged = content.dmarc_result(facts)
    if judged is None:
        return [AuthenticationResult("dmarc", CheckResult.PERMERROR, "no From address")]
    properties = [("header", "from", judged.domain.encode())]
    if judged.policy:
        properties.append(("policy", "published-domain-policy", judged.policy.encode()))
    return [AuthenticationResult("dmarc", judged.result, "", tuple(properties))]
