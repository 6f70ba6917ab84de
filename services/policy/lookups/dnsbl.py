"""DNS block lists (RFC 5782): listings of a client, and whether a list is alive and sane."""

from __future__ import annotations

import asyncio
from ipaddress import ip_address

import structlog

from services.policy.lookups.found import Found
from services.policy.lookups.resolver import Answer, Resolver
from services.policy.metrics import DNSBL_ZONE_BROKEN
from services.policy.rules.lookup import Finding, Outcome

log = structlog.get_logger(__name__)

# RFC 5782 5: 127.0.0.2 is listed in every list, 127.0.0.1 in none.
_LISTED_TEST = "2.0.0.127"
_UNLISTED_TEST = "1.0.0.127"


class BlockLists:
    """Asks lists about clients; a list that fails its test entries is ignored, and says so in the metrics."""

    def __init__(self, resolver: Resolver) -> None:
        self._resolver = resolver
        self._broken: dict[str, str] = {}

    async def listing(self, address: str, zone: str) -> Found:
        """The A records of the client in one list. The test entries are asked beside it, and remembered likewise."""
        answer, listed, unlisted = await asyncio.gather(
            self._resolver.resolve(query_name(address, zone), "A"),
            self._resolver.resolve(f"{_LISTED_TEST}.{zone}", "A"),
            self._resolver.resolve(f"{_UNLISTED_TEST}.{zone}", "A"),
        )
        fault = self._fault(answer, listed, unlisted)
        self._note(zone, fault)
        if fault:
            return Found(Finding(Outcome.NO_ANSWER, answer.records, fault), answer.expires_at)
        return Found(Finding(answer.outcome, answer.records), answer.expires_at)

    @staticmethod
    def _fault(answer: Answer, listed: Answer, unlisted: Answer) -> str:
        """Why the answer says nothing; empty when it does."""
        if listed.outcome is Outcome.NONE:
            return "test entry 127.0.0.2 is not listed"
        if unlisted.outcome is Outcome.FOUND:
            return "test entry 127.0.0.1 is listed"
        if any(not _sane(record) for record in (*answer.records, *listed.records)):
            # Query refused, wrong resolver, parked domain (C83).
            return "answers with codes that are no listing"
        return ""

    def _note(self, zone: str, fault: str) -> None:
        known = self._broken.get(zone)
        if known == fault:
            return
        self._broken[zone] = fault
        DNSBL_ZONE_BROKEN.labels(zone).set(bool(fault))
        if fault:
            log.warning("dnsbl_zone_broken", zone=zone, reason=fault)
        elif known:
            log.info("dnsbl_zone_recovered", zone=zone)


def query_name(address: str, zone: str) -> str:
    """RFC 5782 2.1 and 2.4: octets, or nibbles for IPv6, in reverse."""
    reverse = ip_address(address).reverse_pointer
    return f"{reverse.removesuffix('.in-addr.arpa').removesuffix('.ip6.arpa')}.{zone}"


def _sane(record: str) -> bool:
    return record.startswith("127.") and not record.startswith("127.255.255.")
