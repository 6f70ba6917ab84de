"""Logs an outage: a line when it begins, a line now and then while it lasts, and a line when it is over."""

from __future__ import annotations

import time
from collections.abc import Callable

import structlog

log = structlog.get_logger(__name__)

_LINE_SECONDS = 30.0
# An outage is over when there was no failure for this long. A failure now and then must not write two lines each time.
_CALM_SECONDS = 1.0


class Outage:
    """Writes few log lines for many failures of one kind.

    The lines while the outage lasts have the name `event`, and the last line has the name `over_event`. `clock` returns
    seconds.
    """

    def __init__(self, event: str, over_event: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._event = event
        self._over_event = over_event
        self._clock = clock
        # Every success reads this, so it is a plain attribute and no property.
        self.lasts = False
        self._began = self._last_failure_at = self._last_line_at = 0.0
        self._failures = self._unlogged = 0

    def failed(self, **fields: object) -> None:
        """Counts a failure. `fields` describe it in the log line, if this failure gets one."""
        now = self._last_failure_at = self._clock()
        if not self.lasts:
            self.lasts = True
            self._began = now
            self._failures = self._unlogged = 0
            self._write_line(now, fields)
        elif now - self._last_line_at >= _LINE_SECONDS:
            self._write_line(now, fields)
        else:
            self._unlogged += 1
        self._failures += 1

    def _write_line(self, now: float, fields: dict[str, object]) -> None:
        log.warning(self._event, **fields, unsaid=self._unlogged)
        self._last_line_at = now
        self._unlogged = 0

    def succeeded(self) -> None:
        """Ends the outage if the last failure is long enough ago. Call it at each success while `lasts` is true."""
        now = self._clock()
        if now - self._last_failure_at >= _CALM_SECONDS:
            self.lasts = False
            log.warning(
                self._over_event, failures=self._failures, seconds=round(self._last_failure_at - self._began, 1)
            )
