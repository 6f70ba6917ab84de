"""Answers the look-ups of the rules. The look-ups of one decision run at the same time, and their results are
cached.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

import structlog

from services.policy.lookups import dmarc, names, spf
from services.policy.lookups.cache import TwoStageCache
from services.policy.lookups.dnsbl import BlockLists
from services.policy.lookups.resolver import Asker, Resolver
from services.policy.lookups.timed_result import TimedResult
from services.policy.metrics import LOOKUP_SECONDS, LOOKUPS_REFUSED
from services.policy.rules.lookup import Lookup, LookupResult, Outcome, Question

log = structlog.get_logger(__name__)

_REMEMBERED = 50_000
_UNDER_WAY = 5_000
# The largest number of running look-ups for one client's network (/24, /64).
_UNDER_WAY_OF_PARTY = 500
_NO_ANSWER = LookupResult(Outcome.NO_ANSWER, detail="no answer")


class Lookups:
    """The look-ups of a process. `seconds` is the time limit for all look-ups of one decision together."""

    def __init__(self, resolver: Resolver, *, seconds: float) -> None:
        block_lists = BlockLists()
        self._resolver = resolver
        self._seconds = seconds
        self._known: TwoStageCache[Question, TimedResult] = TwoStageCache(_REMEMBERED)
        self._met_again = self._known.met_again
        # The key is (party, question), so that no party waits for the look-up of another party, which may have used up
        # its share of questions.
        self._under_way: dict[tuple[str, Question], asyncio.Task[LookupResult]] = {}
        self._of_party: Counter[str] = Counter()
        self._ways: dict[Lookup, Callable[[Asker, Question], Awaitable[TimedResult]]] = {
            Lookup.CLIENT_NAME: lambda asker, question: names.client_name(asker, question.subject),
            Lookup.HELO_DOMAIN: lambda asker, question: names.host(asker, question.subject),
            Lookup.SENDER_DOMAIN: lambda asker, question: names.mail_domain(asker, question.subject),
            Lookup.DNSBL: lambda asker, question: block_lists.listing(asker, question.subject, question.zone),
            Lookup.SPF: spf.check,
            Lookup.DMARC: lambda asker, question: dmarc.record(asker, question.subject),
        }

    def known(self, question: Question) -> LookupResult | None:
        # Nearly all results are in `_met_again`. They are found there without a call of `get`, which would cost time,
        # because every recipient has several look-ups.
        timed_result = self._met_again.get(question) or self._known.get(question)
        if timed_result is None or timed_result.expires_at <= time.monotonic():
            return None
        return timed_result.lookup_result

    def start(self, questions: Sequence[Question], party: str) -> None:
        for question in questions:
            if self.known(question) is None:
                self._begin(question, party)

    async def find(self, questions: Sequence[Question], party: str) -> dict[Question, LookupResult]:
        lookup_results: dict[Question, LookupResult] = {}
        waiting: dict[Question, asyncio.Task[LookupResult]] = {}
        for question in questions:
            lookup_result = self.known(question)
            if lookup_result is not None:
                lookup_results[question] = lookup_result
            elif (task := self._begin(question, party)) is not None:
                waiting[question] = task
            else:
                lookup_results[question] = _NO_ANSWER
        if waiting:
            await asyncio.wait(waiting.values(), timeout=self._seconds)
        for question, task in waiting.items():
            lookup_results[question] = task.result() if task.done() and not task.cancelled() else _NO_ANSWER
        return lookup_results

    async def close(self) -> None:
        """Cancels the running look-ups."""
        tasks = list(self._under_way.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _begin(self, question: Question, party: str) -> asyncio.Task[LookupResult] | None:
        """Returns the task of a look-up, which begins unless it is already running. Returns None when too many are
        running.
        """
        key = (party, question)
        task = self._under_way.get(key)
        if task is None:
            if len(self._under_way) >= _UNDER_WAY or self._of_party[party] >= _UNDER_WAY_OF_PARTY:
                LOOKUPS_REFUSED.inc()
                return None
            task = asyncio.create_task(self._find(question, party))
            self._under_way[key] = task
            self._of_party[party] += 1
            task.add_done_callback(lambda _: self._end(key))
        return task

    def _end(self, key: tuple[str, Question]) -> None:
        del self._under_way[key]
        party = key[0]
        self._of_party[party] -= 1
        if not self._of_party[party]:
            del self._of_party[party]

    async def _find(self, question: Question, party: str) -> LookupResult:
        began = time.monotonic()
        try:
            timed_result = await self._ways[question.lookup](self._resolver.for_party(party), question)
        except Exception:  # A look-up that fails in an unforeseen way has no answer.
            log.exception("lookup_failed", lookup=question.name)
            return _NO_ANSWER
        took = time.monotonic() - began
        lookup_result = replace(timed_result.lookup_result, took=took)
        LOOKUP_SECONDS.labels(question.lookup.value, lookup_result.outcome.name.lower()).observe(took)
        self._known.put(question, TimedResult(lookup_result, timed_result.expires_at))
        return lookup_result
