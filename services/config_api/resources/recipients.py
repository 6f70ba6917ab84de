"""The collection `/v1/recipients`: the addresses that exist in domains whose recipients are listed.

It may hold a million. Storage keeps it in a table of its own (`storage/recipients.py`), and revisions hold its count
and digest alone; so neither export, import nor rollback touches it.
"""

from __future__ import annotations

from collections.abc import Sequence

from libs.smtp.address import canonical_domain
from services.config_api.resources.description import Body, CheckContext, Collection, Filter, Finding, UniqueKey
from services.config_api.resources.fields import MailAddress, Model, address_key
from services.config_api.resources.filters import exact


class Recipient(Model):
    """An address that exists in a domain whose recipients are listed."""

    address: MailAddress


async def check(body: Body, check_context: CheckContext) -> Sequence[Finding]:
    """A warning about an address at a domain that does not use the list."""
    domain = body["address"].rpartition("@")[2]
    domains = [
        *await check_context.matching("local-domains", "name", domain),
        *await check_context.matching("relay-domains", "domain", domain),
    ]
    if not domains:
        return [Finding("/address", "domain_not_ours", "Its domain is neither a local domain nor a relay domain here.")]
    if all(of_domain["recipients"] != "list" for of_domain in domains):
        return [Finding("/address", "list_not_used", "The recipients of its domain are not those of this list.")]
    return ()


RECIPIENTS = Collection(
    kind="recipients",
    noun="Recipient",
    plural="Recipients",
    label="listed recipient",
    tag="accounts",
    model=Recipient,
    check=check,
    unique=lambda body: [UniqueKey("recipient", address_key(body["address"]), "/address")],
    filters={
        "address": exact("address", "The address, without regard to case.", address_key),
        "domain": Filter(
            "The domain of the address.", lambda body: [body["address"].rpartition("@")[2]], canonical_domain
        ),
    },
    portable=False,
    most_in_batch=100_000,
)
