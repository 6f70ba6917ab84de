"""Loopback ports and addresses that no other process of a test run uses at the same time.

A server that can listen on port 0 does not need this module. The others (PostgreSQL, Postfix, the services) must be
given a port number before they start. If we asked the kernel for a free port and closed it again, an outgoing
connection could use the port before the server does. Therefore the numbers come from below the kernel's ephemeral
range, in blocks. A process owns a block while it holds the abstract Unix socket that is named after the block. The
kernel closes that socket when the process ends, so nothing is left to clean up.
"""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

from libs.runtime.addresses import Address, UnixSocket

LOOPBACK = "127.0.0.1"

_FIRST_PORT = 10_000
_LAST_PORT = 32_000
_BLOCK = 100
_CONNECT_SECONDS = 5.0

_lock = threading.Lock()
_owned: list[socket.socket] = []
_owner_pid = 0
_numbers: Iterator[int] = iter(())
# The unused numbers of the block from which runs of consecutive ports are taken.
_run_numbers: Sequence[int] = ()
_addresses: Iterator[str] = iter(())


def free_port(*hosts: str) -> int:
    """Returns a port that is free for TCP and UDP on each of `hosts`, which is 127.0.0.1 by default.

    A process never gets the same port twice.
    """
    return free_ports(1, *hosts)[0]


def free_ports(count: int, *hosts: str) -> tuple[int, ...]:
    """Returns `count` different ports, each as `free_port` chooses them.

    Raises RuntimeError when every block is taken.
    """
    with _lock:
        found: list[int] = []
        while len(found) < count:
            number = _next_number()
            if all(_is_free(host, number) for host in hosts or (LOOPBACK,)):
                found.append(number)
        return tuple(found)


def free_run(count: int, host: str = LOOPBACK) -> int:
    """Returns the first of `count` (at most 100) consecutive free ports."""
    global _run_numbers
    with _lock:
        _claim_first_block()
        while True:
            if len(_run_numbers) < count:
                _run_numbers = _claim_block()
            run, _run_numbers = _run_numbers[:count], _run_numbers[count:]
            if all(_is_free(host, number) for number in run):
                return run[0]


def free_address() -> str:
    """Returns an address of 127/8 that only this process uses; it is never 127.0.0.1 itself.

    Linux answers on all of 127/8. Servers that must have the same port number (all MX hosts of a test) get an address
    each.
    """
    global _addresses
    with _lock:
        _claim_first_block()
        try:
            return next(_addresses)
        except StopIteration:
            # After 250 addresses the first addresses are used again. By then no server uses them any more.
            _addresses = _addresses_of(os.getpid())
            return next(_addresses)


def listening_socket(host: str = LOOPBACK, port: int = 0) -> socket.socket:
    """Returns a bound and listening TCP socket that can be handed to a server. Port 0 stands for any free port."""
    # asyncio sets TCP_NODELAY only on connections of a socket that names its protocol.
    listener = socket.socket(_family(host), socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((host, port))
    listener.listen(512)
    listener.setblocking(False)
    return listener


def accepts_connections(address: Address) -> bool:
    """Returns whether a server listens at the address.

    While a service starts, this costs much less than requests that nobody answers.
    """
    family, place = (
        (socket.AF_UNIX, str(address.path))
        if isinstance(address, UnixSocket)
        else (_family(address.host), (address.host, address.port))
    )
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.settimeout(_CONNECT_SECONDS)
        return probe.connect_ex(place) == 0


def _next_number() -> int:
    global _numbers
    _claim_first_block()
    for number in _numbers:
        return number
    _numbers = iter(_claim_block())
    return next(_numbers)


def _claim_first_block() -> None:
    global _owner_pid, _numbers, _run_numbers, _addresses
    if _owner_pid != os.getpid():
        # A forked child inherits its parent's sockets, and with them the blocks, so the child must claim other blocks.
        _owner_pid = os.getpid()
        _owned.clear()
        _run_numbers = ()
        _numbers = iter(_claim_block())
        _addresses = _addresses_of(_owner_pid)


def _claim_block() -> Sequence[int]:
    last = min(_LAST_PORT, _ephemeral_start())
    for first in range(_FIRST_PORT, last - _BLOCK, _BLOCK):
        claim = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            claim.bind(f"\0posthouse-test-ports-{first}")
        except OSError:
            claim.close()
            continue
        _owned.append(claim)
        return range(first, first + _BLOCK)
    raise RuntimeError(f"every block of test ports from {_FIRST_PORT} to {last} is taken by a running process")


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def _ephemeral_start() -> int:
    return int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])


def _addresses_of(pid: int) -> Iterator[str]:
    # Process ids are unique among running processes. The middle of the address is unique as well for ids up to 32,767.
    high, low = (pid >> 8) & 0x7F, pid & 0xFF
    return iter([f"127.{0x80 | high}.{low}.{last}" for last in range(1, 251)])


def _is_free(host: str, port: int) -> bool:
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        with socket.socket(_family(host), kind) as probe:
            if kind is socket.SOCK_STREAM:
                # Servers set this option too. With it, connections in TIME_WAIT do not make the port count as used.
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError:
                return False
    return True
