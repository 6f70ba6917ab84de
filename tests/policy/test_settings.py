"""The environment variables: their defaults, and errors that name the variable."""

from __future__ import annotations

from pathlib import Path

import pytest

from libs.runtime.lifecycle import StartupError
from services.policy.settings import Settings


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("POLICY_STATE_URL", "sqlite://"),
        ("POLICY_CONFIG_TARGET", "config_api"),
        ("POLICY_LOG_LEVEL", "loud"),
        ("POLICY_LISTEN", "port"),
        ("POLICY_METRICS_PORT", "70000"),
        ("POLICY_LOOKUP_SECONDS", "0"),
        ("POLICY_GRPC_CERT", "cert.pem"),
    ],
)
def test_the_error_names_the_wrong_variable(variable: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(StartupError, match=variable):
        Settings.load()


def test_the_snapshot_is_in_the_data_folder_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POSTHOUSE_DATA_DIR", "/data")
    assert Settings.load().kept_snapshot.path == Path("/data/policy/snapshot")
    monkeypatch.setenv("POLICY_SNAPSHOT_FILE", "/elsewhere/snapshot")
    assert Settings.load().kept_snapshot.path == Path("/elsewhere/snapshot")


def test_settings_do_not_change() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Settings.load().metrics_port = 1
