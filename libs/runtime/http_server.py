"""HTTP or HTTPS in a process that also has other work: uvicorn without its signal handlers and its log."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from libs.runtime import https_certificate
from libs.runtime.https_certificate import Certificate
from libs.runtime.lifecycle import StartupError

# The time for running requests at the end.
_GRACE_SECONDS = 5.0
_MOST_OCTETS_OF_A_HEAD = 32_768


class HttpServer:
    """Serves an ASGI application. `__init__` binds the socket, so an address in use is found before the process reports
    that it is ready.

    `protocol` makes the protocol of a connection, in place of uvicorn's. `besides` makes a coroutine that runs as long
    as the server.
    """

    def __init__(
        self,
        app: object,
        host: str,
        port: int,
        *,
        certificate: Certificate | None = None,
        protocol: Callable[..., H11Protocol] = H11Protocol,
        besides: Callable[[], Coroutine[Any, Any, None]] | None = None,
    ) -> None:
        """Raises StartupError when the server cannot listen at the address."""
        self._socket = _listen(host, port)
        self.port = self._socket.getsockname()[1]
        config = uvicorn.Config(
            app,  # type: ignore[arg-type]
            http=protocol,  # type: ignore[arg-type]
            log_config=None,
            access_log=False,
            lifespan="off",
            proxy_headers=False,
            server_header=False,
            h11_max_incomplete_event_size=_MOST_OCTETS_OF_A_HEAD,
            timeout_graceful_shutdown=int(_GRACE_SECONDS),
        )
        self._certificate = certificate
        self._besides = besides
        self._server = _Uvicorn(config, protocol, certificate)
        self._ended = asyncio.Event()

    async def run(self) -> None:
        """Serves until `stop`."""
        watching = [asyncio.ensure_future(self._besides())] if self._besides is not None else []
        if self._certificate is not None:
            watching.append(asyncio.ensure_future(self._certificate.watch()))
        try:
            await self._server.serve(sockets=[self._socket])
        finally:
            for task in watching:
                task.cancel()
            self._ended.set()

    async def stop(self) -> None:
        """Accepts no more requests, and returns when the running requests are answered or out of time."""
        self._server.should_exit = True
        await self._ended.wait()


class _Uvicorn(uvicorn.Server):
    """The server of uvicorn. It handles no signals, because the lifecycle of the process does. With a certificate the
    server uses HTTPS, and a handshake has its own deadline.
    """

    def __init__(
        self, config: uvicorn.Config, protocol: Callable[..., H11Protocol], certificate: Certificate | None
    ) -> None:
        super().__init__(config)
        self._protocol = protocol
        self._certificate = certificate

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        certificate = self._certificate
        if certificate is None or sockets is None:
            await super().startup(sockets)
            return

        def make_http() -> asyncio.Protocol:
            return self._protocol(config=self.config, server_state=self.server_state, app_state={})

        loop = asyncio.get_running_loop()
        self.servers = [
            await loop.create_server(
                make_http,
                sock=socket_,
                backlog=self.config.backlog,
                ssl=certificate.context,
                ssl_handshake_timeout=https_certificate.HANDSHAKE_SECONDS,
            )
            for socket_ in sockets
        ]
        self.started = True

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio sets TCP_NODELAY only on connections of a socket that was made with an explicit protocol. Without
    # TCP_NODELAY, the body of an answer waits until the client has acknowledged the header, which takes up to 40 ms.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise StartupError(f"can't listen on {host}:{port}: {error.strerror}") from error
    return listener
