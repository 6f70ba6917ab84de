"""The process's environment, read once and frozen."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Self

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from libs.runtime.lifecycle import StartupError
from libs.runtime.nameservers import addressed
from libs.runtime.rpc import TlsFiles, targets

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Settings(BaseSettings):
    """Environment variables with the prefix CONFIG_API_, and POSTHOUSE_DATA_DIR."""

    model_config = SettingsConfigDict(env_prefix="CONFIG_API_", frozen=True, extra="ignore", env_ignore_empty=True)

    host: str = "127.0.0.1"
    port: int = Field(default=8080, ge=0, le=65535)
    grpc_port: int = Field(default=50053, ge=0, le=65535)
    metrics_port: int = Field(default=9104, ge=0, le=65535)
    log_level: str = "info"
    # sqlite:///path or postgresql://user:password@host/database; empty: config.sqlite3 in the data folder.
    database_url: SecretStr = SecretStr("")
    # Accepted beside the keys in the database; empty: an admin key is made on the first run.
    admin_key: SecretStr = SecretStr("")
    # Secrets at rest are encrypted under it; empty: a key file in the data folder.
    secret_key: SecretStr = SecretStr("")
    policy_target: str = "127.0.0.1:50051"
    relay_target: str = "127.0.0.1:50052"
    # Reverse proxies whose X-Forwarded-For is believed, CIDR, comma-separated (C82).
    proxy_networks: str = ""
    # Wrong keys of one client in a minute; more are answered 429.
    failed_keys_per_minute: int = Field(default=30, ge=1, le=1_000_000)
    # Origins that browsers may call from, comma-separated; empty: none.
    cors_origins: str = ""
    # gRPC over mutual TLS, all three or none.
    grpc_cert: Path | None = None
    grpc_key: Path | None = None
    grpc_ca: Path | None = None
    # For the checks of hostnames and domains, host[:port], comma-separated; empty: the system's.
    nameservers: str = ""
    # Where ingress listens, to tell a relay host that is this gateway itself.
    ingress_smtp_port: int = Field(default=8025, validation_alias="INGRESS_SMTP_PORT")
    ingress_submission_port: int = Field(default=8587, validation_alias="INGRESS_SUBMISSION_PORT")
    ingress_smtps_port: int = Field(default=8465, validation_alias="INGRESS_SMTPS_PORT")
    data_dir: Path = Field(default=Path("var"), validation_alias="POSTHOUSE_DATA_DIR")

    @field_validator("nameservers")
    @classmethod
    def _addressed(cls, value: str) -> str:
        return addressed(value)

    @model_validator(mode="after")
    def _well_formed(self) -> Self:
        targets(self.policy_target)
        targets(self.relay_target)
        _ = self.proxies
        if len({self.grpc_cert is None, self.grpc_key is None, self.grpc_ca is None}) != 1:
            raise ValueError("CONFIG_API_GRPC_CERT, _KEY and _CA are set together or not at all")
        return self

    @property
    def url(self) -> str:
        """The database's URL, the SQLite file of the data folder when none is set."""
        return self.database_url.get_secret_value() or f"sqlite:///{self.data_dir.absolute() / 'config.sqlite3'}"

    @property
    def proxies(self) -> tuple[Network, ...]:
        return tuple(ipaddress.ip_network(part.strip()) for part in self.proxy_networks.split(",") if part.strip())

    @property
    def name_servers(self) -> tuple[str, ...]:
        return tuple(part.strip() for part in self.nameservers.split(",") if part.strip())

    @property
    def ingress_ports(self) -> tuple[int, ...]:
        return (self.ingress_smtp_port, self.ingress_submission_port, self.ingress_smtps_port)

    @property
    def tls(self) -> TlsFiles | None:
        if self.grpc_cert is None or self.grpc_key is None or self.grpc_ca is None:
            return None
        return TlsFiles(self.grpc_cert, self.grpc_key, self.grpc_ca)


def load() -> Settings:
    """Reads the environment. Raises StartupError naming the variable, never its value."""
    try:
        return Settings()
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False, include_context=False)[0]
        name = "_".join(str(part) for part in first["loc"]).upper() or "environment"
        raise StartupError(f"CONFIG_API settings: {name}: {first['msg']}") from None
