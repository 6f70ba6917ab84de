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
# At most a week; what is endless or next to nothing is an error of typing.
Seconds = Annotated[float, Field(ge=0.01, le=604_800, allow_inf_nan=False)]
Network = IPv4Network | IPv6Network


class Settings(ServiceSettings):
    """`INGRESS_*`, and what all services have. Ports of 0 are off; sizes are in octets, times in seconds."""

    model_config = SettingsConfigDict(env_prefix="INGRESS_")
    service: ClassVar[str] = "ingress"
    listens_on_several_hosts: ClassVar[bool] = True

    # Addresses to listen on, comma-separated: `0.0.0.0,::` is everywhere.
    host: str = "127.0.0.1"
    smtp_port: Port = 8025
    submission_port: Port = 8587
    smtps_port: Port = 8465
    # Processes on one port; each serves metrics on its own port, counted up from metrics_port, if that is set.
    workers: Annotated[int, Field(ge=1, le=64)] = 1
    # Each worker keeps to one of these processors, as 0,2-4; empty: the system moves it about.
    cpus: Annotated[tuple[int, ...], NoDecode] = ()

    # gRPC: unix:PATH or host:port. Each further worker listens on a path or port of its own.
    listen: ListenField = ""
    policy_target: TargetField = ""
    relay_target: TargetField = ""

    # PEM files, several pairs separated by commas; the first pair serves clients that ask for no known name.
    tls_cert: str = ""
    tls_key: str = ""
    tls_min_version: Literal["TLSv1.2", "TLSv1.3"] = "TLSv1.2"
    # OpenSSL's notation, for TLS 1.2; empty: the library's choice.
    tls_ciphers: str = ""
    tls_session_tickets: bool = True

    # Peers whose connections begin with a PROXY header (v1 or v2); theirs must.
    proxy_networks: Annotated[tuple[Network, ...], NoDecode] = ()
    # For DKIM and ARC keys: host[:port], comma-separated; empty: the system's.
    nameservers: str = ""

    max_connections: Annotated[int, Field(ge=1, le=1_000_000)] = 10_000
    # A safety net below policy's own limit; 0 = none.
    max_connections_per_client: Annotated[int, Field(ge=0)] = 0
    # Wrong commands of one session; one more closes it.
    max_errors: Annotated[int, Field(ge=1)] = 20
    max_auth_failures: Annotated[int, Field(ge=1)] = 5
    # A line of content without its CRLF. RFC 5321 obliges to 998; many senders exceed that.
    max_line_octets: Annotated[int, Field(ge=998, le=60_000)] = 10_000
    max_header_octets: Annotated[int, Field(ge=1024, le=200_000)] = 200_000
    # What to do with a CR or LF in content that is not part of a CRLF.
    bare_newlines: Literal["reject", "normalise"] = "reject"
    # What to do with NUL octets in content, at which many a reader stops reading (RFC 5321 4.5.2 has none).
    nul_octets: Literal["reject", "remove"] = "reject"

    # RFC 5321 4.5.3.2.7: at least 5 minutes for a command.
    command_seconds: Seconds = 300
    # 4.5.3.2.5: 3 minutes for a block of data.
    data_block_seconds: Seconds = 180
    # Content slower than this many octets per second on the average, after the first data_grace_seconds, is cut off.
    min_data_rate: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 200
    data_grace_seconds: Seconds = 60
    # A whole session, and one that has sent no mail yet.
    session_seconds: Seconds = 7200
    mailless_session_seconds: Seconds = 1200
    handshake_seconds: Seconds = 30
    proxy_seconds: Seconds = 10
    policy_seconds: Seconds = 10
    relay_seconds: Seconds = 60
    drain_seconds: Seconds = 30
    clamd_concurrency: Annotated[int, Field(ge=1, le=10_000)] = 10
    crypto_threads: Annotated[int, Field(ge=1, le=256)] = 2

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
        """Sessions drain; one that waits for relay's answer waits for it, so that its client gets a reply (F63)."""
        return self.drain_seconds + self.relay_seconds + 10.0

    @property
    def hosts(self) -> tuple[str, ...]:
        """At least one; the figures are shown on the first."""
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
