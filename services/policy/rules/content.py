"""The rules about content: the results of DNS block lists, SPF, DKIM, DMARC, the virus scanner and rspamd. This module
is pure.
"""

from __future__ import annotations

from functools import lru_cache
from ipaddress import IPv4Address

from libs.smtp.reply import (
    DKIM_FAILED,
    DKIM_NO_ANSWER,
    DMARC_FAILED,
    DMARC_NO_ANSWER,
    DNSBL_LISTED,
    SCAN_FAILED,
    SPAM_CHECK_FAILED,
    SPAM_DELAYED,
    SPAM_REFUSED,
    SPF_FAILED,
    SPF_NO_ANSWER,
    SPF_PERMANENT_ERROR,
    VIRUS_FOUND,
)
from services.policy.rules import access, dmarc, exemptions
from services.policy.rules.configuration import DnsblZone, Mode
from services.policy.rules.identity import client_name_question, helo_domain
from services.policy.rules.lookup import Lookup, LookupResult, Outcome, Question
from services.policy.rules.model import (
    NO_CHECKS,
    Action,
    Check,
    CheckResult,
    Checks,
    Facts,
    Rspamd,
    Rule,
    RuleMatch,
    ScanOutcome,
    Snapshot,
    SpamAction,
    Stage,
)

_FOUND = Outcome.FOUND

_LISTED = RuleMatch(
    DNSBL_LISTED, explanation="The client's address is listed in a DNS block list, with a configured code."
)
_SPF_FAIL = RuleMatch(SPF_FAILED, explanation="SPF: the domain does not let this address send.")
_SPF_TEMPERROR = RuleMatch(SPF_NO_ANSWER, explanation="SPF: the DNS gives no answer.")
_SPF_PERMERROR = RuleMatch(SPF_PERMANENT_ERROR, explanation="SPF: the domain's record has an error.")
_VIRUS = RuleMatch(VIRUS_FOUND, explanation="The scanner found a virus.")
_VIRUS_DISCARDED = RuleMatch(None, action=Action.DISCARD, explanation="The scanner found a virus.")
_SCAN_ERROR = RuleMatch(SCAN_FAILED, explanation="The message could not be scanned.")
_DKIM_FAIL = RuleMatch(DKIM_FAILED, explanation="Every DKIM signature of the message fails.")
_DKIM_TEMPERROR = RuleMatch(DKIM_NO_ANSWER, explanation="DKIM: the DNS gives no answer about a key.")
_DMARC_REJECT = RuleMatch(DMARC_FAILED, explanation="DMARC: the policy of the From domain is reject.")
_DMARC_NO_FROM = RuleMatch(DMARC_FAILED, explanation="DMARC: the message has no usable From address.")
_DMARC_QUARANTINE = RuleMatch(None, quarantine=True, explanation="DMARC: the policy of the From domain is quarantine.")
_DMARC_TEMPERROR = RuleMatch(DMARC_NO_ANSWER, explanation="DMARC: the DNS gives no answer, and no other result passes.")
_SPAM = RuleMatch(SPAM_REFUSED, explanation="rspamd rejects the message.")
_SPAM_LATER = RuleMatch(SPAM_DELAYED, explanation="rspamd asks that the message is sent again later.")
_SPAM_MARKED = RuleMatch(None, quarantine=True, explanation="rspamd considers the message spam, and lets it pass.")
_SPAM_ERROR = RuleMatch(SPAM_CHECK_FAILED, explanation="rspamd could not be asked about the message.")


def any_check(snapshot: Snapshot) -> bool:
    """Whether ingress may have to check any content."""
    checks = snapshot.content_checks
    modes = (checks.dkim, checks.dmarc, checks.antivirus.mode, checks.spam.mode)
    return checks.arc or any(mode is not Mode.OFF for mode in modes)


def checks_needed(facts: Facts, snapshot: Snapshot) -> Checks:
    """Returns the checks that ingress must run because of this recipient."""
    checks = snapshot.content_checks
    if not any_check(snapshot):
        return NO_CHECKS
    # Mail for a postmaster is never refused because of its signatures, so they are not checked. But it is scanned,
    # because it may be forwarded to an external postmaster.
    stranger = not facts.for_postmaster and not exemptions.stranger_checks(facts, snapshot)
    # DMARC needs the results of DKIM too.
    dkim = stranger and (
        (checks.dkim is not Mode.OFF and not _dkim_exempt(facts, snapshot))
        or (checks.dmarc is not Mode.OFF and not dmarc_exempt(facts, snapshot))
    )
    scan = checks.antivirus.mode is not Mode.OFF and not access.exempts(Check.ANTIVIRUS)(facts, snapshot)
    return Checks(
        dkim=dkim,
        arc=stranger and checks.arc,
        clamd=checks.antivirus.clamd if scan else "",
        clamd_timeout=checks.antivirus.timeout,
        rspamd=_rspamd_needed(facts, snapshot),
    )


def _rspamd_needed(facts: Facts, snapshot: Snapshot) -> Rspamd | None:
    settings = snapshot.content_checks.spam
    if settings.mode is Mode.OFF or facts.for_postmaster or _spam_exempt(facts, snapshot):
        return None
    return Rspamd(settings.rspamd, settings.password, settings.timeout)


_dnsbl_exempt = exemptions.any_of(exemptions.stranger_checks, access.exempts(Check.DNSBL))
_spf_exempt = exemptions.any_of(exemptions.stranger_checks, access.exempts(Check.SPF))
_dkim_exempt = exemptions.any_of(exemptions.stranger_checks, access.exempts(Check.DKIM))
dmarc_exempt = exemptions.any_of(exemptions.stranger_checks, access.exempts(Check.DMARC))


def _spam_session_exempt(facts: Facts, snapshot: Snapshot) -> str:
    if snapshot.content_checks.spam.check_outgoing and exemptions.logged_in(facts, snapshot):
        return ""
    return exemptions.stranger_checks(facts, snapshot)


_spam_exempt = exemptions.any_of(_spam_session_exempt, access.exempts(Check.SPAM))


# DNS block lists


def _dnsbl_questions(facts: Facts, _snapshot: Snapshot) -> tuple[Question, ...]:
    return facts.client.dnsbl_questions


def is_listed(lookup_result: LookupResult, zone: DnsblZone) -> bool:
    """Whether a zone lists the client. Only a configured code in 127.0.0.0/8 is a listing. 127.255.255.x and all other
    answers are ignored (C83).
    """
    return lookup_result.outcome is _FOUND and any(
        low <= int(IPv4Address(record)) <= high and not record.startswith("127.255.255.")
        for record in lookup_result.records
        for low, high in zone.codes
    )


def _dnsbl(facts: Facts, snapshot: Snapshot) -> RuleMatch | None:
    # For some clients no list is asked. Such clients have no questions, and then no zone is compared.
    lookup_results = [facts.lookup_results[question] for question in facts.client.dnsbl_questions]
    for lookup_result, zone in zip(lookup_results, snapshot.content_checks.dnsbl_zones, strict=False):
        if is_listed(lookup_result, zone):
            return _LISTED
    return None


# SPF


def spf_question(facts: Facts) -> Question:
    """Returns the identity to check: MAIL FROM, or for `<>` the HELO name (RFC 7208 2.4)."""
    return _spf_question(facts.sender.wire if facts.sender.domain else b"", facts.helo_name, facts.client.address)


@lru_cache(maxsize=8192)
def _spf_question(sender: bytes, helo_name: bytes, client: str) -> Question:
    return Question(Lookup.SPF, sender.decode(), helo=helo_domain(helo_name), client=client)


def _spf_questions(facts: Facts, _snapshot: Snapshot) -> tuple[Question, ...]:
    return (spf_question(facts),)


def spf_result(lookup_result: LookupResult) -> CheckResult:
    """Returns the result of SPF. A look-up without an answer is a temperror."""
    if lookup_result.outcome is Outcome.NO_ANSWER:
        return CheckResult.TEMPERROR
    return CheckResult[lookup_result.records[0].upper()] if lookup_result.records else CheckResult.NONE


def _spf(facts: Facts, snapshot: Snapshot) -> RuleMatch | None:
    checks = snapshot.content_checks
    result = spf_result(facts.lookup_results[spf_question(facts)])
    if result is CheckResult.FAIL or (result is CheckResult.SOFTFAIL and checks.spf_reject_softfail):
        return _SPF_FAIL
    if result is CheckResult.TEMPERROR:
        return _SPF_TEMPERROR
    return _SPF_PERMERROR if result is CheckResult.PERMERROR and checks.spf_reject_permerror else None


# The virus scanner, and rspamd


def _needs(check: Check, facts: Facts, snapshot: Snapshot) -> bool:
    """Whether any recipient is neither exempt nor discarded. A message without named recipients is checked."""
    if not facts.recipients:
        return True
    return any(
        not access.recipient_exempts(check, recipient, facts) and not access.discards(recipient, facts, snapshot)
        for recipient in facts.recipients
    )


def _virus(facts: Facts, snapshot: Snapshot) -> RuleMatch | None:
    settings = snapshot.content_checks.antivirus
    if facts.content.scan is ScanOutcome.CLEAN or not _needs(Check.ANTIVIRUS, facts, snapshot):
        return None
    if facts.content.scan is ScanOutcome.INFECTED:
        return _VIRUS_DISCARDED if settings.discard else _VIRUS
    # The scan failed, or the message was not scanned, because the setting was turned on after RCPT.
    return None if settings.accept_on_error else _SCAN_ERROR


def _spam(facts: Facts, snapshot: Snapshot) -> RuleMatch | None:
    scan = facts.content.spam
    action = SpamAction.ERROR if scan is None else scan.action
    if action is SpamAction.NO_ACTION or not _needs(Check.SPAM, facts, snapshot):
        return None
    match action:
        case SpamAction.REJECT:
            return _SPAM
        case SpamAction.SOFT_REJECT | SpamAction.GREYLIST:
            return _SPAM_LATER
        case SpamAction.ADD_HEADER | SpamAction.REWRITE_SUBJECT:
            return _SPAM_MARKED
        case _:
            # rspamd gave no answer, or was not asked, because the setting was turned on after RCPT.
            return None if snapshot.content_checks.spam.accept_on_error else _SPAM_ERROR


def describe_spam(facts: Facts) -> str:
    """Describes rspamd's result in a sentence. The result is empty when rspamd was not asked."""
    scan = facts.content.spam
    if scan is None:
        return ""
    if scan.action is SpamAction.ERROR:
        return f"rspamd gave no answer: {scan.reason or 'unknown reason'}."
    action = scan.action.name.lower().replace("_", " ")
    symbols = f" ({', '.join(scan.symbols)})" if scan.symbols else ""
    return f"rspamd says {action}, with a score of {scan.score:.2f} of {scan.required_score:.2f}{symbols}."


# DKIM


def _dkim(facts: Facts, _snapshot: Snapshot) -> RuleMatch | None:
    # Unreadable signatures are ignored (RFC 6376 6.1.1), and so are failures with a key that is being tested (3.6.1).
    results = [signature.result for signature in facts.content.dkim if signature.result is not CheckResult.NEUTRAL]
    if not results or not all(
        result in (CheckResult.FAIL, CheckResult.PERMERROR, CheckResult.TEMPERROR) for result in results
    ):
        return None
    return _DKIM_TEMPERROR if CheckResult.TEMPERROR in results else _DKIM_FAIL


# DMARC


def dmarc_questions(facts: Facts, _snapshot: Snapshot) -> tuple[Question, ...]:
    """Returns look-ups first about the authors, and then about the identifiers that may be aligned with them."""
    domains = dmarc.author_domains(facts.content)
    if not domains:
        return ()
    spf = spf_question(facts)
    first = (spf, *(dmarc.question(domain) for domain in domains if not domain.startswith("[")))
    if not all(map(facts.lookup_results.knows, first)):
        return first
    return first + dmarc.identifier_questions(facts, spf_result(facts.lookup_results[spf]), spf_domain(facts))


def spf_domain(facts: Facts) -> str:
    """Returns the domain that SPF has checked."""
    return facts.sender.domain or helo_domain(facts.helo_name)


def dmarc_result(facts: Facts) -> dmarc.DmarcResult | None:
    """Returns the DMARC result, or None when there is no usable From address."""
    if not dmarc.author_domains(facts.content):
        return None
    return dmarc.evaluate(facts, spf_result(facts.lookup_results[spf_question(facts)]), spf_domain(facts))


def _dmarc(facts: Facts, snapshot: Snapshot) -> RuleMatch | None:
    for question in dmarc_questions(facts, snapshot):
        facts.lookup_results[question]
    judged = dmarc_result(facts)
    if judged is None:
        return _DMARC_NO_FROM
    match judged.disposition:
        case dmarc.Disposition.REJECT:
            return _DMARC_REJECT
        case dmarc.Disposition.QUARANTINE:
            return _DMARC_QUARANTINE
        case dmarc.Disposition.TEMPFAIL:
            return _DMARC_TEMPERROR
        case _:
            return None


DNSBL = Rule(
    "dnsbl_listed",
    Stage.RCPT,
    lambda snapshot: snapshot.content_checks.dnsbl,
    _dnsbl,
    exempt=_dnsbl_exempt,
    lookups=_dnsbl_questions,
    begins_at_connect=True,
)
SPF = Rule(
    "spf",
    Stage.RCPT,
    lambda snapshot: snapshot.content_checks.spf,
    _spf,
    exempt=_spf_exempt,
    lookups=_spf_questions,
)
ANTIVIRUS = Rule(
    "virus",
    Stage.END_OF_DATA,
    lambda snapshot: snapshot.content_checks.antivirus.mode,
    _virus,
    exempt=access.exempts(Check.ANTIVIRUS),
    for_postmaster=True,
)
SPAM = Rule(
    "spam",
    Stage.END_OF_DATA,
    lambda snapshot: snapshot.content_checks.spam.mode,
    _spam,
    exempt=_spam_exempt,
    session_exempt=_spam_session_exempt,
    lookups_for_checks=client_name_question,
    describe=describe_spam,
)
DKIM = Rule(
    "dkim",
    Stage.END_OF_DATA,
    lambda snapshot: snapshot.content_checks.dkim,
    _dkim,
    exempt=_dkim_exempt,
    session_exempt=exemptions.stranger_checks,
)
DMARC = Rule(
    "dmarc",
    Stage.END_OF_DATA,
    lambda snapshot: snapshot.content_checks.dmarc,
    _dmarc,
    exempt=dmarc_exempt,
    session_exempt=exemptions.stranger_checks,
    lookups=dmarc_questions,
)
