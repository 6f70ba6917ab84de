"""Checks whether name servers answer, and whether they validate DNSSEC."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence

import dns.asyncbackend
import dns.asyncquery
import dns.exception
import dns.flags
import dns.message
import dns.rcode

from libs.dns.servers import parse_server

_SECONDS = 3.0
_TRIES = 2
# Every validating resolver can answer this question, because the root is signed.
_QUESTION = (".", "SOA")
_NO_ANSWER = (dns.rcode.SERVFAIL, dns.rcode.REFUSED, dns.rcode.NOTIMP)


async def look(servers: Sequence[str], system: Callable[[], Iterable[str]]) -> list[tuple[str, bool, bool]]:
    """Returns for each name server whether it answers, and whether it validates. `servers` have the form host[:port],
    with brackets around an IPv6 host that has a port. If `servers` is empty, the name servers that `system` returns are
    checked.
    """
    named = list(dict.fromkeys(servers or system()))
    states = await asyncio.gather(*(_look(*parse_server(server)) for server in named))
    return [(server, *state) for server, state in zip(named, states, strict=True)]


async def _look(address: str, port: int) -> tuple[bool, bool]:
    # RFC 6840 5.7: AD in a question asks whether the answer was validated.
    question = dns.message.make_query(*_QUESTION, want_dnssec=True)
    question.flags |= dns.flags.AD
    backend = dns.asyncbackend.get_backend("asyncio")
    for _ in range(_TRIES):
        try:
            response, _ = await dns.asyncquery.udp_with_fallback(
                question, address, timeout=_SECONDS, port=port, backend=backend
            )
        except (dns.exception.DNSException, OSError, EOFError, ValueError):
            continue
        if response.rcode() not in _NO_ANSWER:
            return True, bool(response.flags & dns.flags.AD)
    return False, False
