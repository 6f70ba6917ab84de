"""The singleton `/v1/settings/general`, and warnings about probable mistakes in it."""

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
    """The rules about who must log in to send."""

    enabled: bool = Field(
        default=True,
        description="Whether AUTH PLAIN and LOGIN are offered. With false, only trusted networks, and local ones "
        "that need no login, may send to other domains.",
    )
    skip_for_local_networks: bool = Field(
        default=False, description="Whether clients in local_networks need no login to send, on any port."
    )
    local_networks: Annotated[list[Cidr], Field(max_length=1000), AfterValidator(unique)] = Field(
        default=LOOPBACK_AND_PRIVATE, description="The networks for skip_for_local_networks."
    )
    sender_must_match_login: bool = Field(
        default=True, description="Whether MAIL FROM and the From field must be addresses of the logged-in account."
    )
    skip_sender_match_for_trusted_networks: bool = Field(
        default=False, description="Whether trusted networks are exempt from sender_must_match_login."
    )
    forbid_plaintext_auth_without_tls: bool = Field(default=True, description="Whether AUTH is refused without TLS.")


class Profile(Model):
    """The name and the banner of the gateway, and its limits for a message."""

    hostname: HostName = Field(
        description="The fully qualified name of this gateway, in banner, EHLO, Received and delivery reports."
    )
    banner: Banner = Field(default="ESMTP", description="The text after `220 hostname `, in printable ASCII.")
    max_recipients: int = Field(default=1000, ge=1, le=100_000, description="The most recipients of a message.")
    recipients_over_limit: Literal["defer_excess", "reject_message"] = Field(
        default="reject_message",
        description="With reject_message, nobody gets the message: recipients over the limit get 550 5.5.3, and DATA "
        "gets 554 5.5.3. With defer_excess, recipients over the limit get 452 4.5.3, and the others get "
        "the message.",
    )
    max_hops: int = Field(
        default=50, ge=1, le=1000, description="The number of Received fields from which on a message counts as a loop."
    )
    max_message_size_mb: int = Field(
        default=25, ge=0, le=2048, description="The largest message in MB of 1,048,576 octets. 0 means no limit."
    )


class GeneralSettings(Model):
    """SMTP AUTH, the session profile, the external postmasters."""

    smtp_auth: SmtpAuth = Field(default=SmtpAuth(), description="The rules about who must log in to send.")
    profile: Profile = Field(description="The name and the banner of the gateway, and its limits for a message.")
    external_postmasters: Annotated[list[MailAddress], Field(max_length=100), AfterValidator(unique)] = Field(
        default=[],
        description="The addresses that get the mail for postmaster@ and mailer-daemon@ of all local domains, and "
        "double bounces.",
        examples=[["postmaster@example.net"]],
    )


_FEW_RECIPIENTS = 100
_POSTMASTERS = ("postmaster", "mailer-daemon")


# The hostname that the first start uses if the machine has no fully qualified name.
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
                "The range contains the gateway of this machine. Clients behind that gateway would need no login.",
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
            "This is a postmaster of a local domain. Its mail would go to the external postmasters again, so it is "
            "held.",
        )
        for number in of_local_domains(body["external_postmasters"], local_domains)
    ]
    return findings


def of_local_domains(external_postmasters: Sequence[str], local_domains: Sequence[str]) -> Sequence[int]:
    """Returns the positions of external postmasters that are postmasters of local domains. Their mail would go to the
    external postmasters again.
    """
    circle = {f"{name}@{domain}" for domain in local_domains for name in _POSTMASTERS}
    return [number for number, address in enumerate(external_postmasters) if address_key(address) in circle]


async def _default_hostname(hostname: str, check_context: CheckContext) -> Sequence[Finding]:
    """Warns when the hostname is FALLBACK_HOSTNAME. Other servers see the hostname in HELO, and refuse mail when it has
    no address or no PTR record (F37). There is no warning when all mail goes through a relay host and ingress does not
    listen on port 25.
    """
    if hostname != FALLBACK_HOSTNAME:
        return ()
    is_direct = (await check_context.settings("settings/delivery")).get("mode") != "relay_host"
    if not is_direct and _SMTP_PORT not in check_context.own_ports:
        return ()
    return (
        Finding(
            "/profile/hostname",
            "hostname_default",
            "This is not the name of a machine, so other servers refuse mail from it. Set the gateway's own name.",
        ),
    )


def _wide(networks: Sequence[str]) -> Sequence[Finding]:
    """Warns about wide public ranges whose clients may send without a login."""
    found = []
    for number, text in enumerate(networks):
        network, pointer = ipaddress.ip_network(text), f"/smtp_auth/local_networks/{number}"
        if network.prefixlen == 0:
            found.append(Finding(pointer, "everyone", "This is the whole internet, so anyone may send anywhere."))
        elif network.prefixlen < WIDEST[network.version] and not network.is_private:
            found.append(
                Finding(
                    pointer,
                    "wide",
                    f"This range is wider than /{WIDEST[network.version]}, so it may contain networks of others.",
                )
            )
    return found


async def _circle(hostname: str, check_context: CheckContext) -> Sequence[Finding]:
    """Warns when the hostname is also that of a relay host, which would then be this gateway itself."""
    hosts = [(await check_context.settings("settings/delivery")).get("relay_host")]
    hosts += [rule["relay_host"] for rule in await check_context.others("relay-rules") if rule["enabled"]]
    ports = own_name_ports(check_context)
    if any(host is not None and host["host"] == hostname and host["port"] in ports for host in hosts):
        return (Finding("/profile/hostname", "loop", "A relay host has this name, so its mail would go in a circle."),)
    return ()


async def postmasters(domains: Sequence[str], check_context: CheckContext, pointer: str) -> Sequence[Finding]:
    """Warns when no address accepts the mail for the postmaster of a local domain."""
    wanted = {f"{name}@{domain}" for domain in domains for name in _POSTMASTERS}
    missing = sorted(wanted - await check_context.taken("address", sorted(wanted)))
    if not missing:
        return ()
    shown = ", ".join(missing[:4]) + (" and others" if len(missing) > 4 else "")
    return (
        Finding(
            pointer,
            "postmaster_missing",
            f"No external postmaster, account or alias accepts mail for {shown}, so it is held. Name somebody in "
            "external_postmasters of the general settings.",
        ),
    )


async def hostname_findings(hostname: str, check_context: CheckContext) -> Sequence[Finding]:
    """Warns when a hostname has no address in the DNS or an address whose PTR record does not name it, and when the DNS
    gives no answer.
    """
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
                    f"The PTR record of {address} does not name it, so other servers may refuse mail.",
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
