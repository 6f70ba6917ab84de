"""The environment variables for gRPC and metrics, which every service with gRPC has."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Self

from pydantic import AfterValidator, Field, model_validator
from pydantic_settings import BaseSettings

from libs.runtime import addresses
from libs.runtime.addresses import Address
from libs.runtime.security import INSECURE_WARNING, Security, TlsFiles

# The variables of earlier versions, with their present names.
RENAMED: Mapping[str, str] = {
    "CONFIG_API_GRPC_HOST": "CONFIG_API_GRPC_LISTEN",
    "CONFIG_API_GRPC_PORT": "CONFIG_API_GRPC_LISTEN",
    "POLICY_HOST": "POLICY_LISTEN",
    "POLICY_PORT": "POLICY_LISTEN",
    "RELAY_HOST": "RELAY_LISTEN",
    "RELAY_PORT": "RELAY_LISTEN",
}


def socket_target(data_folder: Path, name: str) -> str:
    """Returns the Unix socket of a process for which no other address was set."""
    return f"unix:{data_folder.absolute() / 'run' / name}.sock"


class DataFolder(BaseSettings):
    """The setting for the folder in which a process stores its files."""

    data_dir: Path = Field(
        default=Path("var"),
        validation_alias="POSTHOUSE_DATA_DIR",
        description="Folder in which the process stores its files.",
    )


class GrpcSettings(DataFolder):
    """The settings of gRPC and of the metrics of a service. A subclass sets the prefix of its variables."""

    metrics_host: str = Field(default="127.0.0.1", description="Address of the metrics.")
    metrics_port: int = Field(
        default=0, ge=0, le=65535, description="Port of the metrics. With 0 no metrics are served."
    )
    # Either all three are set, or none of them.
    grpc_cert: Path | None = Field(default=None, description="PEM chain for gRPC over mutual TLS.")
    grpc_key: Path | None = Field(default=None, description="PEM key for gRPC over mutual TLS.")
    grpc_ca: Path | None = Field(
        default=None, description="PEM file of the authority that signed the certificate of the other side."
    )
    insecure_grpc: bool = Field(
        default=False,
        validation_alias="POSTHOUSE_INSECURE_GRPC",
        description="Allow gRPC over plain TCP on loopback, which every user of the machine may call.",
    )
    grpc_reflection: bool = Field(
        default=False,
        validation_alias="POSTHOUSE_GRPC_REFLECTION",
        description="Let gRPC clients ask which methods a server has (reflection).",
    )

    @model_validator(mode="after")
    def _joined_as_allowed(self) -> Self:
        prefix = self.model_config["env_prefix"]
        if len({self.grpc_cert is None, self.grpc_key is None, self.grpc_ca is None}) != 1:
            raise ValueError(
                f"{prefix}GRPC_CERT, {prefix}GRPC_KEY and {prefix}GRPC_CA must all be set, or none of them"
            )
        self.security.require([str(self.grpc_address), *self.grpc_targets])
        return self

    @property
    def grpc_address(self) -> Address:
        """Returns the address at which the service serves gRPC."""
        raise NotImplementedError

    @property
    def grpc_targets(self) -> tuple[str, ...]:
        """Returns every address that the service calls by gRPC."""
        raise NotImplementedError

    @property
    def security(self) -> Security:
        """Returns how the gRPC of this process is protected."""
        tls = None
        if self.grpc_cert is not None and self.grpc_key is not None and self.grpc_ca is not None:
            tls = TlsFiles(certificate=self.grpc_cert, key=self.grpc_key, authority=self.grpc_ca)
        return Security(tls, insecure_loopback=self.insecure_grpc, reflection=self.grpc_reflection)

    @property
    def grpc_weakness(self) -> dict[str, str]:
        """Returns the entry `grpc` for /readyz, an optional dependency. Its text is a warning when every user of the
        machine may call this process, or may pretend to be a service that this process calls. Otherwise the text is
        empty.
        """
        open_to_all = any(self.security.is_open(each) for each in (str(self.grpc_address), *self.grpc_targets))
        return {"grpc": INSECURE_WARNING if open_to_all else ""}

    def _listen(self, listen: str, service: str) -> Address:
        return addresses.parse(listen or socket_target(self.data_dir, service))

    def _targets(self, text: str, service: str) -> tuple[str, ...]:
        return addresses.targets(text or socket_target(self.data_dir, service))


def check_address(text: str) -> str:
    """Returns the text if it is an address or empty. Raises ValueError."""
    if text:
        addresses.parse(text)
    return text


def check_targets(text: str) -> str:
    """Returns the text if it is a list of addresses or empty. Raises ValueError."""
    if text:
        addresses.targets(text)
    return text


# The types of the fields for the address of gRPC, and for the addresses that are called. An empty text means the Unix
# socket in the data folder.
ListenField = Annotated[str, AfterValidator(check_address)]
TargetField = Annotated[str, AfterValidator(check_targets)]
