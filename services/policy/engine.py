"""Makes decisions, from request to verdict: facts, counters, look-ups, rules, log and history.

A decision that needs no wait is made at once, without a task. Nearly all decisions are made in this way while counters
are in memory and look-up results are cached.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import Protocol

import structlog

from libs.smtp.reply import NOT_READY, TRY_AGAIN
from services.policy import wire
from services.policy.credentials import CredentialChecker, Credentials
from services.policy.history import History
from services.policy.hits import HitCounts
from services.policy.metrics import AUTH_OUTCOMES, OVERLOADED, DecisionCounts
from services.policy.rules import authentication, results
from services.policy.rules.configuration import Mode
from services.policy.rules.counting import Operation, counted
from services.policy.rules.evaluate import NeedsLookups, Rulebook, verdict_of
from services.policy.rules.lookup import CachedLookupResults, LookupResult, Question
from services.policy.rules.model import NO_LOOKUP_RESULTS, Action, Facts, RuleMatch, Snapshot, Stage, Verdict
from services.policy.rules.profile import ProfileKey, profile_key, session_profile
from services.policy.state.store import FrameStamp, Store
from services.policy.verdict_log import VerdictLog
from services.policy.workers import Workers

log = structlog.get_logger(__name__)

# The largest number of decisions that wait for a look-up, a password or a store. Further decisions are answered with
# 451, so that the queue stays short.
MAX_WAITING = 10_000
# The largest number of such decisions for one client's network (/24, /64).
MAX_WAITING_OF_CLIENT = 1_000
# The largest number of rounds of look-ups for one decision. For example, DMARC alignment needs another round once the
# author's policy is known. No decision needs more rounds than this.
_MAX_ROUNDS = 4

# The value is stored here, because access to members of enumerations is slow and this runs for every decision.
_CONNECT, _AUTH, _END_OF_DATA = Stage.CONNECT.value, Stage.AUTH.value, Stage.END_OF_DATA.value
_ACCEPT = Action.ACCEPT

_NOT_READY = RuleMatch(NOT_READY, close=True)
_LATER = RuleMatch(TRY_AGAIN)


# A function that sends the parts of an answer (`wire.answer`) to the client.
Answer = Callable[[Sequence[bytes]], object]


class LookupService(Protocol):
    """Makes look-ups, with one time limit for all look-ups of a decision."""

    def known(self, question: Question) -> LookupResult | None:
        """Returns the result if it is already known."""

    def start(self, questions: Sequence[Question], party: str) -> None:
        """Begins look-ups whose results are needed later."""

    async def find(self, questions: Sequence[Question], party: str) -> dict[Question, LookupResult]:
        """Makes the look-ups at the same time. Look-ups that take too long have no answer. Never raises. `party` is the
        party whose share of the look-ups is used.
        """


class Engine:
    """Decides for all streams of the process."""

    def __init__(
        self,
        store: Store,
        lookups: LookupService,
        credentials: CredentialChecker,
        counts: DecisionCounts,
        verdicts: VerdictLog,
        history: History,
        hits: HitCounts,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.store = store
        self.lookups = lookups
        self.verdicts = verdicts
        self.history = history
        self.clock = clock
        self.rulebook: Rulebook | None = None
        self._credentials = credentials
        self._counts = counts
        self._hits = hits
        self.workers = Workers(store)
        self._waiting = 0
        self._waiting_of: Counter[str] = Counter()
        # The cached parts of answers: profiles, and the verdicts that many decisions share.
        self._profiles: dict[ProfileKey, bytes] = {}
        self._bodies: dict[Verdict, bytes] = {}

    def use(self, snapshot: Snapshot) -> None:
        """Puts a snapshot in force. Running decisions keep the snapshot with which they began."""
        self.rulebook = Rulebook(snapshot)
        self._profiles, self._bodies = {}, {}
        self.workers.count(bool(snapshot.connection_policy.max_concurrent_connections))

    def decide(
        self, request: wire.Request, answer: Answer, stamp: FrameStamp, now: float
    ) -> Coroutine[None, None, None] | None:
        """Answers at once, or returns an awaitable that answers. Never raises. `stamp` is the stamp of the frame. A
        session that opens belongs to the worker in the stamp. `now` is the time of `clock`, which is the same for all
        requests of a frame.
        """
        try:
            return self._decide(request, answer, stamp, now)
        except wire.MalformedError as error:
            log.warning("request_malformed", reason=str(error), session_id=wire.session_id(request))
            self._plain(request, answer, "request_malformed", _LATER)
        except Exception:  # A failure of one request must not end the stream of all others.
            log.exception("decision_failed", session_id=wire.session_id(request), stage=wire.stage_of(request))
            self._plain(request, answer, "internal_error", _LATER)
        return None

    def _decide(
        self, request: wire.Request, answer: Answer, stamp: FrameStamp, now: float
    ) -> Coroutine[None, None, None] | None:
        rulebook = self.rulebook
        if rulebook is None:
            self._plain(request, answer, "no_snapshot", _NOT_READY if wire.stage_of(request) == _CONNECT else _LATER)
            return None
        snapshot = rulebook.snapshot
        facts = wire.facts(request, snapshot, now, NO_LOOKUP_RESULTS)
        stage = facts.stage
        if rulebook.looks_up[stage]:
            facts.lookup_results = lookup_results = CachedLookupResults()
            lookup_results.source = self.lookups.known
        if stage == _AUTH:
            credentials = wire.credentials(request)
            decision = self._decision(request, facts, rulebook, answer, stamp)
            return self._waited(decision, self._authenticate(decision, credentials))
        if stage == _CONNECT:
            self._look_ahead(facts, rulebook)
        operations = rulebook.operations[stage]
        if operations is not None:
            counter_operations = operations(facts, snapshot)
            if counter_operations:
                numbers = self.store.apply_now(counter_operations, stamp, now)
                if numbers is None:
                    decision = self._decision(request, facts, rulebook, answer, stamp)
                    return self._waited(decision, self._count(decision, counter_operations))
                facts.counts = counted(counter_operations, numbers)
        verdict = rulebook.evaluate(facts)
        if stage == _END_OF_DATA or isinstance(verdict, NeedsLookups):
            questions = _wanted(facts, rulebook, verdict)
            if questions:
                decision = self._decision(request, facts, rulebook, answer, stamp)
                return self._waited(decision, self._look_up(decision, questions))
        if isinstance(verdict, Verdict):
            request_bytes = wire.kept(request) if self.history.on else b""
            answer(wire.answer(request, self._settle(facts, rulebook, verdict, stamp, request_bytes)))
        return None

    def _decision(
        self,
        request: wire.Request,
        facts: Facts,
        rulebook: Rulebook,
        answer: Answer,
        stamp: FrameStamp,
    ) -> _Decision:
        request_bytes = wire.kept(request) if self.history.on else b""
        return _Decision(wire.request_id(request), facts, rulebook, answer, stamp, request_bytes)

    async def _waited(self, decision: _Decision, work: Coroutine[None, None, None]) -> None:
        network = decision.facts.client.network
        if self._waiting >= MAX_WAITING or self._waiting_of[network] >= MAX_WAITING_OF_CLIENT:
            work.close()
            OVERLOADED.inc()
            self._end(decision, verdict_of("overloaded", _LATER))
            return
        self._waiting += 1
        self._waiting_of[network] += 1
        try:
            await work
        except Exception:  # A failure of one request must not end the stream of all others.
            log.exception("decision_failed", session_id=decision.facts.session_id, stage=decision.facts.stage)
            self._end(decision, verdict_of("internal_error", _LATER))
        finally:
            self._waiting -= 1
            self._waiting_of[network] -= 1
            if not self._waiting_of[network]:
                del self._waiting_of[network]

    async def _count(self, decision: _Decision, counter_operations: Sequence[Operation]) -> None:
        facts = decision.facts
        numbers = await self.store.apply(counter_operations, decision.stamp, facts.now)
        facts.counts = counted(counter_operations, numbers)
        verdict = decision.rulebook.evaluate(facts)
        questions = _wanted(facts, decision.rulebook, verdict)
        if questions:
            await self._waited(decision, self._look_up(decision, questions))
        elif isinstance(verdict, Verdict):
            self._end(decision, verdict)

    async def _look_up(self, decision: _Decision, questions: tuple[Question, ...]) -> None:
        """Makes look-ups in rounds, until all rules can be tried."""
        facts, rulebook = decision.facts, decision.rulebook
        for _ in range(_MAX_ROUNDS):
            facts.lookup_results.update(await self.lookups.find(questions, facts.client.network))
            verdict = rulebook.evaluate(facts)
            if not isinstance(verdict, NeedsLookups):
                self._end(decision, verdict)
                return
            questions = verdict.questions
        log.error("lookup_rounds_exceeded", session_id=facts.session_id, stage=facts.stage)
        self._end(decision, verdict_of("lookup_rounds_exceeded", _LATER))

    async def _authenticate(self, decision: _Decision, credentials: Credentials) -> None:
        facts, rulebook = decision.facts, decision.rulebook
        # With this, the log lines of the password check name the session.
        structlog.contextvars.bind_contextvars(session_id=facts.session_id)
        verdict = rulebook.evaluate(facts)
        if isinstance(verdict, NeedsLookups):
            raise TypeError("rules at AUTH have no look-ups")
        if verdict.action is _ACCEPT:
            outcome, account = await self._credentials.check(
                credentials, rulebook.snapshot, facts.client.key, facts.client.network
            )
            AUTH_OUTCOMES.labels(outcome.value).inc()
            if account is not None:
                facts.account = account
                verdict = Verdict(account=account.login, account_proof=account.proof)
            else:
                verdict = verdict_of(*authentication.OUTCOMES[outcome])
        self._end(decision, verdict)

    def _look_ahead(self, facts: Facts, rulebook: Rulebook) -> None:
        """Begins at CONNECT the look-ups that need only the client's address, so that their results are mostly known by
        RCPT.
        """
        questions = rulebook.early_questions(facts)
        if questions:
            self.lookups.start(questions, facts.client.network)

    def _end(self, decision: _Decision, verdict: Verdict) -> None:
        """Answers a request that had to wait."""
        body = self._settle(decision.facts, decision.rulebook, verdict, decision.stamp, decision.kept)
        decision.answer(wire.answer(decision, body))

    def _settle(
        self, facts: Facts, rulebook: Rulebook, verdict: Verdict, stamp: FrameStamp, request_bytes: bytes
    ) -> bytes:
        """Records the verdict in the log, the metrics and the history. Returns the body of its answer."""
        snapshot = rulebook.snapshot
        stage, revision = facts.stage, snapshot.revision
        body = self._bodies.get(verdict)
        if body is None:
            body = wire.body(verdict, revision)
            if verdict.shared:
                self._bodies[verdict] = body
        if facts.counts.connections is not None and not (verdict.action is _ACCEPT and stamp.worker):
            self.store.close_sessions([(facts.client.key, facts.session_id)], stamp)
        stale = facts.profile_revision != revision
        if verdict.account or (verdict.action is _ACCEPT if stage == _CONNECT else stale):
            body += self._profile(facts, rulebook)
        if facts.login_lapsed:
            body += wire.LOGIN_LAPSED
        if verdict.verify_recipient:
            # Nothing is decided yet, so nothing is recorded. Ingress will ask about the same recipient again.
            return body
        if stage == _END_OF_DATA and verdict.action is _ACCEPT:
            for result in results.results(facts, snapshot):
                body += wire.result(result)
            spam = facts.content.spam
            if spam is not None and snapshot.content_checks.spam.mode is Mode.ENFORCE:
                body += wire.SPAM_FIELDS[spam.is_marked]
        elif verdict.checks.rspamd is not None:
            # This call must come first: it adds the client's name to `facts.lookup_results`, from where
            # `envelope_results` reads it.
            client_name = results.client_name(facts, snapshot)
            body += wire.known_at_rcpt(results.envelope_results(facts, snapshot), client_name)
        if verdict.hits:
            self._hits.add(facts.session_id, verdict.hits, facts.now, recipients_asked=facts.recipients_asked)
        self._counts.count(stage, verdict)
        self.verdicts.add(facts, verdict, revision)
        if request_bytes:
            self.history.add(request_bytes, facts, verdict, snapshot)
        return body

    def _profile(self, facts: Facts, rulebook: Rulebook) -> bytes:
        key = profile_key(facts, rulebook.snapshot)
        profile = self._profiles.get(key)
        if profile is None:
            profile = self._profiles[key] = wire.profile(session_profile(facts, rulebook))
        return profile

    @staticmethod
    def _plain(request: wire.Request, answer: Answer, reason_id: str, rule_match: RuleMatch) -> None:
        """Answers a request that could not be decided."""
        answer(wire.answer(request, wire.body(verdict_of(reason_id, rule_match), 0)))

    # In the methods below, `closed`, `opened` and `sessions` have pairs (session, client address).

    def close_sessions(self, closed: Iterable[tuple[str, str]], stamp: FrameStamp, *, remember: bool) -> None:
        """Removes sessions that ended. With `remember`, an older set of open sessions that arrives later must not add
        these sessions again.
        """
        sessions = self._counted_under(closed)
        if sessions:
            self.store.close_sessions(sessions, stamp, remember=remember)

    def replace_sessions(self, opened: Iterable[tuple[str, str]], stamp: FrameStamp, settled_before: int) -> None:
        """Sets all open sessions of a worker. Sessions that were opened by the frame `settled_before` or a later frame
        are not changed.
        """
        if self._counts_sessions:
            self.store.replace_sessions(self._counted_under(opened), stamp, settled_before)

    @property
    def _counts_sessions(self) -> bool:
        return self.rulebook is not None and bool(self.rulebook.snapshot.connection_policy.max_concurrent_connections)

    def _counted_under(self, sessions: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
        """Returns the (client, session) pairs as the store counts them. The result is empty when no limit is
        configured.
        """
        if self.rulebook is None or not self._counts_sessions:
            return []
        find = self.rulebook.snapshot.clients.find
        counted_under = []
        for session_id, address in sessions:
            try:
                counted_under.append((find(address).key, session_id))
            except ValueError:
                continue
        return counted_under


class _Decision:
    """The data of one decision that waits."""

    __slots__ = ("answer", "facts", "kept", "request_id", "rulebook", "stamp")

    def __init__(
        self,
        request_id: int,
        facts: Facts,
        rulebook: Rulebook,
        answer: Answer,
        stamp: FrameStamp,
        request_bytes: bytes,
    ) -> None:
        self.request_id = request_id
        self.facts = facts
        self.rulebook = rulebook
        self.answer = answer
        self.stamp = stamp
        # The octets of the request, for the history.
        self.kept = request_bytes


def _wanted(facts: Facts, rulebook: Rulebook, verdict: Verdict | NeedsLookups) -> tuple[Question, ...]:
    """Returns the look-ups that must be made before the answer."""
    questions = verdict.questions if isinstance(verdict, NeedsLookups) else ()
    if facts.stage == _END_OF_DATA:
        for question in results.questions(facts, rulebook.snapshot):
            if not facts.lookup_results.knows(question):
                questions += (question,)
    return questions
