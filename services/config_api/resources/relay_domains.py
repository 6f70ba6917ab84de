"""The collection `/v1/relay-domains`, and warnings about domains whose mail would come back to this gateway."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from libs.smtp.address import canonical_domain
from services.config_api.resources.description import (
    Body,
    CheckContext,
    Collection,
    Finding,
    MailHost,
    UniqueKey,
    member,
)
from services.config_api.resources.existing_recipients import existing_recipients, listed_recipients
from services.config_api.resources.fields import Domain, Label, Model
from services.config_api.resources.filters import boolean, exact
from services.config_api.resources.mailbox_servers import AnyMailboxServer
from services.config_api.resources.relay_host_checks import refuse_this_gateway


class RelayDomain(Model):
    """A domain whose mail is accepted from everybody and sent to the domain's own server."""

    name: Label = ""
    domain: Domain
    recipients: Literal["any", "list", "verify"] = Field(
        default="any",
        description="Which addresses exist. any: all. list: those of /v1/recipients. verify: those that the domain's "
        "server accepts, which is asked.",
    )
    next_hop: AnyMailboxServer | None = Field(
        default=None,
        description="The server that accepts the domain's mail. null means that the MX of the domain accepts it.",
    )
    enabled: bool = Field(default=True, description="false means that it has no effect.")


_BEYOND_EVERY_PREFERENCE = 65536


async def check(body: Body, check_context: CheckContext) -> Sequence[Finding]:
    findings = list(await _hosts(body["domain"], check_context)) if body["next_hop"] is None else []
    findings += await existing_recipients(body["domain"], body["recipients"], check_context)
    return findings


async def _hosts(domain: str, check_context: CheckContext) -> Sequence[Finding]:
    """Warns when no MX of the domain is preferred to this gateway, so that its mail would be deferred (4.4.6), and when
    name servers gave no answer.
    """
    preferences, own, is_silent = await _candidates(domain, check_context)
    if any(preference < own for preference in preferences):
        return (
            [Finding("/domain", "name_server_silent", "One of the name servers gave no answer.")] if is_silent else []
        )
    if is_silent:
        return [Finding("/domain", "no_answer", "The DNS gave no answer in time for the MX of this domain.")]
    if own == _BEYOND_EVERY_PREFERENCE:
        return [
            Finding(
                "/domain", "no_mail_host", "This domain has no MX, A or AAAA record, so its mail cannot be sent on."
            )
        ]
    return [
        Finding(
            "/domain", "no_better_host", "No MX of this domain is better than this gateway, so its mail is deferred."
        )
    ]


async def _candidates(domain: str, check_context: CheckContext) -> tuple[list[int], int, bool]:
    """Returns (preferences of other hosts, the best preference of this gateway, whether a name server gave no answer).

    Each MX from each set of name servers is considered, with the addresses from the same set (F60). A domain without MX
    is its own MX (RFC 5321 5.1). An MX is this gateway if it has one of our addresses. Its name is compared only if no
    address is known.
    """
    hostname = member(await check_context.settings("settings/general"), ("profile", "hostname"))
    preferences: list[int] = []
    own, is_silent = _BEYOND_EVERY_PREFERENCE, False
    for found in await check_context.mail_hosts(domain):
        if found.hosts is None:
            is_silent = True
            continue
        for host in found.hosts or [MailHost(0, domain)]:
            addresses = await check_context.addresses(host.host, found.name_servers)
            is_silent = is_silent or addresses is None
            if addresses:
                is_own = any(_is_here(address, check_context) for address in addresses)
            elif host.host == hostname:
                is_own = True
            else:
                continue
            if is_own:
                own = min(own, host.preference)
            else:
                preferences.append(host.preference)
    return preferences, own, is_silent


def _is_here(address: str, check_context: CheckContext) -> bool:
    return address in check_context.own_addresses or ipaddress.ip_address(address).is_loopback


async def refuse(body: Body, check_context: CheckContext) -> Sequence[Finding]:
    """Raises Problem 422 for a next hop that is a listener of this gateway."""
    if body["next_hop"] is not None:
        await refuse_this_gateway(body["next_hop"], "/next_hop", check_context)
    return ()


async def references(body: Body, check_context: CheckContext) -> Sequence[Finding]:
    """Warns about listed recipients of a domain that is removed."""
    return await listed_recipients(body["domain"], check_context)


RELAY_DOMAINS = Collection(
    kind="relay-domains",
    noun="RelayDomain",
    plural="RelayDomains",
    label="relay domain",
    tag="relay control",
    model=RelayDomain,
    refuse=refuse,
    check=check,
    references=references,
    lost=lambda before, after: before if before["domain"] != after["domain"] else None,
    unique=lambda body: [UniqueKey("domain", body["domain"], "/domain")],
    filters={
        "domain": exact("domain", "The domain.", canonical_domain),
        "enabled": boolean("enabled"),
    },
)
