"""The listening ports: accepts connections within the limits, finds the address of the client, and starts its
session.
"""

from __future__ import annotations

import asyncio
import resource
from collections import Counter
from collections.abc import Coroutine, Sequence
from functools import lru_cache
from ipaddress import ip_address
from typing import Any, Protocol

import structlog

from libs.runtime.lifecycle import StartupError
from libs.smtp.network import canonical_ip
from libs.smtp.reply import NOT_READY, TOO_MANY_CONNECTIONS, Reply
from services.ingress import proxy, session_loop
from services.ingress.connection import Connection
from services.ingress.connection_errors import GoneError, HandshakeError, TimedOutError
from services.ingress.handler.server import StandInServer
from services.ingress.session import Listener, Peer, Tls
from services.ingress.settings import Network
from services.ingress.smtp_session import SmtpSession
from services.ingress.worker_context import WorkerContext

log = structlog.get_logger(__name__)

_BACKLOG = 2_048
# The time for the last replies to clients whose connections are closed, and the interval of checks for relay's answers.
_EXPIRED_SECONDS = 2.0
_PENDING_SECONDS = 0.2
# The TLS facts of a session for mail over HTTP. They are empty, because the caller is responsible for the encryption,
# and its details are not known here.
_INNER_TLS = Tls("", "", "")
# The file descriptors that are reserved for streams, spool files and logs. The rest is for clients.
_RESERVED_FILES = 256


class InnerTransport(Protocol):
    """A transport without a socket."""

    def open(self, protocol: Connection) -> None:
        """Begins the connection, with `protocol` as its server."""


@lru_cache(maxsize=4096)
def _canonical(address: str) -> str:
    return str(canonical_ip(address))


def usable_connections(wanted: int) -> int:
    """Raises the limit of open files as far as needed and allowed. Returns how many connections are possible, and logs
    when they are fewer than wanted.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = 2 * wanted + _RESERVED_FILES
    if soft != resource.RLIM_INFINITY and soft < needed:
        soft = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    if soft == resource.RLIM_INFINITY:
        return wanted
    usable = max(1, min(wanted, soft - min(_RESERVED_FILES, soft // 2)))
    if usable < wanted:
        log.warning("open_files_limited", limit=soft, connections=usable, wanted=wanted)
    return usable


class Listeners:
    """All ports of a worker and their connections. A limit of 0 means that there is no limit."""

    def __init__(
        self,
        context: WorkerContext,
        *,
        max_connections: int,
        max_per_client: int,
        proxy_networks: Sequence[Network],
    ) -> None:
        self._services = context
        self._max_connections = max_connections
        self._max_per_client = max_per_client
        self._proxy_networks = tuple(proxy_networks)
        self._servers: list[asyncio.Server] = []
        self._connections: set[Connection] = set()
        # A session may exist longer than its connection, because it waits for relay's answer.
        self._dialogues: set[SmtpSession] = set()
        self._per_client: Counter[str] = Counter()
        self._empty = asyncio.Event()
        self._empty.set()
        self.ports: dict[Listener, int] = {}

    async def listen(self, kind: Listener, hosts: Sequence[str], port: int, *, shared: bool) -> int:
        """Opens a port on each address. Port 0 selects a free port. `shared` means that other workers listen there too.
        Raises StartupError.
        """
        loop = asyncio.get_running_loop()

        metrics, lost = self._services.metrics, self._lost

        def serve(connection: Connection) -> Coroutine[Any, Any, None]:
            return self._serve(connection, kind)

        def connection() -> Connection:
            return Connection(loop, metrics, serve, lost)

        try:
            server = await loop.create_server(
                connection, list(hosts), port, backlog=_BACKLOG, reuse_port=shared, reuse_address=True
            )
        except OSError as error:
            reason = error.strerror or str(error)
            raise StartupError(f"can't listen for {kind.label} on {', '.join(hosts)} port {port}: {reason}") from error
        self._servers.append(server)
        bound = int(server.sockets[0].getsockname()[1])
        self.ports[kind] = bound
        return bound

    @property
    def connections(self) -> int:
        """Returns the number of open connections, including connections that are being closed."""
        return len(self._connections)

    def open_sessions(self) -> dict[tuple[str, str], int]:
        """Returns the number of open sessions, by listener and state."""
        counts: dict[tuple[str, str], int] = {}
        for smtp_session in self._dialogues:
            labels = (smtp_session.session.listener.label, smtp_session.state)
            counts[labels] = counts.get(labels, 0) + 1
        return counts

    async def watch(self, every: float) -> None:
        """Ends waits that last too long, until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(every)
            now = loop.time()
            for connection in list(self._connections):
                connection.check_deadline(now)

    async def drain(self, seconds: float) -> None:
        """Accepts no more connections and closes those of idle clients. Transactions may end within `seconds`. After
        this time, all other connections are closed.
        """
        for server in self._servers:
            server.close()
        self._services.draining = True
        for connection in list(self._connections):
            connection.wake()
        if not await self._until_empty(seconds):
            for connection in list(self._connections):
                connection.session_deadline = 0.0
                connection.expire()
            await self._until_empty(_EXPIRED_SECONDS)
            # Each submission has its own deadline, and its client must get the reply (F63).
            while self._services.relay.has_pending:  # noqa: ASYNC110 - there is no event for each end of a submission
                await asyncio.sleep(_PENDING_SECONDS)
            if not await self._until_empty(_EXPIRED_SECONDS):
                log.warning("connections_cut", count=len(self._connections))
                for connection in list(self._connections):
                    connection.cut()

    async def _until_empty(self, seconds: float) -> bool:
        try:
            async with asyncio.timeout(seconds):
                await self._empty.wait()
        except TimeoutError:
            return False
        return True

    def _lost(self, connection: Connection) -> None:
        self._connections.discard(connection)
        if not self._connections:
            self._empty.set()

    async def open_inner(self, transport: InnerTransport) -> SmtpSession:
        """Starts a submission session, which counts as encrypted, for mail that does not come over SMTP. The limits of
        all sessions apply to it. Raises GoneError when the session cannot begin, and then the transport has the reply.
        """
        loop = asyncio.get_running_loop()
        begun: asyncio.Future[SmtpSession] = loop.create_future()

        async def serve(connection: Connection) -> None:
            try:
                await self._serve(connection, Listener.SUBMISSION, begun)
            finally:
                if not begun.done():
                    begun.set_exception(GoneError())

        transport.open(Connection(loop, self._services.metrics, serve, self._lost))
        return await begun

    async def _serve(
        self, connection: Connection, kind: Listener, inner: asyncio.Future[SmtpSession] | None = None
    ) -> None:
        """Serves one connection to its end. `inner` gets the session of mail over HTTP."""
        if not self._connections:
            self._empty.clear()
        self._connections.add(connection)
        metrics = self._services.metrics
        metrics.sessions[kind.label] += 1
        peer = connection.peer(_canonical)
        if peer is None:
            connection.close()
            return
        if len(self._connections) > self._max_connections:
            self._turn_away(connection, "too_many", NOT_READY)
            return
        proxied = False
        if inner is None and self._is_proxy(peer):
            proxied = True
            try:
                peer = await self._client(connection, peer)
            except (proxy.ProxyError, GoneError, TimedOutError) as error:
                metrics.sessions_refused["proxy"] += 1
                log.info("proxy_header_refused", peer=peer.client_address, reason=str(error) or type(error).__name__)
                connection.close()
                return
        smtp_session = SmtpSession(connection, self._services, kind, peer, proxied=proxied)
        if inner is not None:
            smtp_session.session.tls = _INNER_TLS
            smtp_session.handlers_server = StandInServer()
            inner.set_result(smtp_session)
        if not self._max_per_client:
            await self._converse(smtp_session)
            return
        client = peer.client_address
        if self._per_client[client] >= self._max_per_client:
            self._turn_away(connection, "too_many_of_client", TOO_MANY_CONNECTIONS)
            return
        self._per_client[client] += 1
        try:
            await self._converse(smtp_session)
        finally:
            self._per_client[client] -= 1
            if not self._per_client[client]:
                del self._per_client[client]

    async def _converse(self, smtp_session: SmtpSession) -> None:
        connection = smtp_session.connection
        self._dialogues.add(smtp_session)
        try:
            if smtp_session.session.listener is Listener.SUBMISSIONS:
                deadline = connection.event_loop.time() + self._services.limits.handshake_seconds
                leftover = bytes(connection.pending)
                context = self._services.certificates.context()
                smtp_session.session.tls = await connection.start_tls(context, deadline, leftover=leftover)
            await session_loop.run(smtp_session)
        except (HandshakeError, GoneError, TimedOutError) as error:
            self._services.metrics.sessions_ended["handshake_failed"] += 1
            log.info("handshake_failed", session_id=smtp_session.session.id, reason=str(error) or type(error).__name__)
            connection.close()
        finally:
            self._dialogues.discard(smtp_session)

    def _turn_away(self, connection: Connection, reason: str, reply: Reply) -> None:
        self._services.metrics.sessions_refused[reason] += 1
        connection.reply(reply)
        connection.close()

    def _is_proxy(self, peer: Peer) -> bool:
        if not self._proxy_networks:
            return False
        address = ip_address(peer.client_address)
        return any(address in network for network in self._proxy_networks)

    async def _client(self, connection: Connection, proxy_itself: Peer) -> Peer:
        """Returns the real ends of the connection, from the header that a proxy sends. Raises ProxyError, and the
        errors of `more`.
        """
        deadline = connection.event_loop.time() + self._services.limits.proxy_seconds
        while (header := proxy.parse(bytes(connection.pending[:4096]))) is None:
            await connection.more(deadline)
        connection.drop(header.octets)
        return header.peer or proxy_itself
