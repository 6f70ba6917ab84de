"""The settings of ingress from the environment: addresses, certificates, limits and time-outs. They are read once."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import Field, field_validator, model_validator
from pydantic_settings import NoDecode, SettingsConfigDict

from libs.runtime import processors
from libs.runtime.addresses import Address
from libs.runtime.grpc_settings import ListenField, TargetField
from libs.runtime.settings import ServiceSettings

Port = Annotated[int, Field(ge=0, le=65535)]
# Times must be between 10 milliseconds and one week. Any other value is certainly a typing error.
Seconds = Annotated[float, Field(ge=0.01, le=604_800, allow_inf_nan=False)]
Network = IPv4Network | IPv6Network


class Settings(ServiceSettings):
    """The settings `INGRESS_*`, and those of all services. A port with the number 0 is not opened. Sizes are in octets,
    and times in seconds.
    """

    model_config = SettingsConfigDict(env_prefix="INGRESS_")
    service: ClassVar[str] = "ingress"
    listens_on_several_hosts: ClassVar[bool] = True

    host: str = Field(
        default="127.0.0.1",
        description="The addresses at which ingress listens, separated by commas; 0.0.0.0,:: means all addresses.",
    )
    smtp_port: Port = Field(default=8025, description="The port for mail from other servers; 0 means closed.")
    submission_port: Port = Field(
        default=8587, description="The port for mail from logged-in clients, with STARTTLS; 0 means closed."
    )
    smtps_port: Port = Field(
        default=8465, description="The port for mail from logged-in clients, with TLS from the start; 0 means closed."
    )
    workers: Annotated[int, Field(ge=1, le=64)] = Field(
        default=1,
        description="The number of processes on each port. Each serves metrics on its own port, counted up from "
        "METRICS_PORT.",
    )
    cpus: Annotated[tuple[int, ...], NoDecode] = Field(
        default=(),
        description=(
            "Processors, for example 0,2-4, of which each worker uses one. Empty means that the system chooses. "
            "`posthouse up` sets it."
        ),
    )

    listen: ListenField = Field(
        default="",
        description="The address at which gRPC is served: unix:PATH or host:port. Each further worker has its own "
        "path or port.",
    )
    policy_target: TargetField = Field(default="", description="The gRPC addresses of policy, separated by commas.")
    relay_target: TargetField = Field(default="", description="The gRPC addresses of relay, separated by commas.")

    tls_cert: str = Field(
        default="",
        description=(
            "Certificate chains as PEM files, separated by commas. The first is for clients that ask for no known "
            "name. Replaced files are loaded without a restart."
        ),
    )
    tls_key: str = Field(default="", description="The private keys of the chains as PEM files, in the same order.")
    tls_min_version: Literal["TLSv1.2", "TLSv1.3"] = Field(
        default="TLSv1.2", description="The oldest accepted version of TLS."
    )
    tls_ciphers: str = Field(
        default="",
        description="The ciphers for TLS 1.2, in OpenSSL's notation. Empty means the default of the library.",
    )
    tls_session_tickets: bool = Field(default=True, description="Whether clients may resume TLS sessions.")

    proxy_networks: Annotated[tuple[Network, ...], NoDecode] = Field(
        default=(),
        description="Clients whose connections must begin with a PROXY header (version 1 or 2), as CIDR separated by "
        "commas.",
    )
    handler: str = Field(
        default="",
        description="A site's own handler, for example of aiosmtpd, as package.module:factory. Empty means none.",
    )
    handler_seconds: Seconds = Field(
        default=10, description="The longest time for a hook of the handler. After it the client gets 451."
    )
    nameservers: str = Field(
        default="",
        description="The name servers for DKIM and ARC keys, as host[:port] separated by commas. Empty "
        "means those of the system.",
    )

    max_connections: Annotated[int, Field(ge=1, le=1_000_000)] = Field(
        default=10_000, description="The largest number of connections of one worker at the same time."
    )
    max_connections_per_client: Annotated[int, Field(ge=0)] = Field(
        default=0,
        description="The largest number of connections of one client at the same time, in addition to policy's limit. "
        "0 means no limit.",
    )
    max_errors: Annotated[int, Field(ge=1)] = Field(
        default=20, description="The largest number of wrong commands of one session. One more closes it."
    )
    max_auth_failures: Annotated[int, Field(ge=1)] = Field(
        default=5, description="The largest number of wrong passwords of one session. One more closes it."
    )
    max_line_octets: Annotated[int, Field(ge=998, le=60_000)] = Field(
        default=10_000,
        description="The largest number of octets of a line of content without its CRLF. RFC 5321 demands 998, and "
        "many senders exceed that.",
    )
    max_header_octets: Annotated[int, Field(ge=1024, le=200_000)] = Field(
        default=200_000, description="The largest number of octets of the header of a message."
    )
    bare_newlines: Literal["reject", "normalise"] = Field(
        default="reject", description="What to do with a CR or LF in content that is not a part of CRLF."
    )
    nul_octets: Literal["reject", "remove"] = Field(
        default="reject", description="What to do with NUL octets in content, at which many programs stop reading."
    )

    command_seconds: Seconds = Field(
        default=300, description="The longest wait for a command (RFC 5321 4.5.3.2.7: at least 5 minutes)."
    )
    data_block_seconds: Seconds = Field(
        default=180, description="The longest wait for a block of content (RFC 5321 4.5.3.2.5: 3 minutes)."
    )
    min_data_rate: Annotated[float, Field(ge=0, allow_inf_nan=False)] = Field(
        default=200,
        description="Octets per second: content with a lower average is ended after DATA_GRACE_SECONDS.",
    )
    data_grace_seconds: Seconds = Field(
        default=60, description="The time for which content may be slower than MIN_DATA_RATE."
    )
    session_seconds: Seconds = Field(default=7200, description="The longest time of a session.")
    mailless_session_seconds: Seconds = Field(
        default=1200, description="The longest time of a session in which no mail was sent."
    )
    handshake_seconds: Seconds = Field(default=30, description="The longest time for a TLS handshake.")
    proxy_seconds: Seconds = Field(default=10, description="The longest wait for a PROXY header.")
    policy_seconds: Seconds = Field(
        default=10, description="The longest wait for a decision of policy. After it the client gets 451."
    )
    relay_seconds: Seconds = Field(
        default=60, description="The longest time for relay to store a message. After it the client gets 451."
    )
    drain_seconds: Seconds = Field(default=30, description="The time for which sessions may continue after SIGTERM.")
    clamd_concurrency: Annotated[int, Field(ge=1, le=10_000)] = Field(
        default=10, description="The largest number of messages that clamd scans at the same time."
    )
    rspamd_concurrency: Annotated[int, Field(ge=1, le=10_000)] = Field(
        default=10, description="The largest number of messages about which rspamd is asked at the same time."
    )
    crypto_threads: Annotated[int, Field(ge=1, le=256)] = Field(
        default=2, description="The number of threads that verify DKIM and ARC signatures."
    )

    @field_validator("proxy_networks", mode="before")
    @classmethod
    def _networks(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(ip_network(part.strip()) for part in value.split(",") if part.strip())
        return value

    @field_validator("cpus", mode="before")
    @classmethod
    def _cpus(cls, value: object) -> object:
        return processors.parse(value) if isinstance(value, str) else value

    @model_validator(mode="after")
    def _pairs(self) -> Settings:
        if len(self.certificate_files) != len(_paths(self.tls_cert)) or bool(self.tls_cert) != bool(self.tls_key):
            raise ValueError("INGRESS_TLS_CERT and INGRESS_TLS_KEY must name the same number of files")
        return self

    @property
    def stop_seconds(self) -> float:
        """Returns the longest time of a stop. It includes the time for sessions to end. A session that still waits for
        relay's answer continues to wait, so that its client gets a reply (F63).
        """
        return self.drain_seconds + self.relay_seconds + 10.0

    @property
    def hosts(self) -> tuple[str, ...]:
        """Returns the addresses at which ingress listens, at least one. Metrics are served on the first."""
        return tuple(part.strip() for part in self.host.split(",") if part.strip()) or ("127.0.0.1",)

    @property
    def certificate_files(self) -> tuple[tuple[Path, Path], ...]:
        """Returns (certificate chain, key) for each pair."""
        return tuple(zip(_paths(self.tls_cert), _paths(self.tls_key), strict=False))

    @property
    def grpc_address(self) -> Address:
        return self._listen(self.listen, "ingress")

    @property
    def policy_targets(self) -> tuple[str, ...]:
        return self._targets(self.policy_target, "policy")

    @property
    def relay_targets(self) -> tuple[str, ...]:
        return self._targets(self.relay_target, "relay")

    @property
    def grpc_targets(self) -> tuple[str, ...]:
        return (*self.policy_targets, *self.relay_targets)


def _paths(text: str) -> tuple[Path, ...]:
    return tuple(Path(part.strip()) for part in text.split(",") if part.strip())
