"""gRPC over plain TCP on loopback, for tests that are not about who may call."""

from __future__ import annotations

import grpc

from libs.runtime import addresses, rpc
from libs.runtime.security import Security
from tests.peers.ports import LOOPBACK

INSECURE = Security(insecure_loopback=True)


async def start(server: rpc.Server, port: int = 0, host: str = LOOPBACK) -> int:
    """Lets the server listen on a port of loopback; returns the port."""
    address = addresses.parse(await server.start(f"{host}:{port}", INSECURE))
    assert isinstance(address, addresses.TcpAddress)
    return address.port


def channel(port: int) -> grpc.aio.Channel:
    """A channel to a server on a port of loopback."""
    return rpc.channel(f"{LOOPBACK}:{port}", INSECURE, "")
