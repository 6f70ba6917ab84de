"""The environment of ingress: addresses, certificates, limits and time-outs. Read once, frozen."""

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
# From 10 milliseconds to one week. A longer or shorter time is surely a typing error.
Seconds = Annotated[float, Field(ge=0.01, le=604_800, allow_inf_nan=False)]
Network = IPv4Network | IPv6Network


class Settings(ServiceSettings):
    """The variables `INGRESS_*`, and those of all services. Port 0 is off. Sizes are in octets, times in seconds."""

    model_config = SettingsConfigDict(env_prefix="INGRESS_")
    service: ClassVar[str] = "ingress"
    listens_on_several_hosts: ClassVar[bool] = True

    host: str = Field(default="127.0.0.1", description="Addresses to listen on, by commas; 0.0.0.0,:: is everywhere.")
    smtp_port: Port = Field(default=8025, description="Port for mail from other servers; 0: closed.")
    submission_port: Port = Field(
        default=8587, description="Port for mail from those who log in, with STARTTLS; 0: closed."
    )
    smtps_port: Port = Field(
        default=8465, description="Port for mail from those who log in, over TLS from the start; 0: closed."
    )
    workers: Annotated[int, Field(ge=1, le=64)] = Field(
        default=1,
        description="Processes on one port. Each serves metrics on a port of its own, counted up from METRICS_PORT.",
    )
    cpus: Annotated[tuple[int, ...], NoDecode] = Field(
        default=(),
        description=(
            "Processors, as 0,2-4: each worker keeps to one of them. Empty: the system moves it about. "
            "`posthouse up` chooses."
        ),
    )

    listen: ListenField = Field(
        default="",
        description="Where to serve gRPC: unix:PATH or host:port. Each further worker has a path or port of its own.",
    )
    policy_target: TargetField = Field(default="", description="policy's gRPC, several by commas.")
    relay_target: TargetField = Field(default="", description="relay's gRPC, several by commas.")

    tls_cert: str = Field(
        default="",
        description=(
            "PEM chains, by commas. The first serves clients that ask for no name that is known. Replaced "
            "files are taken up without a restart."
        ),
    )
    tls_key: str = Field(default="", description="PEM keys of the chains, in their order.")
    tls_min_version: Literal["TLSv1.2", "TLSv1.3"] = Field(
        default="TLSv1.2", description="The oldest version of TLS that is spoken."
    )
    tls_ciphers: str = Field(
        default="", description="Ciphers for TLS 1.2, in OpenSSL's notation; empty: the library's choice."
    )
    tls_session_tickets: bool = Field(default=True, description="Let clients resume TLS sessions.")

    proxy_networks: Annotated[tuple[Network, ...], NoDecode] = Field(
        default=(),
        description="Peers whose connections begin with a PROXY header (version 1 or 2), CIDR by commas; theirs must.",
    )
    handler: str = Field(
        default="", description="A site's own code, an aiosmtpd handler, as package.module:factory; empty: none."
    )
    handler_seconds: Seconds = Field(
        default=10, description="How long a hook of the handler is waited for; then the client gets 451."
    )
    nameservers: str = Field(
        default="", description="For DKIM and ARC keys: host[:port], several by commas; empty: the system's."
    )

    max_connections: Annotated[int, Field(ge=1, le=1_000_000)] = Field(
        default=10_000, description="Connections of one worker at once."
    )
    max_connections_per_client: Annotated[int, Field(ge=0)] = Field(
        default=0, description="Connections of one client at once, below policy's own limit; 0: no limit."
    )
    max_errors: Annotated[int, Field(ge=1)] = Field(
        default=20, description="Wrong commands of one session; one more closes it."
    )
    max_auth_failures: Annotated[int, Field(ge=1)] = Field(
        default=5, description="Wrong passwords of one session; one more closes it."
    )
    max_line_octets: Annotated[int, Field(ge=998, le=60_000)] = Field(
        default=10_000,
        description="Octets of a line of content without its CRLF. RFC 5321 obliges to 998; many senders exceed that.",
    )
    max_header_octets: Annotated[int, Field(ge=1024, le=200_000)] = Field(
        default=200_000, description="Octets of the header of a message."
    )
    bare_newlines: Literal["reject", "normalise"] = Field(
        default="reject", description="What to do with a CR or LF in content that is not part of a CRLF."
    )
    nul_octets: Literal["reject", "remove"] = Field(
        default="reject", description="What to do with NUL octets in content, at which many readers stop reading."
    )

    command_seconds: Seconds = Field(
        default=300, description="How long a command is waited for (RFC 5321 4.5.3.2.7: at least 5 minutes)."
    )
    data_block_seconds: Seconds = Field(
        default=180, description="How long a block of content is waited for (RFC 5321 4.5.3.2.5: 3 minutes)."
    )
    min_data_rate: Annotated[float, Field(ge=0, allow_inf_nan=False)] = Field(
        default=200,
        description="Octets a second: content that is slower on the average is cut off after DATA_GRACE_SECONDS.",
    )
    data_grace_seconds: Seconds = Field(default=60, description="How long content may be slower than MIN_DATA_RATE.")
    session_seconds: Seconds = Field(default=7200, description="How long a session may last.")
    mailless_session_seconds: Seconds = Field(
        default=1200, description="How long a session may last in which no mail was sent."
    )
    handshake_seconds: Seconds = Field(default=30, description="How long a TLS handshake may take.")
    proxy_seconds: Seconds = Field(default=10, description="How long a PROXY header is waited for.")
    policy_seconds: Seconds = Field(
        default=10, description="How long a decision of policy is waited for; then the client gets 451."
    )
    relay_seconds: Seconds = Field(
        default=60, description="How long relay may take to store a message; then the client gets 451."
    )
    drain_seconds: Seconds = Field(default=30, description="How long sessions may go on after SIGTERM.")
    clamd_concurrency: Annotated[int, Field(ge=1, le=10_000)] = Field(
        default=10, description="Messages that clamd is given at once."
    )
    rspamd_concurrency: Annotated[int, Field(ge=1, le=10_000)] = Field(
        default=10, description="Messages that rspamd is asked about at once."
    )
    crypto_threads: Annotated[int, Field(ge=1, le=256)] = Field(
        default=2, description="Threads that verify DKIM and ARC signatures."
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
            raise ValueError("INGRESS_TLS_CERT and INGRESS_TLS_KEY must name equally many files")
        return self

    @property
    def stop_seconds(self) -> float:
        """How long a stop may take.

        Sessions drain first. A session that then waits for relay's answer goes on waiting, so that its client gets a
        reply (F63).
        """
        return self.drain_seconds + self.relay_seconds + 10.0

    @property
    def hosts(self) -> tuple[str, ...]:
        """The addresses to listen on, at least one. Metrics are served on the first."""
        return tuple(part.strip() for part in self.host.split(",") if part.strip()) or ("127.0.0.1",)

    @property
    def certificate_files(self) -> tuple[tuple[Path, Path], ...]:
        """(certificate chain, key) of each pair."""
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
