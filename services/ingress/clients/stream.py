"""One bidirectional gRPC stream to one replica. It connects again by itself, joins waiting data into one frame, and
knows the health that the replica reports.
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
    """The owner of a stream, which makes the frames to send and handles the frames that arrive."""

    def serving(self, yes: bool) -> None:
        """Gets the health of the replica, before `opened` and at each change. A replica is not healthy while it has no
        configuration, and after it was told to stop. A replica that was told to stop still answers earlier requests.
        """

    def opened(self) -> None:
        """Handles a stream that is open, before anything is written to it."""

    def next_frame(self) -> tuple[Any, bool] | None:
        """Returns all waiting data as one frame, and whether the frame needs an answer. Returns None when there is
        nothing to send.
        """

    def received(self, frame: Any) -> None:
        """Handles a frame that arrived."""

    def broken(self, reason: str) -> None:
        """Handles the end of the stream. It is called once for each call of `opened`."""


class FrameStream:
    """Calls one streaming method of one replica again and again."""

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
        # This event is set when the next frame may be sent.
        self._turn = asyncio.Event()
        self._gap: asyncio.TimerHandle | None = None
        self._call: Any = None
        self._channel: grpc.aio.Channel | None = None
        self._probe: asyncio.Task[None] | None = None
        self._finished = False
        # Whether the replica is no longer a target.
        self.retired = False
        self._was_open = False

    @property
    def channel(self) -> grpc.aio.Channel | None:
        """Returns the connection to the replica, or None while there is none."""
        return self._channel

    def wake(self) -> None:
        """Tells the stream that there is something to write."""
        self._wake.set()

    def recycle(self) -> None:
        """Cancels the present stream. `run` opens another."""
        if self._call is not None:
            self._call.cancel()

    def finish(self) -> None:
        """Writes the waiting data and nothing more. The replica ends the stream when it has answered everything."""
        if self._call is not None and not self._finished:
            self._finished = True
            self._wake.set()
            self._turn.set()
            asyncio.get_running_loop().call_later(_FAREWELL_SECONDS, self._call.cancel)

    def retire(self) -> None:
        """Ends the use of a replica that is no longer a target. The owner of the stream is told that the replica does
        not serve, and finishes the stream in time. Then `run` returns.
        """
        self.retired = True
        self._peer.serving(False)

    def probe(self) -> None:
        """Probes the replica, and cancels the stream when the replica does not answer. A machine that is gone, or a
        process that hangs, would never end the stream by itself.
        """
        if self._channel is not None and (self._probe is None or self._probe.done()):
            self._probe = asyncio.create_task(self._ask(self._channel, self._call))

    async def run(self) -> None:
        """Runs until cancelled, or until it is retired and finished."""
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
                # The services may start in any order.
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
            # A cancellation of the call by recycle() raises the same error. Only a cancellation of this task is passed
            # on.
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
        """Writes one frame after another. The next frame is written when an answer has arrived, or after a short pause,
        so that more requests can join this frame. A frame costs as much as about twenty of its requests.
        """
        loop = asyncio.get_running_loop()
        while True:
            await self._wake.wait()
            await self._turn.wait()
            # One turn of the event loop lets other waiting data join this frame.
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
                    # The previous frame was answered in the meantime. Its timer would send the next frame too early, or
                    # wake the event loop without need.
                    if self._gap is not None:
                        self._gap.cancel()
                    self._gap = loop.call_later(_GAP_SECONDS, self._turn.set)
                await call.write(frame)
            except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
                # The reader gets the reason and ends the stream.
                return

    async def _follow(self, health: Any) -> None:
        """Passes on the health that the replica reports, until the stream ends."""
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
    """Returns whether the replica is healthy. A server without the health service counts as healthy. Raises AioRpcError
    when the replica is unreachable.
    """
    try:
        status = await health.read()
    except grpc.aio.AioRpcError as error:
        if error.code() != grpc.StatusCode.UNIMPLEMENTED:
            raise
        return True
    return bool(status is not grpc.aio.EOF and status.status == _SERVING)
