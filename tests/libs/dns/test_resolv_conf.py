"""The system's name servers may change or be missing at any time (F08)."""

from __future__ import annotations

from pathlib import Path

import pytest
from structlog.testing import capture_logs

from libs.dns.resolv_conf import ResolvConf


def test_the_file_is_read_again_when_it_changes(tmp_path: Path) -> None:
    path = tmp_path / "resolv.conf"
    path.write_text("# none yet\n")
    servers = ResolvConf(path)
    assert servers.addresses() == ()
    path.write_text("nameserver 192.0.2.1\nnameserver 2001:db8::1\nsearch example.com\n")
    assert servers.addresses() == ("192.0.2.1", "2001:db8::1")
    assert servers.addresses() is servers.addresses()
    fresh = tmp_path / "fresh"
    fresh.write_text("nameserver 192.0.2.3\n")
    fresh.replace(path)
    assert servers.addresses() == ("192.0.2.3",)
    path.unlink()
    assert servers.addresses() == ()


@pytest.mark.parametrize("content", [None, "", "# nothing\n", "nameserver\n", "nameserver not-an-address\n", "\0\n"])
def test_a_file_without_a_name_server_is_logged_once_and_raises_no_error(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "resolv.conf"
    if content is not None:
        path.write_text(content)
    servers = ResolvConf(path)
    with capture_logs() as lines:
        assert servers.addresses() == ()
        assert servers.addresses() == ()
    assert [line["event"] for line in lines] == ["no_name_server"]
