"""Reads secrets from files, which containers provide, instead of from the environment."""

from __future__ import annotations

from collections.abc import Iterable, MutableMapping
from pathlib import Path

from libs.runtime.lifecycle import SettingsError


def from_files(environment: MutableMapping[str, str], names: Iterable[str]) -> None:
    """If NAME is not set and NAME_FILE is, sets NAME to the content of that file, without outer blanks.

    NAME_FILE is removed, so that child processes find only NAME. Raises SettingsError when a file cannot be read or is
    empty, or when both are set.
    """
    for name in names:
        path = environment.get(f"{name}_FILE")
        if not path:
            continue
        if environment.get(name):
            raise SettingsError(f"set {name} or {name}_FILE, not both")
        try:
            value = Path(path).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise SettingsError(f"{name}_FILE: {path} can't be read: {type(error).__name__}") from error
        if not value:
            raise SettingsError(f"{name}_FILE: {path} is empty")
        environment[name] = value
        del environment[f"{name}_FILE"]
