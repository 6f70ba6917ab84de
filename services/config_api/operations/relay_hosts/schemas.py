"""The request to test a relay host, and its answer."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from services.config_api.http.responses import Answer
from services.config_api.resources.delivery import RelayHost
from services.config_api.resources.fields import Model, fault


class ConfiguredRelayHost(Model):
    """A relay host that is configured."""

    kind: Literal["configured"] = Field(description="The relay host is configured.")
    rule_id: str = Field(
        min_length=1,
        max_length=64,
        pattern=r"^[0-9a-z-]+$",
        description="The id of a relay rule, or `delivery` for the relay host of /settings/delivery.",
        examples=["delivery"],
    )


class ProposedRelayHost(Model):
    """A relay host that is not configured yet."""

    kind: Literal["proposed"] = Field(description="The relay host is not configured yet.")
    relay_host: RelayHost = Field(description="The relay host, with its password.")

    @model_validator(mode="after")
    def _with_password(self) -> Self:
        """Requires a password for a login, because no stored password could be used."""
        if self.relay_host.auth is not None and self.relay_host.auth.password is None:
            raise fault("secret_needed", "is needed", "relay_host", "auth", "password")
        return self


RelayHostToTest = Annotated[ConfiguredRelayHost | ProposedRelayHost, Field(discriminator="kind")]


class RelayHostTestStep(Answer):
    """One step of the test."""

    step: str = Field(
        description="resolve, connect, connection, greeting, ehlo, starttls, ehlo_tls, auth, mail, reset or quit.",
        examples=["starttls"],
    )
    ok: bool = Field(description="Whether the step succeeded.")
    detail: str | None = Field(description="The reply, or what was found. It never contains credentials.")
    took_us: int = Field(description="Microseconds.")


class RelayHostTestResult(Answer):
    """All steps of the test. The relay host can be used when all succeeded."""

    ok: bool = Field(description="Whether all steps succeeded.")
    steps: list[RelayHostTestStep] = Field(description="Every step, in order.")
