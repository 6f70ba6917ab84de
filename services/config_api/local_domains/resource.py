"""The collection `/v1/local-domains`."""

from __future__ import annotations

from collections.abc import Sequence

from libs.smtp.address import canonical_domain
from services.config_api.delivery.checks import is_this_gateway
from services.config_api.filters import exact
from services.config_api.general.resource import of_local_domains, postmasters
from services.config_api.local_domains.schemas import LocalDomain
from services.config_api.problems import invalid_field
from services.config_api.resources import Body, Collection, Finding, Surroundings, UniqueKey, member


async def check(body: Body, surroundings: Surroundings) -> Sequence[Finding]:
    findings = []
    if body["mailbox"] is None:
        findings.append(Finding("/mailbox", "no_mailbox", "Without a mailbox the domain's mail is held."))
    external = (await surroundings.settings("settings/general"))["external_postmasters"]
    if not external:
        findings += await postmasters([body["name"]], surroundings, "/name")
    if of_local_domains(external, [body["name"]]):
        findings.append(
            Finding("/name", "loop", "The external postmasters are postmasters of this domain: their mail is held.")
        )
    return findings


async def refuse(body: Body, surroundings: Surroundings) -> Sequence[Finding]:
    """Raises Problem 422 when a mailbox server is a listener of this gateway."""
    for name in ("mailbox", "quarantine_mailbox"):
        host, port = member(body, (name, "host")), member(body, (name, "port"))
        if host is not None and await is_this_gateway(host, port, surroundings):
            raise invalid_field(
                f"/{name}/host", "loop", "The mailbox server is this gateway: mail would go in a circle."
            )
    return ()


LOCAL_DOMAINS = Collection(
    kind="local-domains",
    noun="LocalDomain",
    plural="LocalDomains",
    label="local domain",
    tag="local domains",
    model=LocalDomain,
    refuse=refuse,
    check=check,
    unique=lambda body: [UniqueKey("domain", body["name"], "/name")],
    filters={"name": exact("name", "The domain.", canonical_domain)},
)
