"""The process's environment, read once and frozen."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import SettingsConfigDict

from libs.dns.servers import addressed
from libs.runtime import processors
from libs.runtime.addresses import Address
from libs.runtime.grpc_settings import ListenField, TargetField
from libs.runtime.maildir_roots import maildir_roots
from libs.runtime.sealed_file import SealedFile, check_keys
from libs.runtime.settings import ServiceSettings
from services.relay.delivery import DeliveryOptions, networks, own_addresses
from services.relay.delivery.targets.options import PROHIBITED_NETWORKS, of_literals
from services.relay.queue.free_space import SHORT_LOG_OCTETS, SPARE_OCTETS


class Settings(ServiceSettings):
    """`RELAY_*`, and what all services have."""

    model_config = SettingsConfigDict(env_prefix="RELAY_")
    service: ClassVar[str] = "relay"
    # An empty list of networks lets direct mail go everywhere.
    empty_is_a_value: ClassVar[frozenset[str]] = frozenset({"prohibited_networks"})

    listen: ListenField = Field(default="", description="Where to serve gRPC: unix:PATH or host:port.")
    config_target: TargetField = Field(default="", description="config_api's gRPC, several by commas.")
    cpus: str = Field(
        default="",
        description=(
            "Processors that it keeps to, the queue's threads excepted, as 0,2-4; empty: all of them. "
            "`posthouse up` chooses."
        ),
    )
    database_url: SecretStr = Field(
        default=SecretStr(""),
        description=(
            "sqlite:///path or postgresql://user:password@host/database; empty: queue.sqlite3 in the data folder."
        ),
    )
    snapshot_file: str = Field(
        default="",
        description="The last good configuration, for a start while config_api is away; empty: in the data folder.",
    )
    config_wait_seconds: float = Field(
        default=5.0,
        ge=0,
        le=60,
        description="How long a start waits for config_api before the kept snapshot is put in force.",
    )
    secret_key: SecretStr = Field(
        default=SecretStr(""),
        description=(
            "The snapshot is sealed under it, several by commas: the first seals, all open. Empty: a key "
            "file beside it."
        ),
    )

    nameservers: str = Field(default="", description="host[:port], several by commas; empty: the system's.")
    mx_port: int = Field(default=25, ge=1, le=65535, description="Port that direct mail is delivered to.")
    prohibited_networks: str = Field(
        default=PROHIBITED_NETWORKS,
        description=(
            "Where direct mail never goes, CIDR by commas; an empty value lets it go everywhere. While it is"
            " not set, address literals lead to no private network either."
        ),
    )
    own_addresses: str = Field(
        default="",
        description=(
            "Where this gateway listens; 0.0.0.0 and :: stand for every address of the machine. `posthouse up` sets it."
        ),
    )
    maildir_roots: str = Field(
        default="",
        validation_alias="POSTHOUSE_MAILDIR_ROOTS",
        description=(
            "Folders that Maildirs may lie in, by commas; empty: every folder but those of the system and of"
            " the services."
        ),
    )
    tls_ca_file: Path | None = Field(
        default=None, description="PEM authorities that next hops are checked against; empty: the system's."
    )
    dane: bool = Field(default=False, description="Check next hops by DANE; the name servers must validate DNSSEC.")
    mta_sts: bool = Field(default=True, description="Check next hops by MTA-STS.")

    concurrency: int = Field(
        default=500, ge=1, le=10_000, description="Deliveries that are tried at once, over all destinations."
    )
    backlog: int = Field(
        default=2_000,
        ge=1,
        le=1_000_000,
        description="Deliveries in memory: being tried, or next. Others wait in the database.",
    )
    memory_mb: int = Field(
        default=256,
        ge=8,
        le=1_048_576,
        description="Content in memory: of those deliveries, and of messages that come in.",
    )
    disk_reserve_mb: int = Field(
        default=256,
        ge=0,
        le=1_000_000_000,
        description=(
            "Free space of the file system that new mail never uses; 0: none is kept. Outcomes need room for"
            " the database's log, so that small values are refused."
        ),
    )
    lease_seconds: float = Field(
        default=30.0,
        ge=1,
        le=3600,
        allow_inf_nan=False,
        description="A replica that has not renewed its leases for so long is dead.",
    )
    store_seconds: float = Field(
        default=12.0,
        ge=0.1,
        le=3600,
        allow_inf_nan=False,
        description=(
            "After so long a submission that the database does not take is put off. Keep it below "
            "INGRESS_RELAY_SECONDS."
        ),
    )
    drain_seconds: float = Field(
        default=20.0, ge=0, le=86_400, allow_inf_nan=False, description="How long deliveries may go on after SIGTERM."
    )

    @field_validator("disk_reserve_mb")
    @classmethod
    def _holds_the_log(cls, value: int) -> int:
        least = (SHORT_LOG_OCTETS + SPARE_OCTETS) // (1024 * 1024)
        if 0 < value < least:
            raise ValueError(f"it must hold the database's log, {least} MB, or be 0 for no reserve")
        return value

    @field_validator("nameservers")
    @classmethod
    def _addressed(cls, value: str) -> str:
        return addressed(value)

    @field_validator("secret_key")
    @classmethod
    def _long_enough(cls, value: SecretStr) -> SecretStr:
        check_keys(value.get_secret_value())
        return value

    @field_validator("prohibited_networks")
    @classmethod
    def _networks(cls, value: str) -> str:
        networks(value)
        return value

    @field_validator("own_addresses")
    @classmethod
    def _own_addresses(cls, value: str) -> str:
        own_addresses(value)
        return value

    @field_validator("maildir_roots")
    @classmethod
    def _absolute(cls, value: str) -> str:
        maildir_roots(value, Path())
        return value

    @field_validator("cpus")
    @classmethod
    def _cpus(cls, value: str) -> str:
        processors.parse(value)
        return value

    @property
    def stop_seconds(self) -> float:
        """Transactions drain, and then what they came to is committed."""
        return self.drain_seconds + 40.0

    @property
    def folder(self) -> Path:
        return self.data_dir.absolute() / "relay"

    @property
    def url(self) -> str:
        """The database's URL, the SQLite file of the data folder when none is set."""
        return self.database_url.get_secret_value() or f"sqlite:///{self.folder / 'queue.sqlite3'}"

    @property
    def kept_snapshot(self) -> SealedFile:
        path = Path(self.snapshot_file) if self.snapshot_file else self.folder / "snapshot"
        return SealedFile(path, self.secret_key.get_secret_value())

    @property
    def grpc_address(self) -> Address:
        return self._listen(self.listen, "relay")

    @property
    def grpc_targets(self) -> tuple[str, ...]:
        return self._targets(self.config_target, "config_api")

    def delivery_options(self) -> DeliveryOptions:
        return DeliveryOptions(
            nameservers=tuple(part.strip() for part in self.nameservers.split(",") if part.strip()),
            mx_port=self.mx_port,
            prohibited=networks(self.prohibited_networks),
            prohibited_literals=of_literals(self.prohibited_networks),
            own_addresses=own_addresses(self.own_addresses),
            maildir_roots=maildir_roots(self.maildir_roots, self.data_dir),
            ca_file=self.tls_ca_file,
            dane=self.dane,
            mta_sts=self.mta_sts,
        )
