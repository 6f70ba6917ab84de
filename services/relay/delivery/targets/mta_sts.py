"""The MTA-STS policies of domains: found by DNS, fetched by HTTPS, and cached for as long as each policy says (RFC
8461).
"""

from __future__ import annotations

import asyncio
import ipaddress
import ssl
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

import httpx
import structlog
from dns.rdtypes.ANY.TXT import TXT

from services.relay.delivery.targets.dns import Lookup, Resolver
from services.relay.delivery.targets.mta_sts_policy import Policy, parse, record_id
from services.relay.delivery.targets.own_addresses import Network, canonical
from services.relay.delivery.targets.tls import Contexts

log = structlog.get_logger(__name__)

_BODY_LIMIT = 65_536
# After a failed fetch, the policy is not fetched again for this time (RFC 8461 3.3).
_AGAIN_SECONDS = 300.0
_LIMIT = 10_000
_ADDRESSES_TRIED = 3


@dataclass(frozen=True, slots=True)
class _StoredPolicy:
    record_id: str
    policy: Policy
    until: float


@dataclass(frozen=True, slots=True)
class PolicyLookup:
    """The result of a search: the policy in force, if there is one, and the DNS look-up with which the search began."""

    policy: Policy | None
    lookup: Lookup


class PolicyFetchError(Exception):
    """The policy could not be fetched. The message gives the reason in our own words."""


class MtaStsPolicies:
    """Finds policies. A cached policy stays in force while DNS or the web server fails, so that an attacker cannot
    switch it off.
    """

    def __init__(
        self,
        resolver: Resolver,
        contexts: Contexts,
        clock: Callable[[], float],
        prohibited: tuple[Network, ...],
        port: int = 443,
        seconds: float = 20.0,
    ) -> None:
        self._resolver = resolver
        self._contexts = contexts
        self._clock = clock
        self._prohibited = prohibited
        self._port = port
        self._seconds = seconds
        self._kept: OrderedDict[str, _StoredPolicy] = OrderedDict()
        self._failed: dict[str, float] = {}
        self._running: dict[str, asyncio.Task[PolicyLookup]] = {}

    async def of(self, domain: str) -> PolicyLookup:
        """Returns the policy in force for mail to the domain in the recipient's address (C113). Raises nothing."""
        running = self._running.get(domain)
        if running is None:
            running = asyncio.create_task(self._find(domain), name=f"mta-sts {domain}")
            self._running[domain] = running
            running.add_done_callback(lambda _: self._running.pop(domain, None))
        return await asyncio.shield(running)

    async def close(self) -> None:
        running = list(self._running.values())
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    async def _find(self, domain: str) -> PolicyLookup:
        lookup = await self._resolver.lookup(f"_mta-sts.{domain}", "TXT")
        published_id = record_id([b"".join(record.strings) for record in lookup.records if isinstance(record, TXT)])
        stored_policy = self._valid(domain)
        policy = stored_policy.policy if stored_policy is not None else None
        tried = self._failed.get(domain, 0.0) > self._clock()
        if not published_id or tried or (stored_policy is not None and stored_policy.record_id == published_id):
            return PolicyLookup(policy, lookup)
        try:
            policy = await self._fetch(domain)
        except PolicyFetchError as error:
            log.warning("mta_sts_policy_unavailable", domain=domain, reason=str(error), kept=stored_policy is not None)
            if len(self._failed) >= _LIMIT:
                self._failed.clear()
            self._failed[domain] = self._clock() + _AGAIN_SECONDS
        else:
            self._keep(domain, _StoredPolicy(published_id, policy, self._clock() + policy.max_age))
        return PolicyLookup(policy, lookup)

    def _valid(self, domain: str) -> _StoredPolicy | None:
        stored_policy = self._kept.get(domain)
        if stored_policy is None:
            return None
        if stored_policy.until <= self._clock():
            del self._kept[domain]
            return None
        self._kept.move_to_end(domain)
        return stored_policy

    def _keep(self, domain: str, kept: _StoredPolicy) -> None:
        self._kept[domain] = kept
        self._failed.pop(domain, None)
        if len(self._kept) > _LIMIT:
            self._kept.popitem(last=False)

    async def _fetch(self, domain: str) -> Policy:
        """Fetches the policy of a domain. Raises PolicyFetchError."""
        host = f"mta-sts.{domain}"
        try:
            async with asyncio.timeout(self._seconds):
                body = await self._get(host)
        except TimeoutError:
            raise PolicyFetchError("no answer in time") from None
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, ssl.SSLError, OSError, ValueError) as error:
            raise PolicyFetchError(f"{type(error).__name__} at {host}") from error
        try:
            return parse(body)
        except ValueError as error:
            raise PolicyFetchError(f"policy of {domain}: {error}") from error

    async def _get(self, host: str) -> bytes:
        """Fetches the policy file. It accepts the status 200 only, no redirect (RFC 8461 3.3), and a body of bounded
        size.
        """
        error: Exception | None = None
        for address in await self._addresses(host):
            url = httpx.URL(scheme="https", host=address, port=self._port, path="/.well-known/mta-sts.txt")
            try:
                return await self._get_from(url, host)
            except (httpx.ConnectError, httpx.ConnectTimeout) as failure:
                error = failure
        raise error or PolicyFetchError(f"{host} has no address")

    async def _get_from(self, url: httpx.URL, host: str) -> bytes:
        headers = {"Host": host, "User-Agent": "posthouse", "Accept-Encoding": "identity"}
        async with (
            httpx.AsyncClient(
                verify=self._contexts.verifying, trust_env=False, follow_redirects=False, timeout=10
            ) as client,
            # The certificate is checked against this name, not against the address.
            client.stream("GET", url, headers=headers, extensions={"sni_hostname": host}) as response,
        ):
            if response.status_code != 200:
                raise PolicyFetchError(f"{host} answers {response.status_code}")
            media_type = response.headers.get("content-type", "").partition(";")[0].strip().lower()
            if media_type != "text/plain":
                raise PolicyFetchError(f"{host} does not send text/plain")
            if response.headers.get("content-encoding", "identity") != "identity":
                # The size of the text after decompression would not be bounded.
                raise PolicyFetchError(f"{host} sends a compressed policy, although none was asked for")
            body = b""
            async for part in response.aiter_raw():
                body += part
                if len(body) > _BODY_LIMIT:
                    raise PolicyFetchError(f"the policy at {host} is too long")
            return body

    async def _addresses(self, host: str) -> list[str]:
        lookups = await asyncio.gather(*(self._resolver.lookup(host, kind) for kind in ("AAAA", "A")))
        addresses = [canonical(record.address) for lookup in lookups for record in lookup.records]  # type: ignore[attr-defined]
        allowed = [str(address) for address in addresses if not self._is_prohibited(address)]
        return allowed[:_ADDRESSES_TRIED]

    def _is_prohibited(self, address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
        return any(address.version == network.version and address in network for network in self._prohibited)
