"""The hosts that a next hop without brackets stands for: the MX of its name, as the DNS has them at the import."""

from __future__ import annotations

from collections.abc import Callable

import dns.exception
import dns.resolver

from services.command_line.domain_checks import resolver_of

# Of a domain: its MX hosts, the preferred one first. Raises NoMailExchangerError.
MailExchangers = Callable[[str], list[str]]


class NoMailExchangerError(Exception):
    """`is_silent`: the DNS gave no answer. Otherwise the domain says that it takes no mail (RFC 7505)."""

    def __init__(self, *, is_silent: bool) -> None:
        super().__init__()
        self.is_silent = is_silent


def mail_exchangers(nameserver: str = "") -> MailExchangers:
    """A look-up by this name server (HOST:PORT), or by those of the system.

    A domain without MX is its own one, as it is for Postfix (RFC 5321 section 5.1).
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
