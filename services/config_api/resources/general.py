"""The singleton `/v1/settings/general`, and what is likely a mistake in it."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from services.config_api.resources.description import Body, CheckContext, Finding, Singleton
from services.config_api.resources.fields import Banner, HostName, MailAddress, Model, address_key, unique
from services.config_api.resources.networks import WIDEST, Cidr, covers
from services.config_api.resources.relay_host_checks import own_name_ports

LOOPBACK_AND_PRIVATE = [
    "127.0.0.0/8",
    "::1/128",
    "10.0.0.0/8",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "fc00::/7",
    "fe80::/10",
]


class SmtpAuth(Model):
    """Who must log in to send, and how."""

    enabled: bool = Field(
        default=True,
        description="AUTH PLAIN and LOGIN are offered. false: only trusted networks, and local ones that need no "
        "login, may send to other domains.",
    )
    skip_for_local_networks: bool = Field(
        default=False, description="Clients in local_networks need no login to send, on any port."
    )
    local_networks: Annotated[list[Cidr], Field(max_length=1000), AfterValidator(unique)] = Field(
        default=LOOPBACK_AND_PRIVATE, description="The networks that skip_for_local_networks is about."
    )
    sender_must_match_login: bool = Field(
        default=True, description="MAIL FROM and the From field must be addresses of the logged-in account."
    )
    skip_sender_match_for_trusted_networks: bool = Field(
        default=False, description="Trusted networks are exempt from sender_must_match_login."
    )
    forbid_plaintext_auth_without_tls: bool = Field(
        default=True, description="AUTH is neither offered nor taken before TLS."
    )


class Profile(Model):
    """How the gateway presents itself, and its limits a message."""

    hostname: HostName = Field(
        description="Fully qualified name of this gateway, in banner, EHLO, Received and delivery reports."
    )
    banner: Banner = Field(default="ESMTP", description="Text after `220 hostname `: printable ASCII.")
    max_recipients: int = Field(default=1000, ge=1, le=100_000, description="Recipients a message.")
    recipients_over_limit: Literal["defer_excess", "reject_message"] = Field(
        default="reject_message",
        description="reject_message: nobody gets the message (550 5.5.3 to those over the limit, 554 5.5.3 to DATA); "
        "defer_excess: those over the limit get 452 4.5.3 and the rest goes on.",
    )
    max_hops: int = Field(default=50, ge=1, le=1000, description="Received fields before a message is a loop.")
    max_message_size_mb: int = Field(
        default=25, ge=0, le=2048, description="Largest message in MB of 1,048,576 octets; 0: no limit."
    )


class GeneralSettings(Model):
    """SMTP AUTH, the session profile, the external postmasters."""

    smtp_auth: SmtpAuth = Field(default=SmtpAuth(), description="Who must log in to send, and how.")
    profile: Profile = Field(description="How the gateway presents itself, and its limits a message.")
    external_postmasters: Annotated[list[MailAddress], Field(max_length=100), AfterValidator(unique)] = Field(
        default=[],
        description="Who gets mail for postmaster@ and mailer-daemon@ any local domain, and double bounces.",
        examples=[["postmaster@example.net"]],
    )


_FEW_RECIPIENTS = 100
_POSTMASTERS = ("postmaster", "mailer-daemon")


# The hostname that the first start uses when the machine has no fully qualified name.
FALLBACK_HOSTNAME = "localhost.localdomain"
_SMTP_PORT = 25


async def check(body: Body, check_context: CheckContext) -> Sequence[Finding]:
    findings = [*await _default_hostname(body["profile"]["hostname"], check_context)]
    findings += await hostname_findings(body["profile"]["hostname"], check_context)
    findings += await _circle(body["profile"]["hostname"], check_context)
    if body["profile"]["max_recipients"] < _FEW_RECIPIENTS:
        findings.append(
            Finding("/profile/max_recipients", "few_recipients", "RFC 5321 4.5.3.1.8 asks for at least 100.")
        )
    auth = body["smtp_auth"]
    if auth["skip_for_local_networks"] and any(
        covers(network, gateway) for network in auth["local_networks"] for gateway in check_context.gateways
    ):
        findings.append(
            Finding(
                "/smtp_auth/local_networks",
                "gateway_in_range",
                "The range holds this host's gateway: clients that it hides would need no login.",
            )
        )
    if auth["skip_for_local_networks"]:
        findings += _wide(auth["local_networks"])
    local_domains = [domain["name"] for domain in await check_context.others("local-domains")]
    if not body["external_postmasters"]:
        findings += await postmasters(local_domains, check_context, "/external_postmasters")
    findings += [
        Finding(
            f"/external_postmasters/{number}",
            "loop",
            "It is a postmaster of a local domain, whose mail goes to the external postmasters: it is held.",
        )
        for number in of_local_domains(body["external_postmasters"], local_domains)
    ]
    return findings


def of_local_domains(external_postmasters: Sequence[str], local_domains: Sequence[str]) -> Sequence[int]:
    """The external postmasters at local domains. Their mail would go to the external postmasters again."""
    circle = {f"{name}@{domain}" for domain in local_domains for name in _POSTMASTERS}
    return [number for number, address in enumerate(external_postmasters) if address_key(address) in circle]


async def _default_hostname(hostname: str, check_context: CheckContext) -> Sequence[Finding]:
    """Others see the name in HELO, and refuse mail from a machine that is nobody (F37)."""
    if hostname != FALLBACK_HOSTNAME:
        return ()
    is_direct = (await check_context.settings("settings/delivery")).get("mode") != "relay_host"
    if not is_direct and _SMTP_PORT not in check_context.own_ports:
        return ()
    return (
        Finding(
            "/profile/hostname",
            "hostname_default",
            "This is the name of no machine: other servers refuse its mail. Set the gateway's own name.",
        ),
    )


def _wide(networks: Sequence[str]) -> Sequence[Finding]:
    """Public ranges whose clients send with no login, as of trusted networks."""
    found = []
    for number, text in enumerate(networks):
        network, pointer = ipaddress.ip_network(text), f"/smtp_auth/local_networks/{number}"
        if network.prefixlen == 0:
            found.append(Finding(pointer, "everyone", "This is the whole internet: anyone may send anywhere."))
        elif network.prefixlen < WIDEST[network.version] and not network.is_private:
            found.append(
                Finding(pointer, "wide", f"This range is wider than /{WIDEST[network.version]}: is all of it yours?")
            )
    return found


async def _circle(hostname: str, check_context: CheckContext) -> Sequence[Finding]:
    """Relay hosts that are this gateway once it has this name."""
    hosts = [(await check_context.settings("settings/delivery")).get("relay_host")]
    hosts += [rule["relay_host"] for rule in await check_context.others("relay-rules") if rule["enabled"]]
    ports = own_name_ports(check_context)
    if any(host is not None and host["host"] == hostname and host["port"] in ports for host in hosts):
        return (Finding("/profile/hostname", "loop", "A relay host has this name: its mail would go in a circle."),)
    return ()


async def postmasters(domains: Sequence[str], check_context: CheckContext, pointer: str) -> Sequence[Finding]:
    """A finding when a local domain's postmaster mail has nowhere to go."""
    wanted = {f"{name}@{domain}" for domain in domains for name in _POSTMASTERS}
    missing = sorted(wanted - await check_context.taken("address", sorted(wanted)))
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


async def hostname_findings(hostname: str, check_context: CheckContext) -> Sequence[Finding]:
    """Whether a hostname has an address in the DNS whose PTR record names it."""
    pointer = "/profile/hostname"
    addresses = await check_context.addresses(hostname)
    if addresses is None:
        return (Finding(pointer, "hostname_unknown", "The DNS gave no answer for this name in time."),)
    if not addresses:
        return (Finding(pointer, "hostname_no_address", "This name has neither an A nor an AAAA record."),)
    for address in addresses:
        if ipaddress.ip_address(address).is_loopback:
            continue
        names = await check_context.names(address)
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
