"""The singleton `/v1/settings/advanced-security`."""

from __future__ import annotations

from pydantic import Field

from services.config_api.resources.description import Singleton
from services.config_api.resources.fields import Mode, Model, Timezone


class AdvancedSecuritySettings(Model):
    """Protocol discipline, HELO names, harvesting of addresses."""

    reject_unauthorized_pipelining: Mode = Field(
        default="enforce", description="Bytes sent before their turn: 554 5.5.0, and the connection is closed."
    )
    reject_non_fqdn_helo: Mode = Field(
        default="off", description="A HELO name neither fully qualified nor an address literal: 504 5.5.2."
    )
    reject_unknown_helo: Mode = Field(
        default="off", description="A HELO name without A, AAAA or MX is refused with 450 4.7.1."
    )
    max_unknown_recipients_per_day: int = Field(
        default=0,
        ge=0,
        le=1_000_000,
        description="Distinct nonexistent accounts that an address may name before it is blocked until the next day; "
        "0: no limit.",
    )
    timezone: Timezone = Field(default="UTC", description="Where days end at 00:00; a name of the IANA database.")
    max_junk_commands: int = Field(
        default=100,
        ge=0,
        le=1_000_000,
        description="NOOP, VRFY, RSET and the like before mail is delivered, then 421; 0: no limit.",
    )
    max_refused_recipients: int = Field(
        default=100,
        ge=0,
        le=1_000_000,
        description="Recipients refused for good in a session, then 421 4.7.0. From the 10th refused recipient on each "
        "answer waits longer, at most 5 s; 0: no limit and no wait.",
    )


ADVANCED_SECURITY = Singleton(
    kind="settings/advanced-security",
    noun="AdvancedSecuritySettings",
    label="advanced security",
    tag="security",
    model=AdvancedSecuritySettings,
)
