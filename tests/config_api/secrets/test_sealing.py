"""The key that encrypts secrets is created on the first run. All replicas in one folder use the same key."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from services.config_api.secrets.sealing import KEY_FILE, load_sealer


def test_replicas_that_start_together_in_one_folder_have_one_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = load_sealer("", tmp_path)
    sealed = first.seal("secret")
    with monkeypatch.context() as patch:
        # This simulates that the second replica looked for the file before the first one had created it.
        patch.setattr(Path, "exists", lambda _: False)
        second = load_sealer("", tmp_path)
    assert second.open(sealed) == "secret"
    assert load_sealer("", tmp_path).open(sealed) == "secret"
    assert stat.S_IMODE((tmp_path / KEY_FILE).stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == [KEY_FILE]
