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
from services.config_api.resources.fields import Address, Domain, Label, Model, fault, unique
from services.config_api.resources.filters import boolean, exact


class RelayDomain(Model):
    """Mail for the domain is taken from anyone and passed on to the domain's own MX."""

    name: Label = ""
    domain: Domain
    recipients: Annotated[list[Address], Field(max_length=100_000), AfterValidator(unique)] = Field(
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
