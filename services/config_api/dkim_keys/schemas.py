"""What a DKIM key is: made here, signs a domain's outgoing mail; its private part is never shown."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from libs.smtp.address import canonical_domain
from services.config_api.fields import Domain, Model, fault


def _selector(text: str) -> str:
    try:
        return canonical_domain(text)
    except ValueError as error:
        raise fault("selector", str(error)) from None


class DkimKey(Model):
    """Signs mail whose sender's domain is this one (RFC 6376, RFC 8463)."""

    domain: Domain
    selector: Annotated[
        str,
        Field(min_length=1, max_length=63, pattern=r"^[A-Za-z0-9][A-Za-z0-9.-]*$", examples=["2026a"]),
        AfterValidator(_selector),
    ] = Field(description="Name of the key under _domainkey of the domain.")
    algorithm: Literal["rsa-sha256", "ed25519-sha256"] = Field(
        default="rsa-sha256", description="RSA keys have 2048 bits. It can't be changed: make another key."
    )
    enabled: bool = Field(default=True, description="false: kept, but nothing is signed with it.")
