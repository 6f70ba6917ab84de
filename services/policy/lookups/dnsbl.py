"""Asks DNS block lists (RFC 5782) whether they list a client, and checks whether a list works correctly."""

from __future__ import annotations

from functools import lru_cache
from ipaddress import ip_address

import structlog

from services.policy.lookups.resolver import Answer, Asker
from services.policy.lookups.timed_result import TimedResult
from services.policy.metrics import DNSBL_ZONE_BROKEN
from services.policy.rules.lookup import LookupResult, Outcome

log = structlog.get_logger(__name__)

# RFC 5782 5: a list that lists this entry lists every address. The other test entry, 127.0.0.2, is missing in many
# lists.
_NEVER_LISTED = {4: "127.0.0.1", 6: "::ffff:7f00:1"}


class BlockLists:
    """Asks block lists about clients. A list that lists every address is not used, and the metrics show this."""

    def __init__(self) -> None:
        # The fault of each zone. The text is empty when the zone has no fault.
        self._faults: dict[str, str] = {}

    async def listing(self, resolver: Asker, address: str, zone: str) -> TimedResult:
        """Returns the A records of the client in one list. The test entries of the list are looked up at the same time,
        and their answers are cached too.
        """
        versions = (4,) if ip_address(address).version == 4 else (4, 6)
        tests = [(query_name(_NEVER_LISTED[version], zone), "A") for version in versions]
        for cached in (resolver.cached(*test) for test in tests):
            if cached is not None and cached.outcome is Outcome.FOUND:
                return self._broken_list(zone, cached, "it lists the test entry that must not be listed")
        answer, *never_listed = await resolver.resolve_all([(query_name(address, zone), "A"), *tests])
        for test in never_listed:
            if test.outcome is Outcome.FOUND:
                return self._broken_list(zone, test, "it lists the test entry that must not be listed")
        if any(not _sane(record) for record in answer.records):
            # Such answers mean that the query was refused, that the resolver is wrong, or that the domain is parked
            # (C83).
            return self._broken_list(zone, answer, "it answers with codes that do not mean a listing")
        self._note(zone, "")
        if answer.outcome is Outcome.FOUND and any(test.outcome is Outcome.NO_ANSWER for test in never_listed):
            # If it is unknown whether a list works correctly, nobody is refused because of it.
            expires_at = min(answer_.expires_at for answer_ in (answer, *never_listed))
            return TimedResult(
                LookupResult(Outcome.NO_ANSWER, answer.records, "no answer about the test entries"), expires_at
            )
        return TimedResult(LookupResult(answer.outcome, answer.records), answer.expires_at)

    def _broken_list(self, zone: str, answer: Answer, fault: str) -> TimedResult:
        self._note(zone, fault)
        return TimedResult(LookupResult(Outcome.NO_ANSWER, answer.records, fault), answer.expires_at)

    def _note(self, zone: str, fault: str) -> None:
        known_fault = self._faults.get(zone)
        if known_fault == fault:
            return
        self._faults[zone] = fault
        DNSBL_ZONE_BROKEN.labels(zone).set(bool(fault))
        if fault:
            log.warning("dnsbl_zone_broken", zone=zone, reason=fault)
        elif known_fault:
            log.info("dnsbl_zone_recovered", zone=zone)


@lru_cache(maxsize=1024)
def query_name(address: str, zone: str) -> str:
    """Returns the name to look up (RFC 5782 2.1 and 2.4): the octets, or for IPv6 the nibbles, in reverse."""
    reverse = ip_address(address).reverse_pointer
    return f"{reverse.removesuffix('.in-addr.arpa').removesuffix('.ip6.arpa')}.{zone}"


def _sane(record: str) -> bool:
    return record.startswith("127.") and not record.startswith("127.255.255.")
