"""The look-up cache keeps entries that are used, however many other entries are used only once."""

from __future__ import annotations

from services.relay.delivery.targets.lookup_cache import SegmentedCache


def test_names_that_are_used_once_displace_no_names_in_use() -> None:
    cache: SegmentedCache[str, str] = SegmentedCache(1000)
    hosts = [f"mx{number}.test" for number in range(500)]
    for host in hosts:
        cache.put(host, 100.0, host)
        assert cache.get(host, 0.0) == host
    for number in range(100_000):
        cache.put(f"{number}.random.test", 100.0, "")
        assert len(cache) <= 1000
    assert [cache.get(host, 1.0) for host in hosts] == hosts


def test_entries_in_use_are_bounded_too() -> None:
    cache: SegmentedCache[int, int] = SegmentedCache(1000)
    for number in range(5000):
        cache.put(number, 100.0, number)
        assert cache.get(number, 0.0) == number
        assert len(cache) <= 1000
    assert cache.get(4999, 0.0) == 4999
    assert cache.get(0, 0.0) is None


def test_an_expired_entry_is_not_returned_and_still_counts_as_used() -> None:
    cache: SegmentedCache[str, int] = SegmentedCache(8)
    cache.put("a", 10.0, 1)
    assert cache.get("a", 5.0) == 1
    assert cache.get("a", 10.0) is None
    cache.put("a", 20.0, 2)
    for number in range(100):
        cache.put(f"other{number}", 100.0, 0)
    assert cache.get("a", 15.0) == 2
