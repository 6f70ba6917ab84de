"""How the status of the services is shown."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from services.config_api.http.responses import Answer, Time


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


class MailCertificate(Answer):
    """A TLS certificate that clients of mail see, as ingress has loaded it."""

    file: str = Field(description="The file on the machine of ingress.", examples=["/etc/posthouse/tls/chain.pem"])
    names: list[str] = Field(description="The DNS names that it is for.", examples=[["mx.example.com"]])
    ends_at: Time = Field(description="When it, or the first certificate of its chain that does, ends.")
    replicas: list[str] = Field(description="The addresses of the replicas of ingress that show it.")


class Status(Answer):
    """The services, their replicas, the certificates that clients see, and warnings."""

    services: list[ServiceReplica] = Field(
        description="Every config_api that shares the database, the one that answers first, and every replica of the "
        "others that it calls."
    )
    certificates: list[MailCertificate] = Field(
        description="The certificates that clients of mail see; the first to end comes first."
    )
    warnings: list[StatusWarning] = Field(description="What is to be looked at.")
