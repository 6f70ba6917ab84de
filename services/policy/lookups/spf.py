"""SPF (RFC 7208) with pyspf, in threads, over our own resolver."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import spf
import structlog

from services.policy.lookups.found import Found
from services.policy.lookups.resolver import Answer, Resolver
from services.policy.rules.lookup import Finding, Outcome, Question

log = structlog.get_logger(__name__)

_THREADS = 16
_MAX_WAITING = 500
# RFC 7208 4.6.4 asks for at least 20 s for all of one check.
_CHECK_SECONDS = 20.0
_REMEMBERED_SECONDS = 60.0
_NO_ANSWER_SECONDS = 5.0
# What mechanisms ask for; the record type SPF is no more (RFC 7208 3.1).
_RECORD_TYPES = frozenset({"A", "AAAA", "MX", "PTR", "TXT"})


class SpfChecker:
    """One process's SPF checks."""

    def __init__(self, resolver: Resolver) -> None:
        self._resolver = resolver
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="spf")
        self._waiting = 0

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def check(self, question: Question) -> Found:
        """`records` holds the result's name. Too many checks at once, or too long: no answer, which is a temperror."""
        if self._waiting >= _MAX_WAITING:
            return _no_answer("too many checks")
        self._waiting += 1
        loop = asyncio.get_running_loop()
        query = _Query(question, self._resolver, loop)
        try:
            result = await loop.run_in_executor(self._pool, query.result)
        finally:
            self._waiting -= 1
        if result == "temperror":
            return _no_answer("temperror")
        outcome = Outcome.NONE if result == "none" else Outcome.FOUND
        return Found(Finding(outcome, (result,)), time.monotonic() + _REMEMBERED_SECONDS)


def _no_answer(detail: str) -> Found:
    return Found(Finding(Outcome.NO_ANSWER, ("temperror",), detail), time.monotonic() + _NO_ANSWER_SECONDS)


class _Query(spf.query):  # type: ignore[misc]
    """pyspf's evaluation of one identity; what it wants of the DNS is asked of our resolver on the event loop."""

    def __init__(self, question: Question, resolver: Resolver, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(i=question.client, s=question.subject, h=question.helo, querytime=_CHECK_SECONDS)
        if question.subject:
            # pyspf cuts at the first @, which a quoted local part may hold.
            self.l, _, self.o = question.subject.rpartition("@")
            self.d = self.o
        self._resolver = resolver
        self._loop = loop
        self._deadline = time.monotonic() + _CHECK_SECONDS

    def result(self) -> str:
        """The result's name in lower case. In a thread."""
        if not self.d or self.d.startswith("["):
            # A literal, or no HELO name: there is nothing to check (RFC 7208 4.3).
            return "none"
        try:
            found, _, _ = self.check()
        except Exception as error:  # noqa: BLE001 - pyspf raises what it likes on records that are garbage
            log.warning("spf_failed", reason=type(error).__name__)
            return "permerror"
        return str(found)

    def validated_ptrs(self) -> list[str]:
        """Names of the client that map back to it. A name that can't be looked up is skipped (RFC 7208 5.5)."""
        try:
            names = self.dns_ptr(self.i)[: spf.MAX_PTR]
        except spf.TempError:
            return []
        return [name for name in names if self._maps_back(name)]

    def _maps_back(self, name: str) -> bool:
        try:
            return bool(self.cidrmatch(self.dns_a(name, self.A), self.cidrmax))
        except spf.TempError:
            return False

    def dns(self, name: str, qtype: str, _cnames: object = None, ignore_void: bool = False) -> list[Any]:
        """The records, in place of pyspf's own resolver; aliases were followed. Counts void look-ups (4.6.4)."""
        asked = str(name).removesuffix(".").lower()
        if qtype not in _RECORD_TYPES or not all(0 < len(label) < 64 for label in asked.split(".")):
            return []
        # To the event loop and back costs more than the rest, and is for what is not known yet.
        answer = self._resolver.cached(asked, qtype) or self._asked(asked, qtype)
        if answer.outcome is Outcome.NO_ANSWER:
            raise spf.TempError("DNS gives no answer")
        records = list(answer.records)
        if not records and not ignore_void:
            self.void_lookups += 1
            if self.void_lookups > spf.MAX_VOID_LOOKUPS:
                raise spf.PermError("Too many void look-ups")
        return records

    def _asked(self, name: str, record_type: str) -> Answer:
        remaining = self._deadline - time.monotonic()
        work = asyncio.run_coroutine_threadsafe(self._resolver.resolve(name, record_type), self._loop)
        try:
            return work.result(timeout=max(remaining, 0.0))
        except TimeoutError:
            work.cancel()
            raise spf.TempError("DNS look-ups took too long") from None
