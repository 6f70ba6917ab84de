"""Finds the API and the key for a command: in the environment, in a profile, or from the suite of this machine."""

from __future__ import annotations

import json
import os
import stat
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from services.command_line.failures import CommandError, ExitStatus

if TYPE_CHECKING:
    from posthouse_client import Posthouse

# The option with the same name sets this before any command runs.
chosen_profile: ContextVar[str] = ContextVar("chosen_profile", default="")

_DEFAULT = "default"
# The folders in which `posthouse up` stores its data: in a checkout, and under systemd.
DATA_FOLDERS = ("./var", "/var/lib/posthouse")
_LOCAL_URL = "http://127.0.0.1:8080"


@dataclass(frozen=True, slots=True)
class Access:
    """The address of an API, a key for it, and the file of the authorities for its certificate."""

    url: str
    key: str
    ca_file: str = ""


def profile_file(environment: Mapping[str, str] = os.environ) -> Path:
    """Returns the path of the file with the profiles. It has one table for each name, with url, key and ca_file."""
    folder = environment.get("XDG_CONFIG_HOME") or Path(environment.get("HOME") or "~").expanduser() / ".config"
    return Path(folder) / "posthouse" / "profiles.toml"


def read_profiles(path: Path) -> dict[str, Access]:
    """Reads the profiles of a file by their names. Raises CommandError when others can read it, or it has another
    format.
    """
    try:
        mode = path.stat().st_mode
        tables = tomllib.loads(path.read_text())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise CommandError(f"{path} can't be read: {error}", ExitStatus.USAGE) from None
    if stat.S_IMODE(mode) & 0o077:
        raise CommandError(f"{path} holds keys and others can read it: chmod 600 {path}", ExitStatus.USAGE)
    try:
        return {
            name: Access(str(table["url"]), str(table["key"]), str(table.get("ca_file", "")))
            for name, table in tables.items()
        }
    except (KeyError, TypeError, AttributeError):
        raise CommandError(f"{path}: each profile needs url and key", ExitStatus.USAGE) from None


def write_profiles(path: Path, profiles: Mapping[str, Access]) -> None:
    """Writes the whole file, so that only its owner can read it."""
    lines: list[str] = []
    for name, access in sorted(profiles.items()):
        # A string in JSON is also a valid string in TOML.
        lines.append(f"[{json.dumps(name)}]\nurl = {json.dumps(access.url)}\nkey = {json.dumps(access.key)}")
        lines.append(f"ca_file = {json.dumps(access.ca_file)}\n" if access.ca_file else "")
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    temporary = path.with_suffix(".new")
    temporary.unlink(missing_ok=True)
    temporary.touch(0o600)
    temporary.write_text("\n".join(lines))
    temporary.replace(path)


def find_access(environment: Mapping[str, str] = os.environ) -> Access:
    """Finds the access: first in the environment, then in the profile, and then from this machine's suite. Raises
    CommandError.
    """
    url, key = environment.get("POSTHOUSE_URL", ""), environment.get("POSTHOUSE_KEY", "")
    ca_file = environment.get("POSTHOUSE_CA_FILE", "")
    if url and key:
        return Access(url, key, ca_file)
    if url or key:
        missing = "POSTHOUSE_KEY" if url else "POSTHOUSE_URL"
        raise CommandError(f"{missing} is not set: set both address and key", ExitStatus.USAGE)
    name = chosen_profile.get() or environment.get("POSTHOUSE_PROFILE", "")
    path = profile_file(environment)
    profiles = read_profiles(path)
    if name and name not in profiles:
        raise CommandError(f"{path} has no profile {name!r}", ExitStatus.USAGE)
    if name or _DEFAULT in profiles:
        return profiles[name or _DEFAULT]
    return _of_this_machine(environment, ca_file)


def _of_this_machine(environment: Mapping[str, str], ca_file: str) -> Access:
    """Returns the access that `posthouse up` leaves in its data folder: the first admin key, and the address of the
    API.
    """
    folder = environment.get("POSTHOUSE_DATA_DIR", "")
    for candidate in map(Path, (folder,) if folder else DATA_FOLDERS):
        try:
            key = (candidate / "admin-key").read_text().strip()
        except FileNotFoundError:
            continue
        except OSError as error:
            raise CommandError(f"the key of this machine can't be read: {error}", ExitStatus.NOT_ALLOWED) from None
        try:
            url = (candidate / "run" / "api-url").read_text().strip()
        except OSError:
            url = _LOCAL_URL
        return Access(url, key, ca_file)
    looked_in = " or ".join((folder,) if folder else DATA_FOLDERS)
    raise CommandError(
        f"no API key was found, because no suite has its data in {looked_in}: call the command where the suite was "
        "started, set POSTHOUSE_DATA_DIR to its data folder, or name another machine with `posthouse profile save`",
        ExitStatus.USAGE,
    )


@contextmanager
def connected() -> Iterator[Posthouse]:
    """Yields a client of the chosen API for the time of a command. Failures of the client also become CommandError."""
    import ssl

    from posthouse_client import Posthouse

    from services.command_line.failures import explain

    access = find_access()
    try:
        tls = ssl.create_default_context(cafile=access.ca_file) if access.ca_file else None
    except OSError as error:
        raise CommandError(f"{access.ca_file} can't be read: {error}", ExitStatus.USAGE) from None
    with Posthouse(access.url, access.key, tls=tls) as posthouse:
        try:
            yield posthouse
        except Exception as error:
            explained = explain(error, access.url)
            if explained is None:
                raise
            raise explained from None
