"""Postfix's lookup tables that have a text file as their source."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.command_line.postfix.maps import MapError, alias_pairs, read


def test_a_compiled_table_is_read_from_its_text(tmp_path: Path) -> None:
    (tmp_path / "transport").write_text("# none\nExample.ORG smtp:[a]:25\n\nother.example\n  lmtp:inet:b:24\n")
    entries = (("example.org", "smtp:[a]:25"), ("other.example", "lmtp:inet:b:24"))
    for table in ("hash:/etc/postfix/transport", "proxy:texthash:transport", f"lmdb:{tmp_path}/transport"):
        assert read(table, tmp_path).entries == entries


def test_networks_and_inline_and_static_tables_are_read(tmp_path: Path) -> None:
    (tmp_path / "networks").write_text("192.0.2.7 OK\n[2001:db8::]/32 REJECT no\n")
    assert read("cidr:networks", tmp_path).entries == (("192.0.2.7/32", "OK"), ("2001:db8::/32", "REJECT no"))
    assert read("inline:{ {a = b c}, {d = e} }", tmp_path).entries == (("a", "b c"), ("d", "e"))
    assert read("inline:{a=b, c=d}", tmp_path).entries == (("a", "b"), ("c", "d"))
    assert read("static:yes", tmp_path).is_static


@pytest.mark.parametrize("table", ["pcre:/x", "regexp:/x", "ldap:/x", "hash:/none", "cidr:/none", "nonsense"])
def test_the_reason_is_given_for_tables_that_cannot_be_read(table: str, tmp_path: Path) -> None:
    with pytest.raises(MapError):
        read(table, tmp_path)


def test_a_colon_ends_the_name_of_each_alias() -> None:
    assert alias_pairs('root: a@x, b\n"odd name": c\n') == [("root", "a@x, b"), ("odd name", "c")]
