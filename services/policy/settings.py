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
    """`POLICY_*`, and what all services have."""

    model_config = SettingsConfigDict(env_prefix="POLICY_")
    service: ClassVar[str] = "policy"
    secret_fields: ClassVar[frozenset[str]] = frozenset({"state_url"})

    listen: ListenField = Field(default="", description="Where to serve gRPC: unix:PATH or host:port.")
    config_target: TargetField = Field(default="", description="config_api's gRPC, several by commas.")
    state_url: str = Field(default="memory://", description="memory:// or redis://; replicas share one Redis.")
    state_seconds: float = Field(default=1.0, gt=0, le=60, description="For one call of Redis; then it counts as away.")
    nameservers: str = Field(default="", description="host[:port], several by commas; empty: the system's.")
    snapshot_file: Path | None = Field(
        default=None, description="Last good snapshot; default policy/snapshot in the data folder."
    )
    config_wait_seconds: float = Field(
        default=5.0,
        ge=0,
        le=60,
        description="How long a start waits for config_api before the kept snapshot is put in force.",
    )
    secret_key: SecretStr = Field(
        default=SecretStr(""),
        description="The snapshot is sealed under it, several by commas: the first seals, all open. Empty: a key file.",
    )
    lookup_seconds: float = Field(default=8.0, gt=0, le=60, description="All look-ups of one decision together.")
    kept_sessions: int = Field(default=10_000, ge=0, description="Past sessions that Explain can be asked about.")

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
        """The folder of this process's own files."""
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
