"""The check that the migrations of a database form one sequence."""

from __future__ import annotations

from pathlib import Path

import pytest

from libs.runtime.database import Schema
from scripts import migrations


def _schema(folder: Path, **down_revisions: str | None) -> Schema:
    """Writes migrations to `folder`. `down_revisions` maps the name of each file to the revision that it follows."""
    versions = folder / "versions"
    versions.mkdir()
    for name, down_revision in down_revisions.items():
        number = name.removeprefix("m").partition("_")[0]
        text = f"revision = {number!r}\ndown_revision = {down_revision!r}\n"
        (versions / f"{name.removeprefix('m')}.py").write_text(text)
    return Schema(service="relay", folder=folder, variable="RELAY_DATABASE_URL", migration_lock=1)


def test_the_migrations_of_every_service_form_one_sequence() -> None:
    assert {schema.service for schema in migrations.SCHEMAS} == {
        path.parent.name for path in (Path(__file__).parents[2] / "services").glob("*/migrations")
    }
    assert migrations.main() == 0


def test_one_sequence_of_migrations_has_no_fault(tmp_path: Path) -> None:
    assert migrations.faults(_schema(tmp_path, m0001_a=None, m0002_b="0001", m0003_c="0002")) == []


def test_two_migrations_that_follow_the_same_one_are_a_fault(tmp_path: Path) -> None:
    schema = _schema(tmp_path, m0001_a=None, m0002_b="0001", m0003_c="0001")
    assert migrations.faults(schema) == ["relay: there are 2 heads (0002, 0003) instead of one"]


def test_two_migrations_with_one_number_are_a_fault(tmp_path: Path) -> None:
    schema = _schema(tmp_path, m0001_a=None, m0002_b="0001", m0002_c="0001")
    assert migrations.faults(schema) == ["relay: 0002_b.py and 0002_c.py have the same number"]


def test_two_first_migrations_are_a_fault(tmp_path: Path) -> None:
    faults = migrations.faults(_schema(tmp_path, m0001_a=None, m0002_b=None))
    assert "relay: there are 2 bases (0001, 0002) instead of one" in faults


def test_a_migration_that_follows_a_missing_one_is_a_fault(tmp_path: Path) -> None:
    [fault] = migrations.faults(_schema(tmp_path, m0001_a=None, m0003_c="0002"))
    assert "0002" in fault


def test_a_revision_that_differs_from_the_number_of_its_file_is_a_fault(tmp_path: Path) -> None:
    schema = _schema(tmp_path, m0001_a=None)
    (tmp_path / "versions" / "0002_b.py").write_text("revision = '0003'\ndown_revision = '0001'\n")
    assert migrations.faults(schema) == ["relay: 0002_b.py has the revision 0003, which is not its number"]


def test_the_check_fails_and_names_the_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(migrations, "SCHEMAS", (_schema(tmp_path, m0001_a=None, m0002_b="0001", m0003_c="0001"),))
    assert migrations.main() == 1
    assert "2 heads" in capsys.readouterr().out
