"""What a relay host's trial takes and shows."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from services.config_api.answers import Answer
from services.config_api.delivery.schemas import RelayHost
from services.config_api.fields import Model, fault


class RelayHostTrial(Model):
    """One of the two: a configured relay host, or one as it would be configured."""

    rule_id: str | None = Field(
        default=None,
        max_length=64,
        pattern=r"^[0-9a-z-]+$",
        description="A relay rule's id, or `delivery` for the relay host of /settings/delivery.",
        examples=["delivery"],
    )
    relay_host: RelayHost | None = Field(default=None, description="A relay host, its password with it.")

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.rule_id is None) == (self.relay_host is None):
            raise fault("one_of", "give either rule_id or relay_host")
        return self


class TrialStep(Answer):
    """One step of the send path."""

    step: str = Field(
        description="resolve, connect, greeting, ehlo, starttls, ehlo_tls, auth, mail, reset or quit.",
        examples=["starttls"],
    )
    ok: bool
    detail: str = Field(description="The reply or finding, without credentials.")
    took_us: int = Field(description="Microseconds.")


class TrialResult(Answer):
    """All steps; the relay host is usable when all are ok."""

    ok: bool
    steps: list[TrialStep]
