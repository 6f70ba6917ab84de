"""The environment variables of ingress: defaults, lists, pairs, and values that are refused."""

from __future__ import annotations

from ipaddress import ip_network
from pathlib import Path

import pytest
from pydantic import ValidationError

from services.ingress.settings import Settings


def read(monkeypatch: pytest.MonkeyPatch, **variables: str) -> Settings:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return Settings()


def test_no_variable_is_required() -> None:
    settings = Settings()
    ports = (settings.smtp_port, settings.submission_port, settings.smtps_port, settings.metrics_port)
    assert ports == (8025, 8587, 8465, 0)
    assert (settings.host, settings.workers) == ("127.0.0.1", 1)
    assert settings.policy_targets == (f"unix:{Path.cwd()}/var/run/policy.sock",)
    assert settings.certificate_files == ()
    assert settings.security.tls is None


def test_lists_and_pairs_are_read_from_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = read(
        monkeypatch,
        POSTHOUSE_DATA_DIR="/srv/posthouse",
        INGRESS_HOST="0.0.0.0, ::",
        INGRESS_PROXY_NETWORKS="10.0.0.0/8, 2001:db8::/32",
        INGRESS_TLS_CERT="/a.crt,/b.crt",
        INGRESS_TLS_KEY="/a.key, /b.key",
        INGRESS_GRPC_CERT="/c.crt",
        INGRESS_GRPC_KEY="/c.key",
        INGRESS_GRPC_CA="/ca.crt",
        INGRESS_POLICY_TARGET="a:1,b:2",
    )
    assert settings.data_dir == Path("/srv/posthouse")
    assert settings.hosts == ("0.0.0.0", "::")
    assert settings.proxy_networks == (ip_network("10.0.0.0/8"), ip_network("2001:db8::/32"))
    assert settings.certificate_files == ((Path("/a.crt"), Path("/a.key")), (Path("/b.crt"), Path("/b.key")))
    assert settings.security.tls is not None
    assert settings.security.tls.authority == Path("/ca.crt")


def test_f63_a_stop_may_take_longer_than_sessions_and_relay_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """F63: the last session may begin to wait for relay only when the time for sessions ends."""
    settings = read(monkeypatch, INGRESS_DRAIN_SECONDS="50", INGRESS_RELAY_SECONDS="300")
    assert settings.stop_seconds > 50 + 300


def test_an_empty_variable_counts_as_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = read(monkeypatch, INGRESS_GRPC_CERT="", INGRESS_PROXY_NETWORKS="", INGRESS_SMTP_PORT="")
    assert (settings.security.tls, settings.proxy_networks, settings.smtp_port) == (None, (), 8025)


@pytest.mark.parametrize(
    "variables",
    [
        {"INGRESS_TLS_CERT": "/a.crt"},
        {"INGRESS_TLS_CERT": "/a.crt,/b.crt", "INGRESS_TLS_KEY": "/a.key"},
        {"INGRESS_GRPC_CERT": "/a.crt"},
        {"INGRESS_RELAY_TARGET": "nowhere"},
        {"INGRESS_WORKERS": "0"},
        {"INGRESS_TLS_MIN_VERSION": "SSLv3"},
        {"INGRESS_BARE_NEWLINES": "maybe"},
        {"INGRESS_NUL_OCTETS": "keep"},
        {"INGRESS_COMMAND_SECONDS": "inf"},
        {"INGRESS_HANDSHAKE_SECONDS": "1e-6"},
        {"INGRESS_MIN_DATA_RATE": "nan"},
        {"INGRESS_CRYPTO_THREADS": "100000"},
        {"INGRESS_MAX_LINE_OCTETS": "100"},
    ],
)
def test_invalid_settings_are_refused(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        read(monkeypatch, **variables)


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(ValidationError):
        Settings().workers = 2
