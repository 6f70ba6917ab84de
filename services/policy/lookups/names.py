"""Look-ups about the names of clients and mail domains: PTR with forward confirmation, MX and address records."""

from __future__ import annotations

from ipaddress import ip_address

from services.policy.lookups.resolver import Answer, Asker
from services.policy.lookups.timed_result import TimedResult, earliest
from services.policy.rules.lookup import NULL_MX, LookupResult, Outcome

# The owner of a reverse zone may add any number of names, so only some are used.
_MAX_NAMES = 5


async def client_name(resolver: Asker, address: str) -> TimedResult:
    """Returns the names of a client that resolve to its address (RFC 8601 3: iprev)."""
    client = ip_address(address)
    pointers = await resolver.resolve(client.reverse_pointer, "PTR")
    if pointers.outcome is not Outcome.FOUND:
        return TimedResult(LookupResult(pointers.outcome), pointers.expires_at)
    candidates = pointers.records[:_MAX_NAMES]
    record_type = "A" if client.version == 4 else "AAAA"
    answers = await resolver.resolve_all([(name, record_type) for name in candidates])
    expires_at = earliest([pointers, *answers])
    confirmed = tuple(
        name
        for name, answer in zip(candidates, answers, strict=True)
        if any(ip_address(record) == client for record in answer.records)
    )
    if confirmed:
        return TimedResult(LookupResult(Outcome.FOUND, confirmed), expires_at)
    if any(answer.outcome is Outcome.NO_ANSWER for answer in answers):
        return TimedResult(LookupResult(Outcome.NO_ANSWER), expires_at)
    return TimedResult(LookupResult(Outcome.NONE, detail="no name maps back"), expires_at)


async def host(resolver: Asker, name: str) -> TimedResult:
    """Finds whether a name has MX or address records. With a null MX (RFC 7505) only the address records matter,
    because such a host may still greet with its name.
    """
    domain_result = await mail_domain(resolver, name)
    if domain_result.lookup_result.detail != NULL_MX:
        return domain_result
    answers = await resolver.resolve_all([(name, record_type) for record_type in ("A", "AAAA")])
    outcomes = {answer.outcome for answer in answers}
    outcome = next(
        (candidate for candidate in (Outcome.FOUND, Outcome.NO_ANSWER) if candidate in outcomes), Outcome.NONE
    )
    return TimedResult(LookupResult(outcome), min(domain_result.expires_at, earliest(answers)))


async def mail_domain(resolver: Asker, domain: str) -> TimedResult:
    """Finds whether a domain has MX or address records. With a null MX the outcome is NONE, even if there are address
    records. Beside other MX records, a null MX is ignored.
    """
    answers = await resolver.resolve_all([(domain, record_type) for record_type in ("MX", "A", "AAAA")])
    expires_at = earliest(answers)
    exchanges = answers[0]
    if exchanges.outcome is Outcome.FOUND and all(name == "" for _, name in exchanges.records):
        # RFC 7505 3: null MX is exactly one record, whose name is the root.
        return TimedResult(LookupResult(Outcome.NONE, detail=NULL_MX), expires_at)
    shown = tuple(_shown(answer) for answer in answers if answer.outcome is Outcome.FOUND)
    if shown:
        return TimedResult(LookupResult(Outcome.FOUND, shown), expires_at)
    if any(answer.outcome is Outcome.NO_ANSWER for answer in answers):
        return TimedResult(LookupResult(Outcome.NO_ANSWER), expires_at)
    return TimedResult(LookupResult(Outcome.NONE), expires_at)


def _shown(answer: Answer) -> str:
    first = answer.records[0]
    return first[1] if isinstance(first, tuple) else str(first)
