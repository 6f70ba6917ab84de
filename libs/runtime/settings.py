"""The settings that the process of every service has: how they are read, and which faults are refused."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterable, Mapping, MutableMapping
from typing import Any, ClassVar, Literal, Self, TypeVar

import structlog
from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import SettingsConfigDict

from libs.runtime import logging, secrets
from libs.runtime.grpc_settings import RENAMED, DataFolder, GrpcSettings
from libs.runtime.lifecycle import SettingsError

log = structlog.get_logger(__name__)

# The prefix of variables that several services share. Each service also checks the names with its own prefix.
SHARED_PREFIX = "POSTHOUSE_"
PREFIXES = (SHARED_PREFIX, "CONFIG_API_", "CONSOLE_", "INGRESS_", "POLICY_", "RELAY_")
# The variables with the shared prefix. The command line reads POSTHOUSE_URL to POSTHOUSE_PROFILE, and the compose files
# read the variables after these.
SHARED_VARIABLES = (
    "POSTHOUSE_DATA_DIR",
    "POSTHOUSE_LOG_FORMAT",
    "POSTHOUSE_MAILDIR_ROOTS",
    "POSTHOUSE_URL",
    "POSTHOUSE_KEY",
    "POSTHOUSE_CA_FILE",
    "POSTHOUSE_PROFILE",
    "POSTHOUSE_API",
    "POSTHOUSE_CONSOLE",
    "POSTHOUSE_CONSOLE_NAMES",
    "POSTHOUSE_IMAGE",
    "POSTHOUSE_PUBLIC_ADDRESSES",
    "POSTHOUSE_SMTP",
    "POSTHOUSE_SMTPS",
    "POSTHOUSE_SUBMISSION",
)

# A name without one of our prefixes counts as mistyped only when it is this similar (by difflib's ratio) to one of our
# names.
_MISTYPED_PREFIX_RATIO = 0.92
_SIMILAR_RATIO = 0.6
# Kubernetes sets variables with such names and values in each container, for each Service of the namespace, unless the
# pod has `enableServiceLinks: false`: for a Service named relay, RELAY_PORT=tcp://10.0.0.1:50052 among others.
_KUBERNETES_NAME = re.compile(r"_SERVICE_HOST$|_SERVICE_PORT(_[A-Z0-9_]+)?$|_PORT_\d+_(TCP|UDP|SCTP)(_[A-Z]+)?$")
_KUBERNETES_VALUE = re.compile(r"(tcp|udp|sctp)://")


class ProcessSettings(DataFolder):
    """The settings of one process: environment variables with the service's prefix. They are read once.

    An empty variable counts as not set, except for the fields in `empty_is_a_value`. A secret may also be given as the
    name of a file: NAME_FILE.
    """

    model_config = SettingsConfigDict(frozen=True, extra="ignore", populate_by_name=True)

    service: ClassVar[str]
    empty_is_a_value: ClassVar[frozenset[str]] = frozenset()
    # Fields that may contain a password, besides those of the type SecretStr.
    secret_fields: ClassVar[frozenset[str]] = frozenset()
    listens_on_several_hosts: ClassVar[bool] = False

    log_format: Literal["json", "console"] = Field(
        default="json",
        validation_alias="POSTHOUSE_LOG_FORMAT",
        description="Format of the log: json for programs, or console for people.",
    )
    log_level: str = Field(default="info", description="Level of the log: debug, info, warning, error or critical.")

    @model_validator(mode="before")
    @classmethod
    def _without_empty_variables(cls, values: Any) -> Any:
        if not isinstance(values, Mapping):
            return values
        return {name: value for name, value in values.items() if value != "" or name in cls.empty_is_a_value}

    @field_validator("host", check_fields=False)
    @classmethod
    def _as_many_hosts_as_allowed(cls, host: str) -> str:
        if "," in host and not cls.listens_on_several_hosts:
            raise ValueError("must be one address")
        return host.strip()

    @field_validator("log_level")
    @classmethod
    def _level_that_exists(cls, level: str) -> str:
        if level.lower() not in logging.LEVELS:
            raise ValueError(f"must be one of {', '.join(logging.LEVELS)}")
        return level.lower()

    @classmethod
    def prefix(cls) -> str:
        return f"{cls.service.upper()}_"

    @classmethod
    def variable(cls, field: str) -> str:
        """Returns the name of the environment variable for a field."""
        alias = cls.model_fields[field].validation_alias
        return alias if isinstance(alias, str) else f"{cls.prefix()}{field.upper()}"

    @classmethod
    def secret_variables(cls) -> tuple[str, ...]:
        """Returns the variables that may be given as files."""
        return tuple(cls.variable(name) for name in cls.model_fields if cls._is_secret(name))

    @classmethod
    def variables(cls) -> frozenset[str]:
        """Returns every variable that this service reads."""
        names = {cls.variable(name) for name in cls.model_fields}
        return frozenset(names.union(SHARED_VARIABLES, (f"{name}_FILE" for name in cls.secret_variables())))

    @classmethod
    def load(cls) -> Self:
        """Reads the environment, after it has removed the variables of Kubernetes and added secrets from files. Raises
        SettingsError, which names the faulty variable, and its value unless that may be secret.
        """
        ignored = drop_kubernetes_variables(os.environ)
        secrets.from_files(os.environ, cls.secret_variables())
        refuse_unknown(os.environ, cls.variables(), (cls.prefix(), SHARED_PREFIX))
        try:
            settings = cls()
        except ValidationError as error:
            raise SettingsError("; ".join(cls._explain(fault) for fault in error.errors(include_url=False))) from None
        if ignored:
            log.warning(
                "kubernetes_variables_ignored",
                variables=ignored,
                reason="Kubernetes sets them for its Services; `enableServiceLinks: false` in the pod avoids them",
            )
        return settings

    @classmethod
    def _is_secret(cls, field: str) -> bool:
        return cls.model_fields[field].annotation is SecretStr or field in cls.secret_fields

    @classmethod
    def _explain(cls, error: Any) -> str:
        message = str(error["msg"]).removeprefix("Value error, ")
        if not error["loc"]:
            return message
        name = str(error["loc"][0])
        field = next((field for field in cls.model_fields if name in (field, cls.variable(field))), None)
        if field is None:
            return f"{name}: {message}"
        value = "" if cls._is_secret(field) or not isinstance(error["input"], str) else f"={error['input']}"
        return f"{cls.variable(field)}{value}: {message}"


class ServiceSettings(ProcessSettings, GrpcSettings):
    """The settings of a process with gRPC and metrics."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore", populate_by_name=True)


SettingsType = TypeVar("SettingsType", bound=ProcessSettings)


def begin(settings_type: type[SettingsType]) -> SettingsType:
    """Reads a service's settings and starts its log. Raises SettingsError."""
    logging.configure(settings_type.service, "info", console=os.environ.get("POSTHOUSE_LOG_FORMAT") == "console")
    settings = settings_type.load()
    logging.configure(settings_type.service, settings.log_level, console=settings.log_format == "console")
    return settings


def drop_kubernetes_variables(environment: MutableMapping[str, str]) -> list[str]:
    """Removes the variables that Kubernetes sets for Services with names like ours, and returns the names of these
    variables.
    """
    names = sorted(
        name
        for name, value in environment.items()
        if name.upper().startswith(PREFIXES)
        and (_KUBERNETES_VALUE.match(value) or _KUBERNETES_NAME.search(name.upper()))
    )
    for name in names:
        del environment[name]
    return names


def refuse_unknown(
    environment: Mapping[str, str], variables: Iterable[str], prefixes: tuple[str, ...] = PREFIXES
) -> None:
    """Refuses names with one of `prefixes` that are not in `variables`, and names that look like mistyped ones.

    Raises SettingsError, which suggests the most similar right names.
    """
    right = sorted(variables)
    problems = []
    for name in sorted(environment):
        if name.upper() in right:
            continue
        if name.upper() in RENAMED and name.upper().startswith(prefixes):
            present = RENAMED[name.upper()]
            problems.append(f"{name} is not used any more: set {present} to unix:PATH or host:port")
            continue
        ours = name.upper().startswith(prefixes)
        if not ours and name.upper().startswith(PREFIXES):
            # The variable belongs to another service, which checks it.
            continue
        ratio = _SIMILAR_RATIO if ours else _MISTYPED_PREFIX_RATIO
        nearest = difflib.get_close_matches(name.upper(), right, n=1, cutoff=ratio)
        if ours or nearest:
            problems.append(f"{name} is no variable of Posthouse" + "".join(f"; did you mean {n}?" for n in nearest))
    if problems:
        raise SettingsError("; ".join(problems))
