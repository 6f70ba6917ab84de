"""The singleton `/v1/settings/delivery`."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from services.config_api.resources.description import Body, CheckContext, Finding, Singleton
from services.config_api.resources.fallback_hosts import NO_FALLBACK, FallbackHosts
from services.config_api.resources.fields import Host, Model, Password, Port, Text, fault
from services.config_api.resources.relay_host_checks import refuse_relay_host, relay_host_password, unverified

SMTPS_PORT = 465


class RelayHostAuth(Model):
    """The login at a relay host."""

    username: Text = Field(min_length=1, description="Login name.", examples=["gateway"])
    password: Password | None = Field(
        default=None,
        description="Write-only, without control characters, encrypted at rest. Left out of a PUT or PATCH it is "
        "kept, unless host, port, fallback_hosts or username change: then it has to be given again.",
        json_schema_extra={"writeOnly": True},
    )
    allow_without_tls: bool = Field(
        default=False, description="Log in without TLS too. false: the mail is deferred (4.7.0) instead."
    )


def _without_default(schema: dict[str, Any]) -> None:
    """The default is another one for each object, so the document has an example instead."""
    schema.pop("default", None)
    schema["examples"] = [True]


class RelayHost(Model):
    """A server that takes mail for others."""

    host: Host
    port: Port = Field(default=25, description="TCP port.")
    always_tls: bool = Field(default=False, description="Never plaintext. false: STARTTLS when it is offered.")
    implicit_tls: bool = Field(
        default=False,
        description="TLS from the first octet. Until it is set it follows from the port: true on 465.",
        json_schema_extra=_without_default,
    )
    verify_certificate: bool = Field(
        default=False,
        description="The certificate must be valid for the host. Until it is set it follows: true with always_tls or "
        "implicit_tls. It can't be true with neither, since who stands between could take STARTTLS away.",
        json_schema_extra=_without_default,
    )
    auth: RelayHostAuth | None = Field(default=None, description="The login; null: none.")
    fallback_hosts: FallbackHosts = NO_FALLBACK

    @classmethod
    def derived(cls, body: Mapping[str, Any], was_set: Container[str]) -> Mapping[str, Any]:
        implicit_tls = body["implicit_tls"] if "implicit_tls" in was_set else body["port"] == SMTPS_PORT
        return {"implicit_tls": implicit_tls, "verify_certificate": body["always_tls"] or implicit_tls}

    @model_validator(mode="after")
    def _follow(self) -> Self:
        was_set = self.model_fields_set
        follows = self.derived(self.__dict__, was_set)
        # Past pydantic, which would take them for set by the client.
        self.__dict__.update({name: value for name, value in follows.items() if name not in was_set})
        return self


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


async def check(body: Body, _: CheckContext) -> Sequence[Finding]:
    return unverified(body)


DELIVERY = Singleton(
    kind="settings/delivery",
    noun="DeliverySettings",
    label="delivery settings",
    tag="delivery",
    model=DeliverySettings,
    secrets=(relay_host_password(),),
    refuse=refuse_relay_host,
    check=check,
)
