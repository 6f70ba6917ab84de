"""Checks run every hour and on request, never twice at the same time. A check that fails does not hide the others."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from libs.runtime.checks import CheckResult, Checks, Level


async def test_the_last_report_is_returned_until_new_checks_are_requested() -> None:
    made = 0

    async def check() -> Sequence[CheckResult]:
        nonlocal made
        made += 1
        return [CheckResult("disk", Level.OK, f"look {made}")]

    checks = Checks({"disk": check})
    assert [result.text for result in (await checks.last()).results] == ["look 1"]
    assert [result.text for result in (await checks.last()).results] == ["look 1"]
    assert [result.text for result in (await checks.make()).results] == ["look 2"]


async def test_a_caller_during_running_checks_gets_the_report_of_these_checks() -> None:
    begun, has_begun, go_on = 0, asyncio.Event(), asyncio.Event()

    async def check() -> Sequence[CheckResult]:
        nonlocal begun
        begun += 1
        has_begun.set()
        await go_on.wait()
        return [CheckResult("disk", Level.OK, "well")]

    checks = Checks({"disk": check})
    asking = [asyncio.create_task(checks.make()) for _ in range(3)]
    await has_begun.wait()
    # When one caller gives up, the others still get the results.
    asking[0].cancel()
    go_on.set()
    reports = await asyncio.gather(*asking, return_exceptions=True)
    assert begun == 1
    assert reports[1] == reports[2]


async def test_a_check_that_fails_is_reported_and_does_not_hide_other_checks() -> None:
    async def broken() -> Sequence[CheckResult]:
        raise OSError("secret text")

    async def well() -> Sequence[CheckResult]:
        return [CheckResult("clock", Level.OK, "well")]

    report = await Checks({"disk": broken, "clock": well}).make()
    by_id = {result.id: result for result in report.results}
    assert by_id["clock"].level is Level.OK
    assert by_id["disk"].level is Level.WARNING
    assert "secret" not in by_id["disk"].text


async def test_checks_run_after_the_start_and_then_regularly() -> None:
    made = asyncio.Event()

    async def check() -> Sequence[CheckResult]:
        made.set()
        return [CheckResult("disk", Level.ERROR, "full", "Delete something.")]

    running = asyncio.create_task(Checks({"disk": check}).run(0))
    async with asyncio.timeout(60):
        await made.wait()
    running.cancel()
