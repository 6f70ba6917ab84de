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
        description="Write-only, without control characters, encrypted at rest. If a PUT or PATCH leaves it out, it "
        "is kept, except when host, port, fallback_hosts or username change. Then it must be given again.",
        json_schema_extra={"writeOnly": True},
    )
    allow_without_tls: bool = Field(
        default=False, description="Log in even without TLS. false means that the mail is deferred (4.7.0) instead."
    )


def _without_default(schema: dict[str, Any]) -> None:
    """Replaces the default in a schema by an example, because the default differs from object to object."""
    schema.pop("default", None)
    schema["examples"] = [True]


class RelayHost(Model):
    """A server that accepts mail for other domains."""

    host: Host
    port: Port = Field(default=25, description="TCP port.")
    always_tls: bool = Field(
        default=False,
        description="true means that plaintext is never used. false means STARTTLS if the server offers it.",
    )
    implicit_tls: bool = Field(
        default=False,
        description="TLS from the first octet. Until it is set, it follows from the port: true on 465.",
        json_schema_extra=_without_default,
    )
    verify_certificate: bool = Field(
        default=False,
        description="The certificate must be valid for the host. Until it is set, it is true with always_tls or "
        "implicit_tls. It cannot be true with neither, because an attacker on the network could remove "
        "STARTTLS.",
        json_schema_extra=_without_default,
    )
    auth: RelayHostAuth | None = Field(default=None, description="The login. null means none.")
    fallback_hosts: FallbackHosts = NO_FALLBACK

    @classmethod
    def derived(cls, body: Mapping[str, Any], was_set: Container[str]) -> Mapping[str, Any]:
        implicit_tls = body["implicit_tls"] if "implicit_tls" in was_set else body["port"] == SMTPS_PORT
        return {"implicit_tls": implicit_tls, "verify_certificate": body["always_tls"] or implicit_tls}

    @model_validator(mode="after")
    def _follow(self) -> Self:
        was_set = self.model_fields_set
        follows = self.derived(self.__dict__, was_set)
        # Pydantic's own assignment is bypassed, because it would mark the values as set by the client.
        self.__dict__.update({name: value for name, value in follows.items() if name not in was_set})
        return self


class DeliverySettings(Model):
    """The route of mail that no rule matches."""

    mode: Literal["direct", "relay_host"] = Field(
        default="direct",
        description="direct sends to the MX of each recipient's domain. relay_host sends all through relay_host.",
    )
    relay_host: RelayHost | None = Field(
        default=None, description="The single relay host, which mode relay_host needs."
    )

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.mode == "relay_host" and self.relay_host is None:
            raise fault("relay_host_missing", "the mode relay_host needs a relay host", "relay_host")
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
