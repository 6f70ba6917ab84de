"""A copy of an encrypted file reveals nothing, and without the right key its content cannot be read."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from libs.runtime.sealed_file import SealedFile, UnsealError

CONTENT = b"password of the relay host" * 10
KEY, OTHER = "k" * 16, "o" * 32


def test_the_content_can_be_read_and_is_not_visible_in_the_file(tmp_path: Path) -> None:
    for keys in ("", KEY):
        path = tmp_path / f"deep{keys}" / "snapshot"
        SealedFile(path, keys).write(CONTENT)
        assert SealedFile(path, keys).read() == CONTENT
        assert b"password" not in path.read_bytes()
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_without_a_configured_key_one_is_stored_beside_the_file_for_its_owner_alone(tmp_path: Path) -> None:
    SealedFile(tmp_path / "snapshot").write(CONTENT)
    key = tmp_path / "snapshot.key"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    before = key.read_text()
    SealedFile(tmp_path / "snapshot").write(CONTENT)
    assert key.read_text() == before
    SealedFile(tmp_path / "other", KEY).write(CONTENT)
    assert not (tmp_path / "other.key").exists()


def test_two_files_with_the_same_content_are_different(tmp_path: Path) -> None:
    for name in ("one", "two"):
        SealedFile(tmp_path / name, KEY).write(CONTENT)
    one, two = ((tmp_path / name).read_bytes()[-len(CONTENT) :] for name in ("one", "two"))
    assert one != two


def test_a_former_key_still_decrypts_and_the_first_key_encrypts(tmp_path: Path) -> None:
    path = tmp_path / "snapshot"
    SealedFile(path, OTHER).write(CONTENT)
    both = SealedFile(path, f"{KEY}, {OTHER}")
    assert both.read() == CONTENT
    both.write(CONTENT)
    assert SealedFile(path, KEY).read() == CONTENT
    with pytest.raises(UnsealError):
        SealedFile(path, OTHER).read()


@pytest.mark.parametrize("lost", ["gone", "another", "open to others"])
def test_without_the_key_nothing_is_decrypted_and_new_content_gets_a_new_key(tmp_path: Path, lost: str) -> None:
    path, key = tmp_path / "snapshot", tmp_path / "snapshot.key"
    SealedFile(path).write(CONTENT)
    match lost:
        case "gone":
            key.unlink()
        case "another":
            key.write_text(OTHER)
        case _:
            key.chmod(0o644)
    with pytest.raises(UnsealError):
        SealedFile(path).read()
    SealedFile(path).write(b"new")
    assert SealedFile(path).read() == b"new"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600


def test_changed_or_truncated_content_is_not_decrypted(tmp_path: Path) -> None:
    path = tmp_path / "snapshot"
    SealedFile(path, KEY).write(CONTENT)
    sealed = path.read_bytes()
    for damaged in (sealed[:-1], sealed[:25], sealed[:19], sealed + b"x", b"plain", b"", bytes([*sealed[:-1], 0])):
        path.write_bytes(damaged)
        with pytest.raises(UnsealError):
            SealedFile(path, KEY).read()
    with pytest.raises(FileNotFoundError):
        SealedFile(tmp_path / "none", KEY).read()
