"""A large set of addresses in little memory, in which looking one up takes the same time whatever its size.

The addresses lie in many short buckets, each one bytes object: a million of 25 octets take some 30 MB, where a set of
str takes 130 MB. config_api sends the buckets as they are, so that a change of the set sends one of them again.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from zlib import crc32

# With a million addresses a bucket holds fifteen.
_MASK = 0xFFFF


def bucket_of(key: bytes) -> int:
    """Number of the bucket that holds an address."""
    return crc32(key) & _MASK


def bucket(keys: Iterable[bytes]) -> bytes:
    """A bucket's octets: each address stands between two line feeds, which no address holds."""
    return b"\n" + b"".join(key + b"\n" for key in keys)


class AddressSet:  # noqa: PLW1641 - sets are compared, but no keys
    """Never changed. Addresses are given and asked about as `Address.local_key`, in UTF-8."""

    __slots__ = ("_buckets",)

    def __init__(self, buckets: Mapping[int, bytes]) -> None:
        """`buckets`: by number, as `bucket` makes them."""
        self._buckets = buckets

    @classmethod
    def of(cls, keys: Iterable[bytes]) -> AddressSet:
        by_number: defaultdict[int, set[bytes]] = defaultdict(set)
        for key in keys:
            by_number[bucket_of(key)].add(key)
        return cls({number: bucket(sorted(of_number)) for number, of_number in by_number.items()})

    def changed(self, removed: Iterable[int], added: Mapping[int, bytes]) -> AddressSet:
        """A copy without some buckets, and with others by number."""
        buckets = dict(self._buckets)
        for number in removed:
            buckets.pop(number, None)
        return AddressSet({**buckets, **added})

    def __eq__(self, other: object) -> bool:
        return isinstance(other, AddressSet) and self._buckets == other._buckets

    def __contains__(self, key: bytes) -> bool:
        octets = self._buckets.get(crc32(key) & _MASK)
        return octets is not None and b"\n%b\n" % key in octets

    def __bool__(self) -> bool:
        return bool(self._buckets)
