"""One bidirectional gRPC stream that is kept open: reconnects by itself, and joins what is ready into one frame."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import grpc
import structlog

from libs.runtime import rpc

log = structlog.get_logger(__name__)

_READY_SECONDS = 2.0
_PAUSE_SECONDS = 0.1
_GAP_SECONDS = 0.002


class Peer(Protocol):
    """What runs over the stream: makes frames and takes them."""

    def opened(self) -> None:
        """A stream is up; nothing was written to it yet."""

    def next_frame(self) -> tuple[Any, bool] | None:
        """Everything that is ready to go, as one frame, and whether an answer to it is due; None when nothing is."""

    def received(self, frame: Any) -> None:
        """A frame came."""

    def broken(self, reason: str) -> None:
        """The stream ended; called once for each `opened`."""


class FrameStream:
    """Calls one streaming method over and over, on the first of `targets` that answers, starting at a random one."""

    def __init__(
        self,
        name: str,
        targets: Sequence[str],
        tls: rpc.TlsFiles | None,
        method: Callable[[grpc.aio.Channel], Callable[[], Any]],
        peer: Peer,
    ) -> None:
        self._name = name
        self._targets = tuple(targets)
        self._tls = tls
        self._method = method
        self._peer = peer
        self._wake = asyncio.Event()
        # Whether the next frame may go.
        self._turn = asyncio.Event()
        self._call: Any = None

    def wake(self) -> None:
        """There is something to write."""
        self._wake.set()

    def recycle(self) -> None:
        """Gives the present stream up and opens another."""
        if self._call is not None:
            self._call.cancel()

    async def run(self) -> None:
        """Until cancelled."""
        number = random.randrange(len(self._targets))  # noqa: S311 - spreads workers over replicas
        reported = ""
        while True:
            target = self._targets[number % len(self._targets)]
            async with rpc.channel(target, self._tls) as channel:
                reason = await self._serve(channel, target)
            if reason != reported:
                log.warning("stream_broken", service=self._name, target=target, reason=reason)
            reported = reason
            number += 1
            await asyncio.sleep(_PAUSE_SECONDS)

    async def _serve(self, channel: grpc.aio.Channel, target: str) -> str:
        """One stream from its beginning to its end; returns why it ended."""
        try:
            async with asyncio.timeout(_READY_SECONDS):
                await channel.channel_ready()
        except TimeoutError:
            return "unreachable"
        self._call = call = self._method(channel)()
        self._peer.opened()
        self._wake.set()
        self._turn.set()
        log.info("stream_open", service=self._name, target=target)
        writer = asyncio.create_task(self._write(call))
        reason = "ended"
        try:
            while (frame := await call.read()) is not grpc.aio.EOF:
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
        """One frame after the other: the next goes when one came back, or after a moment; the rest of the time is
        used to let more join it. A frame costs about as much as twenty requests in it.
        """
        loop = asyncio.get_running_loop()
        while True:
            await self._wake.wait()
            await self._turn.wait()
            # One turn of the loop lets what is ready elsewhere join this frame.
            await asyncio.sleep(0)
            self._wake.clear()
            ready = self._peer.next_frame()
            if ready is None:
                continue
            frame, answered = ready
            self._wake.set()
            if answered:
                self._turn.clear()
                loop.call_later(_GAP_SECONDS, self._turn.set)
            try:
                await call.write(frame)
            except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
                # The reader sees why and ends the stream.
                return
