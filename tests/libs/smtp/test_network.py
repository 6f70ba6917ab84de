"""Networks: canonical addresses, keys for counters, arbitrary masks, strict ranges."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from libs.smtp.network import AddressPattern, canonical_ip, counter_key, parse_network, parse_pattern

checked = settings(deadline=None, max_examples=300)
ipv4 = st.integers(0, 2**32 - 1).map(IPv4Address)
ipv6 = st.integers(0, 2**128 - 1).map(IPv6Address)


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("::FFFF:c000:201", "192.0.2.1"),
        ("0:0:0:0:0:ffff:192.0.2.1", "192.0.2.1"),
        ("::1", "::1"),
        ("2001:DB8:0:0::1", "2001:db8::1"),
        ("fe80::1%eth0", "fe80::1"),
        ("::ffff:192.0.2.1%1", "192.0.2.1"),
        # The deprecated IPv4-compatible form is an address of its own.
        ("::192.0.2.1", "::c000:201"),
    ],
)
def test_addresses_are_canonical(text: str, canonical: str) -> None:
    assert str(canonical_ip(text)) == canonical


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "192.0.2",
        "192.0.2.256",
        "192.0.2.01",
        "192.0.2.1%eth0",
        "192.0.2.1/32",
        "[::1]",
        "1",
        "%",
        "١٩٢.0.2.1",
        ":::",
    ],
)
def test_invalid_addresses_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not an IP address"):
        canonical_ip(text)


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::", "2001:db8:1:2::/64"),
        ("2001:db8:1:3::", "2001:db8:1:3::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::1", "::/64"),
    ],
)
def test_a_client_is_counted_by_ipv4_address_or_ipv6_64_network(text: str, key: str) -> None:
    assert counter_key(text) == key


@given(first=ipv6, low=st.integers(0, 2**64 - 1))
@checked
def test_all_addresses_of_one_64_network_share_a_key(first: IPv6Address, low: int) -> None:
    other = IPv6Address(int(first) >> 64 << 64 | low)
    if first.ipv4_mapped is None and other.ipv4_mapped is None:
        assert counter_key(str(first)) == counter_key(str(other))


@given(address=ipv4)
@checked
def test_every_mapped_form_of_an_ipv4_address_is_read_as_that_address(address: IPv4Address) -> None:
    assert canonical_ip(f"::ffff:{address}") == address
    assert counter_key(f"::ffff:{int(address) >> 16:x}:{int(address) & 0xFFFF:x}") == str(address)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("192.163.1.1/255.100.10.1", "192.32.0.1/255.100.10.1"),
        ("192.0.2.9/24", "192.0.2.0/24"),
        ("192.0.2.9/255.255.255.0", "192.0.2.0/24"),
        ("192.0.2.9", "192.0.2.9/32"),
        ("192.0.2.9/0", "0.0.0.0/0"),
        ("192.0.2.9/0.0.0.0", "0.0.0.0/0"),
        # The mask is a bit pattern. It is not a wildcard mask, whose bits have the opposite meaning.
        ("192.0.2.9/0.0.0.255", "0.0.0.9/0.0.0.255"),
        ("2001:db8::1/32", "2001:db8::/32"),
        ("2001:db8::1/ffff:ffff::", "2001:db8::/32"),
        ("::1", "::1/128"),
        ("::ffff:192.0.2.9/120", "192.0.2.0/24"),
        ("::ffff:192.0.2.9", "192.0.2.9/32"),
    ],
)
def test_patterns_are_shown_in_one_form(text: str, shown: str) -> None:
    pattern = parse_pattern(text)
    assert str(pattern) == shown
    assert parse_pattern(shown) == pattern


def test_a_pattern_with_an_arbitrary_mask_matches_bit_by_bit() -> None:
    pattern = parse_pattern("192.163.1.1/255.100.10.1")
    for client, expected in (
        ("192.163.1.1", True),
        ("192.32.0.1", True),
        ("192.187.245.255", True),
        ("192.163.1.2", False),
        ("192.163.2.1", False),
        ("192.99.1.1", False),
        ("193.163.1.1", False),
        ("::ffff:192.163.1.1", True),
        ("2001:db8::1", False),
    ):
        assert pattern.matches(canonical_ip(client)) is expected, client


def test_a_pattern_matches_no_address_of_the_other_ip_version() -> None:
    assert not parse_pattern("::/0").matches(IPv4Address("192.0.2.1"))
    assert not parse_pattern("0.0.0.0/0").matches(IPv6Address("::1"))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "192.0.2.1/",
        "/24",
        "192.0.2.1/33",
        "192.0.2.1/-1",
        "192.0.2.1/+8",
        "192.0.2.1/24/24",
        "192.0.2.1/::",
        "::1/129",
        "::1/255.0.0.0",
        "::1/ffff:0:ffff::",
        "fe80::1%eth0/64",
        "192.0.2.1/2４",
        "192.0.2.1 /24",
        "192.0.2.1/24\n",
    ],
)
def test_invalid_patterns_are_refused(text: str) -> None:
    with pytest.raises(ValueError):
        parse_pattern(text)


@given(value=st.integers(0, 2**32 - 1), mask=st.integers(0, 2**32 - 1), client=ipv4)
@checked
def test_an_ipv4_pattern_is_compared_bit_by_bit_and_its_text_is_read_as_the_same_pattern(
    value: int, mask: int, client: IPv4Address
) -> None:
    pattern = parse_pattern(f"{IPv4Address(value)}/{IPv4Address(mask)}")
    assert pattern == AddressPattern(4, value & mask, mask)
    assert pattern.matches(client) is (int(client) & mask == value & mask)
    assert pattern.matches(IPv4Address(value))
    assert parse_pattern(str(pattern)) == pattern


@given(address=ipv6, prefix=st.integers(0, 128), client=ipv6)
@checked
def test_an_ipv6_pattern_matches_exactly_the_addresses_of_its_network(
    address: IPv6Address, prefix: int, client: IPv6Address
) -> None:
    if address.ipv4_mapped is None:
        pattern = parse_pattern(f"{address}/{prefix}")
        network = IPv6Network((int(address), prefix), strict=False)
        assert str(pattern) == str(network)
        assert pattern.matches(client) is (client in network)


@pytest.mark.parametrize(
    ("text", "network"),
    [
        ("10.0.0.0/8", "10.0.0.0/8"),
        ("10.0.0.0/255.0.0.0", "10.0.0.0/8"),
        ("192.0.2.1", "192.0.2.1/32"),
        ("0.0.0.0/0", "0.0.0.0/0"),
        ("2001:DB8::/32", "2001:db8::/32"),
        ("2001:db8::/ffff:ffff::", "2001:db8::/32"),
        ("::1", "::1/128"),
        ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
        ("::ffff:192.0.2.1", "192.0.2.1/32"),
    ],
)
def test_trusted_networks_are_read(text: str, network: str) -> None:
    assert parse_network(text) == ip_network(network)
    assert parse_network(str(parse_network(text))) == parse_network(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("10.0.0.1/24", "host bits are set; the network is 10.0.0.0/24"),
        ("10.0.0.1/255.255.255.0", "host bits are set; the network is 10.0.0.0/24"),
        ("2001:db8::1/32", "host bits are set; the network is 2001:db8::/32"),
        ("::ffff:10.0.0.1/104", "host bits are set; the network is 10.0.0.0/8"),
        ("10.0.0.0/255.0.255.0", "the netmask is not contiguous"),
        ("10.0.0.0/0.0.0.255", "the netmask is not contiguous"),
        ("2001:db8::/ffff:0:ffff::", "the netmask is not contiguous"),
        ("10.0.0.0/33", "the prefix is longer than 32"),
        ("::/129", "the prefix is longer than 128"),
        ("10.0.0.0/", "neither a prefix length nor a netmask after the slash"),
        ("fe80::1%eth0", "a network has no zone id"),
        ("example.com", "not an IP address or network"),
    ],
)
def test_the_refusal_of_a_network_has_the_reason_and_the_right_form(text: str, message: str) -> None:
    with pytest.raises(ValueError) as caught:
        parse_network(text)
    assert str(caught.value) == message


@given(address=ipv4 | ipv6, prefix=st.integers(0, 128))
@checked
def test_the_form_that_a_refusal_names_is_accepted(address: IPv4Address | IPv6Address, prefix: int) -> None:
    text = f"{address}/{min(prefix, address.max_prefixlen)}"
    try:
        network: IPv4Network | IPv6Network = parse_network(text)
    except ValueError as error:
        network = parse_network(str(error).removeprefix("host bits are set; the network is "))
    assert str(parse_pattern(text)) == str(network)
