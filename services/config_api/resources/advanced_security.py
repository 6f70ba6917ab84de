"""The singleton `/v1/settings/advanced-security`."""

from __future__ import annotations

from pydantic import Field

from services.config_api.resources.description import Singleton
from services.config_api.resources.fields import Mode, Model, Timezone


class AdvancedSecuritySettings(Model):
    """Checks of the protocol, checks of HELO names, and protection against address harvesting."""

    reject_unauthorized_pipelining: Mode = Field(
        default="enforce", description="A client that sends before it may gets 554 5.5.0, and the connection is closed."
    )
    reject_non_fqdn_helo: Mode = Field(
        default="off", description="A HELO name that is neither fully qualified nor an address literal gets 504 5.5.2."
    )
    reject_unknown_helo: Mode = Field(
        default="off", description="A HELO name without A, AAAA or MX records gets 450 4.7.1."
    )
    max_unknown_recipients_per_day: int = Field(
        default=0,
        ge=0,
        le=1_000_000,
        description="The number of distinct unknown recipients that an address may name before it is blocked until "
        "the next day. 0 means no limit.",
    )
    timezone: Timezone = Field(
        default="UTC", description="The time zone in which a day begins at 00:00, as a name of the IANA database."
    )
    max_junk_commands: int = Field(
        default=100,
        ge=0,
        le=1_000_000,
        description="The number of commands such as NOOP, VRFY and RSET without a delivered message, after which the "
        "client gets 421. 0 means no limit.",
    )
    max_refused_recipients: int = Field(
        default=100,
        ge=0,
        le=1_000_000,
        description="The number of recipients of a session that are permanently refused, after which the client gets "
        "421 4.7.0. From the 10th refused recipient on, each answer is delayed more, up to 5 s. 0 means "
        "no limit and no delay.",
    )


ADVANCED_SECURITY = Singleton(
    kind="settings/advanced-security",
    noun="AdvancedSecuritySettings",
    label="advanced security",
    tag="security",
    model=AdvancedSecuritySettings,
)
