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
    """The settings `RELAY_*`, and those that all services have."""

    model_config = SettingsConfigDict(env_prefix="RELAY_")
    service: ClassVar[str] = "relay"
    # An empty value is accepted for lists of networks, where it means that direct mail may be sent everywhere.
    empty_is_a_value: ClassVar[frozenset[str]] = frozenset({"prohibited_networks"})

    listen: ListenField = Field(
        default="", description="The address at which relay serves gRPC: unix:PATH or host:port."
    )
    config_target: TargetField = Field(default="", description="The gRPC addresses of config_api, separated by commas.")
    cpus: str = Field(
        default="",
        description=(
            "The processors that the process uses, for example 0,2-4. The threads of the queue are not limited. "
            "Empty means all processors. `posthouse up` sets it."
        ),
    )
    database_url: SecretStr = Field(
        default=SecretStr(""),
        description=(
            "sqlite:///path or postgresql://user:password@host/database; empty: the file queue.sqlite3 in the data "
            "folder."
        ),
    )
    snapshot_file: str = Field(
        default="",
        description="The file of the last good configuration, for a start while config_api does not answer. Empty "
        "means a file in the data folder.",
    )
    config_wait_seconds: float = Field(
        default=5.0,
        ge=0,
        le=60,
        description="The seconds that a start waits for config_api before the stored snapshot is put in force.",
    )
    secret_key: SecretStr = Field(
        default=SecretStr(""),
        description=(
            "The key that encrypts the stored snapshot. Of several keys, separated by commas, the first encrypts and "
            "all decrypt. Empty means a key file beside the snapshot."
        ),
    )

    nameservers: str = Field(
        default="", description="The name servers as host[:port], separated by commas. Empty means those of the system."
    )
    mx_port: int = Field(default=25, ge=1, le=65535, description="The port to which direct mail is delivered.")
    prohibited_networks: str = Field(
        default=PROHIBITED_NETWORKS,
        description=(
            "Networks to which direct mail is never sent, as CIDR separated by commas. An empty value allows all "
            "networks. While the setting is absent, address literals must not lead to private networks either."
        ),
    )
    own_addresses: str = Field(
        default="",
        description=(
            "The addresses at which this gateway accepts mail. 0.0.0.0 and :: stand for every address of the machine. "
            "`posthouse up` sets it."
        ),
    )
    maildir_roots: str = Field(
        default="",
        validation_alias="POSTHOUSE_MAILDIR_ROOTS",
        description=(
            "Folders in which Maildirs are allowed, separated by commas. Empty means every folder except those of "
            "the system and of the services."
        ),
    )
    tls_ca_file: Path | None = Field(
        default=None,
        description="A PEM file of certificate authorities for next hops. Empty means those of the system only.",
    )
    dane: bool = Field(default=False, description="Check next hops by DANE. The name servers must validate DNSSEC.")
    mta_sts: bool = Field(default=True, description="Check next hops by MTA-STS.")

    concurrency: int = Field(
        default=500, ge=1, le=10_000, description="The largest number of deliveries that are tried at once."
    )
    backlog: int = Field(
        default=2_000,
        ge=1,
        le=1_000_000,
        description="The largest number of deliveries in memory: those that are being tried and those that are next. "
        "Others wait in the database.",
    )
    memory_mb: int = Field(
        default=256,
        ge=8,
        le=1_048_576,
        description="The most content in memory, for the deliveries in memory and for messages that are arriving.",
    )
    disk_reserve_mb: int = Field(
        default=256,
        ge=0,
        le=1_000_000_000,
        description=(
            "Free space of the file system that new mail never uses. 0 means no reserve. Other small values are "
            "refused, because the database's log needs space for outcomes."
        ),
    )
    lease_seconds: float = Field(
        default=30.0,
        ge=1,
        le=3600,
        allow_inf_nan=False,
        description="A replica that has not renewed its leases for this time counts as dead.",
    )
    store_seconds: float = Field(
        default=12.0,
        ge=0.1,
        le=3600,
        allow_inf_nan=False,
        description=(
            "After this time a submission that cannot be committed gets a temporary error. It must be below "
            "INGRESS_RELAY_SECONDS."
        ),
    )
    drain_seconds: float = Field(
        default=20.0,
        ge=0,
        le=86_400,
        allow_inf_nan=False,
        description="The time for which running deliveries may continue after SIGTERM.",
    )

    @field_validator("disk_reserve_mb")
    @classmethod
    def _holds_the_log(cls, value: int) -> int:
        least = (SHORT_LOG_OCTETS + SPARE_OCTETS) // (1024 * 1024)
        if 0 < value < least:
            raise ValueError(f"the reserve must have space for the database's log, {least} MB, or be 0 for no reserve")
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
        """Returns the time for running transactions, and then for the commit of their outcomes."""
        return self.drain_seconds + 40.0

    @property
    def folder(self) -> Path:
        return self.data_dir.absolute() / "relay"

    @property
    def url(self) -> str:
        """Returns the URL of the database: the SQLite file in the data folder when none is set."""
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
