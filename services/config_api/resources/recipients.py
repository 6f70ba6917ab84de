"""The collection `/v1/recipients`: the addresses that exist in domains whose recipients are listed. There may be a
million recipients. They are stored in a separate table (`storage/recipients.py`), and revisions contain only their
count and digest. So export, import and rollback do not include recipients.
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
    """Warns about an address at a domain that is not ours, or that does not use the list."""
    domain = body["address"].rpartition("@")[2]
    domains = [
        *await check_context.matching("local-domains", "name", domain),
        *await check_context.matching("relay-domains", "domain", domain),
    ]
    if not domains:
        return [
            Finding(
                "/address",
                "domain_not_ours",
                "The domain of this address is neither a local domain nor a relay domain.",
            )
        ]
    if all(of_domain["recipients"] != "list" for of_domain in domains):
        return [Finding("/address", "list_not_used", "The recipients of the domain are not those of this list.")]
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
