"""Runs the checks that policy asked for. Signatures and viruses are checked at the same time, and rspamd is asked by a
separate call. Each check has a time limit, the number of checks is bounded, and no check blocks the event loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import structlog

from libs.runtime import processors
from libs.smtp import header
from libs.smtp.dkim import BodyHashes
from libs.smtp.network import sharing_network
from services.ingress.checks import chain, signatures
from services.ingress.checks.antivirus import Scanner
from services.ingress.checks.keys import Key, KeyLookup, NoKey
from services.ingress.checks.rspamd import RspamdClient
from services.ingress.checks.signatures import HeaderFields, Signature
from services.ingress.content import Content
from services.ingress.content_facts import ArcChain, DkimSignature, SpamScan, VirusScan
from services.ingress.metrics import Metrics
from services.ingress.shared_slots import NoSlotError, SharedSlots
from services.ingress.spam import Question
from services.ingress.verdict import CheckResult, Checks, Rspamd

log = structlog.get_logger(__name__)

# The largest number of messages, for each thread, whose signatures are being verified or wait to be verified.
# Signatures of further messages are not verified.
_UNDER_WAY_PER_THREAD = 50
_HANDED_OVER_PER_THREAD = 8
_CRYPTO_SECONDS = 60.0

_Outcome = tuple[tuple[DkimSignature, ...] | None, ArcChain | None]


class CheckRunner:
    """Runs the checks of one worker. `clock` returns Unix seconds."""

    def __init__(
        self,
        nameservers: str,
        metrics: Metrics,
        *,
        crypto_threads: int,
        clamd_concurrency: int,
        rspamd_concurrency: int = 10,
        crypto_processors: Collection[int] = (),
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Signatures are verified on `crypto_processors`, or on the processors of the caller when it is empty. Raises
        ValueError when a name server is not an address.
        """
        self._keys = KeyLookup(nameservers, clock)
        self._scanner = Scanner(clamd_concurrency)
        self._rspamd = RspamdClient(rspamd_concurrency)
        self._threads = ThreadPoolExecutor(
            crypto_threads,
            thread_name_prefix="crypto",
            initializer=_go_to,
            initargs=(crypto_processors,),
        )
        # Hashing is fast, so one client may use all threads. Waiting clients take turns. More messages than threads are
        # submitted, so that a thread that becomes free finds the next one without the event loop.
        places = crypto_threads * _HANDED_OVER_PER_THREAD
        self._thread_slots = SharedSlots(places, share=places, under_way=crypto_threads * _UNDER_WAY_PER_THREAD)
        self._metrics = metrics
        self._clock = clock

    async def close(self) -> None:
        await self._rspamd.close()
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def run(
        self, wanted: Checks, content: Content, client_address: str = ""
    ) -> tuple[tuple[DkimSignature, ...] | None, ArcChain | None, VirusScan | None]:
        """Returns the results of the checks in `wanted`, and None for the others. Never raises: a failure is a result
        of the check. `client_address` is the address of the client, whose network has a share of the places.
        """
        client = sharing_network(client_address) if client_address else ""
        scanning = None
        if wanted.clamd:
            scanning = asyncio.create_task(self._scan(wanted, content, client))
        try:
            dkim, arc = await self._signed(wanted, content, client) if wanted.dkim or wanted.arc else (None, None)
            virus = await scanning if scanning is not None else None
        finally:
            if scanning is not None:
                scanning.cancel()
        self._count(dkim, arc, virus)
        return dkim, arc, virus

    async def ask_rspamd(self, rspamd: Rspamd, question: Question, content: Content) -> SpamScan:
        """Asks rspamd about a message. Never raises."""
        began = time.monotonic()
        client = sharing_network(question.session.peer.client_address)
        scan = await self._rspamd.ask(rspamd, question, content.tail(), client)
        self._metrics.check_seconds["spam"].observe(time.monotonic() - began)
        self._metrics.checks["spam", scan.action.name.lower()] += 1
        return scan

    async def _scan(self, wanted: Checks, content: Content, client: str) -> VirusScan:
        began = time.monotonic()
        virus_scan = await self._scanner.scan(wanted.clamd, content.pieces(), wanted.clamd_seconds, client)
        self._metrics.check_seconds["virus"].observe(time.monotonic() - began)
        return virus_scan

    async def _signed(self, wanted: Checks, content: Content, client: str) -> _Outcome:
        """Looks up the keys on the event loop, so that a slow DNS blocks no thread, and then hashes and verifies in a
        thread.
        """
        began = time.monotonic()
        where = header.boundary(content.head)
        fields = HeaderFields.of(content.head[: where.header_end])
        dkim_signatures = signatures.signatures(fields, int(self._clock())) if wanted.dkim else []
        names = [signature.key_name for signature in dkim_signatures if isinstance(signature, Signature)]
        if wanted.arc:
            names += chain.key_names(fields)
        keys = await self._keys.find(names, client) if names else {}
        bodies = BodyHashes(partial(_body, content, where.body_start))
        outcome = await self._in_thread(partial(_verify, wanted, dkim_signatures, fields, bodies, keys), client)
        if outcome is None:
            outcome = _gave_up(wanted, dkim_signatures)
        self._metrics.check_seconds["signatures"].observe(time.monotonic() - began)
        return outcome

    async def _in_thread(self, work: Callable[[], _Outcome], client: str) -> _Outcome | None:
        """Does work in a thread. Returns its result, or None when it took too long, failed, or could not begin."""
        try:
            async with asyncio.timeout(_CRYPTO_SECONDS), self._thread_slots.held(client):
                return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        except (TimeoutError, NoSlotError):
            return None
        except Exception:  # A signature that causes a fault in our code must not end the session (C101).
            log.exception("signature_check_failed_internally")
            return None

    def _count(self, dkim: tuple[DkimSignature, ...] | None, arc: ArcChain | None, virus: VirusScan | None) -> None:
        counts = self._metrics.checks
        if dkim is not None:
            for outcome in {signature.result.name.lower() for signature in dkim} or {"none"}:
                counts["dkim", outcome] += 1
        if arc is not None:
            counts["arc", arc.result.name.lower()] += 1
        if virus is not None:
            counts["virus", virus.outcome.name.lower()] += 1


def _go_to(places: Collection[int]) -> None:
    """Moves a new thread to these processors. If the system does not allow this any more, the thread stays where it
    is.
    """
    with contextlib.suppress(ValueError):
        if places:
            processors.set_affinity(places)


def _body(content: Content, start: int) -> Iterator[bytes]:
    yield content.head[start:]
    yield from content.tail()


def _verify(
    wanted: Checks,
    found: list[Signature | DkimSignature],
    fields: HeaderFields,
    bodies: BodyHashes,
    keys: dict[str, Key | NoKey],
) -> _Outcome:
    dkim = None
    if wanted.dkim:
        dkim = tuple(
            signatures.verify(each, fields, bodies, keys[each.key_name]) if isinstance(each, Signature) else each
            for each in found
        )
    return dkim, chain.validate(fields, bodies, keys) if wanted.arc else None


def _gave_up(wanted: Checks, found: list[Signature | DkimSignature]) -> _Outcome:
    """Returns the results of a check that failed. The results are temporary errors, because the message is not the
    cause.
    """
    dkim = None
    if wanted.dkim:
        dkim = tuple(
            each.finding(CheckResult.TEMPERROR, "not verified in time") if isinstance(each, Signature) else each
            for each in found
        )
    return dkim, ArcChain(CheckResult.TEMPERROR, 0, b"") if wanted.arc else None
