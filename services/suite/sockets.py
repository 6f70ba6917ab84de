"""The folder of the suite's Unix sockets."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from libs.runtime import socket_folder
from libs.runtime.addresses import LONGEST_SOCKET_PATH, UnixSocket, parse
from services.suite.topology import longest_socket_name

# A file in the folder of the pid files, with the folder of each socket that is elsewhere.
ELSEWHERE_FILE = "sockets"


@contextlib.contextmanager
def sockets_of(
    data_folder: Path, environment: Mapping[str, str], replicas: Mapping[str, int] | None = None
) -> Iterator[Path]:
    """Makes a folder of mode 0700 for the sockets. It is `run` in the data folder. If its paths would be too long for a
    socket, it is a folder under XDG_RUNTIME_DIR or /tmp, which is removed at the end. Raises StartupError.
    """
    run = data_folder / "run"
    run.mkdir(mode=0o700, parents=True, exist_ok=True)
    with contextlib.suppress(PermissionError):
        # Earlier releases made the folder with the permissions of the umask.
        run.chmod(0o700)
    socket_folder.check(run)
    longest = run / longest_socket_name(replicas or {}, _workers(environment))
    if len(os.fsencode(longest)) <= LONGEST_SOCKET_PATH:
        yield run
        return
    elsewhere = Path(tempfile.mkdtemp(prefix="posthouse-", dir=_short_folder(environment, longest.name)))
    try:
        yield elsewhere
    finally:
        shutil.rmtree(elsewhere, ignore_errors=True)


def tell_folder(run_folder: Path, targets: Iterable[str]) -> None:
    """Writes the folder of the sockets into the folder of the pid files, when it is another one. The caller must have
    the lock of the suite.
    """
    addresses = map(parse, targets)
    folders = {address.path.parent for address in addresses if isinstance(address, UnixSocket)} - {run_folder}
    note = run_folder / ELSEWHERE_FILE
    if folders:
        note.write_text("".join(f"{folder}\n" for folder in sorted(folders)))
    else:
        note.unlink(missing_ok=True)


def _short_folder(environment: Mapping[str, str], name: str) -> str:
    runtime = environment.get("XDG_RUNTIME_DIR", "")
    # mkdtemp adds eight characters to its prefix.
    longest = os.path.join(runtime, "posthouse-12345678", name)  # noqa: PTH118 - only its length matters
    usable = runtime and os.access(runtime, os.W_OK) and len(os.fsencode(longest)) <= LONGEST_SOCKET_PATH
    return runtime if usable else "/tmp"  # noqa: S108 - mkdtemp makes a folder of mode 0700 with a name of its own


def _workers(environment: Mapping[str, str]) -> int:
    text = environment.get("INGRESS_WORKERS", "")
    return int(text) if text.isascii() and text.isdigit() else 1
