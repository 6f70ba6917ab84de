"""The collection `/v1/tls-policies`: how connections for direct mail to a domain have to be secured."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from pydantic import AfterValidator, Field

from services.config_api.resources.description import Body, CheckContext, Collection, Finding, UniqueKey
from services.config_api.resources.fields import Model, checked, domain_or_below
from services.config_api.resources.filters import exact
from services.config_api.resources.mailbox_servers import TlsLevel


class DomainTlsPolicy(Model):
    """Direct mail to the domain goes over connections that are at least so well secured."""

    domain: Annotated[
        str,
        Field(min_length=1, max_length=256, examples=["example.com", ".example.com"]),
        AfterValidator(checked("domain", domain_or_below)),
    ] = Field(description="A recipient's domain; .example.com stands for its sub-domains, not for itself.")
    level: TlsLevel = Field(
        description="What DANE and MTA-STS of the domain demand holds besides, with one exception: none turns both off."
    )


async def check(body: Body, check_context: CheckContext) -> Sequence[Finding]:
    """Mail in clear, and domains whose mail is not direct."""
    findings = []
    if body["level"] == "none":
        findings.append(
            Finding("/level", "plaintext", "Mail to this domain can be read on its way, whatever the domain demands.")
        )
    is_ours = await check_context.matching("local-domains", "name", body["domain"]) or await check_context.matching(
        "relay-domains", "domain", body["domain"]
    )
    delivery = await check_context.settings("settings/delivery")
    if is_ours or delivery.get("mode") == "relay_host":
        findings.append(Finding("/domain", "not_direct", "Mail to this domain is not sent directly to its MX."))
    return findings


TLS_POLICIES = Collection(
    kind="tls-policies",
    noun="DomainTlsPolicy",
    plural="DomainTlsPolicies",
    label="TLS policy",
    tag="delivery",
    model=DomainTlsPolicy,
    check=check,
    unique=lambda body: [UniqueKey("tls-policies/domain", body["domain"], "/domain")],
    filters={"domain": exact("domain", "The domain, as it was given.", domain_or_below)},
)
