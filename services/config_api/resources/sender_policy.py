"""The singleton `/v1/settings/sender-policy`."""

from __future__ import annotations

from pydantic import Field

from services.config_api.resources.description import Singleton
from services.config_api.resources.fields import Mode, Model


class SenderPolicySettings(Model):
    """The checks of a sender's domain."""

    reject_non_fqdn_sender: Mode = Field(
        default="off", description="Whether a sender's domain that is not fully qualified is refused with 504 5.5.2."
    )
    reject_unknown_sender_domain: Mode = Field(
        default="off",
        description="Whether a sender's domain without MX, A or AAAA records is refused with 550 5.1.8, unless the "
        "recipient is an account here.",
    )


SENDER_POLICY = Singleton(
    kind="settings/sender-policy",
    noun="SenderPolicySettings",
    label="sender policy",
    tag="security",
    model=SenderPolicySettings,
)
