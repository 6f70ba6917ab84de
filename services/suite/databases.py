"""Stores which databases the suite of a data folder uses, without passwords, so that commands on the machine find
them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from libs.runtime.lifecycle import SettingsError, write_private
from services.suite.topology import Process

VARIABLES: Mapping[str, str] = {"config_api": "CONFIG_API_DATABASE_URL", "relay": "RELAY_DATABASE_URL"}
_FILE = "databases.json"


def remember(run_folder: Path, processes: Sequence[Process]) -> None:
    """Writes the URLs of the services that have one. A URL with a password is replaced by an empty text. Raises
    OSError.
    """
    urls = {}
    for process in processes:
        url = process.environment.get(VARIABLES.get(process.service, ""), "")
        if url:
            urls[process.service] = "" if has_password(url) else url
    write_private(run_folder / _FILE, json.dumps(urls).encode())


def has_password(url: str) -> bool:
    parts = urlsplit(url)
    return parts.password is not None or "password" in parse_qs(parts.query)


def without_password(url: str) -> str:
    """Returns the URL in the form in which it may be shown."""
    parts = urlsplit(url)
    place = parts.netloc.rpartition("@")[2]
    user = f"{parts.username}@" if parts.username else ""
    return f"{parts.scheme}://{user}{place}{parts.path}"


def find(folder: Path, environment: Mapping[str, str], postgres_url: str = "") -> dict[str, str]:
    """Returns the variables that the environment lacks: from the option `--postgres`, or from the suite of this folder.
    Raises SettingsError when the suite uses a URL with a password, because such a URL is not stored.
    """
    urls = _remembered(folder / "run" / _FILE)
    found = {}
    for service, variable in VARIABLES.items():
        if environment.get(variable):
            continue
        if postgres_url:
            found[variable] = postgres_url
        elif service in urls:
            if not urls[service]:
                raise SettingsError(
                    f"the suite of {folder} was started with a {variable} that has a password: set it for this "
                    "command too"
                )
            found[variable] = urls[service]
    return found


def _remembered(path: Path) -> dict[str, str]:
    try:
        urls: dict[str, str] = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise SettingsError(f"{path} can't be read, which names the databases: {error}") from None
    return urls


def folder_here(environment: Mapping[str, str], candidates: Sequence[str]) -> Path:
    """Returns the data folder of this machine's suite: the one in the settings, or the first candidate that a suite has
    used, or the first of all when no suite has used any.
    """
    named = environment.get("POSTHOUSE_DATA_DIR")
    used = (candidate for candidate in candidates if _is_used(Path(candidate)))
    return Path(named or next(used, candidates[0])).resolve()


def _is_used(folder: Path) -> bool:
    try:
        return any((folder / name).exists() for name in ("admin-key", f"run/{_FILE}", "config.sqlite3"))
    except PermissionError:
        # The folder belongs to another user. The command reports that when it opens the databases.
        return True
