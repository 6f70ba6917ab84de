"""The private keys of other programs are found, each with its domain and selector."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.command_line.dkim import _keys_at
from services.command_line.failures import CommandError

PEM = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"


def _found(path: Path, domain: str = "", selector: str = "") -> list[tuple[str, str]]:
    keys = list(_keys_at(path, domain, selector))
    assert all(key.private_key == PEM and PEM not in repr(key) for key in keys)
    return [(key.domain, key.selector) for key in keys]


def _write(path: Path, text: str = PEM) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_a_file_with_a_key_needs_domain_and_selector(tmp_path: Path) -> None:
    path = _write(tmp_path / "key.pem")
    assert _found(path, "a.test", "s1") == [("a.test", "s1")]
    with pytest.raises(CommandError, match="--domain"):
        _found(path)


def test_folders_of_opendkim_and_rspamd_are_read(tmp_path: Path) -> None:
    _write(tmp_path / "keys" / "a.test" / "mail.private")
    _write(tmp_path / "keys" / "a.test" / "mail.txt", "a record")
    _write(tmp_path / "dkim" / "b.c.test.2026.key")
    assert _found(tmp_path) == [("b.c.test", "2026"), ("a.test", "mail")]
    _write(tmp_path / "dkim" / "nothing.key")
    with pytest.raises(CommandError, match=r"DOMAIN\.SELECTOR\.key"):
        _found(tmp_path)


def test_the_keys_of_a_key_table_of_opendkim_are_found(tmp_path: Path) -> None:
    path = _write(tmp_path / "elsewhere" / "k.private")
    text = f"# names\n\nfirst a.test:mail:{path}\nsecond  b.test:s2:elsewhere/k.private # relative\n"
    assert _found(_write(tmp_path / "KeyTable", text)) == [("a.test", "mail"), ("b.test", "s2")]


@pytest.mark.parametrize(
    "line", ["first a.test", "first a.test:mail", "a b c:d:e", "first %:mail:/k", "first a:b:/none"]
)
def test_a_line_of_a_key_table_without_a_key_is_wrong_usage(tmp_path: Path, line: str) -> None:
    with pytest.raises(CommandError) as refused:
        _found(_write(tmp_path / "KeyTable", line))
    assert refused.value.status == 2


def test_a_missing_file_or_one_without_text_is_wrong_usage(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="can't be read"):
        _found(tmp_path / "none")
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(CommandError, match="not text"):
        _found(tmp_path / "binary", "a.test", "s")
