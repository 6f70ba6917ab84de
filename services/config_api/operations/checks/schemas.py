"""The form in which the results of checks are shown."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

from pydantic import Field

from services.config_api.http.responses import Answer, Time


class CheckLevel(StrEnum):
    """The level of a result."""

    OK = "ok"
    WARNING = "warning"
    ERROR = "error"


class CheckResult(Answer):
    """The result of one check."""

    id: str = Field(
        description="The constant name of the check: access_rules, block_lists, certificate, clock, disk, "
        "dkim_records, grpc_certificate, hostname, name_servers, open_files, relay_domains, relay_rules "
        "or reachable. Later releases may have more.",
        examples=["disk"],
    )
    level: CheckLevel = Field(
        description="ok means that nothing is wrong. warning means that mail flows, but some may be refused, late or "
        "unprotected. error means that mail is refused, or will soon stop. Later releases may have more "
        "levels."
    )
    text: str = Field(description="What was found, in a sentence.", examples=["0.2 GB are free in the file system."])
    remedy: str | None = Field(description="What to do about it. null means that nothing must be done.")
    service: Literal["config_api", "policy", "relay", "ingress"] = Field(description="The service that checked.")
    replicas: list[str] = Field(
        description="The replicas of the service that found this, by their gRPC addresses.",
        examples=[["unix:/srv/var/run/relay.sock"]],
    )
    made_at: Time | None = Field(description="The time of the check. null when the replica cannot be reached.")


class CheckResults(Answer):
    """The results of all checks."""

    items: list[CheckResult] = Field(description="The results: errors first, then warnings, then the others.")
