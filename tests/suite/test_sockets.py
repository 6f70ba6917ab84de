"""`posthouse up` puts its sockets into a folder that other users cannot enter."""

from __future__ import annotations

import contextlib
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from libs.runtime.lifecycle import StartupError
from services.suite.sockets import ELSEWHERE_FILE, sockets_of, tell_folder
from services.suite.topology import lay_out


def test_sockets_are_in_the_private_folder_of_the_pid_files(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir(mode=0o755)
    with sockets_of(tmp_path, {}) as sockets:
        assert sockets == tmp_path / "run"
        assert stat.S_IMODE(sockets.stat().st_mode) == 0o700


def test_a_symbolic_link_as_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    (tmp_path / "run").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StartupError, match="is not a folder"), sockets_of(tmp_path, {}):
        pass


@pytest.fixture
def stack() -> Iterator[contextlib.ExitStack]:
    with contextlib.ExitStack() as stack:
        yield stack


@pytest.mark.parametrize("runtime", ["there", "missing", "too long"])
def test_paths_too_long_for_a_socket_are_in_a_separate_folder(
    tmp_path: Path, runtime: str, stack: contextlib.ExitStack
) -> None:
    data = tmp_path / ("x" * 107)
    # The path must be short, and the paths of pytest's own folders are too long.
    short_folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    folder = {"there": short_folder, "missing": tmp_path / "m", "too long": tmp_path / ("y" * 100)}[runtime]
    if runtime != "missing":
        folder.mkdir(exist_ok=True)
    with sockets_of(data, {"XDG_RUNTIME_DIR": str(folder)}, {"relay": 3}) as sockets:
        assert sockets.parent == (folder if runtime == "there" else Path("/tmp"))
        assert stat.S_IMODE(sockets.stat().st_mode) == 0o700
        processes = lay_out({"RELAY_DATABASE_URL": "postgresql://db"}, {"relay": 3}, sockets=sockets)
        assert processes[4].grpc == f"unix:{sockets}/relay-3.sock"
        tell_folder(data / "run", [process.grpc for process in processes if process.grpc])
        assert (data / "run" / ELSEWHERE_FILE).read_text() == f"{sockets}\n"
    assert not sockets.exists()


def test_no_file_is_written_for_sockets_in_the_usual_folder(tmp_path: Path) -> None:
    (tmp_path / ELSEWHERE_FILE).write_text("/former\n")
    tell_folder(tmp_path, [f"unix:{tmp_path}/relay.sock", "192.0.2.1:5"])
    assert not (tmp_path / ELSEWHERE_FILE).exists()
