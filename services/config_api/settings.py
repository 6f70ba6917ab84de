"""The settings from the environment of the process. They are read once and never change."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import ClassVar, Self

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import SettingsConfigDict

from libs.dns.servers import addressed
from libs.runtime import addresses
from libs.runtime.addresses import Address, TcpAddress
from libs.runtime.grpc_settings import ListenField, TargetField
from libs.runtime.maildir_roots import MaildirRoots, maildir_roots
from libs.runtime.settings import ServiceSettings

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


# The shortest allowed key, because a shorter key could be guessed.
MIN_KEY_LENGTH = 16


class Settings(ServiceSettings):
    """The settings `CONFIG_API_*`, and the settings that all services have."""

    model_config = SettingsConfigDict(env_prefix="CONFIG_API_")
    service: ClassVar[str] = "config_api"

    port: int = Field(default=8080, ge=0, le=65535, description="The port of HTTP.")
    host: str = Field(default="127.0.0.1", description="The address at which HTTP listens.")
    tls_cert: Path | None = Field(
        default=None, description="The certificate chain for HTTPS as PEM. Without it HTTP is not encrypted."
    )
    tls_key: Path | None = Field(default=None, description="The private key of the certificate as PEM.")
    grpc_listen: ListenField = Field(
        default="", description="The address at which gRPC is served, apart from HTTP: unix:PATH or host:port."
    )
    database_url: SecretStr = Field(
        default=SecretStr(""),
        description=(
            "sqlite:///path or postgresql://user:password@host/database; empty: the file config.sqlite3 in the data "
            "folder."
        ),
    )
    admin_key: SecretStr = Field(
        default=SecretStr(""),
        description="An API key in addition to those in the database. Empty means that one is made in the first run.",
    )
    secret_key: SecretStr = Field(
        default=SecretStr(""),
        description=(
            "The key that encrypts stored secrets. Of several keys, separated by commas, the first encrypts and all "
            "decrypt. Empty means a key file in the data folder."
        ),
    )
    policy_target: TargetField = Field(default="", description="The gRPC addresses of policy, separated by commas.")
    relay_target: TargetField = Field(default="", description="The gRPC addresses of relay, separated by commas.")
    ingress_target: TargetField = Field(
        default="",
        description="The gRPC addresses of ingress, separated by commas. Empty means that ingress is not used, so "
        "that no mail is accepted over HTTP.",
    )
    proxy_networks: str = Field(
        default="", description="Reverse proxies whose X-Forwarded-For is believed, as CIDR separated by commas (C82)."
    )
    max_connections_per_client: int = Field(
        default=100,
        ge=1,
        le=100_000,
        description="The largest number of connections of one client. Above it, those without a request are closed.",
    )
    max_requests_per_key: int = Field(
        default=8,
        ge=1,
        le=1_000,
        description="The largest number of requests of one API key that are handled at once. Further requests wait.",
    )
    failed_keys_per_minute: int = Field(
        default=30,
        ge=1,
        le=1_000_000,
        description="The largest number of wrong keys of one client in a minute. Further wrong keys get 429.",
    )
    revision_days: int = Field(
        default=365,
        ge=0,
        le=36_500,
        description="The number of days for which revisions are kept, except the newest one. 0 means without limit.",
    )
    audit_days: int = Field(
        default=365,
        ge=0,
        le=36_500,
        description="The number of days for which the audit log is kept. 0 means without limit.",
    )
    cors_origins: str = Field(
        default="", description="The origins from which browsers may call, separated by commas. Empty means none."
    )
    console_url: str = Field(
        default="", description="The URL of the console, which `/` shows. Empty means that there is no console."
    )
    nameservers: str = Field(
        default="",
        description="The name servers for checks of names, as host[:port] separated by commas. Empty "
        "means those of the system.",
    )
    webhook_networks: str = Field(
        default="",
        description="Networks to which webhooks may be sent besides public addresses, and without https, as CIDR "
        "separated by commas.",
    )
    ingress_smtp_port: int = Field(
        default=8025,
        validation_alias="INGRESS_SMTP_PORT",
        description="Where ingress listens, so that a relay host that is this gateway is recognised.",
    )
    ingress_submission_port: int = Field(
        default=8587,
        validation_alias="INGRESS_SUBMISSION_PORT",
        description="Where ingress listens, so that a relay host that is this gateway is recognised.",
    )
    ingress_smtps_port: int = Field(
        default=8465,
        validation_alias="INGRESS_SMTPS_PORT",
        description="Where ingress listens, so that a relay host that is this gateway is recognised.",
    )
    maildir_roots: str = Field(
        default="",
        validation_alias="POSTHOUSE_MAILDIR_ROOTS",
        description=(
            "Folders in which Maildirs are allowed, separated by commas. Empty means every folder except those of "
            "the system and of the services."
        ),
    )

    @field_validator("nameservers")
    @classmethod
    def _addressed(cls, value: str) -> str:
        return addressed(value)

    @model_validator(mode="after")
    def _grpc_apart_from_http(self) -> Self:
        if self.port and self.grpc_listen == str(TcpAddress(self.host, self.port)):
            raise ValueError("CONFIG_API_GRPC_LISTEN cannot be the address of HTTP")
        return self

    @model_validator(mode="after")
    def _certificate_whole(self) -> Self:
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ValueError("CONFIG_API_TLS_CERT and CONFIG_API_TLS_KEY must both be set, or neither")
        return self

    @field_validator("proxy_networks", "webhook_networks")
    @classmethod
    def _networks(cls, value: str) -> str:
        _parse_networks(value)
        return value

    @field_validator("admin_key")
    @classmethod
    def _long_enough(cls, value: SecretStr) -> SecretStr:
        if 0 < len(value.get_secret_value()) < MIN_KEY_LENGTH:
            raise ValueError(f"must have {MIN_KEY_LENGTH} characters or more")
        return value

    @field_validator("maildir_roots")
    @classmethod
    def _absolute(cls, value: str) -> str:
        maildir_roots(value, Path())
        return value

    @property
    def maildirs(self) -> MaildirRoots:
        return maildir_roots(self.maildir_roots, self.data_dir)

    @property
    def url(self) -> str:
        """Returns the URL of the database. When none is set, it is that of the SQLite file in the data folder."""
        return self.database_url.get_secret_value() or f"sqlite:///{self.data_dir.absolute() / 'config.sqlite3'}"

    @property
    def proxies(self) -> tuple[Network, ...]:
        return _parse_networks(self.proxy_networks)

    @property
    def webhooks(self) -> tuple[Network, ...]:
        return _parse_networks(self.webhook_networks)

    @property
    def name_servers(self) -> tuple[str, ...]:
        return tuple(part.strip() for part in self.nameservers.split(",") if part.strip())

    @property
    def ingress_ports(self) -> tuple[int, ...]:
        return (self.ingress_smtp_port, self.ingress_submission_port, self.ingress_smtps_port)

    @property
    def grpc_address(self) -> Address:
        return self._listen(self.grpc_listen, "config_api")

    @property
    def policy_targets(self) -> tuple[str, ...]:
        return self._targets(self.policy_target, "policy")

    @property
    def relay_targets(self) -> tuple[str, ...]:
        return self._targets(self.relay_target, "relay")

    @property
    def grpc_targets(self) -> tuple[str, ...]:
        return (*self.policy_targets, *self.relay_targets, *self.ingress_targets)

    @property
    def ingress_targets(self) -> tuple[str, ...]:
        return addresses.targets(self.ingress_target) if self.ingress_target else ()


def _parse_networks(text: str) -> tuple[Network, ...]:
    return tuple(ipaddress.ip_network(part.strip()) for part in text.split(",") if part.strip())
