"""SPF (RFC 7208) with pyspf over our own resolver, on the event loop.

pyspf evaluates a record without a pause, and asks the DNS during the evaluation. In this module, an evaluation stops at
the first answer that is not known. The missing question is asked on the event loop, and then the record is evaluated
again with the answer. RFC 7208 limits the questions of one check (4.6.4), and the questions of an `mx` or `ptr`
mechanism are asked together. So there are few evaluations.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from typing import Any

import spf
import structlog

from services.policy.lookups.resolver import Answer, Asker
from services.policy.lookups.timed_result import TimedResult
from services.policy.rules.lookup import LookupResult, Outcome, Question

log = structlog.get_logger(__name__)

# RFC 7208 4.6.4 demands at least 20 s for a whole check.
_CHECK_SECONDS = 20.0
_REMEMBERED_SECONDS = 60.0
_NO_ANSWER_SECONDS = 5.0
# No check within the limits of RFC 7208 4.6.4 needs this many evaluations.
_MOST_EVALUATIONS = 200
# The record types of mechanisms. The record type SPF is obsolete (RFC 7208 3.1).
_RECORD_TYPES = frozenset({"A", "AAAA", "MX", "PTR", "TXT"})

_Name = tuple[str, str]


async def check(resolver: Asker, question: Question) -> TimedResult:
    """Checks SPF. `records` has the name of the result. A check that takes too long has no answer, which is a
    temperror.
    """
    answers: dict[_Name, Answer] = {}
    began = str(int(time.time()))
    try:
        async with asyncio.timeout(_CHECK_SECONDS):
            for _ in range(_MOST_EVALUATIONS):
                evaluation = _Evaluation(question, answers, resolver, began)
                try:
                    return _found(evaluation.result())
                except _AnswersNeededError as needed:
                    new_answers = await resolver.resolve_all(needed.names)
                    answers.update(zip(needed.names, new_answers, strict=True))
    except TimeoutError:
        return _found("temperror")
    log.error("spf_rounds_exceeded")
    return _found("temperror")


def _found(result: str) -> TimedResult:
    if result == "temperror":
        return TimedResult(LookupResult(Outcome.NO_ANSWER, (result,), result), time.monotonic() + _NO_ANSWER_SECONDS)
    outcome = Outcome.NONE if result == "none" else Outcome.FOUND
    return TimedResult(LookupResult(outcome, (result,)), time.monotonic() + _REMEMBERED_SECONDS)


class _AnswersNeededError(BaseException):
    """The evaluation cannot continue. It is a BaseException, so that pyspf does not treat it as an error of a
    record.
    """

    def __init__(self, names: list[_Name]) -> None:
        super().__init__()
        self.names = names


class _Evaluation(spf.query):  # type: ignore[misc]
    """pyspf's evaluation of one identity with the answers that are known."""

    def __init__(self, question: Question, answers: dict[_Name, Answer], resolver: Asker, began: str) -> None:
        """`began` is in seconds since the epoch, for the macro `t`. It must be the same in all evaluations of a
        check.
        """
        super().__init__(i=question.client, s=question.subject, h=question.helo)
        if question.subject:
            # pyspf splits at the first @, but a quoted local part may contain an @.
            self.l, _, self.o = question.subject.rpartition("@")
            self.d = self.o
        self.t = began
        self._answers = answers
        self._resolver = resolver

    def result(self) -> str:
        """Returns the name of the result in lower case. Raises _AnswersNeededError."""
        if "." not in self.d.removesuffix(".") or self.d.startswith("["):
            # A name with one label, an address literal, or no HELO name cannot be checked (RFC 7208 4.3).
            return "none"
        try:
            spf_result, _, _ = self.check()
        except Exception as error:  # noqa: BLE001 - pyspf raises what it likes on records that are garbage
            log.warning("spf_failed", reason=type(error).__name__)
            return "permerror"
        return str(spf_result)

    def get_explanation(self, _spec: object) -> None:
        """Returns no explanation. The explanation would be a text of the sender's domain. It is not looked up, because
        nobody would see it.
        """

    def dns_mx(self, domainname: str) -> list[str]:
        """Returns the addresses of all exchangers of a domain. More than ten are an error (4.6.4)."""
        names = [name for _, name in sorted(self.dns(domainname, "MX"))]
        if len(names) > spf.MAX_MX:
            raise spf.PermError(f"More than {spf.MAX_MX} MX records returned")
        self._need((name, self.A) for name in names)
        return [address for name in names for address in self.dns_a(name, self.A)]

    def validated_ptrs(self) -> list[str]:
        """Returns the names of the client that resolve to its address. A name that cannot be looked up is skipped (RFC
        7208 5.5).
        """
        try:
            names = self.dns_ptr(self.i)[: spf.MAX_PTR]
        except spf.TempError:
            return []
        self._need((name, self.A) for name in names)
        return [name for name in names if self._maps_back(name)]

    def _maps_back(self, name: str) -> bool:
        try:
            return bool(self.cidrmatch(self.dns_a(name, self.A), self.cidrmax))
        except spf.TempError:
            return False

    def dns(self, name: str, qtype: str, _cnames: object = None, ignore_void: bool = False) -> list[Any]:
        """Returns the records, in place of pyspf's own resolver, with aliases followed. This method also counts void
        look-ups (4.6.4).
        """
        canonical_name = _canonical(name)
        if not _is_askable(canonical_name, qtype):
            return []
        answer = self._known(canonical_name, qtype)
        if answer is None:
            raise _AnswersNeededError([(canonical_name, qtype)])
        if answer.outcome is Outcome.NO_ANSWER:
            raise spf.TempError("DNS gives no answer")
        records = list(answer.records)
        if not records and not ignore_void:
            self.void_lookups += 1
            if self.void_lookups > spf.MAX_VOID_LOOKUPS:
                raise spf.PermError("Too many void look-ups")
        return records

    def _need(self, names: Iterable[_Name]) -> None:
        """Asks for all missing answers at the same time."""
        questions = dict.fromkeys((_canonical(name), record_type) for name, record_type in names)
        missing = [key for key in questions if _is_askable(*key) and self._known(*key) is None]
        if missing:
            raise _AnswersNeededError(missing)

    def _known(self, name: str, record_type: str) -> Answer | None:
        """Returns an answer, which stays the same for the whole check, even if its lifetime is shorter."""
        key = (name, record_type)
        answer = self._answers.get(key)
        if answer is None:
            answer = self._resolver.cached(name, record_type)
            if answer is not None:
                self._answers[key] = answer
        return answer


def _canonical(name: str) -> str:
    return str(name).removesuffix(".").lower()


def _is_askable(name: str, record_type: str) -> bool:
    return record_type in _RECORD_TYPES and all(0 < len(label) < 64 for label in name.split("."))
