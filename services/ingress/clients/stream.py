"""One bidirectional gRPC stream to one replica that is kept open: reconnects by itself, joins what is ready into one
frame, and knows whether the replica says that it can work.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Protocol

import structlog
from grpc_health.v1 import health_pb2

from libs.runtime import rpc
from libs.runtime.endpoints import Endpoint
from libs.runtime.lifecycle import StartupError
from services.ingress.clients import http2
from services.ingress.clients.call import Call

log = structlog.get_logger(__name__)

_READY_SECONDS = 2.0
_PAUSE_SECONDS = 0.1
_GAP_SECONDS = 0.002
_PROBE_SECONDS = 1.5
# A stream that we have finished and the replica has not is given up then.
_FAREWELL_SECONDS = 5.0

_SERVING = health_pb2.HealthCheckResponse.SERVING
_WATCH = "/grpc.health.v1.Health/Watch"
_CHECK = "/grpc.health.v1.Health/Check"
_ABOUT_ALL = health_pb2.HealthCheckRequest().SerializeToString()


class Peer(Protocol):
    """What runs over the stream: makes frames and takes them."""

    def serving(self, yes: bool) -> None:
        """What the replica says of itself: before `opened`, and whenever it changes. It says no while it has no
        configuration yet, and from the moment when it was told to stop; what it has been asked it still answers.
        """

    def opened(self) -> None:
        """A stream is up; nothing was written to it yet."""

    def next_frame(self) -> tuple[Any, bool] | None:
        """Everything that is ready to go, as one frame, and whether an answer to it is due; None when nothing is."""

    def received(self, frame: Any) -> None:
        """A frame came."""

    def broken(self, reason: str) -> None:
        """The stream ended; called once for each `opened`."""


class FrameStream:
    """Calls one streaming method of one replica over and over. `decode` makes an answer of its octets."""

    def __init__(
        self,
        name: str,
        endpoint: Endpoint,
        tls: rpc.TlsFiles | None,
        path: str,
        decode: Callable[[bytes], Any],
        peer: Peer,
    ) -> None:
        self._name = name
        self._endpoint = endpoint
        self._tls = tls
        self._path = path
        self._decode = decode
        self._peer = peer
        self._call: Call | None = None
        self._connection: http2.Connection | None = None
        self._probe: asyncio.Task[None] | None = None
        # There may be something to write; the next frame may go; it is about to.
        self._woken = False
        self._turn = True
        self._writing = False
        self._gap: asyncio.TimerHandle | None = None
        # What the replica said of itself last.
        self._healthy = False
        self._finished = False
        # The replica is no target any more.
        self.retired = False

    def wake(self) -> None:
        """There is something to write."""
        self._woken = True
        self._schedule()

    def recycle(self) -> None:
        """Gives the present stream up and opens another."""
        if self._call is not None:
            self._call.cancel("recycled")

    def finish(self) -> None:
        """Writes what is ready and nothing more: the replica ends the stream when it has answered everything."""
        if self._call is not None and not self._finished:
            self._finished = True
            self._turn = True
            self.wake()
            asyncio.get_running_loop().call_later(_FAREWELL_SECONDS, self._call.cancel)

    def retire(self) -> None:
        """The replica is no target any more: its peer hears that it does not serve, and finishes the stream in time;
        then `run` returns.
        """
        self.retired = True
        self._peer.serving(False)

    def probe(self) -> None:
        """Asks the replica for a sign of life, and gives the stream up when none comes: a machine that is gone says
        nothing, and neither does a process that hangs.
        """
        if self._connection is not None and (self._probe is None or self._probe.done()):
            self._probe = asyncio.create_task(self._ask(self._connection, self._call))

    async def run(self) -> None:
        """Until cancelled, or retired and finished."""
        reported = ""
        while not self.retired:
            reason = await self._connected()
            if reason != reported:
                log.warning("stream_broken", service=self._name, target=self._endpoint.address, reason=reason)
            reported = reason
            await asyncio.sleep(_PAUSE_SECONDS)

    async def _connected(self) -> str:
        """One connection from its beginning to its end; returns why it ended."""
        connection = None
        try:
            async with asyncio.timeout(_READY_SECONDS):
                connection = await http2.connect(self._endpoint, self._tls)
                refusal = await self._watch(connection)
            return refusal or await self._serve(connection)
        except (TimeoutError, OSError):
            return "unreachable"
        except StartupError as error:
            return str(error)
        finally:
            if connection is not None:
                connection.close()

    async def _watch(self, connection: http2.Connection) -> str:
        """Follows what the replica says of itself, from now on; returns, after its first word, why it is of no use."""
        first: asyncio.Future[str] = asyncio.get_running_loop().create_future()

        def said(answer: health_pb2.HealthCheckResponse) -> None:
            self._healthy = answer.status == _SERVING
            if not first.done():
                first.set_result("")
            elif self._call is not None:
                self._peer.serving(self._healthy and not self.retired)

        def ended(reason: str) -> None:
            if not first.done():
                # A server without the health service is taken at its word.
                self._healthy = reason == "unimplemented"
                first.set_result("" if self._healthy else reason)

        watch = connection.call(_WATCH, health_pb2.HealthCheckResponse.FromString, said, ended)
        watch.send(_ABOUT_ALL)
        watch.finish()
        return await first

    async def _serve(self, connection: http2.Connection) -> str:
        """One stream from its beginning to its end; returns why it ended."""
        over: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        call = connection.call(self._path, self._decode, self._received, over.set_result, self._schedule)
        self._connection, self._call, self._finished, self._turn = connection, call, False, True
        reason = "cancelled"
        self._peer.serving(self._healthy and not self.retired)
        self._peer.opened()
        self.wake()
        log.info("stream_open", service=self._name, target=self._endpoint.address)
        try:
            reason = await over
        finally:
            self._connection = self._call = None
            if self._gap is not None:
                self._gap.cancel()
            if self._probe is not None:
                self._probe.cancel()
            self._peer.broken(reason)
        return "ended" if reason == "ok" else reason

    def _received(self, frame: Any) -> None:
        if self._gap is not None:
            self._gap.cancel()
        self._take_turn()
        self._peer.received(frame)

    def _take_turn(self) -> None:
        self._gap = None
        self._turn = True
        self._schedule()

    def _schedule(self) -> None:
        """One turn of the loop lets what is ready elsewhere join the frame."""
        if self._woken and self._turn and not self._writing:
            call = self._call
            if call is not None and not call.congested:
                self._writing = True
                asyncio.get_running_loop().call_soon(self._write, call)

    def _write(self, call: Call) -> None:
        """One frame after the other: the next goes when one came back, or after a moment; the rest of the time is
        used to let more join it. A frame costs about as much as twenty requests in it.
        """
        self._writing = False
        if call is not self._call:
            self._schedule()
            return
        self._woken = False
        ready = self._peer.next_frame()
        if ready is None:
            if self._finished:
                call.finish()
            return
        frame, answered = ready
        self._woken = True
        if answered:
            self._turn = False
            self._gap = asyncio.get_running_loop().call_later(_GAP_SECONDS, self._take_turn)
        call.send(frame.SerializeToString())
        self._schedule()

    async def _ask(self, connection: http2.Connection, asked_for: Call | None) -> None:
        if connection.going_away or asked_for is None:
            return
        over: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        check = connection.call(
            _CHECK,
            health_pb2.HealthCheckResponse.FromString,
            lambda _answer: None,
            lambda reason: None if over.done() else over.set_result(reason),
        )
        check.send(_ABOUT_ALL)
        check.finish()
        try:
            async with asyncio.timeout(_PROBE_SECONDS):
                reason = await over
        except TimeoutError:
            reason = "deadline_exceeded"
        if reason not in ("ok", "unimplemented"):
            log.warning("replica_silent", service=self._name, target=self._endpoint.address)
            asked_for.cancel()
