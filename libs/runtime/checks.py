"""The checks that a service makes of its own machine and settings, every hour and on request."""

from __future__ import annotations

import asyncio
import enum
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import structlog

from libs.runtime.certificates import CertificateFacts

log = structlog.get_logger(__name__)

_EVERY_SECONDS = 3600.0
# The first checks wait for this time, because a starting service has more urgent work.
_FIRST_SECONDS = 60.0
# The longest time of one check. All checks are made at the same time.
_CHECK_SECONDS = 20.0


class Level(enum.IntEnum):
    """The level of a result. The numbers are those of checks.v1."""

    OK = 1
    # The service works, but some mail may be refused, late or unprotected.
    WARNING = 2
    # Mail is not accepted or not delivered, or soon will not be.
    ERROR = 3


@dataclass(frozen=True, slots=True)
class CheckResult:
    """The result of a check. `id` is the constant name of the check, `text` the finding, and `remedy` the action to
    take. `remedy` is empty when all is well.
    """

    id: str
    level: Level
    text: str
    remedy: str = ""


# A function that makes one check and returns one or more results.
Check = Callable[[], Awaitable[Sequence[CheckResult]]]


@dataclass(frozen=True, slots=True)
class CheckReport:
    """The results of all checks. `made_at` is in seconds since 1970."""

    results: tuple[CheckResult, ...]
    made_at: float


class Checks:
    """The checks of one process, by their names."""

    def __init__(self, checks: Mapping[str, Check], clock: Callable[[], float] = time.time) -> None:
        self._checks = dict(checks)
        self._clock = clock
        self._report: CheckReport | None = None
        self._running: asyncio.Task[CheckReport] | None = None

    async def run(self, first_seconds: float = _FIRST_SECONDS) -> None:
        """Makes the checks soon after the start and then every hour, without end. Results that are not OK are
        logged.
        """
        await asyncio.sleep(first_seconds)
        while True:
            for result in (await self.make()).results:
                if result.level is not Level.OK:
                    log.warning("check_not_ok", check=result.id, level=result.level.name.lower(), text=result.text)
            await asyncio.sleep(_EVERY_SECONDS)

    async def last(self) -> CheckReport:
        """Returns the last report. The checks are made now if there is none yet."""
        return self._report or await self.make()

    async def make(self) -> CheckReport:
        """Makes the checks and returns a new report. A caller that asks while checks are running gets the results of
        the running checks.
        """
        if self._running is None:
            self._running = asyncio.create_task(self._make())
            self._running.add_done_callback(self._made)
        return await asyncio.shield(self._running)

    def _made(self, _: asyncio.Task[CheckReport]) -> None:
        self._running = None

    async def _make(self) -> CheckReport:
        results = await asyncio.gather(*(self._one(name, check) for name, check in self._checks.items()))
        self._report = CheckReport(tuple(result for some in results for result in some), self._clock())
        return self._report

    async def _one(self, name: str, check: Check) -> Sequence[CheckResult]:
        try:
            async with asyncio.timeout(_CHECK_SECONDS):
                return await check()
        except TimeoutError:
            reason = "It took too long."
        except Exception:
            log.exception("check_failed", check=name)
            reason = "The log has the reason."
        return (CheckResult(name, Level.WARNING, f"The check could not be made. {reason}", "Look into the log."),)


def checks_servicer(
    checks: Checks,
    messages: Any,
    on_hostname: Callable[[str], None] = lambda _: None,
    certificates: Callable[[], Sequence[CertificateFacts]] = tuple,
) -> Any:
    """Returns an implementation of posthouse.checks.v1.Checks for any service. `messages` is the generated module of
    checks.v1, which libs do not import. `on_hostname` is called with the gateway's name when a request has it.
    `certificates` returns the certificates that the service shows to clients.
    """
    return _ChecksServicer(checks, messages, on_hostname, certificates)


class _ChecksServicer:
    """See `checks_servicer`."""

    def __init__(
        self,
        checks: Checks,
        messages: Any,
        on_hostname: Callable[[str], None],
        certificates: Callable[[], Sequence[CertificateFacts]],
    ) -> None:
        self._checks = checks
        self._certificates = certificates
        self._messages = messages
        self._on_hostname = on_hostname

    async def ListChecks(self, request: Any, _: object) -> Any:  # noqa: N802 - the contract's name
        if request.hostname:
            self._on_hostname(request.hostname)
        if request.certificates_only:
            report = CheckReport((), 0.0)
        else:
            report = await (self._checks.make() if request.run else self._checks.last())
        response = self._messages.ListChecksResponse(
            results=[
                self._messages.CheckResult(
                    id=result.id, level=int(result.level), text=result.text, remedy=result.remedy
                )
                for result in report.results
            ]
        )
        response.made_at.FromNanoseconds(int(report.made_at * 1e9))
        response.clock.FromNanoseconds(time.time_ns())
        for certificate in self._certificates():
            message = response.certificates.add(file=str(certificate.file), names=certificate.names)
            message.ends_at.FromSeconds(int(certificate.expiry))
        return response
