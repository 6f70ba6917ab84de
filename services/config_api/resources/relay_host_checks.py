"""Checks that find relay hosts which cannot work or are not safe: this gateway itself (C158), and TLS without
verification of the certificate.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

from services.config_api.problems import invalid_field
from services.config_api.resources.description import Body, CheckContext, Finding, Secret, member

_SMTP_PORTS = frozenset({25, 465, 587})


def relay_host_password() -> Secret:
    """Returns the description of the password for a relay host. The password is stored encrypted, and is kept only for
    the server and the login for which it was given.
    """
    return Secret(
        path=("relay_host", "auth", "password"),
        required=True,
        bound_to=(
            ("relay_host", "host"),
            ("relay_host", "port"),
            ("relay_host", "fallback_hosts"),
            ("relay_host", "auth", "username"),
        ),
        protections=_protections,
    )


def _protections(body: Body) -> tuple[bool, ...]:
    """Returns three facts: whether TLS is required, whether the certificate must also be valid, and whether a login
    without TLS is forbidden.
    """
    host = body.get("relay_host") or {}
    requires_tls = bool(host.get("always_tls") or host.get("implicit_tls"))
    verifies = requires_tls and bool(host.get("verify_certificate"))
    return requires_tls, verifies, not member(body, ("relay_host", "auth", "allow_without_tls"))


def unverified(body: Body) -> Sequence[Finding]:
    """Warns when the certificate of a relay host is not verified, and TLS is required or a login is sent (F52)."""
    host = body["relay_host"]
    if host is None or host["verify_certificate"]:
        return ()
    findings = []
    if host["always_tls"] or host["implicit_tls"]:
        findings.append(
            Finding(
                "/relay_host/verify_certificate",
                "unverified_tls",
                "TLS is required, but any certificate is accepted, so an attacker on the network can read and change "
                "the mail.",
            )
        )
    if host["auth"] is not None:
        findings.append(
            Finding(
                "/relay_host/auth",
                "unverified_password",
                "The certificate is not verified, so the password may be sent to another server.",
            )
        )
    return findings


async def refuse_relay_host(body: Body, check_context: CheckContext) -> Sequence[Finding]:
    """Raises Problem 422 for a relay host that is a listener of this gateway, or whose certificate is verified although
    TLS is optional.
    """
    relay_host = body["relay_host"]
    if relay_host is None:
        return ()
    if relay_host["verify_certificate"] and not (relay_host["always_tls"] or relay_host["implicit_tls"]):
        raise invalid_field(
            "/relay_host/verify_certificate",
            "verify_without_tls",
            "This needs always_tls or implicit_tls, because otherwise an attacker on the network can remove TLS.",
        )
    await refuse_this_gateway(relay_host, "/relay_host", check_context)
    return ()


async def refuse_this_gateway(server: Body, pointer: str, check_context: CheckContext) -> None:
    """Raises Problem 422 if the server or one of its fallback hosts is a listener of this gateway."""
    fallback_hosts = {f"/fallback_hosts/{number}": host for number, host in enumerate(server["fallback_hosts"])}
    for place, host in {"": server, **fallback_hosts}.items():
        if await is_this_gateway(host["host"], host["port"], check_context):
            raise invalid_field(
                f"{pointer}{place}/host", "loop", "This host is this gateway, so mail would go in a circle."
            )


async def is_this_gateway(host: str, port: int, check_context: CheckContext) -> bool:
    """Whether mail that is sent to this host and port arrives at this gateway again."""
    hostname = member(await check_context.settings("settings/general"), ("profile", "hostname"))
    is_own_name = host == hostname and port in own_name_ports(check_context)
    return is_own_name or (port in check_context.own_ports and await _is_here(host, check_context))


def own_name_ports(check_context: CheckContext) -> frozenset[int]:
    """Returns the ports that lead to our listeners at the gateway's own name: those of the listeners, and the standard
    ports of SMTP, which may be forwarded to the listeners.
    """
    return _SMTP_PORTS | check_context.own_ports


async def _is_here(host: str, check_context: CheckContext) -> bool:
    found = await check_context.addresses(host)
    here = host == "localhost" or host in check_context.own_addresses
    return here or any(
        address in check_context.own_addresses or ipaddress.ip_address(address).is_loopback for address in found or ()
    )
