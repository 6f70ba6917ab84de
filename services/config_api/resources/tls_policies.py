"""The collection `/v1/tls-policies`: how connections for direct mail to a domain must be secured."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from pydantic import AfterValidator, Field

from services.config_api.resources.description import Body, CheckContext, Collection, Finding, UniqueKey
from services.config_api.resources.fields import Model, checked, domain_or_below
from services.config_api.resources.filters import exact
from services.config_api.resources.mailbox_servers import TlsLevel


class DomainTlsPolicy(Model):
    """The lowest security that connections for direct mail to the domain may have."""

    domain: Annotated[
        str,
        Field(min_length=1, max_length=256, examples=["example.com", ".example.com"]),
        AfterValidator(checked("domain", domain_or_below)),
    ] = Field(description="The domain of a recipient. .example.com stands for its subdomains, but not for itself.")
    level: TlsLevel = Field(
        description="The requirements of the domain's DANE and MTA-STS apply in addition, except that none turns "
        "both off."
    )


async def check(body: Body, check_context: CheckContext) -> Sequence[Finding]:
    """Warns about mail without TLS, and about domains whose mail is not sent directly."""
    findings = []
    if body["level"] == "none":
        findings.append(
            Finding("/level", "plaintext", "Mail to this domain can be read on its way, whatever the domain requires.")
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
    filters={"domain": exact("domain", "The domain, in the form in which it was given.", domain_or_below)},
)
