"""Only the service's user may enter the folder of the Unix sockets. Otherwise the service does not start."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from libs.runtime import rpc
from libs.runtime.lifecycle import StartupError
from libs.runtime.security import Security


async def listens(folder: Path) -> None:
    """Starts a server with its socket in the folder. Raises StartupError when it does not start."""
    server = rpc.Server({}, lambda _: None)
    try:
        await server.start(f"unix:{folder / 'x.sock'}", Security())
    finally:
        await server.stop(0)


async def test_only_its_owner_can_enter_the_new_folder(tmp_path: Path) -> None:
    await listens(tmp_path / "new")
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("mode", [0o701, 0o710, 0o750, 0o755, 0o777, 0o1777])
async def test_a_folder_that_others_can_enter_is_refused(tmp_path: Path, mode: int) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    folder.chmod(mode)
    with pytest.raises(StartupError, match="give it mode 0700"):
        await listens(folder)
    with pytest.raises(StartupError, match="give it mode 0700"):
        rpc.channel(f"unix:{folder / 'x.sock'}", Security(), "relay")


async def test_a_symbolic_link_as_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir(mode=0o700)
    (tmp_path / "run").symlink_to(tmp_path / "real")
    with pytest.raises(StartupError, match="is not a folder"):
        await listens(tmp_path / "run")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
async def test_a_folder_of_another_user_is_neither_used_for_serving_nor_for_calls(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir(mode=0o700)
    os.chown(folder, 65534, 65534)
    with pytest.raises(StartupError, match="belongs to another user"):
        await listens(folder)
    with pytest.raises(StartupError, match="belongs to another user"):
        rpc.channel(f"unix:{folder / 'x.sock'}", Security(), "relay")


async def test_a_path_that_is_too_long_for_a_socket_gives_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(StartupError, match="at most 107 octets"):
        await listens(tmp_path / ("x" * 107))
