"""An outage as the log shows it: a line when it begins, one now and then while it lasts, and one when it is over."""

from __future__ import annotations

import time
from collections.abc import Callable

import structlog

log = structlog.get_logger(__name__)

_LINE_SECONDS = 30.0
# Without a failure for so long, it is over; what fails now and then must not write two lines each time.
_CALM_SECONDS = 1.0


class Outage:
    """Failures of one kind, each of which would be a log line. `event` is the name of the first and the later lines,
    `over_event` of the last. `clock` gives seconds.
    """

    def __init__(self, event: str, over_event: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._event = event
        self._over_event = over_event
        self._clock = clock
        # Asked at every success, so plain.
        self.lasts = False
        self._began = self._last = self._said = 0.0
        self._failures = self._unsaid = 0

    def failed(self, **fields: object) -> None:
        """`fields`: of this failure, for the line if there is one."""
        now = self._last = self._clock()
        if not self.lasts:
            self.lasts = True
            self._began = now
            self._failures = self._unsaid = 0
            self._say(now, fields)
        elif now - self._said >= _LINE_SECONDS:
            self._say(now, fields)
        else:
            self._unsaid += 1
        self._failures += 1

    def _say(self, now: float, fields: dict[str, object]) -> None:
        log.warning(self._event, **fields, unsaid=self._unsaid)
        self._said = now
        self._unsaid = 0

    def succeeded(self) -> None:
        """Must be called while the outage `lasts`."""
        now = self._clock()
        if now - self._last >= _CALM_SECONDS:
            self.lasts = False
            log.warning(self._over_event, failures=self._failures, seconds=round(self._last - self._began, 1))
