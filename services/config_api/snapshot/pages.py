"""A snapshot's serialised objects in order, kept in pages: a change touches one page, all others stay as they are."""

from __future__ import annotations

import hashlib
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable

_DIGEST_BITS = 512


class Page:
    """Neighbours in the order of keys, their octets joined. It is open while it changes, and closed to be sent."""

    __slots__ = ("_closed", "_frame", "_open", "keys", "lengths", "octets")

    def __init__(self, frame: Callable[[bytes], bytes], content: bytes = b"") -> None:
        self.keys: list[str] = []
        self.lengths = array("I")
        self.octets = len(content)
        self._frame = frame
        self._open: bytearray | None = bytearray(content)
        self._closed = b""

    def replace(self, key: str, piece: bytes) -> bytes:
        """Puts the piece in its place, an empty one removes; what was there before."""
        at = bisect_left(self.keys, key)
        known = at < len(self.keys) and self.keys[at] == key
        start = self._offset(at)
        end = start + self.lengths[at] if known else start
        before = self._between(start, end)
        if before == piece:
            return before
        self._opened()[start:end] = piece
        self.octets += len(piece) - len(before)
        if not known and piece:
            self.keys.insert(at, key)
            self.lengths.insert(at, len(piece))
        elif known and piece:
            self.lengths[at] = len(piece)
        elif known:
            del self.keys[at], self.lengths[at]
        return before

    def split(self) -> Page:
        """Gives the second half away. It needs two pieces or more."""
        half = self.octets // 2
        at = 1
        start = self.lengths[0]
        while at < len(self.keys) - 1 and start < half:
            start += self.lengths[at]
            at += 1
        buffer = self._opened()
        other = Page(self._frame, bytes(buffer[start:]))
        other.keys, other.lengths = self.keys[at:], self.lengths[at:]
        del buffer[start:], self.keys[at:], self.lengths[at:]
        self.octets = start
        return other

    def absorb(self, follower: Page) -> None:
        """Takes over all of the page behind it."""
        self._opened().extend(follower._opened())
        self.keys += follower.keys
        self.lengths += follower.lengths
        self.octets += follower.octets

    def closed(self) -> bytes:
        """Framed as it is sent: the same object as long as nothing changes."""
        if self._open is not None:
            self._closed, self._open = self._frame(bytes(self._open)), None
        return self._closed

    def _between(self, start: int, end: int) -> bytes:
        if self._open is not None:
            return bytes(self._open[start:end])
        # The frame stands before the content.
        frame = len(self._closed) - self.octets
        return self._closed[frame + start : frame + end]

    def _opened(self) -> bytearray:
        if self._open is None:
            self._open = bytearray(memoryview(self._closed)[len(self._closed) - self.octets :])
            self._closed = b""
        return self._open

    def _offset(self, at: int) -> int:
        return self.octets if at == len(self.keys) else sum(self.lengths[:at])


class Pages:
    """Pieces by key. Pages are split above `largest` octets and joined when they have become small.

    `frame` makes a message of a page's octets; it may only add something before them.
    """

    def __init__(self, largest: int, frame: Callable[[bytes], bytes]) -> None:
        self._largest = largest
        self._frame = frame
        self._pages = [Page(frame)]
        # Of each page the key that it begins at; what is before the second is in the first.
        self._begins = [""]
        self._sum = 0

    def put(self, key: str, piece: bytes) -> None:
        """Adds or replaces; an empty piece removes."""
        number = bisect_right(self._begins, key) - 1
        page = self._pages[number]
        at_end = number == len(self._pages) - 1 and (not page.keys or page.keys[-1] < key)
        if at_end and page.keys and piece and page.octets + len(piece) > self._largest:
            # Loading is in order: full pages, where splitting would leave halves.
            self._insert(number + 1, Page(self._frame), key)
            page = self._pages[number + 1]
        before = page.replace(key, piece)
        if before == piece:
            return
        if before:
            self._sum -= _number(key, before)
        if piece:
            self._sum += _number(key, piece)
        self._sum %= 1 << _DIGEST_BITS
        self._balance(number)

    def digest(self) -> bytes:
        """Of keys and pieces, whatever the way that led to them.

        It is made from the sum of their hashes, so that a change costs no more than its own.
        """
        return hashlib.sha256(self._sum.to_bytes(_DIGEST_BITS // 8, "big")).digest()

    def parts(self) -> list[bytes]:
        """All pages in order, framed."""
        return [page.closed() for page in self._pages if page.keys]

    def _insert(self, number: int, page: Page, begin: str) -> None:
        self._pages.insert(number, page)
        self._begins.insert(number, begin)

    def _balance(self, number: int) -> None:
        page = self._pages[number]
        if page.octets > self._largest and len(page.keys) > 1:
            other = page.split()
            self._insert(number + 1, other, other.keys[0])
            # Of a few large pieces the halves may be too large still.
            self._balance(number + 1)
            self._balance(number)
        elif page.octets < self._largest // 4:
            for first in (number, number - 1):
                if 0 <= first < len(self._pages) - 1 and self._fit(first):
                    self._pages[first].absorb(self._pages[first + 1])
                    del self._pages[first + 1], self._begins[first + 1]
                    return

    def _fit(self, first: int) -> bool:
        return self._pages[first].octets + self._pages[first + 1].octets <= self._largest * 3 // 4


def _number(key: str, piece: bytes) -> int:
    return int.from_bytes(hashlib.sha512(b"%d:%b%b" % (len(key), key.encode(), piece)).digest(), "big")
