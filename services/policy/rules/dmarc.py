"""DMARC (RFC 9989): reading records, the tree walk, alignment, and the policy of a message's From domains. This module
is pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from enum import IntEnum

from libs.smtp.value import fast_value
from services.policy.rules.lookup import DmarcRecord, Lookup, LookupResult, Outcome, Question
from services.policy.rules.model import CheckResult, Content, Facts

# RFC 9989 4.10: a domain with eight or more labels is cut to seven after the first query.
_LONGEST_WALK_LABELS = 7
_POLICIES = ("none", "quarantine", "reject")
# The disposition while the owner tests the policy: one level weaker (RFC 9989 4.7, tag t).
_MILDER = {"reject": "quarantine", "quarantine": "none", "none": "none"}
# The name of the tag may be in any case, and its value must have this case (RFC 9989 4.8).
_VERSION = re.compile(r"\s*[vV]\s*=\s*DMARC1\s*(?:;|$)")
_TAG = re.compile(r"\s*([A-Za-z][A-Za-z0-9_]*)\s*=\s*(.*?)\s*", re.DOTALL)
_REPORT_URI = re.compile(r"\s*mailto:[^\s,!]+@[^\s,!]+(?:![0-9]+[kmgt]?)?\s*", re.IGNORECASE)


@fast_value(frozen=True, slots=True)
class Published:
    """One record as its owner wrote it. Tags that are absent or invalid have their defaults."""

    policy: str
    # Empty means absent, so that the policy of the next wider domain applies.
    subdomain_policy: str = ""
    nonexistent_policy: str = ""
    strict_dkim: bool = False
    strict_spf: bool = False
    # One of y, n, u.
    psd: str = "u"
    testing: bool = False


def parse(text: str) -> Published | None:
    """Returns the DMARC record in a TXT record (RFC 9989 4.7, 4.8), or None when the text is not a DMARC record or
    contains no policy to apply.
    """
    if not _VERSION.match(text):
        return None
    tags: dict[str, str] = {}
    for part in text.split(";")[1:]:
        if not part.strip():
            continue
        tag = _TAG.fullmatch(part)
        if tag is None or tag[1].lower() in tags:
            # Syntax errors in the rest of a record are ignored (4.8), and so is a repeated tag.
            continue
        tags[tag[1].lower()] = tag[2].lower()
    policy = tags.get("p", "")
    broken = any(tags.get(name, "none") not in _POLICIES for name in ("sp", "np"))
    if policy not in _POLICIES or broken:
        # RFC 9989 4.8: a record that asks for reports is treated as p=none. Otherwise there is no DMARC policy.
        if not any(_REPORT_URI.fullmatch(uri) for uri in tags.get("rua", "").split(",")):
            return None
        return Published("none", psd=_one_of(tags.get("psd", ""), "ynu", "u"))
    return Published(
        policy=policy,
        subdomain_policy=tags.get("sp", ""),
        nonexistent_policy=tags.get("np", ""),
        strict_dkim=tags.get("adkim", "r") == "s",
        strict_spf=tags.get("aspf", "r") == "s",
        psd=_one_of(tags.get("psd", ""), "ynu", "u"),
        testing=tags.get("t", "n") == "y",
    )


def only_record(texts: Iterable[str]) -> Published | None:
    """Returns the DMARC record among the TXT records of a name. Several records count as none (4.10)."""
    of_dmarc = [text for text in texts if _VERSION.match(text)]
    return parse(of_dmarc[0]) if len(of_dmarc) == 1 else None


def walk(domain: str) -> tuple[str, ...]:
    """Returns the domains that a tree walk from `domain` may ask, in order. There are at most eight such domains
    (4.10).
    """
    labels = domain.split(".")
    shorter = labels[1:] if len(labels) <= _LONGEST_WALK_LABELS else labels[-_LONGEST_WALK_LABELS:]
    return (domain, *(".".join(shorter[start:]) for start in range(len(shorter))))


def stops(record: Published | None) -> bool:
    """Whether the walk ends at this record."""
    return record is not None and record.psd in ("y", "n")


def applying(domain: str, published: Mapping[str, Published], *, exists: bool) -> DmarcRecord:
    """Returns the policy for the author domain `domain`, from the records that its walk found, in their order (4.10.1).
    `exists` means that the domain has an address or MX record. An empty `published_at` in the result means that there
    is no policy.
    """
    organizational = _organizational(domain, published)
    published_at = domain if domain in published else organizational
    if published_at not in published:
        # The record of a public suffix applies to domains below it that have no record.
        published_at = next((name for name, record in published.items() if record.psd == "y"), "")
    if not published_at:
        return DmarcRecord("", "none", False, False, organizational)
    record = published[published_at]
    policy = record.policy
    if published_at != domain:
        policy = record.subdomain_policy or policy
        if not exists:
            policy = record.nonexistent_policy or policy
    return DmarcRecord(
        published_at=published_at,
        policy=policy,
        strict_dkim=record.strict_dkim,
        strict_spf=record.strict_spf,
        organizational_domain=organizational,
        testing=record.testing,
    )


def _organizational(domain: str, published: Mapping[str, Published]) -> str:
    for name, record in published.items():
        if record.psd == "n":
            return name
        if record.psd == "y" and name != domain:
            # This domain is one label below the public suffix, on the way from `domain`.
            below = domain.removesuffix(f".{name}").rpartition(".")[2]
            return f"{below}.{name}"
    # If no record decides this, the organizational domain is the domain with the fewest labels that has a record. This
    # is the domain of the last record that the walk found.
    return list(published)[-1] if published else domain


class Disposition(IntEnum):
    """The disposition that DMARC demands for a message. A higher number is stricter."""

    NONE = 0
    QUARANTINE = 1
    TEMPFAIL = 2
    REJECT = 3


@fast_value(frozen=True, slots=True)
class DmarcResult:
    """The result for the author domain with the strictest disposition."""

    domain: str
    result: CheckResult
    disposition: Disposition
    # The published policy of the domain. It is empty when there is none.
    policy: str = ""


def question(domain: str) -> Question:
    """Returns the look-up for the record of a domain, and for its organizational domain."""
    return Question(Lookup.DMARC, domain)


def author_domains(content: Content) -> tuple[str, ...]:
    """Returns the domains of all From mailboxes, each once. The result is empty when a From field is missing or cannot
    be read completely.
    """
    if content.from_unparsable:
        return ()
    return tuple(dict.fromkeys(author.domain for author in content.authors if author.domain))


def identifier_questions(facts: Facts, spf: CheckResult, spf_domain: str) -> tuple[Question, ...]:
    """Returns the look-ups that relaxed alignment needs: for identifiers that passed below an author's organizational
    domain.
    """
    questions: dict[Question, None] = {}
    for author in author_domains(facts.content):
        record = _record(facts, author)
        if record is None or not record.published_at:
            continue
        for identifier in _passed(facts, spf, spf_domain):
            if identifier != author and _within(identifier, record.organizational_domain):
                questions[question(identifier)] = None
    return tuple(questions)


def evaluate(facts: Facts, spf: CheckResult, spf_domain: str) -> DmarcResult:
    """Returns the result of the strictest author domain (RFC 9989 5.3; C98). There must be at least one author
    domain.
    """
    judged = [_evaluate_one(facts, domain, spf, spf_domain) for domain in author_domains(facts.content)]
    return max(judged, key=lambda one: (one.disposition, one.result is not CheckResult.PASS))


def _evaluate_one(facts: Facts, domain: str, spf: CheckResult, spf_domain: str) -> DmarcResult:
    if domain.startswith("["):
        return DmarcResult(domain, CheckResult.NONE, Disposition.NONE)
    passed_dkim = {signature.domain for signature in facts.content.dkim if signature.result is CheckResult.PASS}
    passed_spf = spf is CheckResult.PASS
    if domain in passed_dkim or (passed_spf and spf_domain == domain):
        # The identifier has exactly the author's domain, so it is aligned under any policy.
        record = _record(facts, domain)
        has_policy = record is None or bool(record.published_at)
        return DmarcResult(
            domain,
            CheckResult.PASS if has_policy else CheckResult.NONE,
            Disposition.NONE,
            record.policy if record is not None and record.published_at else "",
        )
    record = _record(facts, domain)
    if record is None:
        return DmarcResult(domain, CheckResult.TEMPERROR, Disposition.TEMPFAIL)
    if not record.published_at:
        return DmarcResult(domain, CheckResult.NONE, Disposition.NONE)
    aligned = [identifier for identifier in passed_dkim if not record.strict_dkim]
    if passed_spf and not record.strict_spf:
        aligned.append(spf_domain)
    answers = [_same_organization(facts, identifier, record) for identifier in aligned]
    if True in answers:
        return DmarcResult(domain, CheckResult.PASS, Disposition.NONE, record.policy)
    policy = _MILDER[record.policy] if record.testing else record.policy
    if policy != "none" and (None in answers or _undecided(facts, record, spf, spf_domain)):
        return DmarcResult(domain, CheckResult.TEMPERROR, Disposition.TEMPFAIL, record.policy)
    return DmarcResult(domain, CheckResult.FAIL, Disposition[policy.upper()], record.policy)


def _undecided(facts: Facts, record: DmarcRecord, spf: CheckResult, spf_domain: str) -> bool:
    """Whether an identifier that might be aligned could not be verified because the DNS gave no answer (C85, C86)."""
    if not facts.content.dkim_checked:
        return True
    organizational = record.organizational_domain
    return (spf is CheckResult.TEMPERROR and _within(spf_domain, organizational)) or any(
        signature.result is CheckResult.TEMPERROR and _within(signature.domain, organizational)
        for signature in facts.content.dkim
    )


def _same_organization(facts: Facts, identifier: str, record: DmarcRecord) -> bool | None:
    """Whether an identifier is aligned. The result is None when the tree walk for the identifier had no answer."""
    if not _within(identifier, record.organizational_domain):
        return False
    of_identifier = _record(facts, identifier)
    return None if of_identifier is None else of_identifier.organizational_domain == record.organizational_domain


def _passed(facts: Facts, spf: CheckResult, spf_domain: str) -> Iterable[str]:
    for signature in facts.content.dkim:
        if signature.result is CheckResult.PASS:
            yield signature.domain
    if spf is CheckResult.PASS and spf_domain:
        yield spf_domain


def _record(facts: Facts, domain: str) -> DmarcRecord | None:
    """Returns the DMARC record that applies to a domain, or None when there was no answer."""
    lookup_result: LookupResult | None = facts.lookup_results.get(question(domain))
    return None if lookup_result is None or lookup_result.outcome is Outcome.NO_ANSWER else lookup_result.dmarc


def _within(domain: str, organizational: str) -> bool:
    return domain == organizational or domain.endswith(f".{organizational}")


def _one_of(value: str, allowed: str, default: str) -> str:
    return value if len(value) == 1 and value in allowed else default
