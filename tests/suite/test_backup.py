"""A restore is refused when it would overwrite data, or when the file or the key is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from libs.runtime.database_copy import ServiceDatabase
from services.config_api.storage import restoring as settings_restoring
from services.config_api.storage.database import SCHEMA, Database
from services.suite import backup
from services.suite.backup import BackupError

PASSPHRASE = "a passphrase of the operator"


def database_in(folder: Path) -> ServiceDatabase:
    return ServiceDatabase(SCHEMA, f"sqlite:///{folder / 'config.sqlite3'}", settings_restoring.after_restore)


async def settings_in(folder: Path) -> ServiceDatabase:
    """Creates a database of config_api with its tables, which contain only the rows of the migrations."""
    database = Database(f"sqlite:///{folder / 'config.sqlite3'}")
    await database.open()
    await database.close()
    return database_in(folder)


def folders(tmp_path: Path) -> tuple[Path, Path]:
    former, later = tmp_path / "former", tmp_path / "later"
    former.mkdir()
    later.mkdir()
    (former / "secret-key").write_text("an old secret key\n")
    return former, later


async def taken(former: Path, file: Path) -> None:
    await backup.make(file, PASSPHRASE, [await settings_in(former)], former, {})


async def test_the_secret_key_is_part_of_the_backup(tmp_path: Path) -> None:
    former, later = folders(tmp_path)
    file = tmp_path / "backup"
    (former / "secret-key").write_text("anoldsecretkeyoftests\n")
    await taken(former, file)
    with pytest.raises(BackupError, match="another key than CONFIG_API_SECRET_KEY"):
        await backup.restore(file, PASSPHRASE, [database_in(later)], later, {"CONFIG_API_SECRET_KEY": "x" * 20})
    contents = await backup.restore(file, PASSPHRASE, [database_in(later)], later, {})
    assert contents.files == ["secret-key"]
    assert (later / "secret-key").read_text() == "anoldsecretkeyoftests\n"
    assert (later / "secret-key").stat().st_mode & 0o077 == 0


async def test_a_restore_overwrites_no_existing_data(tmp_path: Path) -> None:
    former, later = folders(tmp_path)
    file = tmp_path / "backup"
    await taken(former, file)
    (later / "secret-key").write_text("another one\n")
    with pytest.raises(BackupError, match="needs an empty data folder"):
        await backup.restore(file, PASSPHRASE, [database_in(later)], later, {})
    (later / "secret-key").unlink()
    present = await settings_in(later)
    with pytest.raises(BackupError, match="not empty"):
        await backup.restore(file, PASSPHRASE, [present], later, {})
    assert not (later / "secret-key").exists()


async def test_a_truncated_file_is_refused_and_nothing_is_restored(tmp_path: Path) -> None:
    former, later = folders(tmp_path)
    file = tmp_path / "backup"
    await taken(former, file)
    file.write_bytes(file.read_bytes()[:-40])
    with pytest.raises(BackupError, match=r"ends too early|was changed"):
        await backup.restore(file, PASSPHRASE, [database_in(later)], later, {})
    assert list(later.iterdir()) == []


async def test_a_restore_is_refused_where_a_service_has_made_its_database(tmp_path: Path) -> None:
    former, later = folders(tmp_path)
    file = tmp_path / "backup"
    await taken(former, file)
    running = Database(f"sqlite:///{later / 'config.sqlite3'}")
    await running.open()
    try:
        with pytest.raises(BackupError):
            await backup.restore(file, PASSPHRASE, [database_in(later)], later, {})
    finally:
        await running.close()


async def test_a_backup_is_refused_where_there_is_no_database(tmp_path: Path) -> None:
    former, _ = folders(tmp_path)
    with pytest.raises(BackupError, match="there is no database"):
        await backup.make(tmp_path / "other", PASSPHRASE, [database_in(tmp_path / "nowhere")], former, {})
