"""The collection `/v1/local-domains`."""

from __future__ import annotations

from collections.abc import Sequence

from libs.smtp.address import canonical_domain
from services.config_api.filters import exact
from services.config_api.general.resource import postmasters
from services.config_api.local_domains.schemas import LocalDomain
from services.config_api.resources import Body, Collection, Finding, Surroundings, UniqueKey


async def check(body: Body, surroundings: Surroundings) -> Sequence[Finding]:
    findings = []
    if body["mailbox"] is None:
        findings.append(Finding("/mailbox", "no_mailbox", "Without a mailbox the domain's mail is held."))
    if not (await surroundings.settings("settings/general"))["external_postmasters"]:
        findings += await postmasters([body["name"]], surroundings, "/name")
    return findings


LOCAL_DOMAINS = Collection(
    kind="local-domains",
    noun="LocalDomain",
    plural="LocalDomains",
    label="local domain",
    tag="local domains",
    model=LocalDomain,
    check=check,
    unique=lambda body: [UniqueKey("domain", body["name"], "/name")],
    filters={"name": exact("name", "The domain.", canonical_domain)},
)
