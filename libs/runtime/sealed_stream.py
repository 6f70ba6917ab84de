"""A file that is encrypted with a passphrase in frames, so that it is written and read with bounded memory. scrypt
makes the key from the passphrase. AES-256-GCM encrypts each frame with the number of the frame, and marks the last one.
So a file whose frames were changed, moved or removed cannot be decrypted (the STREAM construction of Hoang,
Reyhanitabar, Rogaway and Vizár, 2015).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import BinaryIO

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

SHORTEST_PASSPHRASE = 12
_MAGIC = b"posthouse sealed stream 1\n"
_SALT_OCTETS = 16
_FRAME_OCTETS = 1 << 20
_TAG_OCTETS = 16
_LENGTH_OCTETS = 4
# Each guess costs 128 MB of memory and some tenths of a second.
_SCRYPT = {"n": 1 << 17, "r": 8, "p": 1}
_MORE, _LAST = b"\0", b"\1"


class SealedStreamError(Exception):
    """The file is not a sealed file, was changed, ends too early, or has another passphrase."""


class SealedWriter:
    """Encrypts the data that is written to it. `finish` writes the last frame; without it the file cannot be read."""

    def __init__(self, file: BinaryIO, passphrase: str) -> None:
        self._file = file
        salt = os.urandom(_SALT_OCTETS)
        self._header = _MAGIC + salt
        self._cipher = _cipher(passphrase, salt)
        self._number = 0
        self._pending = bytearray()
        file.write(self._header)

    def write(self, octets: bytes) -> None:
        self._pending += octets
        while len(self._pending) > _FRAME_OCTETS:
            self._seal(bytes(self._pending[:_FRAME_OCTETS]), _MORE)
            del self._pending[:_FRAME_OCTETS]

    def finish(self) -> None:
        self._seal(bytes(self._pending), _LAST)
        self._pending.clear()

    def _seal(self, octets: bytes, mark: bytes) -> None:
        sealed = self._cipher.encrypt(_nonce(self._number, mark), octets, self._header)
        self._file.write(len(sealed).to_bytes(_LENGTH_OCTETS, "big") + sealed)
        self._number += 1


def opened(file: BinaryIO, passphrase: str) -> Iterator[bytes]:
    """Yields the content, one frame at a time. Raises SealedStreamError, even after valid frames."""
    header = file.read(len(_MAGIC) + _SALT_OCTETS)
    if not header.startswith(_MAGIC) or len(header) < len(_MAGIC) + _SALT_OCTETS:
        raise SealedStreamError("it is not a backup of Posthouse")
    cipher = _cipher(passphrase, header[len(_MAGIC) :])
    number = 0
    frame = _frame(file)
    while frame:
        following = _frame(file)
        try:
            yield cipher.decrypt(_nonce(number, _MORE if following else _LAST), frame, header)
        except InvalidTag:
            if number == 0:
                raise SealedStreamError("the passphrase is wrong, or the file was changed") from None
            raise SealedStreamError("the file was changed, or ends too early") from None
        frame, number = following, number + 1
    if number == 0:
        raise SealedStreamError("the file ends too early")


def _frame(file: BinaryIO) -> bytes:
    """Returns the next frame, or nothing at the end of the file."""
    length = int.from_bytes(file.read(_LENGTH_OCTETS), "big")
    if length > _FRAME_OCTETS + _TAG_OCTETS:
        raise SealedStreamError("the file was changed")
    return file.read(length)


def _nonce(number: int, mark: bytes) -> bytes:
    # The key is used for this file only, so two frames never have the same key and number.
    return number.to_bytes(11, "big") + mark


def _cipher(passphrase: str, salt: bytes) -> AESGCM:
    return AESGCM(Scrypt(salt=salt, length=32, **_SCRYPT).derive(passphrase.encode()))
