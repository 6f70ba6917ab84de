"""`posthouse secrets` makes the secrets of compose.yaml's containers once, and then keeps them."""

from __future__ import annotations

import datetime
import os
import stat
from pathlib import Path

import pytest
import yaml
from cryptography import x509
from cryptography.fernet import Fernet

from libs.runtime.lifecycle import StartupError
from services.suite.compose_secrets import make_missing

NOW = datetime.datetime(2026, 11, 30, tzinfo=datetime.UTC)
COMPOSE = yaml.safe_load((Path(__file__).parents[2] / "compose.yaml").read_text())


def test_every_secret_is_made_and_readable_by_one_user(tmp_path: Path) -> None:
    folder = tmp_path / "secrets"
    made = make_missing(folder, NOW, "mx.ours.example")
    assert set(made) == set(COMPOSE["secrets"]) == {path.name for path in folder.iterdir()}
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    for path in folder.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) in (0o400, 0o600), path.name
        assert path.read_bytes().strip()
    Fernet((folder / "secret_key").read_bytes())
    assert (folder / "postgres_password").read_text() in (folder / "queue_database_url").read_text()
    assert (folder / "redis_password").read_text() in (folder / "state_url").read_text()
    certificate = x509.load_pem_x509_certificate((folder / "tls_chain").read_bytes())
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["mx.ours.example", "localhost"]


@pytest.mark.skipif(os.geteuid() != 0, reason="gives files to other users")
def test_each_file_belongs_to_the_user_of_its_container(tmp_path: Path) -> None:
    make_missing(tmp_path, NOW, "localhost")
    owners = {path.name: path.stat().st_uid for path in tmp_path.iterdir()}
    redis = int(COMPOSE["services"]["redis"]["user"].partition(":")[0])
    ours = int(COMPOSE["services"]["relay-1"]["user"].partition(":")[0])
    assert owners.pop("redis_password") == redis
    # The image of PostgreSQL starts as root, so root owns its password.
    assert owners.pop("postgres_password") == 0
    assert set(owners.values()) == {ours}


def test_existing_secrets_do_not_change(tmp_path: Path) -> None:
    (tmp_path / "postgres_password").write_text("chosen\n")
    (tmp_path / "tls_chain").write_text("my own chain")
    made = make_missing(tmp_path, NOW, "localhost")
    assert "tls_key" not in made
    assert (tmp_path / "config_database_url").read_text() == "postgresql+asyncpg://posthouse:chosen@postgres/config"
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert make_missing(tmp_path, NOW, "localhost") == []
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_folder_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StartupError, match="secrets"):
        make_missing(tmp_path / "file", NOW, "localhost")
