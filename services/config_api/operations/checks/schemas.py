"""How the results of checks are shown."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

from pydantic import Field

from services.config_api.http.responses import Answer, Time


class CheckLevel(StrEnum):
    """How bad a result is."""

    OK = "ok"
    WARNING = "warning"
    ERROR = "error"


class CheckResult(Answer):
    """What one check found."""

    id: str = Field(
        description="Constant name of the check: access_rules, block_lists, certificate, clock, disk, dkim_records, "
        "grpc_certificate, hostname, name_servers, open_files, relay_domains, relay_rules or reachable. Later releases "
        "have more.",
        examples=["disk"],
    )
    level: CheckLevel = Field(
        description="ok; warning: it works, and some mail may be refused, late or unprotected; error: mail is refused, "
        "or will soon not flow any more. Later releases may have more."
    )
    text: str = Field(description="What was found, in a sentence.", examples=["0.2 GB are free in the file system."])
    remedy: str | None = Field(description="What to do about it; null: nothing.")
    service: Literal["config_api", "policy", "relay", "ingress"] = Field(description="The service that checked.")
    replicas: list[str] = Field(
        description="The replicas of the service that found this, by their gRPC addresses.",
        examples=[["unix:/srv/var/run/relay.sock"]],
    )
    made_at: Time | None = Field(description="When it was checked; null: the replica can't be reached.")


class CheckResults(Answer):
    """The results of all checks."""

    items: list[CheckResult] = Field(description="Errors first, then warnings, then what is well.")
