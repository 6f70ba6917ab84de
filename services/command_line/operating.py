"""Commands for a running suite: status, version, blocked clients, suspended destinations, relay hosts, API keys."""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from services.command_line.connection import connected
from services.command_line.failures import CommandError, ExitStatus
from services.command_line.operations import Body, call, items, operation
from services.command_line.output import AsJson, Yes, age, confirm, counted, print_json, print_table
from services.command_line.resources import KINDS, find
from services.command_line.selection import parse_age

if TYPE_CHECKING:
    from posthouse_client import Posthouse


def status(as_json: AsJson = False) -> None:
    """Show every service with its version and state. Warnings follow. Exit status 1: a service is not ready."""
    with connected() as posthouse:
        suite_status = call(posthouse, "status.get_status")
    if as_json:
        print_json(suite_status)
    else:
        columns = ("service", "state", "version", "transport", "address")
        print_table(columns, ([service.get(column) for column in columns] for service in suite_status["services"]))
        for warning in suite_status["warnings"]:
            typer.echo(f"warning: {warning['detail']}" + "".join(f"\n  {path}" for path in warning["paths"]))
    not_ready = [service for service in suite_status["services"] if service["state"] != "ready"]
    if not_ready:
        raise CommandError(f"{len(not_ready)} of {len(suite_status['services'])} services are not ready")


def version(as_json: AsJson = False) -> None:
    """Show the version of this command and of each service."""
    from importlib.metadata import version as version_of

    own = version_of("posthouse")
    with connected() as posthouse:
        services = call(posthouse, "status.get_status")["services"]
    versions = [{"service": each["service"], "version": each["version"]} for each in services]
    if as_json:
        print_json({"posthouse": own, "services": versions})
        return
    typer.echo(f"posthouse {own}")
    for each in versions:
        typer.echo(f"{each['service']} {each['version'] or 'did not say'}")


blocked_app = typer.Typer(no_args_is_help=True, help="Clients that are blocked for what they did.")


@blocked_app.command("list")
def list_blocked(as_json: AsJson = False) -> None:
    """List blocked clients, with the reason and the end of each block."""
    with connected() as posthouse:
        listed = list(items(posthouse, "security.list_blocked_clients"))
    if as_json:
        print_json({"items": listed})
        return
    print_table(
        ("client", "reason", "count", "since", "ends"),
        (
            (each["client"], each["reason"], each["count"], age(each["blocked_at"]), age(each["ends_at"]))
            for each in listed
        ),
        right=("count",),
    )


@blocked_app.command("lift")
def lift(
    clients: Annotated[
        list[str] | None, typer.Argument(help="Addresses, as `posthouse blocked list` shows them.")
    ] = None,
    everyone: Annotated[bool, typer.Option("--all", help="Lift every block.")] = False,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Remove blocks, so that the clients may connect again."""
    if bool(clients) == everyone:
        raise CommandError("give addresses, or --all", ExitStatus.USAGE)
    with connected() as posthouse:
        if everyone:
            clients = [each["client"] for each in items(posthouse, "security.list_blocked_clients")]
            if not clients:
                raise CommandError("no client is blocked")
            confirm(f"Lift {counted(len(clients), 'block')}?", yes)
        for client in clients or ():
            call(posthouse, "security.delete_blocked_client", client)
    if as_json:
        print_json({"lifted": clients})
    else:
        typer.echo(f"{len(clients or ())} lifted")


Destination = Annotated[
    str, typer.Argument(help="Destination, as `posthouse queue destinations` shows it, or a domain.")
]


def suspend(
    destination: Destination,
    until: Annotated[
        str,
        typer.Option(
            help="End of the suspension: a time with its zone such as 2030-01-31T12:00:00Z, or a length such as 30m, "
            "2h or 3d."
        ),
    ] = "",
    as_json: AsJson = False,
) -> None:
    """Suspend a destination. Its mail stays in the queue and is not tried."""
    if (age := parse_age(until)) is not None:
        until = (datetime.datetime.now(datetime.UTC) + age).isoformat(timespec="seconds")
    body = Body({"until": until} if until else {})
    with connected() as posthouse:
        send = operation("queue.suspend_destination")
        shown = posthouse.send(send, _destination(posthouse, destination), body=body).content
    _print_destination(shown, as_json, "is suspended" + (f" until {until}" if until else ""))


def resume(destination: Destination, as_json: AsJson = False) -> None:
    """Resume deliveries to a suspended destination."""
    with connected() as posthouse:
        shown = posthouse.send(operation("queue.resume_destination"), _destination(posthouse, destination)).content
    _print_destination(shown, as_json, "is tried again")


def _destination(posthouse: Posthouse, name: str) -> str:
    """Returns the full name of a destination. A domain stands for its own destination. Raises CommandError when the
    domain has none.

    Behind a relay host the mail of all domains has one destination, so suspending the destination of one domain would
    have no effect.
    """
    if ":" in name:
        return name
    own = f"domain:{name}"
    if any(each["name"] == own for each in items(posthouse, "queue.list_destinations")):
        return own
    asked = Body({"recipient": f"anybody@{name}"})
    routes = call(posthouse, "explain.explain_route", body=asked)["routes"]
    others = sorted({route["destination"] for route in routes} - {own})
    if not others or any(route["destination"] == own for route in routes):
        return own
    raise CommandError(
        f"mail for {name} goes to the destination {', '.join(others)}, perhaps with that of other domains: give this "
        f"name, or hold what waits for the domain alone with `posthouse queue hold to={name}`"
    )


def _print_destination(destination: dict[str, Any], as_json: bool, sentence: str) -> None:
    if as_json:
        print_json(destination)
    else:
        typer.echo(f"{destination['name']} {sentence}: {_waiting(destination['queued'])}")


def _waiting(number: int) -> str:
    return f"{counted(number, 'message')} {'waits' if number == 1 else 'wait'} for it"


def try_relay_host(
    rule: Annotated[str, typer.Argument(help="Name or id of a rule, or `default` for the settings' relay host.")],
    as_json: AsJson = False,
) -> None:
    """Try a relay host step by step. The steps are name, connection, TLS and login. No mail is sent."""
    kind = next(kind for kind in KINDS if kind.command == "rule")
    with connected() as posthouse:
        rule_id = "delivery" if rule == "default" else find(posthouse, kind, rule)["id"]
        relay_host = {"kind": "configured", "rule_id": rule_id}
        result = call(posthouse, "delivery.test_relay_host", body=Body(relay_host))
    if as_json:
        print_json(result)
    else:
        columns = ("step", "ok", "detail")
        print_table(columns, ([step.get(column) for column in columns] for step in result["steps"]))
    if not result["ok"]:
        raise CommandError("the relay host does not accept mail with these settings")


def rotate_key(
    name: Annotated[str, typer.Argument(help="Name or id of a key.")],
    overlap: Annotated[int, typer.Option(min=0, help="Minutes for which the previous key remains valid.")] = 60,
    as_json: AsJson = False,
) -> None:
    """Replace a key, and keep its name and role. The new key is shown only now."""
    from posthouse_client.models import KeyRotation

    kind = next(kind for kind in KINDS if kind.command == "key")
    with connected() as posthouse:
        identifier = find(posthouse, kind, name)["id"]
        body = KeyRotation(overlap_minutes=overlap)
        rotated = posthouse.send(operation("access.rotate_api_key"), identifier, body=body).content
    if as_json:
        print_json(rotated)
    else:
        ends_at = rotated["previous_key_ends_at"]
        former = f"the previous key is valid until {ends_at}" if ends_at else "the previous key is no longer valid"
        typer.echo(f"key {rotated['name']} replaced; {former}")
        typer.echo(f"key: {rotated['key']}")
