"""A session with a server, and the steps from the greeting to the point where MAIL may be sent."""

from __future__ import annotations

import ssl
import time
from dataclasses import dataclass, field, replace
from typing import Protocol

from services.relay.delivery.smtp.auth import log_in, mechanism
from services.relay.delivery.smtp.capabilities import Capabilities
from services.relay.delivery.smtp.protocol import ConnectionFailedError, DeliveryProtocol
from services.relay.delivery.targets.endpoint import Endpoint, HostFailedError, Loop
from services.relay.delivery.targets.options import Timeouts
from services.relay.delivery.targets.tls import Contexts, server_name
from services.relay.model.outcome import Peer, Reply, ReplyMeaning, Stage, deferred, failed, lost, meaning_of, sanitised


class Watcher(Protocol):
    """An object whose method is called with each step of a session when the step is made. The test of a relay host
    shows these steps.
    """

    def step(self, name: str, ok: bool, detail: str, seconds: float) -> None: ...


@dataclass(slots=True)
class Session:
    """An open session, between two transactions or in one."""

    endpoint: Endpoint
    protocol: DeliveryProtocol
    capabilities: Capabilities
    peer: Peer
    # The number of messages for which a transaction was begun.
    messages: int = 0
    # The time at which the session was last given back to the pool.
    idle_since: float = field(default=0.0)
    # Whether the server greeted with the name of this gateway, and may do so (Loop.BY_TRACE). Then each message must be
    # checked for a loop.
    has_our_name: bool = False

    @property
    def usable(self) -> bool:
        return self.protocol.usable


class SessionOpener:
    """Opens sessions on new connections. Deliveries and the test of a relay host make the same steps."""

    def __init__(self, contexts: Contexts, timeouts: Timeouts, *, chunking: bool) -> None:
        """`chunking` allows BDAT, where the server offers it."""
        self._contexts = contexts
        self._timeouts = timeouts
        self._chunking = chunking

    async def open(
        self,
        protocol: DeliveryProtocol,
        endpoint: Endpoint,
        hostname: str,
        *,
        without_tls: bool = False,
        watcher: Watcher | None = None,
    ) -> Session:
        """Reads the greeting and sends EHLO, STARTTLS, EHLO and AUTH, as far as the endpoint needs them. `without_tls`
        means that the TLS of the server is known to be broken.

        When the steps fail, this method closes `protocol`; the caller does not need to.

        Raises HostFailedError, after the connection was closed.
        """
        opening = _Opening(self._contexts, self._timeouts, protocol, endpoint, hostname, without_tls, watcher)
        try:
            session = await opening.run()
            if session.capabilities.chunking and not self._chunking:
                session.capabilities = replace(session.capabilities, chunking=False)
            return session
        except HostFailedError:
            if protocol.usable:
                protocol.quit()
            else:
                protocol.abort()
            raise
        except BaseException:
            protocol.abort()
            raise


class _Opening:
    """A session that is being opened."""

    def __init__(
        self,
        contexts: Contexts,
        timeouts: Timeouts,
        protocol: DeliveryProtocol,
        endpoint: Endpoint,
        hostname: str,
        without_tls: bool,
        watcher: Watcher | None,
    ) -> None:
        self._contexts = contexts
        self._timeouts = timeouts
        self._protocol = protocol
        self._endpoint = endpoint
        self._hostname = hostname.lower()
        self._without_tls = without_tls
        self._watcher = watcher
        self._started = time.monotonic()
        self._has_our_name = False

    async def run(self) -> Session:
        if self._endpoint.tls.implicit:
            await self._handshake("tls")
        await self._greeting()
        offered = await self._hello("ehlo")
        if not self._endpoint.tls.implicit:
            offered = await self._secure(offered)
        await self._authenticate(offered)
        return Session(self._endpoint, self._protocol, offered, self._peer(), has_our_name=self._has_our_name)

    async def _greeting(self) -> None:
        reply = await self._read(Stage.GREETING, self._timeouts.greeting)
        self._show("greeting", reply.positive, _shown(reply))
        if not reply.positive:
            raise self._failed(meaning_of(Stage.GREETING, reply))
        words = reply.text.split(None, 1)
        name = words[0].decode("ascii", "replace").lower() if words else ""
        self._has_our_name = name == self._hostname and self._endpoint.loop is Loop.BY_TRACE
        if name == self._hostname and self._endpoint.loop in (Loop.BOUNCE, Loop.DEFER):
            raise HostFailedError(looped(self._endpoint), self._peer(), is_ourselves=True)

    async def _hello(self, step: str) -> Capabilities:
        verb = "LHLO" if self._endpoint.lmtp else "EHLO"
        reply = await self._command(f"{verb} {self._hostname}", Stage.EHLO, self._timeouts.ehlo)
        if not reply.positive and reply.code // 100 == 5 and not self._needs_extensions():
            # The server supports no extensions (RFC 5321 3.2).
            reply = await self._command(f"HELO {self._hostname}", Stage.EHLO, self._timeouts.ehlo)
            self._show(step, reply.positive, _shown(reply))
            if reply.positive:
                return Capabilities()
            raise self._failed(meaning_of(Stage.EHLO, reply))
        self._show(step, reply.positive, _shown(reply))
        if not reply.positive:
            raise self._failed(meaning_of(Stage.EHLO, reply))
        return Capabilities.of(reply)

    def _needs_extensions(self) -> bool:
        endpoint = self._endpoint
        return endpoint.lmtp or endpoint.auth is not None or (endpoint.tls.required and not endpoint.tls.implicit)

    async def _secure(self, offered: Capabilities) -> Capabilities:
        """Sends STARTTLS if the server offers it and the plan allows TLS, and then sends EHLO again. The extensions
        that the server offered before TLS are forgotten.
        """
        plan = self._endpoint.tls
        if plan.policy == "none" or (self._without_tls and not plan.required):
            return offered
        if not offered.starttls:
            if plan.required:
                self._show("starttls", False, "STARTTLS is not offered")
                raise self._failed(deferred(451, "4.7.4", "TLS is required and the server does not offer STARTTLS"))
            return offered
        reply = await self._handshake("starttls")
        if reply is not None and reply.code != 220:
            if plan.required:
                refused = meaning_of(Stage.STARTTLS, reply)
                text = f"TLS is required and STARTTLS was refused: {refused.text}"
                raise self._failed(deferred(reply.code, "4.7.4", text))
            return offered
        try:
            return await self._hello("ehlo_tls")
        except HostFailedError as error:
            if error.meaning.code or error.silent:
                raise
            # In TLS 1.3 the handshake ends for the client before the server has read the client's last messages. If the
            # server rejects these, for example because it wants a client certificate, the connection ends only now.
            raise HostFailedError(error.meaning, error.peer, tls_broken=self._may_do_without_tls) from error

    @property
    def _may_do_without_tls(self) -> bool:
        """Whether plaintext is allowed, because the plan requires neither TLS nor a valid certificate."""
        return not self._endpoint.tls.required and not self._endpoint.tls.verify

    async def _handshake(self, step: str) -> Reply | None:
        """Starts TLS on this connection. Returns the reply to STARTTLS, or None for implicit TLS."""
        plan, seconds = self._endpoint.tls, self._timeouts.tls
        context, name = self._contexts.of(plan), server_name(plan.server_name or self._endpoint.host)
        reply: Reply | None = None
        try:
            if step == "tls":
                await self._protocol.handshake(context, name, seconds)
            else:
                reply = await self._protocol.upgrade(context, name, seconds)
                if reply.code != 220:
                    self._show(step, False, _shown(reply))
                    return reply
            refusal = self._protocol.refusal(plan)
            if refusal:
                raise ssl.SSLCertVerificationError(refusal)
        except (ssl.SSLError, OSError, ConnectionFailedError) as error:
            reason = _tls_reason(error)
            self._show(step, False, reason)
            status = "4.7.5" if plan.required else "4.7.0"
            meaning = deferred(0, status, f"TLS failed: {reason}")
            raise HostFailedError(meaning, self._endpoint.peer(), tls_broken=self._may_do_without_tls) from error
        self._show(step, True, self._protocol.tls)
        return reply

    async def _authenticate(self, offered: Capabilities) -> None:
        auth = self._endpoint.auth
        if auth is None:
            return
        secured = bool(self._protocol.tls)
        if not secured and not auth.allow_without_tls:
            self._show("auth", False, "no login was sent, because the connection has no TLS")
            raise self._failed(deferred(451, "4.7.0", "no login was sent, because the server offers no TLS"))
        name = mechanism(offered.auth, tls=secured)
        if not name:
            offer = " ".join(offered.auth) or "none"
            self._show("auth", False, f"no usable mechanism offered ({offer})")
            raise self._failed(deferred(451, "4.7.0", f"the server offers no usable login (AUTH: {offer})"))
        try:
            reply = await log_in(self._protocol, name, auth, self._timeouts.auth)
        except ConnectionFailedError as error:
            raise self._lost(Stage.AUTH, "auth", error) from error
        # 235 means success. Other replies are judged by their first digit (RFC 5321 4.2.1), and the reply to MAIL shows
        # whether the login succeeded.
        self._show("auth", reply.positive, f"{name.upper()}: {_shown(reply)}")
        if not reply.positive:
            raise self._failed(meaning_of(Stage.AUTH, reply))

    async def _command(self, line: str, stage: Stage, seconds: float) -> Reply:
        try:
            self._protocol.send(line.encode("ascii") + b"\r\n", 1)
        except ConnectionFailedError as error:
            raise self._lost(stage, stage.value, error) from error
        return await self._read(stage, seconds)

    async def _read(self, stage: Stage, seconds: float) -> Reply:
        try:
            return await self._protocol.reply(seconds)
        except ConnectionFailedError as error:
            raise self._lost(stage, stage.value, error) from error

    def _lost(self, stage: Stage, step: str, error: ConnectionFailedError) -> HostFailedError:
        self._show(step, False, str(error))
        return HostFailedError(lost(stage, error.what, error.error), self._peer(), silent=error.what == "time-out")

    def _failed(self, meaning: ReplyMeaning) -> HostFailedError:
        return HostFailedError(meaning, self._peer())

    def _peer(self) -> Peer:
        return self._endpoint.peer(self._protocol.tls)

    def _show(self, step: str, ok: bool, detail: str) -> None:
        if self._watcher is not None:
            now = time.monotonic()
            self._watcher.step(step, ok, detail, now - self._started)
            self._started = now


def looped(endpoint: Endpoint) -> ReplyMeaning:
    """Returns the result for a message when the server at this endpoint is this gateway itself."""
    loop = f"{endpoint.host} greets with this gateway's own name: mail would loop"
    return failed(550, "5.4.6", loop) if endpoint.loop is Loop.BOUNCE else deferred(451, "4.4.6", loop)


def _shown(reply: Reply) -> str:
    return sanitised(b"%d %b" % (reply.code, reply.text))


def _tls_reason(error: Exception) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        # The error has `verify_message` when ssl itself refused the certificate.
        return f"certificate refused: {getattr(error, 'verify_message', error)}"
    if isinstance(error, ssl.SSLError):
        return error.reason or "handshake failed"
    return sanitised(str(error)) or type(error).__name__
