"""Runs the deliveries that are leased to this process, and decides when each job runs.

New messages come from intake with their content. Others are claimed from the database. Each destination has a queue,
and the transport says how many of its jobs may run at once. The shares of memory and slots for destinations and sources
are in backlog.py. Mail beyond a share waits in the database. If it is already in memory, its leases are given up when
others need the memory.
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
from services.relay.model.message import NewMessage, QueuedDelivery, QueuedMessage, queue_id, queued
from services.relay.queue import leases
from services.relay.queue.claiming import Claim, ClaimLimits, claim, earliest_wake
from services.relay.queue.database import Connection, Database, QueueError
from services.relay.queue.group_commit import Committer
from services.relay.queue.leaseholder import Leaseholder
from services.relay.scheduler.attempts import Attempts
from services.relay.scheduler.backlog import DestinationQueue, Job, MemoryBudget, Pair, Slots, next_job, release
from services.relay.scheduler.suspensions import Suspensions

log = structlog.get_logger(__name__)

_CLAIMED_AT_ONCE = 400
# The number of jobs that are claimed for each transaction that may run to a destination.
_JOBS_PER_SLOT = 4
_DEFAULT_SHARE = 20
# The longest time between two reads of the database, because other relays or a change of the clock may have made mail
# due.
_TICK_SECONDS = 1.0
_PAUSE = 5 * MICROSECONDS
_BROKEN_DELAY = 300 * MICROSECONDS
# When more settlements than this wait for their commit, no attempt begins, because its outcome might not be recorded.
_UNSETTLED_LIMIT = 2_000
# A claim that waits for memory begins when one part in this many is free, or after `_TICK_SECONDS`: few large claims
# cost less than many small ones.
_FREE_PART = 16
# The largest number of queues that are offered a free slot. A queue that may not use it goes to the end.
_OFFERS = 16
# The time between two rounds in which mail beyond the shares is given back.
_SHORTAGE_SECONDS = 0.1


class Dispatcher:
    """Dispatches jobs. There is one in each process. It is the receiver of the messages that the committer stores."""

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
        memory: MemoryBudget,
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
        self._memory = memory
        self._slots = Slots(concurrency)
        self._queues: dict[str, DestinationQueue] = {}
        self._waiting_for_slot: deque[DestinationQueue] = deque()
        self._tasks: dict[asyncio.Task[None], Job] = {}
        self._woken = asyncio.Event()
        self._stopping = False
        # The first time at which mail in the database is known to be due. It is None when no such mail is known.
        self._wake_at: int | None = None
        # The first due time that was reported since the last claim began.
        self._heard_at: int | None = None
        # Whether the database must be asked for the first due time, and the time of the last such query, by the steady
        # clock.
        self._ask = True
        self._asked_at = 0.0
        # Whether no claim may be made at present, for example because there is too little memory.
        self._postponed = False
        # Destinations where jobs ended during the running claim, so that they may have more mail than the limits of the
        # claim allow. It is None when no claim is running.
        self._ended_meanwhile: set[str] | None = None
        # Pairs of destination and source whose mail was stored without a lease since the last claim began. On
        # PostgreSQL another connection stores it, so the claim may not have seen it.
        self._stored_meanwhile: set[Pair] = set()
        # Sources that were over their share at a claim: their mail waits in the database until they are within their
        # share again.
        self._barred_sources: set[str] = set()
        self._excess_given_back_at = 0.0
        # Pairs whose deliveries were given back, each with the number of the settlement that records this. Until that
        # settlement is committed, later mail of the pair must not be claimed, since it would overtake the earlier mail.
        self._returning: dict[Pair, int] = {}
        # The owner and the deliveries of a claim that may have been committed although it reported a failure.
        self._uncertain_claim: tuple[int, list[int]] | None = None
        committer.receivers.append(self)
        holder.on_lost.append(self._drop)
        holder.on_freed.append(self.wake)
        suspensions.on_change.append(self.wake)

    @property
    def running(self) -> int:
        """Returns the number of jobs that are being tried."""
        return self._slots.used

    def wake(self) -> None:
        """Notes that mail may have become due, which only a read of the database can show."""
        self._ask = True
        self._woken.set()

    def due(self, woken: Mapping[Pair, int]) -> None:
        """Notes that mail waits in the database for these destinations and sources, each from the given time on."""
        for (destination, source), at in woken.items():
            queue = self._queues.get(destination)
            if queue is not None and queue.more:
                if source in queue.more:
                    # More mail of this source is claimed when its deliveries in memory are done.
                    continue
                queue.to_be_claimed = True
            if (self._heard_at is None or at < self._heard_at) and destination not in self._suspensions:
                self._heard_at = at
        if self._wake_at is not None and self._wake_at <= self._clock.now():
            # The last claim passed over rows that this commit had locked. They can be claimed from now on.
            self._woken.set()
        self._schedule_wake()

    def take(self, messages: Sequence[NewMessage], stored_at: int, owner: int) -> None:
        """Accepts messages that were just stored. Their leased deliveries are tried, and the rest is claimed when there
        is memory.
        """
        for message in messages:
            waiting = message.waiting
            if message.unleased:
                self._stored_meanwhile.update((destination, message.source) for destination in message.unleased)
                self.due({(destination, message.source): stored_at for destination in message.unleased})
                waiting = tuple(each for each in waiting if each.destination not in message.unleased)
            if not waiting:
                continue
            whole, deliveries = queued(message, waiting, stored_at, owner)
            destinations = dict.fromkeys(each.destination for each in waiting) if len(waiting) > 1 else ()
            if len(destinations) <= 1:
                self._take_job(message, waiting[0].destination, whole, deliveries)
                continue
            for destination in destinations:
                part = tuple(
                    each for each, new in zip(deliveries, waiting, strict=True) if new.destination == destination
                )
                self._take_job(message, destination, whole, part)

    def _take_job(
        self, message: NewMessage, destination: str, whole: QueuedMessage, deliveries: tuple[QueuedDelivery, ...]
    ) -> None:
        if message.submission_id is None:
            # Intake has already counted the memory of submitted messages.
            self._memory.add(destination, whole.source, len(deliveries), whole.size)
        self._enqueue(destination, Job(whole, deliveries))

    async def run(self) -> None:
        """Claims due mail, without end."""
        while True:
            self._woken.clear()
            claimed = 0
            if self._memory.shortage:
                self._give_back_excess()
            try:
                if self._may_claim():
                    claimed = await self._claim()
            except QueueError as error:
                log.warning("claim_failed", reason=str(error))
                self._ask = True
            for queue in list(self._queues.values()):
                self._start_jobs(queue)
            self._postponed = not self._may_claim()
            if not claimed or self._postponed:
                await finished_within(self._pause(), self._woken.wait())

    def _drop(self, owner: int) -> None:
        """Removes the jobs of `owner`, whose leases are lost, and cancels those that are running."""
        for queue in self._queues.values():
            for job in queue.remove(owner):
                self._memory.remove(queue.destination, job.message.source, len(job.deliveries), job.octets)
        for task, job in self._tasks.items():
            if job.deliveries[0].lease_owner == owner:
                task.cancel()

    async def stop(self, grace_seconds: float) -> None:
        """Begins no more jobs and gives up leases. Running transactions may end within the given time, and the others
        are cancelled.
        """
        self._stopping = True
        for queue in self._queues.values():
            self._give_all_back(queue)
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=grace_seconds)
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _may_claim(self) -> bool:
        return (
            not self._stopping
            and self._configuration() is not None
            and self._memory.left > 0
            and self._committer.waiting < _UNSETTLED_LIMIT
        )

    def _pause(self) -> float:
        """Returns the seconds until mail becomes due, or until the database must be asked again."""
        ahead = 0.0 if self._wake_at is None else (self._wake_at - self._clock.now()) / MICROSECONDS
        # Mail that is due and was not claimed is locked by another relay, or there is no memory for it.
        return min(ahead, _TICK_SECONDS) if ahead > 0 else _TICK_SECONDS

    def _schedule_wake(self) -> None:
        """Wakes the claiming task when the reported mail is due before all other mail."""
        heard = self._heard_at
        if heard is not None and (self._wake_at is None or heard < self._wake_at):
            self._wake_at = heard
            self._woken.set()

    async def _claim(self) -> int:
        """Claims due mail. Returns the number of deliveries."""
        await self._release_uncertain_claim()
        await self._look()
        now = self._clock.now()
        if self._wake_at is None or self._wake_at > now:
            return 0
        self._heard_at, self._ended_meanwhile = None, set()
        self._stored_meanwhile.clear()
        limits = self._limits()
        try:
            new_claim = await self._take_leases(now, limits, inline=True)
        except QueueError as error:
            if not error.corrupt:
                raise
            # One damaged content must not stop all other mail. So each content is read separately, and only the damaged
            # ones are isolated.
            log.error("queue_corrupt", reason=str(error))
            new_claim = await self._take_leases(now, limits, inline=False)
        if new_claim.corrupt:
            await self._attempts.isolate_damaged(new_claim.corrupt)
        self._uncertain_claim = None
        for destination, message, deliveries in new_claim.jobs:
            self._memory.add(destination, message.source, len(deliveries), len(message.content or b""))
            self._enqueue(destination, Job(message, deliveries))
        self._note_more(new_claim)
        self._claimed(new_claim, now)
        return new_claim.count + len(new_claim.corrupt)

    async def _look(self) -> None:
        """Asks the database for the first due time, if this may have changed."""
        steady = self._clock.steady()
        if not self._ask and steady - self._asked_at < _TICK_SECONDS:
            return
        self._ask, self._asked_at, self._heard_at = False, steady, None
        # Another process may have stored mail of sources that this process does not know.
        for queue in self._queues.values():
            queue.to_be_claimed = True
        skipped = self._skipped()
        self._wake_at = await self._database.read(lambda connection: earliest_wake(connection, skipped))
        self._schedule_wake()

    def _skipped(self) -> list[str]:
        """Returns the destinations that have enough mail in memory, or may have no more."""
        memory = self._memory
        return [
            name
            for name, queue in self._queues.items()
            if queue.full or (queue.by_source and not memory.left_of_destination(name))
        ]

    def _limits(self) -> ClaimLimits:
        """Returns the limits of the next claim, which depend on the mail in memory."""
        configuration = self._configuration()
        assert configuration is not None  # noqa: S101
        memory, skipped = self._memory, self._skipped()
        jobs_wanted: dict[str, int] = {}
        wanted_of_source: dict[Pair, int] = {}
        for name in self._queues.keys() - skipped:
            queue = self._queues[name]
            jobs_wanted[name] = most = self._capacity(name, configuration) * _JOBS_PER_SLOT
            sources = len(queue.by_source)
            for source, jobs in queue.by_source.items():
                wanted_of_source[name, source] = more = max(0, -(-most // sources) - len(jobs))
                if not more:
                    # If more mail of this source is due, it is claimed when a job of this queue ends, even during the
                    # present claim.
                    queue.more.add(source)
                    queue.to_be_claimed = False
        left_of_source = {source: memory.left_of_source(source) for source in memory.by_source}
        refilled = {source for source in self._barred_sources if self._may_be_refilled(source)}
        self._barred_sources -= refilled
        barred = [source for source, left in left_of_source.items() if not left]
        # These sources have used their share, perhaps at one destination, so that nothing is claimed for their other
        # mail. Some of their deliveries must be given back.
        memory.shortage |= bool(barred)
        self._barred_sources.update(barred)
        for pair, number in list(self._returning.items()):
            if self._committer.settled >= number:
                del self._returning[pair]
            else:
                wanted_of_source[pair] = 0
        return ClaimLimits(
            total=min(memory.left, _CLAIMED_AT_ONCE),
            memory=memory.limit.deliveries,
            held={name: usage.deliveries for name, usage in memory.by_destination.items()},
            wanted=jobs_wanted,
            wanted_elsewhere=_DEFAULT_SHARE,
            wanted_of_source=wanted_of_source,
            left_of_source=left_of_source,
            skipped=skipped,
            refilled=refilled,
        )

    def _may_be_refilled(self, source: str) -> bool:
        return self._memory.left_of_source(source) * _FREE_PART >= self._memory.limit.deliveries

    async def _take_leases(self, now: int, limits: ClaimLimits, *, inline: bool) -> Claim:
        owner = self._holder.id

        def work(connection: Connection) -> Claim:
            new_claim = claim(connection, owner, now, limits, _PAUSE, inline=inline)
            self._uncertain_claim = owner, new_claim.deliveries
            return new_claim

        return await self._database.write(work)

    def _note_more(self, new_claim: Claim) -> None:
        """Remembers the mail that waits in the database, as the claim has found it."""
        memory = self._memory
        for destination, source in new_claim.drained:
            if (destination, source) in self._stored_meanwhile:
                continue
            memory.drained((destination, source))
            queue = self._queues.get(destination)
            if queue is not None:
                queue.more.discard(source)
        for destination, sources in new_claim.more.items():
            for source in sources:
                memory.overflows((destination, source))
            queue = self._queues.get(destination)
            if queue is not None:
                queue.more, queue.to_be_claimed = sources, False
        memory.shortage |= new_claim.cut_short and memory.left <= 0

    def _claimed(self, new_claim: Claim, now: int) -> None:
        """Sets the next due time from the claim, and from the reports that arrived during it."""
        self._wake_at = new_claim.next_wake
        self._schedule_wake()
        ended, self._ended_meanwhile = self._ended_meanwhile or set(), None
        for destination in new_claim.more:
            queue = self._queues.get(destination)
            if queue is None or not queue.full:
                self._wake_at = now
                if destination in ended:
                    self._woken.set()

    async def _release_uncertain_claim(self) -> None:
        """Releases the deliveries of a claim that failed in its commit. If they were leased, no process would try
        them.
        """
        if self._uncertain_claim is None:
            return
        (owner, deliveries), now = self._uncertain_claim, self._clock.now()
        await self._database.write(lambda connection: leases.release(connection, owner, deliveries, now))
        self._uncertain_claim = None

    def _enqueue(self, destination: str, job: Job) -> None:
        if self._stopping:
            self._give_back(job, destination)
            return
        queue = self._queues.get(destination)
        if queue is None:
            queue = self._queues[destination] = DestinationQueue(destination)
        queue.add(job)
        self._start_jobs(queue)

    def _start_jobs(self, queue: DestinationQueue) -> None:
        """Begins as many jobs of the queue as may run now."""
        configuration = self._configuration()
        if not queue.waiting:
            if not queue.running and configuration and self._capacity(queue.destination, configuration):
                self._queues.pop(queue.destination, None)
            return
        if configuration is None or self._committer.waiting >= _UNSETTLED_LIMIT:
            return
        capacity = self._capacity(queue.destination, configuration)
        if (capacity == 0 and not queue.running) or queue.destination in self._suspensions:
            # In memory this mail would only use space that other mail needs.
            self._give_all_back(queue)
            return
        while queue.waiting and queue.running < capacity:
            job = next_job(queue, self._slots, self._memory)
            if job is None:
                self._wait_for_slot(queue)
                return
            self._begin(queue, job)

    def _capacity(self, destination: str, configuration: Configuration) -> int:
        """Returns the number of transactions that may run to the destination at once. It is 0 while nothing may be sent
        there.
        """
        if self._attempts.rates.is_exhausted(destination):
            return 0
        return self._transport.capacity(destination, configuration)

    def _wait_for_slot(self, queue: DestinationQueue) -> None:
        if queue.waiting and not queue.waiting_for_slot:
            queue.waiting_for_slot = True
            self._waiting_for_slot.append(queue)

    def _offer_slots(self) -> None:
        for _ in range(min(len(self._waiting_for_slot), _OFFERS)):
            if not self._slots.free:
                return
            queue = self._waiting_for_slot.popleft()
            queue.waiting_for_slot = False
            self._start_jobs(queue)

    def _begin(self, queue: DestinationQueue, job: Job) -> None:
        queue.running += 1
        task = asyncio.create_task(self._work(queue, job))
        self._tasks[task] = job
        task.add_done_callback(self._ended)

    async def _work(self, queue: DestinationQueue, job: Job) -> None:
        """Runs one job of a queue after the other, until none is left or other queues wait for the slot."""
        try:
            while True:
                try:
                    moved = await self._attempts.attempt(queue.destination, job)
                except Exception:
                    # This is a fault of our code. The message stays in the queue, and is tried again after others.
                    log.exception("attempt_failed_internally", queue_id=queue_id(job.message.id))
                    self._attempts.give_back(queue.destination, job, _BROKEN_DELAY)
                    moved = []
                finally:
                    release(queue, self._slots, self._memory, job)
                if self._ended_meanwhile is not None:
                    self._ended_meanwhile.add(queue.destination)
                self._refill(queue, job.message.source)
                for destination, rest in moved:
                    self._memory.add(destination, rest.message.source, len(rest.deliveries), rest.octets)
                    self._enqueue(destination, rest)
                following = next_job(queue, self._slots, self._memory) if self._goes_on(queue) else None
                if following is None:
                    return
                job = following
                current = asyncio.current_task()
                assert current is not None  # noqa: S101
                self._tasks[current] = job
        finally:
            queue.running -= 1
            # This destination has given its slot to other queues, and waits behind them for the next one.
            self._wait_for_slot(queue)
            self._offer_slots()

    def _refill(self, queue: DestinationQueue, source: str) -> None:
        """Requests a claim when the jobs in memory are nearly done and more mail waits in the database."""
        if queue.more and not queue.to_be_claimed:
            if queue.full and not (source in queue.more and source not in queue.by_source):
                return
            queue.to_be_claimed = True
        elif source not in self._barred_sources or not self._may_be_refilled(source):
            return
        self._heard_at = 0
        self._schedule_wake()

    def _goes_on(self, queue: DestinationQueue) -> bool:
        configuration = self._configuration()
        if not queue.waiting or configuration is None or self._stopping or queue.destination in self._suspensions:
            return False
        # The slot of this job is the only free one, and other queues wait for it.
        if self._waiting_for_slot and self._slots.free <= 1:
            return False
        if self._committer.waiting >= _UNSETTLED_LIMIT:
            return False
        return queue.running <= self._capacity(queue.destination, configuration)

    def _ended(self, task: asyncio.Task[None]) -> None:
        job = self._tasks.pop(task)
        if not task.cancelled() and task.exception() is not None:
            log.error("job_failed_internally", queue_id=queue_id(job.message.id), exc_info=task.exception())
        if self._postponed and self._memory.left * _FREE_PART >= self._memory.limit.deliveries:
            self._woken.set()

    def _give_back_excess(self) -> None:
        """Gives up the leases of mail beyond the fair shares, the newest first, so that other parties get memory."""
        steady = self._clock.steady()
        if steady - self._excess_given_back_at < _SHORTAGE_SECONDS:
            return
        self._excess_given_back_at, self._memory.shortage = steady, False
        for queue in list(self._queues.values()):
            for source in self._memory.excess(queue):
                pair = queue.destination, source
                queue.more.add(source)
                self._memory.overflows(pair)
                self._give_back(queue.pop_last(source), queue.destination)
                self._returning[pair] = self._committer.handed_over

    def _give_all_back(self, queue: DestinationQueue) -> None:
        while queue.waiting:
            self._give_back(queue.pop(), queue.destination)

    def _give_back(self, job: Job, destination: str) -> None:
        self._attempts.give_back(destination, job)
        self._memory.remove(destination, job.message.source, len(job.deliveries), job.octets)
