"""A file whose content is encrypted ("sealed") under a secret key with AES-256-GCM, so that a copy of the file alone is
useless. Single secrets are encrypted with Fernet elsewhere. But a configuration may have tens of megabytes: for 20 MB
Fernet needs 140 ms, and AES-GCM 11 ms. The output of Fernet is also a third larger.
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
    """None of the keys can decrypt the content, or the file is not a sealed file."""


class SealedFile:
    """A sealed file. `keys` are separated by commas: the first one encrypts, and each of them can decrypt.

    Without `keys`, the key is in a file of mode 0600 beside the sealed file, and is made on first use. This key
    protects a copy or backup of the sealed file that does not contain the key file. It does not protect from somebody
    who can read both files.
    """

    def __init__(self, path: Path, keys: str = "") -> None:
        self.path = path
        self._keys = split_keys(keys)
        self._key_file = path.with_name(f"{path.name}.key")

    def read(self) -> bytes:
        """Returns the decrypted content. Raises FileNotFoundError when there is no file, OSError, and UnsealError."""
        sealed = self.path.read_bytes()
        if not sealed.startswith(_HEADER):
            raise UnsealError("the file is not sealed")
        start = len(_HEADER) + _NONCE_OCTETS
        for key in self._keys or self._key_of_file():
            try:
                return _cipher(key).decrypt(sealed[len(_HEADER) : start], sealed[start:], _HEADER)
            except (InvalidTag, ValueError):
                continue
        raise UnsealError("none of the keys can decrypt the file")

    def write(self, content: bytes) -> None:
        """Replaces the file in one step. Its folder and its key are made when they do not exist. Raises OSError."""
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        keys = self._keys or self._key_of_file() or (self._new_key(),)
        nonce = os.urandom(_NONCE_OCTETS)
        write_private(self.path, _HEADER + nonce + _cipher(keys[0]).encrypt(nonce, content, _HEADER))

    def _key_of_file(self) -> tuple[str, ...]:
        """Returns the keys in the key file. The result is empty when the file cannot be read, or when other users have
        access to it.
        """
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
    """Returns the keys in the value of an environment variable, without the blanks around them."""
    return tuple(key.strip() for key in text.split(",") if key.strip())


def check_keys(text: str) -> None:
    """Checks that no key is too short. Raises ValueError."""
    if any(len(key) < SHORTEST_KEY for key in split_keys(text)):
        raise ValueError(f"must have {SHORTEST_KEY} characters or more")


def _cipher(key: str) -> AESGCM:
    # SHA-256 makes a key from any text, but it does not slow down guesses. So the text must be random.
    return AESGCM(hashlib.sha256(key.encode()).digest())
