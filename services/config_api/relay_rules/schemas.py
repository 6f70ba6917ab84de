"""What a relay rule is: mail from or to its targets goes through its relay host."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from libs.smtp.address import canonical_domain, parse_address
from services.config_api.delivery.schemas import RelayHost
from services.config_api.fields import Model, Name, fault, unique

Target = Annotated[str, Field(min_length=1, max_length=512, pattern=r"^[^\u0000-\u001f\u007f-\u009f\u2028\u2029]+$")]


def canonical_target(target: str, target_type: str) -> str:
    """An address, or a domain where a first dot stands for its sub-domains. Raises ValueError."""
    if target_type == "address":
        return parse_address(target).local_key()
    if target.startswith("."):
        return "." + canonical_domain(target[1:])
    return canonical_domain(target)


class RelayRule(Model):
    """Mail to (recipient) or from (sender) a target goes through this relay host."""

    name: Name
    type: Literal["recipient", "sender"] = Field(
        description="Which address is looked at. Any recipient rule beats every sender rule."
    )
    target_type: Literal["address", "domain"] = Field(
        description="What the targets are. An address beats a domain, whatever the position."
    )
    targets: Annotated[list[Target], Field(min_length=1, max_length=10_000)] = Field(
        description="Full addresses, or domains; sub-domains only where a target is written .example.com.",
        examples=[["example.com", ".example.com"]],
    )
    relay_host: RelayHost = Field(description="Where the mail goes.")
    position: int = Field(
        default=0, ge=0, le=1_000_000, description="Among rules alike the lowest is tried first; then the oldest."
    )
    enabled: bool = Field(default=True, description="false: as if it were not there.")

    @model_validator(mode="after")
    def _canonical(self) -> Self:
        canonical = []
        for number, target in enumerate(self.targets):
            try:
                canonical.append(canonical_target(target, self.target_type))
            except ValueError as error:
                raise fault("target", str(error), "targets", number) from None
        object.__setattr__(self, "targets", unique(canonical))
        return self
