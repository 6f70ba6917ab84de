"""The singleton `/v1/settings/delivery`."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from services.config_api.resources.description import Singleton
from services.config_api.resources.fields import Host, Model, Password, Port, Text, fault
from services.config_api.resources.loop_checks import refuse_loop, relay_host_password

SMTPS_PORT = 465


class RelayHostAuth(Model):
    """The login at a relay host."""

    username: Text = Field(min_length=1, description="Login name.", examples=["gateway"])
    password: Password | None = Field(
        default=None,
        description="Write-only, without control characters, encrypted at rest. Left out of a PUT or PATCH it is "
        "kept, unless host, port or "
        "username change: then it has to be given again.",
        json_schema_extra={"writeOnly": True},
    )
    allow_without_tls: bool = Field(
        default=False, description="Log in without TLS too. false: the mail is deferred (4.7.0) instead."
    )


class RelayHost(Model):
    """A server that takes mail for others."""

    host: Host
    port: Port = Field(default=25, description="TCP port.")
    always_tls: bool = Field(default=False, description="Never plaintext. false: STARTTLS when it is offered.")
    implicit_tls: bool = Field(default=False, description="TLS from the first octet; the default on port 465 is true.")
    verify_certificate: bool = Field(
        default=False, description="The certificate must be valid for the host; the default is always_tls."
    )
    auth: RelayHostAuth | None = Field(default=None, description="The login; null: none.")

    @model_validator(mode="before")
    @classmethod
    def _defaults(cls, given: object) -> object:
        """Two defaults hang on other fields: implicit TLS on 465, verification where TLS is required."""
        if not isinstance(given, dict):
            return given
        filled = dict(given)
        filled.setdefault("implicit_tls", given.get("port") == SMTPS_PORT)
        filled.setdefault("verify_certificate", given.get("always_tls") is True)
        return filled


class DeliverySettings(Model):
    """Where mail goes that no rule takes."""

    mode: Literal["direct", "relay_host"] = Field(
        default="direct",
        description="direct: to the MX of each recipient's domain; relay_host: all through relay_host.",
    )
    relay_host: RelayHost | None = Field(default=None, description="The one relay host; needed by mode relay_host.")

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.mode == "relay_host" and self.relay_host is None:
            raise fault("relay_host_missing", "mode relay_host needs it", "relay_host")
        return self


DELIVERY = Singleton(
    kind="settings/delivery",
    noun="DeliverySettings",
    label="delivery settings",
    tag="delivery",
    model=DeliverySettings,
    secrets=(relay_host_password(),),
    refuse=refuse_loop,
)
