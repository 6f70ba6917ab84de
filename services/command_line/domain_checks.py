"""Checks a domain from outside: MX and their port 25, reverse names, SPF, DMARC, and the records of its DKIM keys."""

from __future__ import annotations

import smtplib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import dns.exception
import dns.nameserver
import dns.resolver
import dns.reversename

_CONNECT_SECONDS = 15.0
_DNS_SECONDS = 10.0
# The reply code of a server that accepts mail (RFC 5321 section 4.2.3).
_READY = 220


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of a check. `level` is ok, warning or error, as in `/v1/checks`."""

    id: str
    level: str
    text: str
    remedy: str | None = None


def resolver_of(nameserver: str = "") -> dns.resolver.Resolver:
    """Returns a resolver that asks the name server HOST:PORT, or the name servers of the system when `nameserver` is
    empty.
    """
    resolver = dns.resolver.Resolver(configure=not nameserver)
    if nameserver:
        host, _, port = nameserver.rpartition(":")
        resolver.nameservers = [dns.nameserver.Do53Nameserver(host.strip("[]"), int(port))]
    resolver.lifetime = _DNS_SECONDS
    return resolver


class DomainChecks:
    """The checks of one domain by the DNS and by SMTP.

    `nameserver` is the HOST:PORT to ask; if empty, the system's name servers are asked. The MX hosts are tried on
    `port`.
    """

    def __init__(self, domain: str, *, nameserver: str = "", port: int = 25) -> None:
        self._domain = domain
        self._port = port
        self._resolver = resolver_of(nameserver)

    def run(self, dkim_keys: Iterable[dict[str, Any]]) -> Iterator[Finding]:
        """Yields every finding. `dkim_keys` are those of the domain, as the API shows them."""
        yield from self._mail_exchangers()
        yield from self._policy_record("spf", self._domain, "v=spf1", "the senders of its mail cannot be checked")
        yield from self._policy_record(
            "dmarc", f"_dmarc.{self._domain}", "v=DMARC1", "forged mail in its name is not refused"
        )
        yield from self._dkim(dkim_keys)

    def _texts(self, name: str, kind: str) -> list[str]:
        """Returns the records of a name, or an empty list. Raises dns.exception.DNSException when no name server
        answers.
        """
        try:
            return [
                b"".join(record.strings).decode("utf-8", "replace") if kind == "TXT" else record.to_text()
                for record in self._resolver.resolve(name, kind)
            ]
        except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer):
            return []

    def _mail_exchangers(self) -> Iterator[Finding]:
        hosts = [text.split()[1].rstrip(".") for text in self._texts(self._domain, "MX")]
        if not hosts:
            yield Finding("mx", "error", f"{self._domain} has no MX record.", "Publish one that names this gateway.")
        for host in hosts:
            addresses = [*self._texts(host, "A"), *self._texts(host, "AAAA")]
            if not addresses:
                yield Finding("mx", "error", f"The MX {host} has no address.", "Publish its A or AAAA record.")
            for address in addresses:
                yield from self._reverse_name(address)
                yield self._port_25(host, address)

    def _reverse_name(self, address: str) -> Iterator[Finding]:
        """Checks that the address has a name that leads back to it, because many servers refuse mail from other
        addresses.
        """
        names = [text.rstrip(".") for text in self._texts(str(dns.reversename.from_address(address)), "PTR")]
        confirmed = [name for name in names if address in (*self._texts(name, "A"), *self._texts(name, "AAAA"))]
        if confirmed:
            yield Finding("ptr", "ok", f"{address} is named {confirmed[0]}, which leads back to it.")
        else:
            remedy = "Let the owner of the address publish a PTR record with the gateway's hostname."
            yield Finding("ptr", "warning", f"{address} has no name that leads back to it.", remedy)

    def _port_25(self, host: str, address: str) -> Finding:
        where = f"{host} [{address}] port {self._port}"
        try:
            with smtplib.SMTP(timeout=_CONNECT_SECONDS) as client:
                code, greeting = client.connect(address, self._port)
                client.ehlo("posthouse.invalid")
                has_tls = client.has_extn("starttls")
        except (OSError, smtplib.SMTPException) as error:
            return Finding(
                "port_25", "error", f"{where} accepts no mail: {error}.", "Check the firewalls and the listener."
            )
        words = greeting.decode("ascii", "replace").split()
        name = words[0] if words else ""
        if code != _READY:
            return Finding("port_25", "error", f"{where} answers {code} {' '.join(words)}.", None)
        if not has_tls:
            remedy = "Give the listener a certificate."
            return Finding("port_25", "warning", f"{where} greets as {name}, without STARTTLS.", remedy)
        return Finding("port_25", "ok", f"{where} greets as {name}, with STARTTLS.")

    def _policy_record(self, check: str, name: str, version: str, consequence: str) -> Iterator[Finding]:
        records = [text for text in self._texts(name, "TXT") if text.split(";")[0].split(" ")[0] == version]
        if len(records) == 1:
            yield Finding(check, "ok", f"{name} has {records[0]}.")
        elif records:
            yield Finding(
                check,
                "error",
                f"{name} has {len(records)} records {version}, so receivers use none of them.",
                "Leave only one.",
            )
        else:
            yield Finding(check, "warning", f"{name} has no record {version}: {consequence}.", "Publish one.")

    def has_record(self, key: dict[str, Any]) -> bool:
        """Checks whether the DNS has the record of a DKIM key. Raises dns.exception.DNSException when no name server
        answers.
        """
        return any(_same_key(text, key["dns_record"]) for text in self._texts(key["dns_name"], "TXT"))

    def _dkim(self, keys: Iterable[dict[str, Any]]) -> Iterator[Finding]:
        empty = True
        for key in keys:
            empty = False
            published = self._texts(key["dns_name"], "TXT")
            if any(_same_key(text, key["dns_record"]) for text in published):
                yield Finding("dkim", "ok", f"{key['dns_name']} has the key that mail is signed with.")
            else:
                state = "has another key" if published else "is not published"
                level = "error" if key["enabled"] else "warning"
                yield Finding("dkim", level, f"{key['dns_name']} {state}.", f"Publish {key['dns_record']}")
        if empty:
            remedy = f"`posthouse dkim add {self._domain}` makes a key."
            yield Finding("dkim", "warning", f"Mail of {self._domain} is not signed.", remedy)


def _same_key(published: str, record: str) -> bool:
    """Returns whether two DKIM records have the same public key. Other tags are ignored, because their publisher
    decides about them.
    """
    tags, wanted = _tags(published), _tags(record)
    return tags.get("p") == wanted["p"] and tags.get("k", "rsa") == wanted["k"]


def _tags(record: str) -> dict[str, str]:
    """Returns the tags of a record, without blanks (RFC 6376 section 3.2)."""
    pairs = (part.partition("=") for part in record.split(";"))
    return {name.strip(): "".join(value.split()) for name, equals, value in pairs if equals}


def findings(checks: DomainChecks, dkim_keys: Iterable[dict[str, Any]]) -> list[Finding]:
    """Returns all findings. When no name server answers, the last finding says so, and the remaining checks are left
    out.
    """
    collected: list[Finding] = []
    try:
        for finding in checks.run(dkim_keys):
            collected.append(finding)  # noqa: PERF402 - what was found before a failure is kept
    except dns.exception.DNSException as error:
        collected.append(Finding("dns", "error", f"No answer from the DNS: {error}", "Check the name servers."))
    return collected
