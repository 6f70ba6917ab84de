"""Reads the name servers of a setting."""

from __future__ import annotations

import socket
from ipaddress import ip_address

_PORT = 53


def addressed(text: str) -> str:
    """Returns the name servers of a setting, with an address in place of each host name. `text` has `host[:port]`,
    separated by commas, with brackets around an IPv6 host that has a port. Names are looked up when this function is
    called, and not again later. Raises ValueError.
    """
    return ",".join(_addressed(part) for part in map(str.strip, text.split(",")) if part)


def server_list(text: str) -> tuple[str, ...]:
    """Returns the name servers of a setting as `addressed` does, as one text for each server. Raises ValueError."""
    return tuple(filter(None, addressed(text).split(",")))


def parse_server(text: str) -> tuple[str, int]:
    """Returns (address, port) of `address`, `address:port` or `[address]:port`. Raises ValueError."""
    host, port = _host_and_port(text)
    return str(ip_address(host)), port


def _addressed(text: str) -> str:
    host, port = _host_and_port(text)
    address = _look_up(host)
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def _host_and_port(text: str) -> tuple[str, int]:
    """Divides host[:port] into host and port. An IPv6 address may have brackets, and needs them when it has a port.
    Raises ValueError when the host is empty or the port is not valid.
    """
    host, port = text, str(_PORT)
    if text.count(":") == 1 or "]:" in text:
        host, _, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not host or not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        raise ValueError(f"a name server must be host[:port], not {text!r}")
    return host, int(port)


def _look_up(host: str) -> str:
    try:
        return str(ip_address(host))
    except ValueError:
        pass
    try:
        return str(socket.getaddrinfo(host, None, type=socket.SOCK_DGRAM)[0][4][0])
    except (OSError, UnicodeError):
        raise ValueError(f"name server {host!r}  is not an address, and can't be looked up") from None
