"""The form in which the state of the services is shown."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from services.config_api.http.responses import Answer, Time


class ServiceReplica(Answer):
    """One replica of a service, as config_api sees it."""

    service: Literal["config_api", "policy", "relay", "ingress"] = Field(description="The service.")
    address: str = Field(description="The address of its gRPC.", examples=["unix:/srv/var/run/relay.sock"])
    transport: Literal["unix_socket", "mutual_tls", "plain_tcp"] = Field(
        description="The kind of connection from config_api to it."
    )
    state: Literal["ready", "not_ready", "unreachable"] = Field(description="The state that it reports.")
    version: str | None = Field(
        description="The release of the replica. null when it did not report one.", examples=["0.1.0"]
    )
    revision: int | None = Field(
        description="The revision of the configuration that is in force at the replica. null when there is none, or "
        "when it did not report one. ingress has no configuration.",
        json_schema_extra={"format": "int64"},
    )


class StatusWarning(Answer):
    """A setting that works but is probably a mistake."""

    code: Literal[
        "insecure_grpc",
        "default_hostname",
        "running_as_root",
        "unverified_certificate",
        "unlimited_relay_domain",
    ] = Field(description="The constant name of the warning.")
    detail: str = Field(description="A sentence for people.")
    paths: list[str] = Field(description="The first 20 settings that it is about.", max_length=20)
    count: int = Field(description="The number of settings that it is about.", ge=0)


class MailCertificate(Answer):
    """A TLS certificate that mail clients see, as ingress has loaded it."""

    file: str = Field(description="The file on the machine of ingress.", examples=["/etc/posthouse/tls/chain.pem"])
    names: list[str] = Field(description="The DNS names in the certificate.", examples=[["mx.example.com"]])
    ends_at: Time = Field(description="When the certificate expires, or the first one of its chain.")
    replicas: list[str] = Field(description="The addresses of the replicas of ingress that use it.")


class Status(Answer):
    """The services, their replicas, the certificates that mail clients see, and warnings."""

    services: list[ServiceReplica] = Field(
        description="Every config_api that shares the database, with the one that answers first; and every replica "
        "of the other services that it calls."
    )
    certificates: list[MailCertificate] = Field(
        description="The certificates that mail clients see. The first to expire comes first."
    )
    warnings: list[StatusWarning] = Field(description="The warnings.")
