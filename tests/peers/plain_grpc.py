"""gRPC over plain TCP on loopback, for tests that do not check which callers are allowed."""

from __future__ import annotations

import grpc

from libs.runtime import addresses, rpc
from libs.runtime.security import Security
from tests.peers.ports import LOOPBACK

INSECURE = Security(insecure_loopback=True)


async def start(server: rpc.Server, port: int = 0, host: str = LOOPBACK) -> int:
    """Makes the server listen on a loopback port, and returns the port."""
    address = addresses.parse(await server.start(f"{host}:{port}", INSECURE))
    assert isinstance(address, addresses.TcpAddress)
    return address.port


def channel(port: int) -> grpc.aio.Channel:
    """Returns a channel to a server on a loopback port."""
    return rpc.channel(f"{LOOPBACK}:{port}", INSECURE, "")
