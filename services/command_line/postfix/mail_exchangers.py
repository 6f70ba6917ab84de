"""Finds the hosts of a next hop without brackets: the MX hosts of its name in the DNS at the time of the import."""

from __future__ import annotations

from collections.abc import Callable

import dns.exception
import dns.resolver

from services.command_line.domain_checks import resolver_of

# Returns the MX hosts of a domain, the preferred one first. Raises NoMailExchangerError.
MailExchangers = Callable[[str], list[str]]


class NoMailExchangerError(Exception):
    """The MX hosts of a domain are unknown, because the DNS gave no answer (`is_silent`), or because the domain says
    that it accepts no mail (RFC 7505).
    """

    def __init__(self, *, is_silent: bool) -> None:
        super().__init__()
        self.is_silent = is_silent


def mail_exchangers(nameserver: str = "") -> MailExchangers:
    """Returns a look-up with this name server (HOST:PORT), or with those of the system. A domain without MX is its own
    MX, as for Postfix (RFC 5321 section 5.1).
    """
    resolver = resolver_of(nameserver)

    def look_up(domain: str) -> list[str]:
        try:
            records = sorted((record.preference, str(record.exchange)) for record in resolver.resolve(domain, "MX"))
        except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer):
            return [domain]
        except dns.exception.DNSException:
            raise NoMailExchangerError(is_silent=True) from None
        hosts = [name.rstrip(".").casefold() for _, name in records]
        if hosts == [""]:
            raise NoMailExchangerError(is_silent=False)
        return [host for host in hosts if host]

    return look_up
