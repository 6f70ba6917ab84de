"""Deliveries in memory: a queue for each destination, and the shares that destinations and sources have.

The *source* of a message is an account or the network of a client, whose share the message uses (model/message.py,
`source_of`). A *party* is whatever has a share: a destination, a source, or a pair of both.

The rule of the shares, for memory and for slots, is that of model/shares.py.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TypeVar

from libs.smtp.value import fast_value
from services.relay.metrics import BACKLOG, BACKLOG_BYTES
from services.relay.model.message import QueuedDelivery, QueuedMessage
from services.relay.model.shares import OF_MEMORY, OF_SLOTS, fair_share

# The largest number of pairs of destination and source for which it is remembered that older mail waits in the
# database.
_REMEMBERED_PAIRS = 20_000
# Memory counts as scarce when less than one part in this many is free.
_SCARCE_PART = 4
# The number of sources that are tried in turn before a queue is put behind others.
_SOURCES_TRIED = 16

Pair = tuple[str, str]
Party = TypeVar("Party")


@fast_value(frozen=True, slots=True)
class Job:
    """One message and those of its deliveries that have the same destination. They are leased by this process."""

    message: QueuedMessage
    deliveries: tuple[QueuedDelivery, ...]

    @property
    def octets(self) -> int:
        """Returns the octets of the content in memory."""
        return len(self.message.content or b"")


@dataclass(slots=True)
class DestinationQueue:
    """The jobs for one destination. Its sources are served in turn, and the jobs of each source in the order of their
    arrival.
    """

    destination: str
    # The source that is served next comes first.
    by_source: dict[str, deque[Job]] = field(default_factory=dict)
    # The number of jobs that have not started, and the number of those that are running.
    waiting: int = 0
    running: int = 0
    waiting_for_slot: bool = False
    # Sources with more mail that is due in the database. It is claimed when their jobs in memory are done.
    more: set[str] = field(default_factory=set)
    # Whether the next claim must read the database for this destination, because `more` is incomplete or its mail must
    # be claimed now.
    to_be_claimed: bool = False

    @property
    def full(self) -> bool:
        """Whether the queue has enough deliveries at present. Few large claims cost less than many small ones."""
        return bool(self.more) and not self.to_be_claimed and self.waiting > self.running

    def add(self, job: Job) -> None:
        jobs = self.by_source.get(job.message.source)
        if jobs is None:
            self.by_source[job.message.source] = deque((job,))
        else:
            jobs.append(job)
        self.waiting += 1

    def first(self) -> Job:
        """Returns the job that is served next."""
        return next(iter(self.by_source.values()))[0]

    def pop(self) -> Job:
        """Removes and returns the job that is served next. The job after it is from the next source."""
        source, jobs = next(iter(self.by_source.items()))
        job = jobs.popleft()
        if not jobs:
            del self.by_source[source]
        elif len(self.by_source) > 1:
            self.rotate()
        self.waiting -= 1
        return job

    def rotate(self) -> None:
        """Puts the source that is served next behind the others."""
        source = next(iter(self.by_source))
        self.by_source[source] = self.by_source.pop(source)

    def pop_last(self, source: str) -> Job:
        """Removes and returns the newest job of a source."""
        jobs = self.by_source[source]
        job = jobs.pop()
        if not jobs:
            del self.by_source[source]
        self.waiting -= 1
        return job

    def longest(self) -> str:
        """Returns the source with the most waiting jobs."""
        return max(self.by_source, key=lambda source: len(self.by_source[source]))

    def remove(self, owner: int) -> list[Job]:
        """Removes every job that was leased to `owner`, and returns these jobs."""
        removed: list[Job] = []
        for source, jobs in list(self.by_source.items()):
            lost = [job for job in jobs if job.deliveries[0].lease_owner == owner]
            if lost:
                removed += lost
                left = deque(job for job in jobs if job.deliveries[0].lease_owner != owner)
                if left:
                    self.by_source[source] = left
                else:
                    del self.by_source[source]
        self.waiting -= len(removed)
        return removed


@dataclass(slots=True)
class Usage:
    """The deliveries and the octets of content that one party has in memory."""

    deliveries: int = 0
    octets: int = 0

    def exceeds(self, share: Usage) -> bool:
        return self.deliveries > share.deliveries or self.octets > share.octets


_NOTHING = Usage()


class MemoryBudget:
    """The deliveries and the octets of content in memory: their limits, and how much each party has."""

    def __init__(self, deliveries: int, octets: int) -> None:
        self.limit = Usage(deliveries, octets)
        self.deliveries = 0
        self.octets = 0
        self.by_destination: dict[str, Usage] = {}
        self.by_source: dict[str, Usage] = {}
        self.by_pair: dict[Pair, Usage] = {}
        # Pairs of destination and source whose older mail waits in the database, so that newer mail must wait there
        # too. Each has the number of its submissions that are being stored there.
        self._overflow: dict[Pair, int] = {}
        # Whether mail got no memory, so that parties beyond their fair share must give some back.
        self.shortage = False
        BACKLOG.set_function(lambda: self.deliveries)
        BACKLOG_BYTES.set_function(lambda: self.octets)

    @property
    def left(self) -> int:
        """Returns the number of deliveries for which there is memory."""
        return self.limit.deliveries - self.deliveries if self.octets < self.limit.octets else 0

    def admit(self, destination: str, source: str, deliveries: int, octets: int) -> bool:
        """Returns whether new mail may be kept in memory: its parties are within their shares, and no older mail waits
        in the database.
        """
        pair = destination, source
        if pair in self._overflow:
            return False
        if self.fits(destination, source, deliveries, octets):
            return True
        if pair not in self.by_pair:
            self.shortage = True
        return False

    def fits(self, destination: str, source: str, deliveries: int, octets: int) -> bool:
        """Returns whether this much more is within the shares of a destination, of a source, and of the source at the
        destination.
        """
        free, free_octets = self.limit.deliveries - self.deliveries, self.limit.octets - self.octets
        if deliveries > free or octets > free_octets:
            return False
        usage = self.by_destination.get(destination, _NOTHING)
        theirs = self.by_source.get(source, _NOTHING)
        both = self.by_pair.get((destination, source), _NOTHING)
        most, most_octets = OF_MEMORY * free, OF_MEMORY * free_octets
        return (
            usage.deliveries + deliveries <= most
            and theirs.deliveries + deliveries <= most
            and both.deliveries + deliveries <= OF_MEMORY * (most - usage.deliveries)
            and usage.octets + octets <= most_octets
            and theirs.octets + octets <= most_octets
            and both.octets + octets <= OF_MEMORY * (most_octets - usage.octets)
        )

    def left_of_destination(self, destination: str) -> int:
        """Returns the number of deliveries that may still be claimed for a destination."""
        usage = self.by_destination.get(destination, _NOTHING)
        parties = len(self.by_destination) + 1
        if usage.octets >= fair_share(self.limit.octets, parties):
            return 0
        return max(0, fair_share(self.limit.deliveries, parties) - usage.deliveries)

    def left_of_source(self, source: str) -> int:
        """Returns the number of deliveries that may still be claimed for a source. It is limited only while memory is
        scarce and other sources have deliveries. If it were always limited, a source whose mail to one destination
        fills its share could not send to other destinations.
        """
        left, sources = self.left, len(self.by_source)
        if sources <= 1 or left * _SCARCE_PART >= self.limit.deliveries:
            return left
        share = fair_share(self.limit.deliveries, sources)
        return max(0, share - self.by_source.get(source, _NOTHING).deliveries)

    def add(self, destination: str, source: str, deliveries: int, octets: int) -> None:
        self.deliveries += deliveries
        self.octets += octets
        _add(self.by_destination, destination, deliveries, octets)
        _add(self.by_source, source, deliveries, octets)
        _add(self.by_pair, (destination, source), deliveries, octets)

    def remove(self, destination: str, source: str, deliveries: int, octets: int) -> None:
        self.deliveries -= deliveries
        self.octets -= octets
        _remove(self.by_destination, destination, deliveries, octets)
        _remove(self.by_source, source, deliveries, octets)
        _remove(self.by_pair, (destination, source), deliveries, octets)

    def overflows(self, pair: Pair, submissions: int = 0) -> None:
        """Notes that mail of the pair waits in the database, or that this number of submissions is being
        stored there.
        """
        self._overflow[pair] = self._overflow.get(pair, 0) + submissions
        if len(self._overflow) > _REMEMBERED_PAIRS:
            del self._overflow[next(iter(self._overflow))]

    def stored(self, pair: Pair) -> None:
        """Notes that a submission that was being stored in the database is stored now, or was refused."""
        if self._overflow.get(pair):
            self._overflow[pair] -= 1

    def drained(self, pair: Pair) -> None:
        """Notes that no mail of the pair is due in the database any more."""
        if self._overflow.get(pair) == 0:
            del self._overflow[pair]

    def excess(self, queue: DestinationQueue) -> Iterator[str]:
        """Yields sources whose last job in a queue exceeds a fair share, until there is none.

        The fair share is the share that each party would have if all parties used as much as they may. For destinations
        and for the pairs of the destination, one more party is counted than there are.
        """
        limit, parties = self.limit, len(self.by_destination) + 1
        of_destination = Usage(fair_share(limit.deliveries, parties), fair_share(limit.octets, parties))
        sources = len(self.by_source)
        of_source = Usage(fair_share(limit.deliveries, sources), fair_share(limit.octets, sources))
        usage = self.by_destination.get(queue.destination, _NOTHING)
        while queue.waiting and usage.exceeds(of_destination):
            yield queue.longest()
        parts = len(queue.by_source) + 1
        of_pair = Usage(fair_share(of_destination.deliveries, parts), fair_share(of_destination.octets, parts))
        for source in list(queue.by_source):
            theirs = self.by_source.get(source, _NOTHING)
            both = self.by_pair.get((queue.destination, source), _NOTHING)
            while source in queue.by_source and (theirs.exceeds(of_source) or both.exceeds(of_pair)):
                yield source


def _add(usages: dict[Party, Usage], party: Party, deliveries: int, octets: int) -> None:
    usage = usages.get(party)
    if usage is None:
        usages[party] = Usage(deliveries, octets)
    else:
        usage.deliveries += deliveries
        usage.octets += octets


def _remove(usages: dict[Party, Usage], party: Party, deliveries: int, octets: int) -> None:
    usage = usages[party]
    usage.deliveries -= deliveries
    usage.octets -= octets
    if not usage.deliveries and not usage.octets:
        del usages[party]


class Slots:
    """The running attempts: their limit, and their number for each source. A host that does not answer may use a slot
    for minutes.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.used = 0
        self.by_source: dict[str, int] = {}
        # The number of attempts whose content is large, so that it is read only for the attempt.
        self.large = 0

    @property
    def free(self) -> int:
        return self.limit - self.used

    def may_start(self, source: str, running_there: int) -> bool:
        """Returns whether an attempt may begin, because its source and its destination are within their shares."""
        most = OF_SLOTS * (self.limit - self.used)
        return running_there < most and self.by_source.get(source, 0) < most

    def take(self, source: str) -> None:
        self.used += 1
        self.by_source[source] = self.by_source.get(source, 0) + 1

    def release(self, source: str) -> None:
        self.used -= 1
        left = self.by_source[source] - 1
        if left:
            self.by_source[source] = left
        else:
            del self.by_source[source]


def next_job(queue: DestinationQueue, slots: Slots, memory: MemoryBudget) -> Job | None:
    """Takes the next job of the queue that may begin now, and the slot and the memory that it needs. Returns None when
    none may begin.
    """
    if slots.used >= slots.limit:
        return None
    for _ in range(min(len(queue.by_source), _SOURCES_TRIED)):
        job = queue.first()
        message = job.message
        if slots.may_start(message.source, queue.running):
            if message.content is not None:
                slots.take(message.source)
                return queue.pop()
            # Messages whose content is larger than every share must be sent too, but only one at a time.
            if not slots.large or memory.fits(queue.destination, message.source, 0, message.size):
                slots.take(message.source)
                slots.large += 1
                memory.add(queue.destination, message.source, 0, message.size)
                return queue.pop()
        queue.rotate()
    return None


def release(queue: DestinationQueue, slots: Slots, memory: MemoryBudget, job: Job) -> None:
    """Releases the slot and all memory of a job that has ended: its deliveries and its content."""
    message = job.message
    slots.release(message.source)
    if message.content is None:
        slots.large -= 1
    memory.remove(queue.destination, message.source, len(job.deliveries), message.size)
