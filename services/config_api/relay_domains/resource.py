"""The collection `/v1/relay-domains`, and domains in it that lead back here."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

from libs.smtp.address import canonical_domain
from services.config_api.filters import boolean, exact
from services.config_api.relay_domains.schemas import RelayDomain
from services.config_api.resources import Body, Collection, Finding, MailHost, Surroundings, UniqueKey, member


async def check(body: Body, surroundings: Surroundings) -> Sequence[Finding]:
    """Mail for the domain has no server better than this gateway, so it would be deferred (4.4.6)."""
    hosts = await surroundings.mail_hosts(body["domain"])
    if hosts is None:
        return (Finding("/domain", "no_answer", "The DNS gave no answer for the MX of this domain in time."),)
    if not hosts:
        if await surroundings.addresses(body["domain"]):
            return ()
        return (Finding("/domain", "no_mail_host", "This domain has no MX, A or AAAA: its mail can't be passed on."),)
    own = await _own(hosts, surroundings)
    if not any(found.preference < own for found in hosts):
        return (
            Finding(
                "/domain", "no_better_host", "No MX of this domain is better than this gateway: its mail is deferred."
            ),
        )
    return ()


async def _own(hosts: Sequence[MailHost], surroundings: Surroundings) -> int:
    """The best preference at which this gateway stands; beyond every preference when it stands nowhere."""
    hostname = member(await surroundings.settings("settings/general"), ("profile", "hostname"))
    for found in sorted(hosts):
        if found.host == hostname:
            return found.preference
        addresses = await surroundings.addresses(found.host, found.name_servers)
        if addresses and any(_is_here(address, surroundings) for address in addresses):
            return found.preference
    return 65536


def _is_here(address: str, surroundings: Surroundings) -> bool:
    return address in surroundings.own_addresses or ipaddress.ip_address(address).is_loopback


RELAY_DOMAINS = Collection(
    kind="relay-domains",
    noun="RelayDomain",
    plural="RelayDomains",
    label="relay domain",
    tag="relay control",
    model=RelayDomain,
    check=check,
    unique=lambda body: [UniqueKey("domain", body["domain"], "/domain")],
    filters={
        "domain": exact("domain", "The domain.", canonical_domain),
        "enabled": boolean("enabled"),
    },
)
