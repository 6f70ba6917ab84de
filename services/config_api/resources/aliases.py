"""The collection `/v1/aliases`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from pydantic import AfterValidator, Field

from libs.smtp.tagged import untagged
from services.config_api.resources.description import Body, CheckContext, Collection, Filter, Finding, UniqueKey, named
from services.config_api.resources.fields import MailAddress, Model, address_key, unique
from services.config_api.resources.filters import exact


class Alias(Model):
    """Mail for this address goes to the targets instead."""

    address: MailAddress
    targets: Annotated[list[MailAddress], Field(min_length=1, max_length=1000), AfterValidator(unique)] = Field(
        description="The addresses to which the mail goes. An alias may name other aliases."
    )


_MOST_STEPS = 1000


async def check(body: Body, check_context: CheckContext) -> Sequence[Finding]:
    """Warns about targets that lead back to the alias (F19), or that lead to no account (F18)."""
    own = address_key(body["address"])
    findings = []
    for number, target in enumerate(body["targets"]):
        pointer = f"/targets/{number}"
        leads_back, ends = await followed(address_key(target), own, check_context)
        if leads_back:
            findings.append(Finding(pointer, "loop", "This target leads back to the alias, so it gets no mail."))
        elif not ends:
            findings.append(
                Finding(pointer, "no_account", "This target leads to no enabled account, so its mail is refused.")
            )
    return findings


async def followed(target: str, own: str, check_context: CheckContext) -> tuple[bool, bool]:
    """Follows aliases from the target. Returns (whether all paths lead in a circle, whether a path ends at a mailbox).
    If more than _MOST_STEPS addresses would have to be followed, the second value is True.
    """
    waiting, seen, back, ends = [target], {own}, target == own, False
    others = False
    while waiting and len(seen) < _MOST_STEPS and not ends:
        address = waiting.pop()
        if address in seen:
            back = True
            continue
        seen.add(address)
        aliases = await check_context.matching("aliases", "address", address)
        if aliases:
            waiting += [address_key(inner) for alias in aliases for inner in alias["targets"]]
            continue
        others = True
        ends = await _is_mailbox(address, check_context)
    return back and not others, ends or bool(waiting)


async def _is_mailbox(address: str, check_context: CheckContext) -> bool:
    """Whether mail for the address is accepted, as far as this configuration shows. Addresses in domains that are not
    local count as accepted.
    """
    domain = address.rpartition("@")[2]
    local_domains = await check_context.matching("local-domains", "name", domain)
    if not local_domains:
        return True
    local_domain = local_domains[0]
    if local_domain["recipients"] in ("any", "verify") or local_domain["catch_all"] is not None:
        return True
    forms = [address, *untagged(address, local_domain["recipient_delimiter"] or "")]
    return any([await _exists(form, local_domain, check_context) for form in forms])


async def _exists(address: str, local_domain: Body, check_context: CheckContext) -> bool:
    if any(account["enabled"] for account in await check_context.matching("accounts", "address", address)):
        return True
    is_listed = local_domain["recipients"] == "list"
    return is_listed and bool(await check_context.matching("recipients", "address", address))


async def references(body: Body, check_context: CheckContext) -> Sequence[Finding]:
    """Warns about aliases, catch-alls and postmasters that lead to this alias."""
    key = address_key(body["address"])
    aliases = [alias["address"] for alias in await check_context.matching("aliases", "target", key)]
    general = await check_context.settings("settings/general")
    postmasters = [address for address in general["external_postmasters"] if address_key(address) == key]
    return [
        *named("target_of_alias", "The alias {} leads to this one.", aliases),
        *named("external_postmaster", "The external postmaster {} is this alias.", postmasters),
        *named("catch_all", "The catch-all of {} leads to this alias.", await catching_all([key], check_context)),
    ]


async def catching_all(keys: Sequence[str], check_context: CheckContext) -> list[str]:
    """Returns the local domains whose catch-all is one of these addresses."""
    return [
        domain["name"]
        for domain in await check_context.others("local-domains")
        if domain["catch_all"] is not None and address_key(domain["catch_all"]) in keys
    ]


ALIASES = Collection(
    kind="aliases",
    noun="Alias",
    plural="Aliases",
    label="alias",
    tag="accounts",
    model=Alias,
    check=check,
    references=references,
    lost=lambda before, after: before if address_key(before["address"]) != address_key(after["address"]) else None,
    unique=lambda body: [
        UniqueKey("address", address_key(body["address"]), "/address"),
        UniqueKey("alias", address_key(body["address"]), "/address"),
    ],
    filters={
        "address": exact("address", "The address of the alias.", address_key),
        "target": Filter("One of its targets.", lambda body: [address_key(t) for t in body["targets"]], address_key),
    },
)
