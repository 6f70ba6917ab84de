"""Encrypts stored secrets ("seals" them) under the secret key of the process (Fernet: AES-128-CBC with
HMAC-SHA-256).
"""

from __future__ import annotations

import base64
import hashlib
import os
import stat
from collections.abc import Sequence
from pathlib import Path

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from libs.runtime.lifecycle import StartupError, write_private, write_private_once

KEY_FILE = "secret-key"
_SHORTEST_KEY = 16


class SealError(Exception):
    """None of the keys can decrypt the value."""


class Sealer:
    """Encrypts with the first key, and decrypts with any of the keys. The keys come from the environment, or from a
    file that may change.
    """

    def __init__(self, keys: Sequence[str], file: Path | None = None) -> None:
        self._file = file
        self._keys = _fernet(keys)

    def seal(self, secret: str) -> str:
        return self._keys.encrypt(secret.encode()).decode("ascii")

    def open(self, token: str) -> str:
        """Decrypts a value. Raises SealError when no key works, not even after the file was read again."""
        try:
            return self._keys.decrypt(token.encode()).decode()
        except InvalidToken:
            pass
        if self._file is not None:
            # Another process may have changed the key file after it was read.
            self._keys = _fernet(_read(self._file))
        try:
            return self._keys.decrypt(token.encode()).decode()
        except InvalidToken:
            raise SealError("no key can decrypt this secret") from None


def load_sealer(environment_key: str, data_folder: Path) -> Sealer:
    """Reads the keys from CONFIG_API_SECRET_KEY (separated by commas: the first encrypts, and all decrypt), or from the
    key file.

    The file is made in the first run. Raises StartupError for a short key, or a file that others can read.
    """
    if environment_key:
        return Sealer([key.strip() for key in environment_key.split(",") if key.strip()])
    path = data_folder / KEY_FILE
    if not path.exists():
        data_folder.mkdir(parents=True, exist_ok=True)
        # Replicas that start at the same time with the same folder must get the same key.
        write_private_once(path, Fernet.generate_key() + b"\n")
    return Sealer(_read(path), path)


def new_key() -> str:
    return Fernet.generate_key().decode("ascii")


def write_keys(path: Path, keys: Sequence[str]) -> None:
    write_private(path, "".join(f"{key}\n" for key in keys).encode())


def read_keys(path: Path) -> list[str]:
    return _read(path)


def _read(path: Path) -> list[str]:
    try:
        mode = path.stat().st_mode
        keys = path.read_text("ascii").split()
    except (OSError, UnicodeError) as error:
        raise StartupError(f"{path}: the secret key cannot be read: {type(error).__name__}") from None
    if stat.S_IMODE(mode) & 0o077 and os.name == "posix":
        raise StartupError(f"{path}: others can read this key: chmod 600 it")
    if not keys:
        raise StartupError(f"{path}: the file contains no key")
    return keys


def _fernet(keys: Sequence[str]) -> MultiFernet:
    if any(len(key) < _SHORTEST_KEY for key in keys):
        raise StartupError(f"the secret key must have {_SHORTEST_KEY} characters or more")
    # The key of Fernet is derived from the secret key, so any text can be a secret key. It should be random, because a
    # word could be guessed.
    return MultiFernet([Fernet(base64.urlsafe_b64encode(hashlib.sha256(key.encode()).digest())) for key in keys])
