"""The attributes of aiosmtpd's `server` and `session` that a handler may read, with the values of this connection."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

from aiosmtpd.proxy_protocol import ProxyData
from aiosmtpd.smtp import SMTP, LoginPassword
from aiosmtpd.smtp import Session as HandlerSession

from services.ingress.connection import Connection
from services.ingress.limits import COMMAND_OCTETS, Limits
from services.ingress.session import SessionFacts
from services.ingress.verdict import Profile


@dataclass(frozen=True, slots=True)
class Caller:
    """The connection for which hooks are called. For a message over HTTP, `server` is a StandInServer."""

    server: SMTP
    session: SessionFacts
    profile: Profile
    limits: Limits
    # Whether the client came through a trusted proxy.
    proxied: bool = False


class StandInServer(SMTP):
    """The `server` of a message that came over HTTP: there is no connection, and no reply is sent."""

    def __init__(self) -> None:
        # SMTP.__init__ is not called here either, as in Connection. `present` sets the attributes that a handler may
        # read.
        self.transport = None


class _Transport:
    """The part of a connection's transport that a handler may read. In this gateway TLS is above the transport, and in
    aiosmtpd below it.
    """

    def __init__(self, transport: asyncio.Transport, tls: Any, peer: tuple[str, int]) -> None:
        self._transport = transport
        self._extra = {"peername": peer, "ssl_object": tls}
        if tls is not None:
            self._extra |= {"cipher": tls.cipher(), "sslcontext": tls.context, "peercert": tls.getpeercert()}

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        info = self._extra.get(name)
        return self._transport.get_extra_info(name, default) if info is None else info

    def is_closing(self) -> bool:
        return self._transport.is_closing()


def present(caller: Caller, handler: object, loop: asyncio.AbstractEventLoop) -> None:
    """Sets aiosmtpd's attributes on `server` and its `session` to the present values. `loop` is the loop in which hooks
    run.
    """
    server, session, profile = caller.server, caller.session, caller.profile
    peer = (session.peer.client_address, session.peer.client_port)
    transport, tls = None, None
    if isinstance(server, Connection) and server.socket_transport is not None:
        tls = server.tls_object
        transport = _Transport(server.socket_transport, tls, peer)
    server.event_handler = handler
    # The content is always bytes, and never text.
    server._decode_data = False  # noqa: SLF001 - handlers do read it
    server.loop = loop
    server.transport = transport  # type: ignore[assignment]
    server.hostname = profile.hostname
    server.__ident__ = profile.banner
    server.data_size_limit = profile.max_message_size or None
    server.enable_SMTPUTF8 = True
    server.command_size_limit = COMMAND_OCTETS
    server.line_length_limit = caller.limits.max_line_octets + len(b"\r\n")
    server.tls_context = tls.context if tls is not None else None
    server.require_starttls = False
    handler_session = getattr(server, "session", None)
    if handler_session is None or (handler_session.ssl is None) is not (tls is None):
        # The session is reset after the TLS handshake (RFC 3207 4.2), so handlers get a new one, too.
        server.session = handler_session = HandlerSession(loop)
    handler_session.peer = peer
    handler_session.host_name = session.helo_sent.decode("utf-8", "surrogateescape") or None
    handler_session.extended_smtp = session.esmtp
    handler_session.authenticated = bool(session.account) or None
    # Only policy gets the password.
    handler_session.auth_data = LoginPassword(session.account.encode(), b"") if session.account else None
    # The value behind a deprecated property is set directly, because setting the property logs a warning.
    handler_session._login_data = handler_session.auth_data and handler_session.auth_data.login  # noqa: SLF001
    if tls is not None and transport is not None:
        handler_session.ssl = {
            name: transport.get_extra_info(name)
            for name in ("peername", "sockname", "ssl_object", "sslcontext", "cipher", "peercert")
        }
    if caller.proxied:
        handler_session.proxy_data = proxy = ProxyData(version=None)
        proxy.src_addr = ip_address(session.peer.client_address)  # type: ignore[misc]
        proxy.src_port = session.peer.client_port  # type: ignore[misc]
        proxy.dst_addr = ip_address(session.peer.local_address)  # type: ignore[misc]
        proxy.dst_port = session.peer.local_port  # type: ignore[misc]
