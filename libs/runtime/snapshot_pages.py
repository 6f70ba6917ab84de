"""The pieces of a snapshot in the order of their keys, serialised in pages. This module is pure.

A change affects one page, and others only when pages are split or joined. A page is a serialised
config.v1.SnapshotPart. config_api sends pages to a consumer that has no snapshot, and a consumer stores them in a file.
"""

from __future__ import annotations

import hashlib
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterator

# The largest number of octets of a page, unless a single piece is larger. A change copies one page.
PAGE_OCTETS = 64 * 1024
_DIGEST_BITS = 512
# The tags of the length-delimited fields 1 and 2 (https://protobuf.dev/programming-guides/encoding/).
_FIRST_FIELD, _SECOND_FIELD = b"\x0a", b"\x12"


def serialised(key: str, content: bytes) -> bytes:
    """Returns a serialised SnapshotPart with one piece. Concatenated parts are one part with all of the pieces."""
    name = key.encode()
    piece = _FIRST_FIELD + _varint(len(name)) + name
    if content:
        piece += _SECOND_FIELD + _varint(len(content)) + content
    return _FIRST_FIELD + _varint(len(piece)) + piece


class _Page:
    """Consecutive pieces in the order of their keys, serialised and joined. A change converts the octets to a
    bytearray, which is changed in place. `octets` converts them to bytes.
    """

    __slots__ = ("_octets", "keys", "lengths")

    def __init__(self, content: bytes = b"") -> None:
        self.keys: list[str] = []
        self.lengths = array("I")
        self._octets: bytes | bytearray = bytearray(content)

    def __len__(self) -> int:
        return len(self._octets)

    def replace(self, key: str, part: bytes) -> bytes:
        """Sets the part of a key. An empty part removes it. Returns the former part, or empty octets if there was
        none.
        """
        at = bisect_left(self.keys, key)
        is_present = at < len(self.keys) and self.keys[at] == key
        start = len(self) if at == len(self.keys) else sum(self.lengths[:at])
        end = start + self.lengths[at] if is_present else start
        before = bytes(self._octets[start:end])
        if before == part:
            return before
        self._writable()[start:end] = part
        if not is_present:
            self.keys.insert(at, key)
            self.lengths.insert(at, len(part))
        elif part:
            self.lengths[at] = len(part)
        else:
            del self.keys[at], self.lengths[at]
        return before

    def split(self) -> _Page:
        """Moves the second half into a new page, and returns that page. The page needs two pieces or more."""
        half = len(self) // 2
        at = 1
        start = self.lengths[0]
        while at < len(self.keys) - 1 and start < half:
            start += self.lengths[at]
            at += 1
        octets = self._writable()
        other = _Page(bytes(octets[start:]))
        other.keys, other.lengths = self.keys[at:], self.lengths[at:]
        del octets[start:], self.keys[at:], self.lengths[at:]
        return other

    def absorb(self, follower: _Page) -> None:
        """Appends all pieces of the next page."""
        self._writable().extend(follower.octets())
        self.keys += follower.keys
        self.lengths += follower.lengths

    def octets(self) -> bytes:
        """Returns the whole page. It is the same object while nothing changes."""
        if isinstance(self._octets, bytearray):
            self._octets = bytes(self._octets)
        return self._octets

    def pieces(self) -> Iterator[tuple[str, bytes]]:
        start = 0
        for key, length in zip(self.keys, self.lengths, strict=True):
            yield key, _content(bytes(self._octets[start : start + length]))
            start += length

    def _writable(self) -> bytearray:
        if isinstance(self._octets, bytes):
            self._octets = bytearray(self._octets)
        return self._octets


class SnapshotPages:
    """Pieces by key. A page above `largest` octets is split, and small pages are joined."""

    def __init__(self, largest: int = PAGE_OCTETS) -> None:
        self._largest = largest
        self._pages = [_Page()]
        # The key at which each page begins. It is empty for the first page, so every key belongs to a page.
        self._begins = [""]
        self._sum = 0

    def put(self, key: str, content: bytes) -> bytes:
        """Adds or replaces a piece. Empty content removes it. Returns the former content, or empty octets if there was
        none.
        """
        part = serialised(key, content) if content else b""
        number = bisect_right(self._begins, key) - 1
        page = self._pages[number]
        at_end = number == len(self._pages) - 1 and (not page.keys or page.keys[-1] < key)
        if at_end and page.keys and part and len(page) + len(part) > self._largest:
            # A snapshot is loaded in the order of its keys. With a new page, this page stays full, while a split would
            # leave both pages half full.
            self._insert(number + 1, _Page(), key)
            page = self._pages[number + 1]
        part_before = page.replace(key, part)
        before = _content(part_before)
        if part_before == part:
            return before
        if before:
            self._sum -= _piece_hash(key, before)
        if content:
            self._sum += _piece_hash(key, content)
        self._sum %= 1 << _DIGEST_BITS
        self._balance(number)
        return before

    def digest(self) -> bytes:
        """Returns the digest of all keys and contents. It does not depend on the order of the changes.

        It is computed from the sum of the pieces' hashes, so a change costs only the hashes of the changed piece.
        """
        return hashlib.sha256(self._sum.to_bytes(_DIGEST_BITS // 8, "big")).digest()

    def parts(self) -> list[bytes]:
        """Returns all pages in order."""
        return [page.octets() for page in self._pages if page.keys]

    def pieces(self) -> Iterator[tuple[str, bytes]]:
        """Yields all keys in order, with the contents."""
        for page in self._pages:
            yield from page.pieces()

    def _insert(self, number: int, page: _Page, begin: str) -> None:
        self._pages.insert(number, page)
        self._begins.insert(number, begin)

    def _balance(self, number: int) -> None:
        page = self._pages[number]
        if len(page) > self._largest and len(page.keys) > 1:
            other = page.split()
            self._insert(number + 1, other, other.keys[0])
            # If the pieces are few and large, one of the two pages may still be too large.
            self._balance(number + 1)
            self._balance(number)
        elif len(page) < self._largest // 4:
            for first in (number, number - 1):
                if 0 <= first < len(self._pages) - 1 and self._fit(first):
                    self._pages[first].absorb(self._pages[first + 1])
                    del self._pages[first + 1], self._begins[first + 1]
                    return

    def _fit(self, first: int) -> bool:
        return len(self._pages[first]) + len(self._pages[first + 1]) <= self._largest * 3 // 4


def _piece_hash(key: str, content: bytes) -> int:
    return int.from_bytes(hashlib.sha512(b"%d:%b%b" % (len(key), key.encode(), content)).digest(), "big")


def _varint(number: int) -> bytes:
    octets = bytearray()
    while number > 0x7F:
        octets.append(number & 0x7F | 0x80)
        number >>= 7
    octets.append(number)
    return bytes(octets)


def _content(part: bytes) -> bytes:
    """Returns the content of the only piece in a part from `serialised`."""
    if not part:
        return b""
    _, at = _read_varint(part, 1)
    length, at = _read_varint(part, at + 1)
    at += length
    if at == len(part):
        return b""
    _, at = _read_varint(part, at + 1)
    return part[at:]


def _read_varint(octets: bytes, at: int) -> tuple[int, int]:
    """Returns the varint that begins at `at`, and the position after it."""
    number = shift = 0
    while True:
        octet = octets[at]
        at += 1
        number |= (octet & 0x7F) << shift
        shift += 7
        if octet < 0x80:
            return number, at
