"""What `/v1/settings/general` holds: SMTP AUTH, the session profile, the external postmasters."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from services.config_api.fields import Address, Banner, HostName, Model, unique
from services.config_api.networks import Cidr

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
        default="defer_excess",
        description="defer_excess: those over the limit get 452 and the rest goes on; reject_message: 554 for all.",
    )
    max_hops: int = Field(default=50, ge=1, le=1000, description="Received fields before a message is a loop.")
    max_message_size_mb: int = Field(
        default=25, ge=0, le=2048, description="Largest message in MB of 1,048,576 octets; 0: no limit."
    )


class GeneralSettings(Model):
    """SMTP AUTH, the session profile, the external postmasters."""

    smtp_auth: SmtpAuth = Field(default=SmtpAuth(), description="Who must log in to send, and how.")
    profile: Profile = Field(description="How the gateway presents itself, and its limits a message.")
    external_postmasters: Annotated[list[Address], Field(max_length=100), AfterValidator(unique)] = Field(
        default=[],
        description="Who gets mail for postmaster@ and mailer-daemon@ any local domain, and double bounces.",
        examples=[["postmaster@example.net"]],
    )
