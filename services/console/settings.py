"""The process's environment, read once and frozen."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import ClassVar, Self

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import SettingsConfigDict

from libs.runtime.sealed_file import check_keys
from libs.runtime.settings import ProcessSettings

_LOOPBACK_NAMES = ("localhost", "127.0.0.1", "[::1]")


class Settings(ProcessSettings):
    """The settings `CONSOLE_*`, and those that all processes have."""

    model_config = SettingsConfigDict(env_prefix="CONSOLE_")
    service: ClassVar[str] = "console"

    port: int = Field(default=8081, ge=0, le=65535, description="Port of HTTP.")
    host: str = Field(
        default="127.0.0.1",
        description="Address to listen on. An address that is not on loopback needs CONSOLE_TLS_CERT or "
        "CONSOLE_TLS_SELF_SIGNED.",
    )
    tls_cert: Path | None = Field(
        default=None, description="PEM chain for HTTPS. Without it the console listens only on loopback."
    )
    tls_key: Path | None = Field(default=None, description="PEM key of the chain in CONSOLE_TLS_CERT.")
    tls_self_signed: bool = Field(
        default=False,
        description=(
            "Whether HTTPS uses a self-signed certificate when CONSOLE_TLS_CERT is not set. It is made in the data"
            " folder. Browsers warn of it."
        ),
    )
    names: str = Field(
        default="",
        description=(
            "Host names of the console in browsers, separated by commas. Requests with another Host are refused."
            " The names of loopback and CONSOLE_HOST are always allowed."
        ),
    )
    api_url: str = Field(default="http://127.0.0.1:8080", description="The URL of config_api.")
    api_ca_file: Path | None = Field(
        default=None, description="PEM file of the authorities that may sign config_api's certificate."
    )
    secret_key: SecretStr = Field(
        default=SecretStr(""),
        description=(
            "The key that encrypts session cookies, which replicas share. Of several keys, separated by commas, the"
            " first encrypts and all decrypt. Empty means a key file in the data folder."
        ),
    )

    metrics_host: str = Field(default="127.0.0.1", description="Address of the metrics.")
    metrics_port: int = Field(default=0, ge=0, le=65535, description="Port of the metrics; 0: none are served.")
    max_connections_per_client: int = Field(
        default=100,
        ge=1,
        le=100_000,
        description=(
            "The largest number of connections of one client. When there are more, those without a request are"
            " closed. A reverse proxy counts as one client, so set a higher number behind one."
        ),
    )

    @field_validator("api_url")
    @classmethod
    def _http(cls, value: str) -> str:
        if not value.startswith(("http://", "https://")):
            raise ValueError("must begin with http:// or https://")
        return value.rstrip("/")

    @field_validator("secret_key")
    @classmethod
    def _long_enough(cls, value: SecretStr) -> SecretStr:
        check_keys(value.get_secret_value())
        return value

    @model_validator(mode="after")
    def _certificate_whole(self) -> Self:
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ValueError("CONSOLE_TLS_CERT and CONSOLE_TLS_KEY must both be set, or neither")
        return self

    @model_validator(mode="after")
    def _encrypted_off_loopback(self) -> Self:
        if not self.is_secure and not _is_loopback(self.host):
            raise ValueError("CONSOLE_HOST is off loopback, where API keys need TLS: set CONSOLE_TLS_CERT too")
        return self

    @property
    def is_secure(self) -> bool:
        """Whether browsers reach the console over TLS."""
        return self.tls_cert is not None or self.tls_self_signed

    @property
    def hosts(self) -> frozenset[str]:
        """Returns the values of the Host field, without the port, for which requests are answered."""
        own = f"[{self.host}]" if ":" in self.host else self.host
        names = (name.strip().lower() for name in self.names.split(",") if name.strip())
        return frozenset({*_LOOPBACK_NAMES, own.lower(), *names})


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
