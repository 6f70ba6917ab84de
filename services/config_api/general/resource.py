"""The singleton `/v1/settings/general`, and what is likely a mistake in it."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

from services.config_api.general.schemas import GeneralSettings
from services.config_api.networks import covers
from services.config_api.resources import Body, Finding, Singleton, Surroundings

_FEW_RECIPIENTS = 100
_POSTMASTERS = ("postmaster", "mailer-daemon")


async def check(body: Body, surroundings: Surroundings) -> Sequence[Finding]:
    findings = [*await _hostname(body["profile"]["hostname"], surroundings)]
    if body["profile"]["max_recipients"] < _FEW_RECIPIENTS:
        findings.append(
            Finding("/profile/max_recipients", "few_recipients", "RFC 5321 4.5.3.1.8 asks for at least 100.")
        )
    auth = body["smtp_auth"]
    if auth["skip_for_local_networks"] and any(
        covers(network, gateway) for network in auth["local_networks"] for gateway in surroundings.gateways
    ):
        findings.append(
            Finding(
                "/smtp_auth/local_networks",
                "gateway_in_range",
                "The range holds this host's gateway: clients that it hides would need no login.",
            )
        )
    if not body["external_postmasters"]:
        findings += await postmasters(
            [domain["name"] for domain in await surroundings.others("local-domains")],
            surroundings,
            "/external_postmasters",
        )
    return findings


async def postmasters(domains: Sequence[str], surroundings: Surroundings, pointer: str) -> Sequence[Finding]:
    """A finding when a local domain's postmaster mail has nowhere to go."""
    wanted = {f"{name}@{domain}" for domain in domains for name in _POSTMASTERS}
    missing = sorted(wanted - await surroundings.taken("address", sorted(wanted)))
    if not missing:
        return ()
    shown = ", ".join(missing[:4]) + (" and others" if len(missing) > 4 else "")
    return (
        Finding(
            pointer,
            "postmaster_missing",
            f"No external postmaster, account or alias takes mail for {shown}: it is held.",
        ),
    )


async def _hostname(hostname: str, surroundings: Surroundings) -> Sequence[Finding]:
    pointer = "/profile/hostname"
    addresses = await surroundings.addresses(hostname)
    if addresses is None:
        return (Finding(pointer, "hostname_unknown", "The DNS gave no answer for this name in time."),)
    if not addresses:
        return (Finding(pointer, "hostname_no_address", "This name has neither an A nor an AAAA record."),)
    for address in addresses:
        if ipaddress.ip_address(address).is_loopback:
            continue
        names = await surroundings.names(address)
        if names is not None and hostname not in names:
            return (
                Finding(
                    pointer,
                    "hostname_reverse",
                    f"The PTR record of {address} does not name it: others may refuse mail.",
                ),
            )
    return ()


GENERAL = Singleton(
    kind="settings/general",
    noun="GeneralSettings",
    label="general settings",
    tag="general",
    model=GeneralSettings,
    check=check,
)
