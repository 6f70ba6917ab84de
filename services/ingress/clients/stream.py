"""One bidirectional gRPC stream to one replica that is kept open: reconnects by itself, joins what is ready into one
frame, and knows whether the replica says that it can work.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any, Protocol

import grpc
import structlog
from grpc_health.v1 import health_pb2, health_pb2_grpc

from libs.runtime import rpc
from libs.runtime.lifecycle import StartupError
from libs.runtime.security import Security

log = structlog.get_logger(__name__)

_READY_SECONDS = 2.0
_PAUSE_SECONDS = 0.1
_GAP_SECONDS = 0.001
_PROBE_SECONDS = 1.5
# A stream that the replica does not end within this time after our side finished is cancelled.
_FAREWELL_SECONDS = 5.0

_SERVING = health_pb2.HealthCheckResponse.SERVING


class Peer(Protocol):
    """The owner of a stream, which makes the frames to send and takes those that come."""

    def serving(self, yes: bool) -> None:
        """The health of the replica. Called before `opened`, and at each change. It says no while it has no
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
    """Calls one streaming method of one replica over and over."""

    def __init__(
        self,
        name: str,
        target: str,
        security: Security,
        method: Callable[[grpc.aio.Channel], Callable[[], Any]],
        peer: Peer,
    ) -> None:
        self._name = name
        self.target = target
        self._security = security
        self._method = method
        self._peer = peer
        self._wake = asyncio.Event()
        # Whether the next frame may go.
        self._turn = asyncio.Event()
        self._gap: asyncio.TimerHandle | None = None
        self._call: Any = None
        self._channel: grpc.aio.Channel | None = None
        self._probe: asyncio.Task[None] | None = None
        self._finished = False
        # The replica is no target any more.
        self.retired = False
        self._was_open = False

    @property
    def channel(self) -> grpc.aio.Channel | None:
        """The connection to the replica; None while there is none."""
        return self._channel

    def wake(self) -> None:
        """Tells the stream that there is something to write."""
        self._wake.set()

    def recycle(self) -> None:
        """Cancels the present stream; `run` opens another."""
        if self._call is not None:
            self._call.cancel()

    def finish(self) -> None:
        """Writes what is ready and nothing more: the replica ends the stream when it has answered everything."""
        if self._call is not None and not self._finished:
            self._finished = True
            self._wake.set()
            self._turn.set()
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
        if self._channel is not None and (self._probe is None or self._probe.done()):
            self._probe = asyncio.create_task(self._ask(self._channel, self._call))

    async def run(self) -> None:
        """Until cancelled, or retired and finished."""
        reported = ""
        while not self.retired:
            try:
                channel = rpc.channel(self.target, self._security, self._name)
            except StartupError as error:
                reason = str(error)
            else:
                async with channel:
                    reason = await self._serve(channel)
            if reason != reported and self._was_open:
                log.warning("stream_broken", service=self._name, target=self.target, reason=reason)
            elif reason != reported:
                # Services start in any order.
                log.info("replica_unreachable", service=self._name, target=self.target, reason=reason)
            reported = reason
            await asyncio.sleep(_PAUSE_SECONDS)

    async def _serve(self, channel: grpc.aio.Channel) -> str:
        """Runs one stream to its end. Returns why it ended."""
        health = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest())
        try:
            async with asyncio.timeout(_READY_SECONDS):
                await channel.channel_ready()
                serving = await _first_status(health)
        except TimeoutError:
            health.cancel()
            return "unreachable"
        except grpc.aio.AioRpcError as error:
            return rpc.caught(error)
        self._channel, self._call, self._finished = channel, self._method(channel)(), False
        self._peer.serving(serving and not self.retired)
        self._peer.opened()
        self._wake.set()
        self._turn.set()
        self._was_open = True
        log.info("stream_opened", service=self._name, target=self.target)
        follower = asyncio.create_task(self._follow(health))
        try:
            return await self._read(self._call)
        finally:
            self._channel = self._call = None
            follower.cancel()
            health.cancel()
            await asyncio.gather(follower, return_exceptions=True)

    async def _read(self, call: Any) -> str:
        writer = asyncio.create_task(self._write(call))
        reason = "ended"
        try:
            while (frame := await call.read()) is not grpc.aio.EOF:
                if self._gap is not None:
                    self._gap.cancel()
                self._turn.set()
                self._peer.received(frame)
        except grpc.aio.AioRpcError as error:
            reason = rpc.caught(error)
        except asyncio.CancelledError:
            # Our own recycle() looks like a cancellation too; only the task's own one is passed on.
            if (task := asyncio.current_task()) is not None and task.cancelling():
                raise
            reason = "recycled"
        finally:
            self._call = None
            writer.cancel()
            call.cancel()
            await asyncio.gather(writer, return_exceptions=True)
            self._peer.broken(reason)
        return reason

    async def _write(self, call: Any) -> None:
        """Writes frames one by one.

        The next frame is written when an answer has come, or after a short pause, so that more requests join it. A
        frame costs about as much as twenty requests in it.
        """
        loop = asyncio.get_running_loop()
        while True:
            await self._wake.wait()
            await self._turn.wait()
            # One turn of the loop lets what is ready elsewhere join this frame.
            await asyncio.sleep(0)
            self._wake.clear()
            ready = self._peer.next_frame()
            try:
                if ready is None:
                    if self._finished:
                        await call.done_writing()
                        return
                    continue
                frame, answered = ready
                self._wake.set()
                if answered:
                    self._turn.clear()
                    # The frame was answered meanwhile. Its timer would send the next frame too early, or wake the loop
                    # for nothing.
                    if self._gap is not None:
                        self._gap.cancel()
                    self._gap = loop.call_later(_GAP_SECONDS, self._turn.set)
                await call.write(frame)
            except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
                # The reader sees why and ends the stream.
                return

    async def _follow(self, health: Any) -> None:
        """Hands on what the replica says of itself, until the stream ends."""
        with contextlib.suppress(grpc.aio.AioRpcError):
            while (status := await health.read()) is not grpc.aio.EOF:
                self._peer.serving(status.status == _SERVING and not self.retired)

    async def _ask(self, channel: grpc.aio.Channel, call: Any) -> None:
        try:
            await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=_PROBE_SECONDS)
        except grpc.aio.AioRpcError as error:
            if error.code() != grpc.StatusCode.UNIMPLEMENTED:
                log.warning("replica_unresponsive", service=self._name, target=self.target)
                call.cancel()


async def _first_status(health: Any) -> bool:
    """A server without the health service is taken at its word. Raises AioRpcError when the replica is away."""
    try:
        status = await health.read()
    except grpc.aio.AioRpcError as error:
        if error.code() != grpc.StatusCode.UNIMPLEMENTED:
            raise
        return True
    return bool(status is not grpc.aio.EOF and status.status == _SERVING)
