"""Counters in a Redis that replicas share. While it is away every number is None, counted and alarmed.

Operations of all decisions that wait are joined: one script call is under way, and what gathers meanwhile goes with the
next. A session is held under its owner (process/stream); a process that died is known by its heartbeat running out, so
its sessions stop counting, and those that ingress resumes elsewhere are counted under their new owner, once.

A Redis that lost its keys (restarted empty, failed over, flushed) is known by the heartbeat's key being gone: every
process then counts its own open sessions again, at its next call or beat.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import redis.asyncio
import structlog
from redis.exceptions import RedisError

from services.policy.metrics import STORE_FAILURES, STORE_UP
from services.policy.rules.counting import Counter, Operation
from services.policy.state.store import Blocked, StoreAwayError

log = structlog.get_logger(__name__)

_PREFIX = "posthouse:policy:"
# After a failure nobody waits again for so long.
_PAUSE_SECONDS = 1.0
_HEARTBEAT_SECONDS = 3.0
_HEARTBEAT_LIFE_SECONDS = 10
_LARGEST_BATCH = 500
# Sessions to give back or to resume that are kept while Redis is away; heartbeats settle the rest.
_MAX_KEPT = 100_000


@dataclass(slots=True)
class _Waiting:
    operations: Sequence[Operation]
    owner: str
    now: float
    answer: asyncio.Future[list[int | None]]


class RedisStore:
    """A `Store` in Redis. `process`: what the owners of this process's sessions begin with; `seconds`: for one call."""

    def __init__(self, url: str, process: str, *, seconds: float = 1.0) -> None:
        self._redis: redis.asyncio.Redis = redis.asyncio.Redis.from_url(
            url, socket_timeout=seconds, socket_connect_timeout=seconds, decode_responses=True
        )
        self._script = self._redis.register_script(
            files("services.policy.state").joinpath("counters.lua").read_text("utf-8")
        )
        self._process = process
        self._waiting: list[_Waiting] = []
        # Sessions to count again, and to give back: (client, session, owner).
        self._resuming: list[tuple[str, str, str]] = []
        self._closing: list[tuple[str, str, str]] = []
        # What this process holds: (client, session) to owner.
        self._held: dict[tuple[str, str], str] = {}
        self._wake = asyncio.Event()
        self._away_until = 0.0
        self.trouble = ""
        self._stopping = False
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        try:
            await self._beat()
        except (RedisError, OSError, TimeoutError) as error:
            self._away(error)
        self._tasks = [asyncio.create_task(self._run()), asyncio.create_task(self._keep_beating())]

    async def stop(self) -> None:
        """What this process holds stops counting at once."""
        # Said twice: redis-py swallows a cancellation that comes at the wrong moment.
        self._stopping = True
        for task in self._tasks:
            task.cancel()
        self._wake.set()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for one in self._waiting:
            if not one.answer.done():
                one.answer.set_result(self._skipped(one.operations))
        with contextlib.suppress(RedisError, OSError):
            await self._flush_sessions()
            await self._redis.delete(f"{_PREFIX}process:{self._process}")
        await self._redis.aclose()

    # Operations

    def apply_now(self, operations: Sequence[Operation], _owner: str, _now: float) -> list[int | None] | None:
        """At once only while Redis is known to be away."""
        if time.monotonic() < self._away_until:
            return self._skipped(operations)
        return None

    async def apply(self, operations: Sequence[Operation], owner: str, now: float) -> list[int | None]:
        if time.monotonic() < self._away_until:
            return self._skipped(operations)
        waiting = _Waiting(operations, owner, now, asyncio.get_running_loop().create_future())
        self._waiting.append(waiting)
        self._wake.set()
        return await waiting.answer

    def close_sessions(self, sessions: Sequence[tuple[str, str]], owner: str) -> None:
        for one in sessions:
            if self._held.get(one) == owner:
                del self._held[one]
        self._closing += [(client, session, owner) for client, session in sessions]
        self._wake.set()

    def resume_sessions(self, sessions: Sequence[tuple[str, str]], owner: str) -> None:
        self._held.update(dict.fromkeys(sessions, owner))
        self._resuming += [(client, session, owner) for client, session in sessions]
        self._wake.set()

    @staticmethod
    def _skipped(operations: Sequence[Operation]) -> list[int | None]:
        for operation in operations:
            STORE_FAILURES.labels(operation.counter.value).inc()
        return [None] * len(operations)

    async def _run(self) -> None:
        """One call after the other; each takes all that gathered while the last one ran."""
        while not self._stopping:
            await self._wake.wait()
            self._wake.clear()
            # One turn of the loop, so that the rest of a frame joins.
            await asyncio.sleep(0)
            try:
                await self._flush_sessions()
                while self._waiting:
                    batch, self._waiting = self._waiting[:_LARGEST_BATCH], self._waiting[_LARGEST_BATCH:]
                    # Who no longer waits has given back what it would have counted.
                    await self._call([one for one in batch if not one.answer.done()])
            except (RedisError, OSError, TimeoutError) as error:
                self._away(error)
            except Exception as error:  # whatever it is, nobody may wait for this task for ever
                log.exception("store_failed")
                self._away(error)

    async def _call(self, batch: list[_Waiting]) -> None:
        if not batch:
            return
        try:
            known, *numbers = await self._script(
                keys=[_PREFIX], args=[*self._beginning(batch[0].now), *_arguments(batch)]
            )
        except BaseException:
            for waiting in batch:
                if not waiting.answer.done():
                    waiting.answer.set_result(self._skipped(waiting.operations))
            raise
        position = 0
        for waiting in batch:
            end = position + len(waiting.operations)
            if not waiting.answer.done():
                self._held.update(_opened(waiting))
                waiting.answer.set_result(numbers[position:end])
            position = end
        self._back()
        if not known:
            await self._beat()
            await self._flush_sessions()

    def _beginning(self, now: float) -> list[str]:
        return [repr(now), self._process]

    async def _flush_sessions(self) -> None:
        """Gives sessions back and counts resumed ones; kept for the next time when Redis is away."""
        while self._resuming or self._closing:
            resuming, closing = self._resuming[:_LARGEST_BATCH], self._closing[:_LARGEST_BATCH]
            arguments: list[str] = []
            for operation, sessions in (("resume", resuming), ("close", closing)):
                for client, session, owner in sessions:
                    # One that ended meanwhile may be given back before its turn to be resumed comes.
                    if operation == "close" or self._held.get((client, session)) == owner:
                        arguments += [operation, client, "0", session, "0", owner]
            if arguments:
                await self._script(keys=[_PREFIX], args=[*self._beginning(0), *arguments])
            del self._resuming[: len(resuming)], self._closing[: len(closing)]

    def _away(self, error: BaseException) -> None:
        """Nobody waits for a while; what waits is answered."""
        self._away_until = time.monotonic() + _PAUSE_SECONDS
        self.trouble = f"away ({type(error).__name__})"
        STORE_UP.set(0)
        log.error("counter_store_unavailable", reason=type(error).__name__)
        waiting, self._waiting = self._waiting, []
        for one in waiting:
            if not one.answer.done():
                one.answer.set_result(self._skipped(one.operations))
        del self._closing[:-_MAX_KEPT], self._resuming[:-_MAX_KEPT]

    def _back(self) -> None:
        self.trouble = ""
        STORE_UP.set(1)

    async def _keep_beating(self) -> None:
        while not self._stopping:
            await asyncio.sleep(_HEARTBEAT_SECONDS)
            try:
                await self._beat()
                self._back()
            except (RedisError, OSError, TimeoutError) as error:
                self._away(error)
            else:
                if self._closing or self._resuming:
                    self._wake.set()

    async def _beat(self) -> None:
        key = f"{_PREFIX}process:{self._process}"
        async with self._redis.pipeline(transaction=True) as pipeline:
            pipeline.exists(key)
            pipeline.set(key, "1", ex=_HEARTBEAT_LIFE_SECONDS)
            known, _ = await pipeline.execute()
        if not known and self._held:
            # Redis lost its keys, or we were silent for so long that others took us for dead.
            log.warning("sessions_counted_again", sessions=len(self._held))
            self._resuming += [(client, session, owner) for (client, session), owner in self._held.items()]

    # What operators see

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
        found: list[Blocked] = []
        try:
            while len(found) < limit:
                page: list[Any] = await self._redis.zrangebylex(
                    f"{_PREFIX}blocked", f"({after}" if after else "-", "+", start=0, num=limit
                )
                if not page:
                    break
                after = page[-1]
                for client in page:
                    blocked = await self._read(client)
                    if blocked is not None and now < blocked.ends_at:
                        found.append(blocked)
                    elif blocked is None:
                        # Its day is over.
                        await self._redis.zrem(f"{_PREFIX}blocked", client)
        except (RedisError, OSError, TimeoutError) as error:
            raise StoreAwayError from error
        return found[:limit]

    async def unblock(self, client: str, now: float) -> Blocked | None:
        try:
            blocked = await self._read(client)
            await self._redis.zrem(f"{_PREFIX}blocked", client)
            if blocked is None or blocked.ends_at <= now:
                return None
            await self._redis.delete(f"{_PREFIX}blocked:{client}", f"{_PREFIX}unknown:{int(blocked.ends_at)}:{client}")
        except (RedisError, OSError, TimeoutError) as error:
            raise StoreAwayError from error
        return blocked

    async def _read(self, client: str) -> Blocked | None:
        fields: dict[Any, Any] = await self._redis.hgetall(f"{_PREFIX}blocked:{client}")
        if not fields:
            return None
        return Blocked(
            client, fields["reason"], int(fields["count"]), float(fields["blocked_at"]), float(fields["ends_at"])
        )


def _opened(waiting: _Waiting) -> dict[tuple[str, str], str]:
    """The sessions that a decision counted, as they are held. Without a stream nobody holds any."""
    return {
        (operation.client, operation.member): waiting.owner
        for operation in waiting.operations
        if operation.counter is Counter.CONNECTIONS and waiting.owner
    }


def _arguments(batch: Sequence[_Waiting]) -> list[str]:
    """Of the operations in one script call."""
    arguments: list[str] = []
    for waiting in batch:
        for counter, client, ends_at, member, limit in waiting.operations:
            arguments += [counter, client, str(ends_at), member, str(limit), waiting.owner]
    return arguments
