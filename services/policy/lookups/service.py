"""Answers the rules' questions: each by its own walk through the DNS, remembered, all of a decision at once."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

import structlog

from services.policy.lookups import dmarc, names
from services.policy.lookups.dnsbl import BlockLists
from services.policy.lookups.found import Found
from services.policy.lookups.resolver import Resolver
from services.policy.lookups.spf import SpfChecker
from services.policy.metrics import LOOKUP_SECONDS, LOOKUPS_REFUSED
from services.policy.rules.lookup import Finding, Lookup, Outcome, Question

log = structlog.get_logger(__name__)

_REMEMBERED = 50_000
_UNDER_WAY = 5_000
_NO_ANSWER = Finding(Outcome.NO_ANSWER, detail="no answer in time")


class Lookups:
    """One process's look-ups. `seconds`: for all that one decision waits for together."""

    def __init__(self, resolver: Resolver, spf: SpfChecker, *, seconds: float) -> None:
        block_lists = BlockLists()
        self._seconds = seconds
        self._known: OrderedDict[Question, Found] = OrderedDict()
        self._under_way: dict[Question, asyncio.Task[Finding]] = {}
        self._ways: dict[Lookup, Callable[[Question], Awaitable[Found]]] = {
            Lookup.CLIENT_NAME: lambda question: names.client_name(resolver, question.subject),
            Lookup.HELO_DOMAIN: lambda question: names.host(resolver, question.subject),
            Lookup.SENDER_DOMAIN: lambda question: names.mail_domain(resolver, question.subject),
            Lookup.DNSBL: lambda question: block_lists.listing(resolver, question.subject, question.zone),
            Lookup.SPF: spf.check,
            Lookup.DMARC: lambda question: dmarc.record(resolver, question.subject),
        }

    def known(self, question: Question) -> Finding | None:
        found = self._known.get(question)
        if found is None or found.expires_at <= time.monotonic():
            return None
        return found.finding

    def start(self, questions: Sequence[Question]) -> None:
        for question in questions:
            if self.known(question) is None:
                self._begin(question)

    async def find(self, questions: Sequence[Question]) -> dict[Question, Finding]:
        findings: dict[Question, Finding] = {}
        waiting: dict[Question, asyncio.Task[Finding]] = {}
        for question in questions:
            finding = self.known(question)
            if finding is not None:
                findings[question] = finding
            elif (task := self._begin(question)) is not None:
                waiting[question] = task
            else:
                findings[question] = _NO_ANSWER
        if waiting:
            await asyncio.wait(waiting.values(), timeout=self._seconds)
        for question, task in waiting.items():
            findings[question] = task.result() if task.done() and not task.cancelled() else _NO_ANSWER
        return findings

    async def close(self) -> None:
        """Ends what is under way."""
        tasks = list(self._under_way.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _begin(self, question: Question) -> asyncio.Task[Finding] | None:
        """None: too many are under way."""
        task = self._under_way.get(question)
        if task is None:
            if len(self._under_way) >= _UNDER_WAY:
                LOOKUPS_REFUSED.inc()
                return None
            task = asyncio.create_task(self._find(question))
            self._under_way[question] = task
            task.add_done_callback(lambda _: self._under_way.pop(question, None))
        return task

    async def _find(self, question: Question) -> Finding:
        began = time.monotonic()
        try:
            found = await self._ways[question.lookup](question)
        except Exception:  # a look-up that fails in an unforeseen way has no answer
            log.exception("lookup_failed", lookup=question.name)
            return _NO_ANSWER
        took = time.monotonic() - began
        finding = replace(found.finding, took=took)
        LOOKUP_SECONDS.labels(question.lookup.value, finding.outcome.name.lower()).observe(took)
        self._known[question] = Found(finding, found.expires_at)
        self._known.move_to_end(question)
        if len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)
        return finding
