"""How the status of the services is shown."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from services.config_api.http.responses import Answer


class ServiceReplica(Answer):
    """One replica of a service, as config_api sees it."""

    service: Literal["config_api", "policy", "relay", "ingress"] = Field(description="The service.")
    address: str = Field(description="Where it is called by gRPC.", examples=["unix:/srv/var/run/relay.sock"])
    transport: Literal["unix_socket", "mutual_tls", "plain_tcp"] = Field(description="How config_api is joined to it.")
    state: Literal["ready", "not_ready", "unreachable"] = Field(description="What it says of itself.")
    version: str | None = Field(description="Its release; null: it did not say.", examples=["0.1.0"])
    revision: int | None = Field(
        description="The revision of the configuration that is in force there; null: none, or it did not say. ingress "
        "has no configuration.",
        json_schema_extra={"format": "int64"},
    )


class StatusWarning(Answer):
    """Something that works and is probably not meant so."""

    code: Literal[
        "insecure_grpc",
        "default_hostname",
        "running_as_root",
        "unverified_certificate",
        "unlimited_relay_domain",
    ] = Field(description="Its constant name.")
    detail: str = Field(description="A sentence for people.")
    paths: list[str] = Field(description="The first 20 of the settings that it is about.", max_length=20)
    count: int = Field(description="The number of settings that it is about.", ge=0)


class Status(Answer):
    """The services, their replicas and warnings."""

    services: list[ServiceReplica] = Field(
        description="Every config_api that shares the database, the one that answers first, and every replica of the "
        "others that it calls."
    )
    warnings: list[StatusWarning] = Field(description="What is to be looked at.")
