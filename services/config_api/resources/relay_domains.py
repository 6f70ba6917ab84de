"""The collection `/v1/relay-domains`, and domains in it that lead back here."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from typing import Annotated, Self

from pydantic import AfterValidator, Field, model_validator

from libs.smtp.address import canonical_domain
from services.config_api.resources.description import (
    Body,
    Collection,
    Finding,
    MailHost,
    Surroundings,
    UniqueKey,
    member,
)
from services.config_api.resources.fields import Domain, Label, MailAddress, Model, fault, unique
from services.config_api.resources.filters import boolean, exact


class RelayDomain(Model):
    """Mail for the domain is taken from anyone and passed on to the domain's own MX."""

    name: Label = ""
    domain: Domain
    recipients: Annotated[list[MailAddress], Field(max_length=100_000), AfterValidator(unique)] = Field(
        default=[],
        description="Addresses of the domain that exist; empty: any.",
        examples=[["user@example.com"]],
    )
    enabled: bool = Field(default=True, description="false: as if it were not there.")

    @model_validator(mode="after")
    def _own_recipients(self) -> Self:
        for number, recipient in enumerate(self.recipients):
            if not recipient.endswith(f"@{self.domain}"):
                raise fault("recipient_of_other_domain", "must be an address of the domain", "recipients", number)
        return self


_BEYOND_EVERY_PREFERENCE = 65536


async def check(body: Body, surroundings: Surroundings) -> Sequence[Finding]:
    findings = list(await _hosts(body["domain"], surroundings))
    if not body["recipients"]:
        findings.append(
            Finding(
                "/recipients",
                "any_recipient",
                "Mail for addresses that do not exist is taken too, and its report goes to whom it names as sender.",
            )
        )
    return findings


async def _hosts(domain: str, surroundings: Surroundings) -> Sequence[Finding]:
    """Mail for the domain has no server better than this gateway, so it would be deferred (4.4.6), or nobody knows."""
    preferences, own, is_silent = await _candidates(domain, surroundings)
    if any(preference < own for preference in preferences):
        return [Finding("/domain", "name_server_silent", "One name server gave no answer.")] if is_silent else []
    if is_silent:
        return [Finding("/domain", "no_answer", "The DNS gave no answer for the MX of this domain in time.")]
    if own == _BEYOND_EVERY_PREFERENCE:
        return [Finding("/domain", "no_mail_host", "This domain has no MX, A or AAAA: its mail can't be passed on.")]
    return [
        Finding("/domain", "no_better_host", "No MX of this domain is better than this gateway: its mail is deferred.")
    ]


async def _candidates(domain: str, surroundings: Surroundings) -> tuple[list[int], int, bool]:
    """(preferences of other hosts, the best one of this gateway, whether some name server gave no answer).

    A candidate is one MX of one set of name servers, with the addresses that this set gives it (F60). A domain
    without MX is its own one (RFC 5321 5.1). Our name counts only where no address is known.
    """
    hostname = member(await surroundings.settings("settings/general"), ("profile", "hostname"))
    preferences: list[int] = []
    own, is_silent = _BEYOND_EVERY_PREFERENCE, False
    for found in await surroundings.mail_hosts(domain):
        if found.hosts is None:
            is_silent = True
            continue
        for host in found.hosts or [MailHost(0, domain)]:
            addresses = await surroundings.addresses(host.host, found.name_servers)
            is_silent = is_silent or addresses is None
            if addresses:
                is_own = any(_is_here(address, surroundings) for address in addresses)
            elif host.host == hostname:
                is_own = True
            else:
                continue
            if is_own:
                own = min(own, host.preference)
            else:
                preferences.append(host.preference)
    return preferences, own, is_silent


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
