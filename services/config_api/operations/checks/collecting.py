"""Collects the results of the checks of all replicas in one list."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable
from typing import Literal, NamedTuple

from libs.runtime.checks import CheckReport, CheckResult, Checks, Level
from services.config_api.changes.editor import time_text
from services.config_api.clients import Neighbours, ReplicaChecks
from services.config_api.operations.checks import schemas
from services.config_api.storage.documents import Store

Service = Literal["config_api", "policy", "relay", "ingress"]

# The largest allowed difference in seconds between the clocks of two machines. With a larger one, times and expiries
# are noticeably wrong.
_CLOCK_SECONDS = 5.0
_LEVELS = {
    Level.OK: schemas.CheckLevel.OK,
    Level.WARNING: schemas.CheckLevel.WARNING,
    Level.ERROR: schemas.CheckLevel.ERROR,
}


class _Found(NamedTuple):
    service: Service
    result: CheckResult


async def collect(own: Checks, neighbours: Neighbours, store: Store, *, again: bool) -> list[schemas.CheckResult]:
    """Returns the results of all replicas, errors first. A result that several replicas have is returned once."""
    general = await store.get("settings/general", "settings/general")
    hostname = str(general.body["profile"]["hostname"]) if general is not None else ""
    own_report, others = await asyncio.gather(
        own.make() if again else own.last(), neighbours.checks(hostname, again=again)
    )
    replicas: defaultdict[_Found, list[str]] = defaultdict(list)
    made_at: dict[_Found, float] = {}
    _add(replicas, made_at, "config_api", neighbours.own_address, own_report)
    for other in others:
        _add(replicas, made_at, other.service, other.address, _report(other))
    return [
        schemas.CheckResult(
            id=found.result.id,
            level=_LEVELS[found.result.level],
            text=found.result.text,
            remedy=found.result.remedy or None,
            service=found.service,
            replicas=sorted(addresses),
            made_at=time_text(int(made_at[found] * 1_000_000)) if made_at[found] else None,
        )
        for found, addresses in sorted(replicas.items(), key=_order)
    ]


def _order(item: tuple[_Found, list[str]]) -> tuple[int, str, str, str]:
    found = item[0]
    return -int(found.result.level), found.result.id, found.service, found.result.text


def _add(
    replicas: defaultdict[_Found, list[str]],
    made_at: dict[_Found, float],
    service: Service,
    address: str,
    report: CheckReport,
) -> None:
    for result in report.results:
        found = _Found(service, result)
        replicas[found].append(address)
        made_at[found] = max(report.made_at, made_at.get(found, 0.0))


def _report(replica: ReplicaChecks) -> CheckReport:
    """Returns the results of a replica. They include the faults that two checks of config_api find: that the replica
    cannot be reached, and that its clock differs.
    """
    if replica.report is None:
        text = f"{replica.service} cannot be reached."
        remedy = "Check whether it runs, and read its log. Releases before this one have no checks."
        return CheckReport((CheckResult("reachable", Level.ERROR, text, remedy),), 0.0)
    return CheckReport((*replica.report.results, *_clock(replica)), replica.report.made_at)


def _clock(replica: ReplicaChecks) -> Iterable[CheckResult]:
    if abs(replica.clock_ahead) > _CLOCK_SECONDS:
        direction = "ahead of" if replica.clock_ahead > 0 else "behind"
        text = (
            f"The clock of this machine is {abs(replica.clock_ahead):.0f} s {direction} the clock of config_api's "
            "machine."
        )
        yield CheckResult("clock", Level.ERROR, text, "Run a time service such as NTP on both machines.")
