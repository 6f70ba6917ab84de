"""A large set of addresses that needs little memory. A look-up searches only a small part of the set.

The addresses are in many short buckets, and each bucket is one bytes object. A million addresses of 25 octets need some
30 MB, while a set of str needs 130 MB. config_api sends the buckets unchanged, so after a change only one of them is
sent again.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from zlib import crc32

# There are 65,536 buckets. With a million addresses, a bucket contains fifteen on average.
_MASK = 0xFFFF


def bucket_of(key: bytes) -> int:
    """Returns the number of the bucket of an address."""
    return crc32(key) & _MASK


def bucket(keys: Iterable[bytes]) -> bytes:
    """Returns the octets of a bucket. Each address is between two line feeds, which no address contains."""
    return b"\n" + b"".join(key + b"\n" for key in keys)


class AddressSet:  # noqa: PLW1641 - sets are compared, but no keys
    """A set that never changes. Addresses have the form of `Address.local_key`, in UTF-8."""

    __slots__ = ("_buckets",)

    def __init__(self, buckets: Mapping[int, bytes]) -> None:
        """`buckets` has, for each number of a bucket, octets in the form that `bucket` makes."""
        self._buckets = buckets

    @classmethod
    def of(cls, keys: Iterable[bytes]) -> AddressSet:
        by_number: defaultdict[int, set[bytes]] = defaultdict(set)
        for key in keys:
            by_number[bucket_of(key)].add(key)
        return cls({number: bucket(sorted(of_number)) for number, of_number in by_number.items()})

    def changed(self, removed: Iterable[int], added: Mapping[int, bytes]) -> AddressSet:
        """Returns a copy without the buckets whose numbers are in `removed`, and with the buckets in `added`."""
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
