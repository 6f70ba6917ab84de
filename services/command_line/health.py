"""`posthouse doctor` and `posthouse top`: what the services found about themselves, and what they do now."""

from __future__ import annotations

import datetime
import time
from collections import Counter, defaultdict
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from services.command_line.connection import connected
from services.command_line.failures import CommandError, ExitStatus
from services.command_line.operations import call, items
from services.command_line.output import AsJson, age, print_json, print_table, printable

if TYPE_CHECKING:
    from posthouse_client import Posthouse
    from rich.console import RenderableType

_LOOK_SECONDS = 2.0
_MOST_DESTINATIONS = 10


def doctor(
    domain: Annotated[
        str, typer.Argument(help="Domain to check as others see it: MX, port 25, PTR, SPF, DMARC, DKIM.")
    ] = "",
    fresh: Annotated[bool, typer.Option("--run", help="Check now, instead of showing the last hourly checks.")] = False,
    nameserver: Annotated[str, typer.Option(help="HOST:PORT of the name server to ask about DOMAIN.")] = "",
    port: Annotated[int, typer.Option(help="Port on which the MX hosts of DOMAIN are tried.")] = 25,
    everything: Annotated[bool, typer.Option("--all", help="Also show the checks whose result is ok.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show what is wrong with machines and settings. Exit status 1: a check found an error."""
    with connected() as posthouse:
        if domain:
            keys = list(items(posthouse, "delivery.list_dkim_keys", {"domain": domain}))
            findings = _of_domain(domain, keys, nameserver, port)
        else:
            findings = call(posthouse, "status.run_checks" if fresh else "status.list_checks")["items"]
    distinct_findings = _distinct(findings)
    if as_json:
        print_json({"items": findings})
    else:
        _print_findings([each for each in distinct_findings if everything or each["level"] != "ok"])
    errors = sum(each["level"] == "error" for each in distinct_findings)
    if errors:
        raise CommandError(f"{errors} of {len(distinct_findings)} checks found an error")


def _distinct(findings: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Returns each finding once, with the names of all services that have it, because the services of one machine find
    the same about it.
    """
    services: defaultdict[tuple[Any, ...], list[str]] = defaultdict(list)
    for each in findings:
        services[each["level"], each["id"], each["text"], each["remedy"]].append(each["service"])
    return [
        {"level": level, "id": name, "text": text, "remedy": remedy, "service": ", ".join(dict.fromkeys(of_finding))}
        for (level, name, text, remedy), of_finding in services.items()
    ]


def _of_domain(domain: str, keys: list[dict[str, Any]], nameserver: str, port: int) -> list[dict[str, Any]]:
    from services.command_line import domain_checks

    if nameserver and not nameserver.rpartition(":")[2].isdecimal():
        raise CommandError("--nameserver is HOST:PORT", ExitStatus.USAGE)
    checks = domain_checks.DomainChecks(domain, nameserver=nameserver, port=port)
    return [{"service": domain, **asdict(finding)} for finding in domain_checks.findings(checks, keys)]


def _print_findings(findings: list[dict[str, Any]]) -> None:
    if not findings:
        typer.echo("All is well.")
    for each in findings:
        typer.echo(f"{each['level']}: {each['service']} {each['id']}: {printable(each['text'])}")
        if each["remedy"]:
            typer.echo(f"  {printable(each['remedy'])}")


def top(
    minutes: Annotated[int, typer.Option(min=5, max=1440, help="Number of minutes whose events are counted.")] = 60,
    once: Annotated[bool, typer.Option("--once", help="Show the figures once, and exit.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show what happens, live until Ctrl-C. These are messages and refusals of the last hour, and what holds up the
    queue.
    """
    with connected() as posthouse:
        if as_json:
            print_json(_look(posthouse, minutes))
        elif once:
            _print_look(_look(posthouse, minutes))
        else:
            _live(posthouse, minutes)


def _look(posthouse: Posthouse, minutes: int) -> dict[str, Any]:
    now = datetime.datetime.now(datetime.UTC)
    after = now - datetime.timedelta(minutes=minutes)
    buckets = call(posthouse, "queue.get_statistics", after=after, before=now, bucket="five_minutes")["buckets"]
    refused: Counter[str] = Counter()
    for bucket in buckets:
        for refusal in bucket["refused"]:
            refused[refusal["reason_id"]] += refusal["count"]
    destinations = sorted(items(posthouse, "queue.list_destinations"), key=lambda each: -each["queued"])
    return {
        "minutes": minutes,
        **{name: sum(bucket[name] for bucket in buckets) for name in ("accepted", "delivered", "deferred", "bounced")},
        "refused": dict(refused.most_common()),
        "queued": sum(each["queued"] for each in destinations),
        "held": sum(each["held"] for each in destinations),
        "destinations": destinations[:_MOST_DESTINATIONS],
        "services": call(posthouse, "status.get_status")["services"],
    }


def _rows(look: dict[str, Any]) -> list[tuple[str, object]]:
    states = Counter(each["state"] for each in look["services"])
    refusals = ", ".join(f"{reason} {count}" for reason, count in look["refused"].items()) or "none"
    counted = ("accepted", "delivered", "deferred", "bounced")
    return [
        *((f"{name} in {look['minutes']} min", look[name]) for name in counted),
        ("refused", refusals),
        ("queued", look["queued"]),
        ("held", look["held"]),
        ("services", ", ".join(f"{count} {state}" for state, count in states.items())),
    ]


_COLUMNS = ("destination", "queued", "deferred", "oldest", "last error")


def _destination_rows(look: dict[str, Any]) -> list[tuple[object, ...]]:
    return [
        (each["name"], each["queued"], each["deferred"], age(each["oldest_at"]), each["last_error"])
        for each in look["destinations"]
    ]


def _print_look(look: dict[str, Any]) -> None:
    for name, value in _rows(look):
        typer.echo(f"{name:<20} {printable(value)}")
    print_table(_COLUMNS, _destination_rows(look), right=("queued", "deferred"))


def _live(posthouse: Posthouse, minutes: int) -> None:
    from rich.live import Live

    with Live(auto_refresh=False) as live:
        while True:
            live.update(_screen(_look(posthouse, minutes)), refresh=True)
            time.sleep(_LOOK_SECONDS)


def _screen(look: dict[str, Any]) -> RenderableType:
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    facts, destinations = Table(box=None, show_header=False), Table(box=None)
    for name, value in _rows(look):
        facts.add_row(name, Text(printable(value)))
    for column in _COLUMNS:
        destinations.add_column(column, overflow="fold")
    for row in _destination_rows(look):
        destinations.add_row(*(Text(printable(value)) for value in row))
    return Group(facts, destinations)
