"""Counters in a Redis that replicas share. While Redis does not answer, every number is None. A metric counts this, and
an alert fires.

The operations of all waiting decisions are joined. One call of the script runs at a time, and operations that arrive
during it are sent with the next call. Operations take effect in the order of their arrival.

A session is stored with its worker of ingress and the number of the frame that opened it. The key of a worker expires
10 s after its last frame. The sessions of a worker without a key do not count. A Redis that lost its keys (after a
restart without data, a failover or a flush) does not have the key. Then the worker is asked for its open sessions. The
worker is also asked when changes of its sessions could not be written.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import redis.asyncio
import structlog
from redis.exceptions import RedisError

from services.policy.metrics import STORE_FAILURES, STORE_UP
from services.policy.rules.counting import Counter, Operation
from services.policy.state.store import WORKER_SECONDS, Blocked, FrameStamp, StoreUnavailableError

log = structlog.get_logger(__name__)

_PREFIX = "posthouse:policy:"
# After a failure, no decision waits for Redis for this time.
_PAUSE_SECONDS = 1.0
# The interval of checks whether Redis answers, for metrics and health.
_PING_SECONDS = 3.0
# The largest number of requests in one script call.
_LARGEST_BATCH = 500
_LISTED_SESSIONS = 200
# The number of arguments of one operation.
_ARGUMENTS = 6


@dataclass(slots=True)
class _Request:
    """Operations that belong together. `numbers` is None for changes of sessions, because nobody waits for them."""

    operations: Sequence[Operation]
    # For each operation: counter, client, ends_at, member, limit, stamp.
    arguments: list[str]
    worker: str
    now: float = 0.0
    numbers: asyncio.Future[list[int | None]] | None = None

    @property
    def given_up(self) -> bool:
        return self.numbers is not None and self.numbers.done()

    def answer(self, numbers: list[int | None]) -> None:
        if self.numbers is not None and not self.numbers.done():
            self.numbers.set_result(numbers)


class RedisStore:
    """A `Store` in Redis. `seconds` is the time limit of one call."""

    def __init__(self, url: str, *, seconds: float = 1.0) -> None:
        self._redis: redis.asyncio.Redis = redis.asyncio.Redis.from_url(
            url, socket_timeout=seconds, socket_connect_timeout=seconds, decode_responses=True
        )
        self._script = self._redis.register_script(
            files("services.policy.state").joinpath("counters.lua").read_text("utf-8")
        )
        self._waiting: list[_Request] = []
        # The workers whose changes of sessions could not all be written.
        self._incomplete: set[str] = set()
        self._wake = asyncio.Event()
        self._away_until = 0.0
        self.unavailable_reason = ""
        self._stopping = False
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        await self._ping()
        self._tasks = [asyncio.create_task(self._run()), asyncio.create_task(self._watch())]

    async def stop(self) -> None:
        # The flag is needed in addition to the cancellation, because redis-py may catch a cancellation.
        self._stopping = True
        for task in self._tasks:
            task.cancel()
        self._wake.set()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        try:
            await self._flush()
        except (RedisError, OSError, TimeoutError):
            self._skip(self._waiting)
        await self._redis.aclose()

    # Operations

    def apply_now(self, operations: Sequence[Operation], stamp: FrameStamp, _now: float) -> list[int | None] | None:
        """Executes nothing, and answers at once only while Redis is known to be unavailable."""
        if time.monotonic() < self._away_until:
            return self._skipped(operations, stamp.worker)
        return None

    async def apply(self, operations: Sequence[Operation], stamp: FrameStamp, now: float) -> list[int | None]:
        if time.monotonic() < self._away_until:
            return self._skipped(operations, stamp.worker)
        numbers: asyncio.Future[list[int | None]] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Request(operations, _arguments(operations, stamp), stamp.worker, now, numbers))
        self._wake.set()
        return await numbers

    def close_sessions(self, sessions: Sequence[tuple[str, str]], stamp: FrameStamp, *, remember: bool = False) -> None:
        self._change(stamp, [("close", client, session, int(remember)) for client, session in sessions])

    def replace_sessions(self, sessions: Sequence[tuple[str, str]], stamp: FrameStamp, settled_before: int) -> None:
        self._incomplete.discard(stamp.worker)
        for start in range(0, len(sessions), _LISTED_SESSIONS):
            part = sessions[start : start + _LISTED_SESSIONS]
            self._change(stamp, [("list", client, session, 0) for client, session in part])
        self._change(stamp, [("end_set", "", "", settled_before)])

    def _change(self, stamp: FrameStamp, changes: Sequence[tuple[str, str, str, int]]) -> None:
        if time.monotonic() < self._away_until:
            self._incomplete.add(stamp.worker)
            return
        text = f"{stamp.worker}/{stamp.counter}"
        arguments: list[str] = []
        for change, client, session, number in changes:
            arguments += [change, client, "0", session, str(number), text]
        self._waiting.append(_Request((), arguments, stamp.worker))
        self._wake.set()

    async def keep_alive(self, workers: Sequence[str]) -> Collection[str]:
        if time.monotonic() < self._away_until:
            return ()
        try:
            async with self._redis.pipeline(transaction=False) as pipeline:
                for worker in workers:
                    pipeline.expire(f"{_PREFIX}worker:{worker}", WORKER_SECONDS)
                are_known = await pipeline.execute()
        except (RedisError, OSError, TimeoutError) as error:
            self._away(error)
            return ()
        self._back()
        unknown_workers = [
            worker
            for worker, is_known in zip(workers, are_known, strict=True)
            if not is_known or worker in self._incomplete
        ]
        if unknown_workers:
            log.warning("open_sessions_requested", workers=len(unknown_workers))
        return unknown_workers

    def _skipped(self, operations: Sequence[Operation], worker: str) -> list[int | None]:
        for operation in operations:
            STORE_FAILURES.labels(operation.counter.value).inc()
            if operation.counter is Counter.CONNECTIONS:
                self._incomplete.add(worker)
        return [None] * len(operations)

    def _skip(self, requests: Sequence[_Request]) -> None:
        """Drops these operations: they are answered with None, and changes are not written."""
        for request in requests:
            if request.numbers is None:
                self._incomplete.add(request.worker)
            elif not request.given_up:
                request.answer(self._skipped(request.operations, request.worker))

    async def _run(self) -> None:
        """Calls the script again and again. Each call has the operations that arrived during the previous one."""
        while not self._stopping:
            await self._wake.wait()
            self._wake.clear()
            # In this turn of the event loop, the rest of a frame arrives and joins the same call.
            await asyncio.sleep(0)
            try:
                await self._flush()
            except (RedisError, OSError, TimeoutError) as error:
                self._away(error)
            except Exception as error:  # Whatever the error is, nobody may wait for this task without end.
                log.exception("store_failed")
                self._away(error)

    async def _flush(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting[:_LARGEST_BATCH], self._waiting[_LARGEST_BATCH:]
            # Requests whose decision was given up are left out, because the worker has already reported the session as
            # closed.
            await self._call([request for request in batch if not request.given_up])

    async def _call(self, batch: list[_Request]) -> None:
        if not batch:
            return
        now = next((request.now for request in batch if request.now), 0.0)
        arguments = [repr(now)]
        for request in batch:
            arguments += request.arguments
        try:
            numbers = await self._script(keys=[_PREFIX], args=arguments)
        except BaseException:
            self._skip(batch)
            raise
        position = 0
        for request in batch:
            end = position + len(request.arguments) // _ARGUMENTS
            request.answer(numbers[position:end])
            position = end
        self._back()

    def _away(self, error: BaseException) -> None:
        """Handles an outage: nobody waits for Redis for a while, and all waiting operations are answered."""
        self._away_until = time.monotonic() + _PAUSE_SECONDS
        self.unavailable_reason = f"away ({type(error).__name__})"
        STORE_UP.set(0)
        log.error("counter_store_unavailable", reason=type(error).__name__)
        waiting, self._waiting = self._waiting, []
        self._skip(waiting)

    def _back(self) -> None:
        self.unavailable_reason = ""
        STORE_UP.set(1)

    async def _watch(self) -> None:
        while not self._stopping:
            await asyncio.sleep(_PING_SECONDS)
            await self._ping()

    async def _ping(self) -> None:
        try:
            await self._redis.ping()
            self._back()
        except (RedisError, OSError, TimeoutError) as error:
            self._away(error)

    # Operations for operators

    async def peek(self, operations: Sequence[Operation], _now: float) -> list[int | None]:
        try:
            return [await self._peek(operation) for operation in operations]
        except (RedisError, OSError, TimeoutError):
            return [None] * len(operations)

    async def _peek(self, operation: Operation) -> int:
        client = operation.client
        if operation.counter is Counter.BLOCKED:
            return int(await self._redis.exists(f"{_PREFIX}blocked:{client}"))
        if operation.counter is Counter.CONNECTIONS:
            key = f"{_PREFIX}sessions:{client}"
            return int(await self._redis.hlen(key)) + 1 - int(await self._redis.hexists(key, operation.member))
        if operation.counter is Counter.UNKNOWN_RECIPIENTS_TODAY:
            key = f"{_PREFIX}unknown:{operation.ends_at}:{client}"
            return int(await self._redis.scard(key)) + 1 - int(await self._redis.sismember(key, operation.member))
        counted = await self._redis.get(f"{_PREFIX}{operation.counter}:{operation.ends_at}:{client}")
        return int(counted or 0) + 1

    async def blocked_clients(self, now: float, *, after: str, limit: int) -> list[Blocked]:
        clients: list[Blocked] = []
        try:
            while len(clients) < limit:
                page: list[Any] = await self._redis.zrangebylex(
                    f"{_PREFIX}blocked", f"({after}" if after else "-", "+", start=0, num=limit
                )
                if not page:
                    break
                after = page[-1]
                for client in page:
                    blocked = await self._read(client)
                    if blocked is not None and now < blocked.ends_at:
                        clients.append(blocked)
                    elif blocked is None:
                        # The day of the block is over.
                        await self._redis.zrem(f"{_PREFIX}blocked", client)
        except (RedisError, OSError, TimeoutError) as error:
            raise StoreUnavailableError from error
        return clients[:limit]

    async def unblock(self, client: str, now: float) -> Blocked | None:
        try:
            blocked = await self._read(client)
            await self._redis.zrem(f"{_PREFIX}blocked", client)
            if blocked is None or blocked.ends_at <= now:
                return None
            await self._redis.delete(f"{_PREFIX}blocked:{client}", f"{_PREFIX}unknown:{int(blocked.ends_at)}:{client}")
        except (RedisError, OSError, TimeoutError) as error:
            raise StoreUnavailableError from error
        return blocked

    async def _read(self, client: str) -> Blocked | None:
        fields: dict[Any, Any] = await self._redis.hgetall(f"{_PREFIX}blocked:{client}")
        if not fields:
            return None
        return Blocked(
            client, fields["reason"], int(fields["count"]), float(fields["blocked_at"]), float(fields["ends_at"])
        )


def _arguments(operations: Sequence[Operation], stamp: FrameStamp) -> list[str]:
    """Returns the operations in the form of the script."""
    text = f"{stamp.worker}/{stamp.counter}"
    arguments: list[str] = []
    for counter, client, ends_at, member, limit in operations:
        arguments += [counter, client, str(ends_at), member, str(limit), text]
    return arguments
