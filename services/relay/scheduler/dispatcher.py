"""Delivers what is leased to this process: which job runs when, and what its outcome is turned into.

Fresh messages come from intake with their content, others are claimed from the database. Each destination has a lane;
how many of its jobs run at once is the transport's to say, and no lane takes all slots while others wait.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping, Sequence

import structlog

from libs.runtime.lifecycle import finished_within
from services.relay.clock import MICROSECONDS, Clock
from services.relay.configuration.model import Configuration
from services.relay.model.attempt import Transport
from services.relay.model.message import NewMessage, queue_id, queued
from services.relay.queue import leases
from services.relay.queue.claiming import Claim, claim, earliest_wake
from services.relay.queue.database import Connection, Database, QueueError
from services.relay.queue.group_commit import Committer
from services.relay.queue.leaseholder import Leaseholder
from services.relay.scheduler.attempts import Attempts
from services.relay.scheduler.backlog import Job, Lane, Room
from services.relay.scheduler.suspensions import Suspensions

log = structlog.get_logger(__name__)

_CLAIMED_AT_ONCE = 400
# Jobs claimed for a destination for each transaction that may run there.
_JOBS_A_SLOT = 4
_DEFAULT_SHARE = 20
# The longest sleep between two looks: other relays, and clocks, may have changed what is due.
_TICK_SECONDS = 1.0
_PAUSE = 5 * MICROSECONDS
_BROKEN_DELAY = 300 * MICROSECONDS
# Settlements that wait for their commit, beyond which nothing new is begun: their outcome could not be recorded.
_UNSETTLED_LIMIT = 2_000


class Dispatcher:
    """One for the process. It is the receiver of what the committer stores."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        committer: Committer,
        holder: Leaseholder,
        transport: Transport,
        attempts: Attempts,
        suspensions: Suspensions,
        configuration: Callable[[], Configuration | None],
        room: Room,
        concurrency: int,
    ) -> None:
        self._database = database
        self._clock = clock
        self._committer = committer
        self._holder = holder
        self._transport = transport
        self._attempts = attempts
        self._suspensions = suspensions
        self._configuration = configuration
        self.room = room
        self._concurrency = concurrency
        self._lanes: dict[str, Lane] = {}
        self._hungry: deque[Lane] = deque()
        self._tasks: dict[asyncio.Task[None], Job] = {}
        self._running = 0
        self._poked = asyncio.Event()
        self._stopping = False
        # When something is due in the database; None: nothing that we know of.
        self._wake_at: int | None = None
        # Of that, what was heard while a claim was under way.
        self._heard_at: int | None = None
        # The database knows more than we do; and by our steady clock, when we asked it.
        self._ask = True
        self._asked_at = 0.0
        # A claim was put off for lack of room.
        self._turned_away = False
        # Owner and deliveries of a claim that may have been committed, and is not taken in.
        self._unsure: tuple[int, list[int]] | None = None

    @property
    def running(self) -> int:
        """Jobs that are being tried."""
        return self._running

    def poke(self) -> None:
        """Something may have become due, and only the database knows what."""
        self._ask = True
        self._poked.set()

    def due(self, woken: Mapping[str, int]) -> None:
        for destination, at in woken.items():
            if (self._heard_at is None or at < self._heard_at) and destination not in self._suspensions:
                self._heard_at = at
        self._heed()

    def take(self, messages: Sequence[NewMessage], stored_at: int, owner: int) -> None:
        for message in messages:
            waiting = message.waiting
            if not message.leased:
                self.due({each.destination: stored_at for each in waiting})
                continue
            if not waiting:
                continue
            whole, deliveries = queued(message, stored_at, owner)
            if message.submission_id is None:
                # Intake counted the others when they came in.
                self.room.add(len(deliveries), whole.size)
            destinations = {each.destination for each in waiting} if len(waiting) > 1 else ()
            if len(destinations) <= 1:
                self._enqueue(waiting[0].destination, Job(whole, deliveries))
                continue
            # The content is in memory once, and counted once: with the first job.
            for destination in destinations:
                part = tuple(
                    each for each, new in zip(deliveries, waiting, strict=True) if new.destination == destination
                )
                self._enqueue(destination, Job(whole, part))
            self.room.add(0, whole.size * (len(destinations) - 1))

    async def run(self) -> None:
        """Claims what is due, for ever."""
        while True:
            self._poked.clear()
            claimed = 0
            try:
                if self._may_claim():
                    claimed = await self._claim()
            except QueueError as error:
                log.warning("claim_failed", reason=str(error))
                self._ask = True
            for lane in list(self._lanes.values()):
                self._pump(lane)
            self._turned_away = not self._may_claim()
            if not claimed or self._turned_away:
                await finished_within(self._pause(), self._poked.wait())

    def drop(self, owner: int) -> None:
        """The leases of `owner` are lost: nothing of them is begun any more, and what runs is broken off."""
        for lane in self._lanes.values():
            for job in [job for job in lane.jobs if job.deliveries[0].lease_owner == owner]:
                lane.jobs.remove(job)
                self._left(job)
        for task, job in self._tasks.items():
            if job.deliveries[0].lease_owner == owner:
                task.cancel()

    async def stop(self, grace_seconds: float) -> None:
        """Begins nothing more, gives leases back, lets transactions end within the time, breaks the others off."""
        self._stopping = True
        for lane in self._lanes.values():
            while lane.jobs:
                self._give_back(lane.jobs.popleft(), lane.destination)
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=grace_seconds)
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _may_claim(self) -> bool:
        return (
            not self._stopping
            and self._configuration() is not None
            and self.room.left > 0
            and self.room.plenty
            and self._committer.waiting < _UNSETTLED_LIMIT
        )

    def _pause(self) -> float:
        """Seconds until something becomes due, or the database is asked again."""
        ahead = 0.0 if self._wake_at is None else (self._wake_at - self._clock.now()) / MICROSECONDS
        # What is due, and was not claimed just now, another relay is at; or there is no room for it.
        return min(ahead, _TICK_SECONDS) if ahead > 0 else _TICK_SECONDS

    def _heed(self) -> None:
        """Wakes the claiming for what was heard, if it is the first thing that is due."""
        heard = self._heard_at
        if heard is not None and (self._wake_at is None or heard < self._wake_at):
            self._wake_at = heard
            self._poked.set()

    async def _claim(self) -> int:
        """Claims what is due; how many deliveries."""
        await self._let_go()
        await self._look()
        now = self._clock.now()
        if self._wake_at is None or self._wake_at > now:
            return 0
        self._heard_at = None
        try:
            found = await self._take_leases(now, inline=True)
        except QueueError as error:
            if not error.corrupt:
                raise
            # One content that can't be read must not keep all others: each is read by itself, and put aside alone.
            log.error("queue_corrupt", reason=str(error))
            found = await self._take_leases(now, inline=False)
        await self._put_aside(found)
        self._unsure = None
        for destination, message, deliveries in found.jobs:
            self.room.add(len(deliveries), len(message.content or b""))
            self._enqueue(destination, Job(message, deliveries))
        self._claimed(found, now)
        return found.count + len(found.corrupt)

    async def _look(self) -> None:
        """Asks the database when something is due, where it knows more than we do."""
        steady = self._clock.steady()
        if not self._ask and steady - self._asked_at < _TICK_SECONDS:
            return
        self._ask, self._asked_at, self._heard_at = False, steady, None
        full = self._full()
        self._wake_at = await self._database.read(lambda connection: earliest_wake(connection, full))
        self._heed()

    async def _take_leases(self, now: int, *, inline: bool) -> Claim:
        configuration = self._configuration()
        assert configuration is not None  # noqa: S101
        share = {lane.destination: self._share(lane, configuration) for lane in self._lanes.values()}
        for lane in self._lanes.values():
            if share[lane.destination] == 0 and len(lane.jobs) > lane.running:
                # Full of mail that just came in: not to be put off, but claimed for when that is on its way.
                lane.more = True
        owner, room, full = self._holder.id, min(self.room.left, _CLAIMED_AT_ONCE), self._full()

        def work(connection: Connection) -> Claim:
            found = claim(connection, owner, now, room, share, _DEFAULT_SHARE, _PAUSE, inline=inline, full=full)
            self._unsure = owner, found.deliveries
            return found

        return await self._database.write(work)

    def _claimed(self, found: Claim, now: int) -> None:
        """What is due next, by what a claim has found and what was heard meanwhile."""
        self._wake_at = found.next_wake
        self._heed()
        for destination in found.more:
            lane = self._lanes.get(destination)
            if lane is not None:
                lane.more = True
            if lane is None or not lane.full:
                self._wake_at = now

    def _full(self) -> list[str]:
        return [lane.destination for lane in self._lanes.values() if lane.full]

    async def _let_go(self) -> None:
        """Of what a claim took that failed at its very end: leased or not, nobody here would ever try it."""
        if self._unsure is None:
            return
        (owner, deliveries), now = self._unsure, self._clock.now()
        await self._database.write(lambda connection: leases.let_go(connection, owner, deliveries, now))
        self._unsure = None

    def _share(self, lane: Lane, configuration: Configuration) -> int:
        capacity = self._transport.capacity(lane.destination, configuration)
        return max(0, capacity * _JOBS_A_SLOT - len(lane.jobs) - lane.running) if capacity else 0

    async def _put_aside(self, found: Claim) -> None:
        if found.corrupt:
            await self._attempts.put_aside(found.corrupt)

    def _enqueue(self, destination: str, job: Job) -> None:
        if self._stopping:
            self._give_back(job, destination)
            return
        lane = self._lanes.get(destination)
        if lane is None:
            lane = self._lanes[destination] = Lane(destination)
        lane.jobs.append(job)
        self._pump(lane)

    def _pump(self, lane: Lane) -> None:
        """Begins as many of the lane's jobs as may run now."""
        configuration = self._configuration()
        if not lane.jobs:
            if not lane.running and configuration and self._transport.capacity(lane.destination, configuration):
                self._lanes.pop(lane.destination, None)
            return
        if configuration is None or self._committer.waiting >= _UNSETTLED_LIMIT:
            return
        capacity = self._transport.capacity(lane.destination, configuration)
        if (capacity == 0 and not lane.running) or lane.destination in self._suspensions:
            # It would only take the room of others.
            while lane.jobs:
                self._give_back(lane.jobs.popleft(), lane.destination)
            return
        while lane.jobs and lane.running < capacity:
            if self._running >= self._concurrency:
                self._queue_up(lane)
                return
            self._begin(lane)

    def _queue_up(self, lane: Lane) -> None:
        if lane.jobs and not lane.hungry:
            lane.hungry = True
            self._hungry.append(lane)

    def _serve_hungry(self) -> None:
        while self._hungry and self._running < self._concurrency:
            lane = self._hungry.popleft()
            lane.hungry = False
            self._pump(lane)

    def _begin(self, lane: Lane) -> None:
        lane.running += 1
        self._running += 1
        job = lane.jobs.popleft()
        task = asyncio.create_task(self._work(lane, job))
        self._tasks[task] = job
        task.add_done_callback(self._ended)

    async def _work(self, lane: Lane, job: Job) -> None:
        """One slot of a lane: job after job, until there is none, or others wait for the slot."""
        try:
            while True:
                try:
                    moved = await self._attempts.attempt(lane.destination, job)
                except Exception:
                    # A fault of ours: the message stays, and is tried again when others had their turn.
                    log.exception("attempt_broke", queue_id=queue_id(job.message.id))
                    self._attempts.give_back(lane.destination, job, _BROKEN_DELAY)
                    moved = []
                finally:
                    self._left(job)
                if lane.more and not lane.full:
                    self._refill(lane)
                for destination, rest in moved:
                    self.room.add(len(rest.deliveries), rest.octets)
                    self._enqueue(destination, rest)
                if not self._goes_on(lane):
                    return
                job = lane.jobs.popleft()
                current = asyncio.current_task()
                assert current is not None  # noqa: S101
                self._tasks[current] = job
        finally:
            lane.running -= 1
            self._running -= 1
            # It gave its slot to others, and wants one again after them.
            self._queue_up(lane)
            self._serve_hungry()

    def _refill(self, lane: Lane) -> None:
        """It comes to an end, and there is more for it in the database."""
        lane.more = False
        self._heard_at = 0
        self._heed()

    def _goes_on(self, lane: Lane) -> bool:
        configuration = self._configuration()
        if not lane.jobs or configuration is None or self._stopping or lane.destination in self._suspensions:
            return False
        if self._hungry and self._running >= self._concurrency:
            return False
        if self._committer.waiting >= _UNSETTLED_LIMIT:
            return False
        return lane.running <= self._transport.capacity(lane.destination, configuration)

    def _ended(self, task: asyncio.Task[None]) -> None:
        job = self._tasks.pop(task)
        if not task.cancelled() and task.exception() is not None:
            log.error("job_broke", queue_id=queue_id(job.message.id), exc_info=task.exception())
        if self._turned_away and self.room.plenty:
            self._poked.set()

    def _left(self, job: Job) -> None:
        self.room.remove(len(job.deliveries), job.octets)

    def _give_back(self, job: Job, destination: str) -> None:
        self._attempts.give_back(destination, job)
        self._left(job)
