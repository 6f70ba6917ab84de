"""Large sets of addresses contain exactly their addresses and need little memory."""

from __future__ import annotations

import sys

import pytest

from libs.smtp.address_set import AddressSet, bucket, bucket_of


def test_a_set_contains_exactly_its_addresses() -> None:
    keys = [f"user{number}@example.com".encode() for number in range(20_000)]
    addresses = AddressSet.of(keys)
    assert all(key in addresses for key in keys)
    for other in (b"user@example.com", b"ser1@example.com", b"user1@example.co", b"user20000@example.com", b"", b"\n"):
        assert other not in addresses, other


@pytest.mark.parametrize("part", [b"a@b.test\nc@d.test", b"@b.test", b"a@b.test\n"])
def test_a_part_of_an_address_is_not_an_address(part: bytes) -> None:
    """Whole addresses of a bucket, with a line end between them, would be found. But no address contains a line end."""
    addresses = AddressSet({bucket_of(part): bucket([b"a@b.test", b"c@d.test"])})
    assert (part in addresses) is (part == b"a@b.test\nc@d.test")


def test_an_empty_set_contains_nothing() -> None:
    assert not AddressSet({})
    assert b"a@b.test" not in AddressSet({})
    assert AddressSet.of([b"a@b.test"])


def test_a_hundred_thousand_addresses_need_little_memory_each() -> None:
    buckets: dict[int, list[bytes]] = {}
    for number in range(100_000):
        key = f"somebody{number}@example.com".encode()
        buckets.setdefault(bucket_of(key), []).append(key)
    octets = sum(sys.getsizeof(bucket(keys)) for keys in buckets.values())
    assert octets < 100_000 * 64
