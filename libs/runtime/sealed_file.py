"""A file whose content is sealed under a secret key (AES-256-GCM), so that a copy of it alone gives nothing away.

Fernet seals single secrets elsewhere. A configuration may have tens of megabytes: for 20 MB Fernet takes 140 ms, and
AES-GCM 11 ms. Fernet's content is a third larger, too.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import stat
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from libs.runtime.lifecycle import write_private

SHORTEST_KEY = 16
_HEADER = b"posthouse sealed 1\n"
_NONCE_OCTETS = 12


class UnsealError(Exception):
    """None of the keys opens the content, or the file is not a sealed file."""


class SealedFile:
    """A sealed file. `keys` are separated by commas: the first one seals, and each of them can open.

    Without `keys`, the key is kept in a file of mode 0600 beside the sealed file, and is made when it is first needed.
    Such a key protects copies and backups that lack the key file. It protects nothing from somebody who can read both.
    """

    def __init__(self, path: Path, keys: str = "") -> None:
        self.path = path
        self._keys = split_keys(keys)
        self._key_file = path.with_name(f"{path.name}.key")

    def read(self) -> bytes:
        """Returns the opened content. Raises FileNotFoundError when there is no file, OSError, and UnsealError."""
        sealed = self.path.read_bytes()
        if not sealed.startswith(_HEADER):
            raise UnsealError("the file is not sealed")
        start = len(_HEADER) + _NONCE_OCTETS
        for key in self._keys or self._key_of_file():
            try:
                return _cipher(key).decrypt(sealed[len(_HEADER) : start], sealed[start:], _HEADER)
            except (InvalidTag, ValueError):
                continue
        raise UnsealError("none of the keys opens the file")

    def write(self, content: bytes) -> None:
        """Replaces the file in one step; makes its folder and key when they are missing. Raises OSError."""
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        keys = self._keys or self._key_of_file() or (self._new_key(),)
        nonce = os.urandom(_NONCE_OCTETS)
        write_private(self.path, _HEADER + nonce + _cipher(keys[0]).encrypt(nonce, content, _HEADER))

    def _key_of_file(self) -> tuple[str, ...]:
        """The keys in the key file. Empty when the file is missing, or when other users could read it."""
        try:
            if stat.S_IMODE(self._key_file.stat().st_mode) & 0o077:
                return ()
            return split_keys(self._key_file.read_text("ascii"))
        except (OSError, UnicodeError):
            return ()

    def _new_key(self) -> str:
        key = secrets.token_urlsafe(32)
        write_private(self._key_file, f"{key}\n".encode())
        return key


def split_keys(text: str) -> tuple[str, ...]:
    """The keys in the value of an environment variable, without the blanks around them."""
    return tuple(key.strip() for key in text.split(",") if key.strip())


def check_keys(text: str) -> None:
    """Raises ValueError when a key is too short."""
    if any(len(key) < SHORTEST_KEY for key in split_keys(text)):
        raise ValueError(f"must have {SHORTEST_KEY} characters or more")


def _cipher(key: str) -> AESGCM:
    # SHA-256 makes a key of any text, but does not slow down guessing. So the text must be random.
    return AESGCM(hashlib.sha256(key.encode()).digest())
