"""The settings of a process: valid values, and refusals that name the variable at fault."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import pytest
import structlog
from pydantic import Field, SecretStr
from pydantic_settings import SettingsConfigDict

from libs.runtime.addresses import Address
from libs.runtime.grpc_settings import RENAMED
from libs.runtime.lifecycle import SettingsError
from libs.runtime.settings import ServiceSettings, begin
from services.config_api.settings import Settings as ConfigApiSettings
from services.ingress.settings import Settings as IngressSettings
from services.policy.settings import Settings as PolicySettings
from services.relay.settings import Settings as RelaySettings

ROOT = Path(__file__).parents[3]
ALL: tuple[type[ServiceSettings], ...] = (ConfigApiSettings, IngressSettings, PolicySettings, RelaySettings)
BY_NAME = pytest.mark.parametrize("settings", ALL, ids=lambda settings: settings.service)


class Settings(ServiceSettings):
    model_config = SettingsConfigDict(env_prefix="RELAY_")
    service: ClassVar[str] = "relay"
    empty_is_a_value: ClassVar[frozenset[str]] = frozenset({"networks"})

    port: int = Field(default=1, ge=0, le=65535)
    networks: str = "10.0.0.0/8"
    database_url: SecretStr = SecretStr("")

    @property
    def grpc_address(self) -> Address:
        return self._listen("", "relay")

    @property
    def grpc_targets(self) -> tuple[str, ...]:
        return self._targets("", "config_api")


@pytest.fixture(autouse=True)
def empty_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith(("POSTHOUSE_", "CONFIG_API_", "INGRESS_", "POLICY_", "RELAY_")):
            monkeypatch.delenv(name)
    # The variable will be set from a file. It is registered with monkeypatch first, so that it is removed after the
    # test.
    monkeypatch.setenv("RELAY_DATABASE_URL", "")
    monkeypatch.delenv("RELAY_DATABASE_URL")


def refused(monkeypatch: pytest.MonkeyPatch, settings: type[ServiceSettings] = Settings, **variables: str) -> str:
    """Returns the message with which the settings are refused."""
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as error:
        settings.load()
    return str(error.value)


def test_the_error_for_a_wrong_value_names_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    message = refused(monkeypatch, RELAY_PORT="abc", POSTHOUSE_LOG_FORMAT="xml")
    assert "RELAY_PORT=abc: " in message
    assert "POSTHOUSE_LOG_FORMAT=xml: Input should be 'json' or 'console'" in message


@BY_NAME
@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("{}LOG_LEVEL", "loud"),
        ("{}GRPC_CERT", "/a.crt"),
        ("{}METRICS_PORT", "70000"),
        ("POSTHOUSE_LOG_FORMAT", "xml"),
    ],
)
def test_common_settings_are_checked_in_every_service(
    monkeypatch: pytest.MonkeyPatch, settings: type[ServiceSettings], variable: str, value: str
) -> None:
    name = variable.format(settings.prefix())
    assert name in refused(monkeypatch, settings, **{name: value})


@BY_NAME
def test_only_ingress_may_listen_on_several_hosts(
    monkeypatch: pytest.MonkeyPatch, settings: type[ServiceSettings]
) -> None:
    """Case F09 of docs/cases.md describes this behaviour."""
    variable = f"{settings.prefix()}HOST"
    if settings is IngressSettings:
        monkeypatch.setenv(variable, "0.0.0.0,::")
        assert IngressSettings.load().hosts == ("0.0.0.0", "::")
    elif settings is ConfigApiSettings:
        assert f"{variable}=0.0.0.0,::: must be one address" in refused(
            monkeypatch, settings, **{variable: "0.0.0.0,::"}
        )


@BY_NAME
@pytest.mark.parametrize("wrong", ["{}LOGLEVEL", "{}METRICS_PROT", "POSTHOUSE_LOG_FROMAT", "{}ENTIRELY_UNHEARD_OF"])
def test_an_unknown_variable_with_our_prefix_is_refused(
    monkeypatch: pytest.MonkeyPatch, settings: type[ServiceSettings], wrong: str
) -> None:
    """Case F39 of docs/cases.md describes this behaviour."""
    name = wrong.format(settings.prefix())
    message = refused(monkeypatch, settings, **{name: "1"})
    assert f"{name} is no variable of Posthouse" in message
    nearest = {"LOGLEVEL": "LOG_LEVEL", "METRICS_PROT": "METRICS_PORT", "POSTHOUSE_LOG_FROMAT": "POSTHOUSE_LOG_FORMAT"}
    for mistyped, right in nearest.items():
        assert (f"did you mean {settings.prefix()}{right}?" in message) == (name == settings.prefix() + mistyped) or (
            f"did you mean {right}?" in message
        )


def test_a_mistyped_prefix_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Case F39 of docs/cases.md describes this behaviour."""
    message = refused(monkeypatch, IngressSettings, INGRES_SMTP_PORT="9999")
    assert message == "INGRES_SMTP_PORT is no variable of Posthouse; did you mean INGRESS_SMTP_PORT?"


@pytest.mark.parametrize("name", RENAMED)
def test_the_error_for_the_former_name_of_a_variable_contains_the_present_name(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    (settings,) = [each for each in ALL if name.startswith(each.prefix())]
    message = refused(monkeypatch, settings, **{name: "1"})
    assert message == f"{name} is not used any more: set {RENAMED[name]} to unix:PATH or host:port"
    assert RENAMED[name] in settings.variables()


@BY_NAME
@pytest.mark.parametrize("tls", [False, True])
@pytest.mark.parametrize("insecure", [False, True])
def test_grpc_over_tcp_needs_tls_unless_a_setting_allows_plain_loopback(
    monkeypatch: pytest.MonkeyPatch, settings: type[ServiceSettings], *, tls: bool, insecure: bool
) -> None:
    prefix = settings.prefix()
    if tls:
        for name in ("CERT", "KEY", "CA"):
            monkeypatch.setenv(f"{prefix}GRPC_{name}", f"/{name}")
    if insecure:
        monkeypatch.setenv("POSTHOUSE_INSECURE_GRPC", "true")
    variables = {name for name in settings.variables() if name.endswith(("_LISTEN", "_TARGET"))}
    assert len(variables) >= 2
    for variable in variables:
        for address, loopback in (("127.0.0.1:5", True), ("[::1]:5", True), ("0.0.0.0:5", False), ("relay:5", False)):
            if tls or (insecure and loopback):
                monkeypatch.setenv(variable, address)
                settings.load()
            else:
                assert "needs mutual TLS" in refused(monkeypatch, settings, **{variable: address})
        monkeypatch.setenv(variable, "unix:/run/x.sock")
        settings.load()


@BY_NAME
@pytest.mark.parametrize("wrong", ["nowhere", "unix:", "host:port", "host:70000", f"unix:/{'x' * 107}"])
def test_an_invalid_address_for_grpc_is_refused(
    monkeypatch: pytest.MonkeyPatch, settings: type[ServiceSettings], wrong: str
) -> None:
    for variable in settings.variables():
        if variable.endswith(("_LISTEN", "_TARGET")):
            assert variable in refused(monkeypatch, settings, **{variable: wrong})
            monkeypatch.delenv(variable)


def test_grpc_never_shares_the_address_of_http(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POSTHOUSE_INSECURE_GRPC", "true")
    message = refused(monkeypatch, ConfigApiSettings, CONFIG_API_GRPC_LISTEN="127.0.0.1:8080")
    assert "CONFIG_API_GRPC_LISTEN cannot be the address of HTTP" in message


def test_variables_of_other_services_and_programs_are_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("INGRESS_SMTP_PORT", "POLICY_UNHEARD_OF", "DELAY_HOST", "HOME", "PORT", "DATABASE_URL"):
        monkeypatch.setenv(name, "x")
    assert Settings.load().port == 1


def test_variables_that_kubernetes_sets_for_a_service_are_ignored_and_logged(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    of_kubernetes = {
        "RELAY_PORT": "tcp://10.0.0.1:50052",
        "RELAY_PORT_50052_TCP": "tcp://10.0.0.1:50052",
        "RELAY_PORT_50052_TCP_ADDR": "10.0.0.1",
        "RELAY_PORT_50052_TCP_PORT": "50052",
        "RELAY_PORT_50052_TCP_PROTO": "tcp",
        "RELAY_SERVICE_HOST": "10.0.0.1",
        "RELAY_SERVICE_PORT": "50052",
        "RELAY_SERVICE_PORT_GRPC": "50052",
        "POSTHOUSE_INGRESS_PORT": "tcp://10.0.0.2:8025",
    }
    code = (
        "from libs.runtime.settings import begin; from services.relay.settings import Settings; "
        "print(begin(Settings).mx_port)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, **of_kubernetes},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "25\n", "the default is used, as if the variable were not set"
    warning = json.loads(done.stderr)
    assert (warning["event"], warning["variables"]) == ("kubernetes_variables_ignored", sorted(of_kubernetes))
    assert "enableServiceLinks" in warning["reason"]


def test_an_empty_variable_counts_as_unset(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RELAY_PORT", "RELAY_NETWORKS", "RELAY_GRPC_CERT", "POSTHOUSE_DATA_DIR", "POSTHOUSE_LOG_FORMAT"):
        monkeypatch.setenv(name, "")
    settings = Settings.load()
    assert (settings.port, settings.networks, settings.security.tls) == (1, "", None)
    assert (settings.data_dir, settings.log_format) == (Path("var"), "json")


def test_a_secret_may_come_from_a_file_and_is_never_shown(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "url").write_text("postgresql://u:hidden@db/queue\n")
    monkeypatch.setenv("RELAY_DATABASE_URL_FILE", str(tmp_path / "url"))
    assert Settings.load().database_url.get_secret_value() == "postgresql://u:hidden@db/queue"
    assert "RELAY_DATABASE_URL_FILE" not in os.environ, "a child process must not inherit both variables"
    message = refused(monkeypatch, ConfigApiSettings, CONFIG_API_ADMIN_KEY="hunter2")
    assert message == "CONFIG_API_ADMIN_KEY: must have 16 characters or more"
    assert "secret.example" not in refused(monkeypatch, PolicySettings, POLICY_STATE_URL="sqlite://secret.example")


def test_each_secret_may_come_from_a_file() -> None:
    names = {name for settings in ALL for name in settings.secret_variables()}
    assert names == {
        "CONFIG_API_ADMIN_KEY",
        "CONFIG_API_DATABASE_URL",
        "CONFIG_API_SECRET_KEY",
        "POLICY_SECRET_KEY",
        "POLICY_STATE_URL",
        "RELAY_DATABASE_URL",
        "RELAY_SECRET_KEY",
    }


@pytest.fixture
def as_before() -> Iterator[None]:
    """Restores the log of this process, because later tests read their own log lines."""
    configuration, root = structlog.get_config(), logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    structlog.configure(**configuration)
    structlog.contextvars.clear_contextvars()
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.mark.usefixtures("as_before")
def test_the_log_has_the_reason_why_settings_are_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RELAY_PROT", "1")
    with pytest.raises(SettingsError, match="did you mean RELAY_PORT"):
        begin(Settings)
