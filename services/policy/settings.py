"""The environment of a policy process."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from pydantic import Field, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from libs.runtime import rpc
from libs.runtime.lifecycle import StartupError

_LEVELS = ("debug", "info", "warning", "error", "critical")


class Settings(BaseSettings):
    """`POLICY_…`, and POSTHOUSE_DATA_DIR."""

    model_config = SettingsConfigDict(env_prefix="POLICY_", frozen=True, extra="ignore")

    host: str = Field(default="127.0.0.1", description="Address to serve gRPC on.")
    port: int = Field(default=50051, ge=0, le=65535)
    config_target: str = Field(
        default="127.0.0.1:50053", description="config_api's gRPC, host:port, several by commas."
    )
    state_url: str = Field(default="memory://", description="memory:// or redis://; replicas share one Redis.")
    state_seconds: float = Field(default=1.0, gt=0, le=60, description="For one call of Redis; then it counts as away.")
    nameservers: str = Field(default="", description="host[:port], several by commas; empty: the system's.")
    metrics_port: int = Field(default=9102, ge=0, le=65535, description="0: off.")
    log_level: str = "info"
    snapshot_file: Path | None = Field(
        default=None, description="Last good snapshot; default policy/snapshot in the data folder."
    )
    data_dir: Path = Field(default=Path("var"), validation_alias="POSTHOUSE_DATA_DIR")
    lookup_seconds: float = Field(default=8.0, gt=0, le=60, description="All look-ups of one decision together.")
    kept_sessions: int = Field(default=10_000, ge=0, description="Past sessions that Explain can be asked about.")
    grpc_cert: Path | None = Field(default=None, description="PEM chain for gRPC with client certificates.")
    grpc_key: Path | None = None
    grpc_ca: Path | None = None

    @field_validator("config_target")
    @classmethod
    def _targets(cls, value: str) -> str:
        rpc.targets(value)
        return value

    @field_validator("state_url")
    @classmethod
    def _known_store(cls, value: str) -> str:
        if value != "memory://" and not value.startswith(("redis://", "rediss://")):
            raise ValueError("must be memory:// or redis://…")
        return value

    @field_validator("log_level")
    @classmethod
    def _level(cls, value: str) -> str:
        if value.lower() not in _LEVELS:
            raise ValueError(f"must be one of {', '.join(_LEVELS)}")
        return value.lower()

    @model_validator(mode="after")
    def _whole_tls(self) -> Self:
        files = (self.grpc_cert, self.grpc_key, self.grpc_ca)
        if any(files) and not all(files):
            raise ValueError("POLICY_GRPC_CERT, POLICY_GRPC_KEY and POLICY_GRPC_CA belong together")
        return self

    @property
    def snapshot_path(self) -> Path:
        return self.snapshot_file or self.data_dir / "policy" / "snapshot"

    @property
    def tls(self) -> rpc.TlsFiles | None:
        if self.grpc_cert is None or self.grpc_key is None or self.grpc_ca is None:
            return None
        return rpc.TlsFiles(self.grpc_cert, self.grpc_key, self.grpc_ca)


def read_settings() -> Settings:
    """From the environment. Raises StartupError that names the variable at fault."""
    try:
        return Settings()
    except ValidationError as error:
        first = error.errors()[0]
        message = first["msg"].removeprefix("Value error, ")
        if not first["loc"]:
            raise StartupError(message) from error
        name = str(first["loc"][0]).upper()
        variable = name if name.startswith("POSTHOUSE_") else f"POLICY_{name}"
        raise StartupError(f"{variable}: {message}") from error
