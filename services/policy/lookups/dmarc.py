"""Finds the DMARC record for a domain: the tree walk of RFC 9989 through the DNS."""

from __future__ import annotations

from services.policy.lookups.names import mail_domain
from services.policy.lookups.resolver import Answer, Asker
from services.policy.lookups.timed_result import TimedResult
from services.policy.rules.dmarc import Published, applying, only_record, stops, walk
from services.policy.rules.lookup import LookupResult, Outcome


async def record(resolver: Asker, domain: str) -> TimedResult:
    """Finds the record for a domain. With FOUND, `dmarc` in the result is the policy for the domain. With NONE, there
    is no policy, and `dmarc` only has the organizational domain.
    """
    found: dict[str, Published] = {}
    expires_at = float("inf")
    for step in walk(domain):
        answer = await resolver.resolve(f"_dmarc.{step}", "TXT")
        expires_at = min(expires_at, answer.expires_at)
        if answer.outcome is Outcome.NO_ANSWER:
            return TimedResult(LookupResult(Outcome.NO_ANSWER), expires_at)
        published = only_record(_texts(answer))
        if published is not None:
            found[step] = published
            if stops(published):
                break
    exists = True
    if found and domain not in found and any(policy.nonexistent_policy for policy in found.values()):
        domain_result = await mail_domain(resolver, domain)
        expires_at = min(expires_at, domain_result.expires_at)
        if domain_result.lookup_result.outcome is Outcome.NO_ANSWER:
            return TimedResult(LookupResult(Outcome.NO_ANSWER), expires_at)
        # A domain with a null MX record exists.
        exists = domain_result.lookup_result.outcome is Outcome.FOUND or bool(domain_result.lookup_result.detail)
    holds = applying(domain, found, exists=exists)
    if not holds.published_at:
        return TimedResult(LookupResult(Outcome.NONE, dmarc=holds), expires_at)
    return TimedResult(LookupResult(Outcome.FOUND, (f"p={holds.policy}",), dmarc=holds), expires_at)


def _texts(answer: Answer) -> list[str]:
    return [b"".join(strings).decode("utf-8", "replace") for strings in answer.records]
