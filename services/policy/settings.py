"""The environment of a policy process."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import SettingsConfigDict

from libs.runtime.addresses import Address
from libs.runtime.grpc_settings import ListenField, TargetField
from libs.runtime.sealed_file import SealedFile, check_keys
from libs.runtime.settings import ServiceSettings


class Settings(ServiceSettings):
    """The settings `POLICY_*`, and those that all services have."""

    model_config = SettingsConfigDict(env_prefix="POLICY_")
    service: ClassVar[str] = "policy"
    secret_fields: ClassVar[frozenset[str]] = frozenset({"state_url"})

    listen: ListenField = Field(
        default="", description="The address at which policy serves gRPC: unix:PATH or host:port."
    )
    config_target: TargetField = Field(default="", description="The gRPC addresses of config_api, separated by commas.")
    state_url: str = Field(
        default="memory://", description="The store of counters: memory:// or redis://. Replicas must share one Redis."
    )
    state_seconds: float = Field(
        default=1.0, gt=0, le=60, description="The time for one call of Redis. After it, Redis counts as unavailable."
    )
    nameservers: str = Field(
        default="", description="The name servers as host[:port], separated by commas. Empty means those of the system."
    )
    snapshot_file: Path | None = Field(
        default=None,
        description="The file of the last good snapshot. The default is policy/snapshot in the data folder.",
    )
    config_wait_seconds: float = Field(
        default=5.0,
        ge=0,
        le=60,
        description="The seconds that a start waits for config_api before the stored snapshot is put in force.",
    )
    secret_key: SecretStr = Field(
        default=SecretStr(""),
        description="The key that encrypts the stored snapshot. Of several keys, separated by commas, the first "
        "encrypts and all decrypt. Empty means a key file.",
    )
    lookup_seconds: float = Field(
        default=8.0, gt=0, le=60, description="The time for all look-ups of one decision together."
    )
    kept_sessions: int = Field(default=10_000, ge=0, description="The number of past sessions that Explain can show.")

    @field_validator("secret_key")
    @classmethod
    def _long_enough(cls, value: SecretStr) -> SecretStr:
        check_keys(value.get_secret_value())
        return value

    @field_validator("state_url")
    @classmethod
    def _known_store(cls, value: str) -> str:
        if value != "memory://" and not value.startswith(("redis://", "rediss://")):
            raise ValueError("must be memory:// or redis://…")
        return value

    @property
    def folder(self) -> Path:
        """Returns the folder for the files of this process."""
        return self.data_dir / "policy"

    @property
    def kept_snapshot(self) -> SealedFile:
        return SealedFile(self.snapshot_file or self.folder / "snapshot", self.secret_key.get_secret_value())

    @property
    def grpc_address(self) -> Address:
        return self._listen(self.listen, "policy")

    @property
    def grpc_targets(self) -> tuple[str, ...]:
        return self._targets(self.config_target, "config_api")
