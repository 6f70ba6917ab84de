"""DNS block lists (RFC 5782): listings of a client, and whether a list is alive and sane."""

from __future__ import annotations

from functools import lru_cache
from ipaddress import ip_address

import structlog

from services.policy.lookups.found import Found
from services.policy.lookups.resolver import Answer, Resolver
from services.policy.metrics import DNSBL_ZONE_BROKEN
from services.policy.rules.lookup import Finding, Outcome

log = structlog.get_logger(__name__)

# RFC 5782 5: these are listed in every list of IPv4 or IPv6 addresses, or in none.
_LISTED = {4: "127.0.0.2", 6: "::ffff:7f00:2"}
_UNLISTED = {4: "127.0.0.1", 6: "::ffff:7f00:1"}


class BlockLists:
    """Asks lists about clients; a list that fails its test entries is ignored, and says so in the metrics."""

    def __init__(self, resolver: Resolver) -> None:
        self._resolver = resolver
        self._broken: dict[str, str] = {}

    async def listing(self, address: str, zone: str) -> Found:
        """The A records of the client in one list. The test entries are asked beside it, and remembered likewise."""
        answer, listed, unlisted = await self._ask(zone, address, _LISTED[4], _UNLISTED[4])
        if listed.outcome is Outcome.NONE and ip_address(address).version == 6:
            # A list of IPv6 addresses alone has test entries of its own.
            listed, unlisted = await self._ask(zone, _LISTED[6], _UNLISTED[6])
        fault = self._fault(answer, listed, unlisted)
        self._note(zone, fault)
        if fault:
            return Found(Finding(Outcome.NO_ANSWER, answer.records, fault), answer.expires_at)
        if answer.outcome is Outcome.FOUND and Outcome.NO_ANSWER in (listed.outcome, unlisted.outcome):
            # Nobody is refused by a list that can't be told from a broken one.
            expires_at = min(answer.expires_at, listed.expires_at, unlisted.expires_at)
            return Found(Finding(Outcome.NO_ANSWER, answer.records, "no answer about the test entries"), expires_at)
        return Found(Finding(answer.outcome, answer.records), answer.expires_at)

    async def _ask(self, zone: str, *addresses: str) -> list[Answer]:
        return await self._resolver.resolve_all([(query_name(address, zone), "A") for address in addresses])

    @staticmethod
    def _fault(answer: Answer, listed: Answer, unlisted: Answer) -> str:
        """Why the answer says nothing; empty when it does."""
        if listed.outcome is Outcome.NONE:
            return "its test entry that is always listed is not"
        if unlisted.outcome is Outcome.FOUND:
            return "its test entry that is never listed is"
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


@lru_cache(maxsize=1024)
def query_name(address: str, zone: str) -> str:
    """RFC 5782 2.1 and 2.4: octets, or nibbles for IPv6, in reverse."""
    reverse = ip_address(address).reverse_pointer
    return f"{reverse.removesuffix('.in-addr.arpa').removesuffix('.ip6.arpa')}.{zone}"


def _sane(record: str) -> bool:
    return record.startswith("127.") and not record.startswith("127.255.255.")
