"""What a relay domain is: its mail is accepted from anyone and passed on to the domain's own server."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import AfterValidator, Field, model_validator

from services.config_api.fields import Address, Domain, Label, Model, fault, unique


class RelayDomain(Model):
    """Mail for the domain is taken from anyone and passed on to the domain's own MX."""

    name: Label = ""
    domain: Domain
    recipients: Annotated[list[Address], Field(max_length=100_000), AfterValidator(unique)] = Field(
        default=[],
        description="Addresses of the domain that exist; empty: any.",
        examples=[["user@example.com"]],
    )
    enabled: bool = Field(default=True, description="false: as if it were not there.")

    @model_validator(mode="after")
    def _own_recipients(self) -> Self:
        for number, recipient in enumerate(self.recipients):
            if not recipient.endswith(f"@{self.domain}"):
                raise fault("recipient_of_other_domain", "must be an address of the domain", "recipients", number)
        return self
