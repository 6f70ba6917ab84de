"""The collection `/v1/relay-domains`, and domains in it that lead back here."""

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
    """Mail for the domain is taken from anyone and passed on to the domain's own server."""

    name: Label = ""
    domain: Domain
    recipients: Literal["any", "list", "verify"] = Field(
        default="any",
        description="Which addresses exist. any: every one; list: those of /v1/recipients; verify: those that the "
        "domain's server takes, which is asked.",
    )
    next_hop: AnyMailboxServer | None = Field(
        default=None, description="The server that takes the domain's mail; null: the domain's MX does."
    )
    enabled: bool = Field(default=True, description="false: as if it were not there.")


_BEYOND_EVERY_PREFERENCE = 65536


async def check(body: Body, check_context: CheckContext) -> Sequence[Finding]:
    findings = list(await _hosts(body["domain"], check_context)) if body["next_hop"] is None else []
    findings += await existing_recipients(body["domain"], body["recipients"], check_context)
    return findings


async def _hosts(domain: str, check_context: CheckContext) -> Sequence[Finding]:
    """Mail for the domain has no server better than this gateway, so it would be deferred (4.4.6), or nobody knows."""
    preferences, own, is_silent = await _candidates(domain, check_context)
    if any(preference < own for preference in preferences):
        return [Finding("/domain", "name_server_silent", "One name server gave no answer.")] if is_silent else []
    if is_silent:
        return [Finding("/domain", "no_answer", "The DNS gave no answer for the MX of this domain in time.")]
    if own == _BEYOND_EVERY_PREFERENCE:
        return [Finding("/domain", "no_mail_host", "This domain has no MX, A or AAAA: its mail can't be passed on.")]
    return [
        Finding("/domain", "no_better_host", "No MX of this domain is better than this gateway: its mail is deferred.")
    ]


async def _candidates(domain: str, check_context: CheckContext) -> tuple[list[int], int, bool]:
    """(preferences of other hosts, the best one of this gateway, whether some name server gave no answer).

    A candidate is one MX of one set of name servers, with the addresses that this set gives it (F60). A domain
    without MX is its own one (RFC 5321 5.1). Our name counts only where no address is known.
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
    """Raises Problem 422 when the next hop is a listener of this gateway."""
    if body["next_hop"] is not None:
        await refuse_this_gateway(body["next_hop"], "/next_hop", check_context)
    return ()


async def references(body: Body, check_context: CheckContext) -> Sequence[Finding]:
    """Listed recipients of the domain."""
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
