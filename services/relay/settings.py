"""The process's environment, read once and frozen."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from libs.runtime.lifecycle import StartupError
from libs.runtime.nameservers import addressed
from libs.runtime.rpc import TlsFiles, targets
from services.relay.delivery import DeliveryOptions, networks, own_addresses
from services.relay.delivery.targets.options import PROHIBITED_NETWORKS, of_literals


class Settings(BaseSettings):
    """Environment variables with the prefix RELAY_, and POSTHOUSE_DATA_DIR."""

    model_config = SettingsConfigDict(env_prefix="RELAY_", frozen=True, extra="ignore")

    host: str = "127.0.0.1"
    port: int = Field(default=50052, ge=0, le=65535)
    metrics_port: int = Field(default=9103, ge=0, le=65535)
    log_level: str = "info"
    config_target: str = "127.0.0.1:50053"
    # The processors that it keeps to, the queue's threads excepted, as 0,2-4; empty: all of them.
    cpus: str = ""
    # sqlite:///path or postgresql://user:password@host/database; empty: queue.sqlite3 in the data folder.
    database_url: SecretStr = SecretStr("")
    # The last good configuration, for a start while config_api is away; empty: in the data folder.
    snapshot_file: str = ""
    # gRPC over mutual TLS, all three or none.
    grpc_cert: Path | None = None
    grpc_key: Path | None = None
    grpc_ca: Path | None = None

    # host[:port], comma-separated; empty: the system's.
    nameservers: str = ""
    mx_port: int = Field(default=25, ge=1, le=65535)
    # CIDR, comma-separated; an empty value lets everything through.
    prohibited_networks: str = PROHIBITED_NETWORKS
    own_addresses: str = ""
    tls_ca_file: Path | None = None
    dane: bool = False
    mta_sts: bool = True

    # Deliveries that are tried at once, over all destinations.
    concurrency: int = Field(default=500, ge=1, le=10_000)
    # Deliveries kept in memory: being tried, or next. Others wait in the database.
    backlog: int = Field(default=2_000, ge=1, le=1_000_000)
    # Content of those, and of messages that are coming in.
    memory_mb: int = Field(default=256, ge=8)
    # Free space of the file system that is never used for new mail.
    disk_reserve_mb: int = Field(default=256, ge=0)
    # A worker that has not renewed its leases for so long is dead.
    lease_seconds: float = Field(default=30.0, gt=0)
    # A submission that can't be committed for so long is refused for now: room for a restart of the database, and less
    # than INGRESS_RELAY_SECONDS.
    store_seconds: float = Field(default=12.0, gt=0)
    # How long mail transactions may go on after SIGTERM.
    drain_seconds: float = Field(default=20.0, ge=0)
    data_dir: Path = Field(default=Path("var"), validation_alias="POSTHOUSE_DATA_DIR")

    @field_validator("nameservers")
    @classmethod
    def _addressed(cls, value: str) -> str:
        return addressed(value)

    @model_validator(mode="after")
    def _well_formed(self) -> Self:
        targets(self.config_target)
        networks(self.prohibited_networks)
        own_addresses(self.own_addresses)
        if len({self.grpc_cert is None, self.grpc_key is None, self.grpc_ca is None}) != 1:
            raise ValueError("RELAY_GRPC_CERT, RELAY_GRPC_KEY and RELAY_GRPC_CA are set together or not at all")
        return self

    @property
    def folder(self) -> Path:
        return self.data_dir.absolute() / "relay"

    @property
    def url(self) -> str:
        """The database's URL, the SQLite file of the data folder when none is set."""
        return self.database_url.get_secret_value() or f"sqlite:///{self.folder / 'queue.sqlite3'}"

    @property
    def snapshot_path(self) -> Path:
        return Path(self.snapshot_file) if self.snapshot_file else self.folder / "snapshot"

    @property
    def tls(self) -> TlsFiles | None:
        if self.grpc_cert is None or self.grpc_key is None or self.grpc_ca is None:
            return None
        return TlsFiles(self.grpc_cert, self.grpc_key, self.grpc_ca)

    def delivery_options(self) -> DeliveryOptions:
        return DeliveryOptions(
            nameservers=tuple(part.strip() for part in self.nameservers.split(",") if part.strip()),
            mx_port=self.mx_port,
            prohibited=networks(self.prohibited_networks),
            prohibited_literals=of_literals(self.prohibited_networks),
            own_addresses=own_addresses(self.own_addresses),
            ca_file=self.tls_ca_file,
            dane=self.dane,
            mta_sts=self.mta_sts,
        )


def load() -> Settings:
    """Reads the environment. Raises StartupError naming the variable, never its value."""
    try:
        return Settings()
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False, include_context=False)[0]
        name = "_".join(str(part) for part in first["loc"]).upper() or "environment"
        raise StartupError(f"RELAY settings: {name}: {first['msg']}") from None
