"""Addresses of gRPC: `unix:PATH` for a Unix socket, `host:port` for TCP. This module is pure."""

from __future__ import annotations

import ipaddress
import os
from dataclasses import dataclass, replace
from pathlib import Path

# The size of `sun_path` (unix(7)) without the octet that ends it.
LONGEST_SOCKET_PATH = 107

_UNIX = "unix:"


@dataclass(frozen=True, slots=True)
class UnixSocket:
    """A Unix socket, by its absolute path."""

    path: Path

    def __str__(self) -> str:
        return f"{_UNIX}{self.path}"


@dataclass(frozen=True, slots=True)
class TcpAddress:
    """A TCP port of a host. An IPv6 address has no brackets here."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def is_loopback(self) -> bool:
        """Whether only processes of this machine can reach the port. The result is False for a name other than
        `localhost`, because such a name may stand for any address.
        """
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False


Address = UnixSocket | TcpAddress


def parse(text: str) -> Address:
    """Reads `unix:PATH` or `host:port`, with brackets around an IPv6 host. Raises ValueError when the path is missing
    or too long, the host is missing, or the port is not valid.
    """
    text = text.strip()
    if text.startswith(_UNIX):
        path = text.removeprefix(_UNIX)
        if not path.strip("/"):
            raise ValueError(f"{text!r} has no path after unix:")
        # gRPC also accepts unix:///path.
        absolute = Path(os.path.abspath(path))  # noqa: PTH100 - Path.absolute keeps `..`, which would hide the folder
        if len(os.fsencode(absolute)) > LONGEST_SOCKET_PATH:
            raise ValueError(f"the path of a Unix socket has at most {LONGEST_SOCKET_PATH} octets: {absolute}")
        return UnixSocket(absolute)
    try:
        return host_and_port(text)
    except ValueError:
        raise ValueError(f"an address of gRPC is unix:PATH or host:port, not {text!r}") from None


def host_and_port(text: str) -> TcpAddress:
    """Reads `host:port`, with brackets around an IPv6 host. Raises ValueError when the host is missing or the port is
    not valid.
    """
    host, _, port = text.rpartition(":")
    if not host or not (port.isascii() and port.isdigit() and int(port) <= 65535):
        raise ValueError(f"must be host:port, not {text!r}")
    return TcpAddress(host.removeprefix("[").removesuffix("]"), int(port))


def targets(text: str) -> tuple[str, ...]:
    """Reads the addresses of a setting, separated by commas. Raises ValueError when an address is not valid, or when
    there is no address.
    """
    addresses = tuple(str(parse(part)) for part in text.split(",") if part.strip())
    if not addresses:
        raise ValueError("at least one address is needed, unix:PATH or host:port")
    return addresses


def of_worker(address: Address, number: int) -> Address:
    """Returns the address of worker `number` (from 0) of a process that got one address for all its workers."""
    if number == 0:
        return address
    if isinstance(address, TcpAddress):
        return replace(address, port=address.port + number)
    return UnixSocket(address.path.with_name(f"{address.path.stem}.{number}{address.path.suffix}"))
