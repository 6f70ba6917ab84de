"""`posthouse queue`: shows the waiting mail, and acts on it."""

from __future__ import annotations

import datetime
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from services.command_line.connection import connected
from services.command_line.failures import CommandError, ExitStatus
from services.command_line.operations import Body, call, items, operation
from services.command_line.output import AsJson, Yes, age, confirm, counted, parse_time, print_json, print_table
from services.command_line.selection import Selection, Terms, select
from services.command_line.timeline import print_message, reply_line

if TYPE_CHECKING:
    from posthouse_client import Posthouse

app = typer.Typer(no_args_is_help=True, help="Show the queue, and act on its messages.")

_BRACKETED = re.compile(r"\[([^\]]+)\](?::(.*))?")
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only count the messages that would be changed.")]

# The upper limits of the columns of `shape` in minutes, as in Postfix's qshape.
_AGES = (5, 10, 20, 40, 80, 160, 320, 640, 1280)
_ACTIONS = {
    "retry": ("Try messages now, instead of when the next attempt is due.", "retried"),
    "hold": ("Hold messages: they are not delivered until they are released.", "held"),
    "release": ("Release held messages, so that they are delivered.", "released"),
    "bounce": ("Return messages to their senders with a report.", "bounced"),
    "delete": ("Remove messages without a report.", "deleted"),
}


@app.command("list")
def list_messages(
    terms: Terms = None,
    limit: Annotated[int, typer.Option(min=1, help="Largest number to show.")] = 100,
    as_json: AsJson = False,
) -> None:
    """List messages that wait, or those that match."""
    selection = select(terms)
    with connected() as posthouse:
        messages = list(_messages(posthouse, selection, limit))
    if as_json:
        print_json({"items": messages})
        return
    print_table(
        ("id", "age", "size", "state", "from", "to", "next attempt", "last reply"),
        (_row(message) for message in messages),
        right=("size",),
    )
    if len(messages) == limit:
        typer.echo(f"The first {limit} are shown; --limit shows more.", err=True)


def _messages(posthouse: Posthouse, selection: Selection, most: int | None) -> Iterable[dict[str, Any]]:
    if selection.ids:
        return (call(posthouse, "queue.get_queued_message", identifier) for identifier in selection.ids)
    return items(posthouse, "queue.list_queued_messages", selection.filters, most=most)


def _row(message: dict[str, Any]) -> tuple[object, ...]:
    deliveries = message["deliveries"]
    more = message["delivery_count"] - len(deliveries)
    recipients = ", ".join(delivery["recipient"] for delivery in deliveries) + (f" and {more} more" if more else "")
    due = min((delivery["due_at"] for delivery in deliveries if delivery["due_at"]), default=None)
    replies = {reply_line(delivery["last_attempt"]) for delivery in deliveries if delivery["last_attempt"]}
    return (
        message["queue_id"],
        age(message["received_at"]),
        message["size"],
        message["state"],
        message["sender"] or "<>",
        recipients,
        age(due) if due else "-",
        "; ".join(sorted(replies)),
    )


@app.command()
def show(
    identifier: Annotated[str, typer.Argument(metavar="ID", help="Queue id.")],
    header: Annotated[bool, typer.Option("--header", help="Show the header of the message too.")] = False,
    content: Annotated[bool, typer.Option("--content", help="Print only the message itself.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show one message with its recipients and every attempt."""
    with connected() as posthouse:
        if content:
            from posthouse_client.api.queue import get_queued_message_content

            answer = get_queued_message_content.sync_detailed(identifier, client=posthouse.client)
            typer.echo(answer.content, nl=False)
            return
        message = call(posthouse, "queue.get_queued_message", identifier, include_header=header)
    print_json(message) if as_json else print_message(message)


@app.command()
def shape(terms: Terms = None, as_json: AsJson = False) -> None:
    """Count recipients by domain and age in minutes. This shows where mail is stuck, and since when."""
    selection = select(terms)
    now = datetime.datetime.now(datetime.UTC)
    counts: dict[str, Counter[str]] = {}
    with connected() as posthouse:
        for message in _messages(posthouse, selection, None):
            minutes = (now - parse_time(message["received_at"])).total_seconds() / 60
            column = next((f"{end}" for end in _AGES if minutes < end), f"{_AGES[-1]}+")
            for delivery in _waiting(posthouse, message):
                domain = delivery["recipient"].rpartition("@")[2]
                counts.setdefault(domain, Counter())[column] += 1
    columns = [*map(str, _AGES), f"{_AGES[-1]}+"]
    rows = sorted(counts.items(), key=lambda row: (-row[1].total(), row[0]))
    if as_json:
        print_json(
            {
                "minutes": columns,
                "items": [
                    {"domain": domain, "total": count.total(), "by_age": [count[column] for column in columns]}
                    for domain, count in rows
                ],
            }
        )
        return
    total: Counter[str] = sum((count for _, count in rows), Counter())
    print_table(
        ("domain", "total", *columns),
        (
            (domain, count.total(), *(count[column] for column in columns))
            for domain, count in [("TOTAL", total), *rows]
        ),
        right=("total", *columns),
    )


def _waiting(posthouse: Posthouse, message: dict[str, Any]) -> list[dict[str, Any]]:
    """Returns the unfinished deliveries of a message. A list shows only the first ones, so the others are requested."""
    if message["delivery_count"] > len(message["deliveries"]):
        message = call(posthouse, "queue.get_queued_message", message["queue_id"])
    return [delivery for delivery in message["deliveries"] if not delivery["finished_at"]]


def _action(name: str, summary: str, done: str) -> Callable[..., None]:
    def act(terms: Terms = None, dry_run: DryRun = False, yes: Yes = False, as_json: AsJson = False) -> None:
        _act(name, done, terms, {}, dry_run=dry_run, yes=yes, as_json=as_json)

    act.__doc__ = summary
    return act


def _act(
    action: str, done: str, terms: list[str] | None, members: dict[str, Any], *, dry_run: bool, yes: bool, as_json: bool
) -> None:
    """Acts on the messages that the terms name. `members` are further members of the request's body."""
    selection = select(terms)
    if not selection.ids and not selection.filters:
        raise CommandError(
            "give queue ids, or a filter such as to=example.com; `posthouse queue list` shows all", ExitStatus.USAGE
        )
    with connected() as posthouse:
        if selection.ids:
            outcome = _act_on_ids(posthouse, action, selection.ids, members, dry_run=dry_run)
        else:
            outcome = _act_on_matches(posthouse, action, selection, members, dry_run=dry_run, yes=yes)
    if as_json:
        print_json(outcome)
    elif dry_run:
        typer.echo(f"{outcome['matched']} would be {done}")
    else:
        skipped = f"; {outcome['skipped']} could not be {done}" if outcome["skipped"] else ""
        typer.echo(f"{outcome['acted']} {done}{skipped}")
    if not outcome["matched"] or (not dry_run and not outcome["acted"]):
        raise CommandError(f"nothing was {done}")


def _act_on_ids(
    posthouse: Posthouse, action: str, ids: tuple[str, ...], members: dict[str, Any], *, dry_run: bool
) -> dict[str, Any]:
    """Acts on messages by their ids, and returns the result. Raises ProblemError for the first message that the API
    refuses.
    """
    body = {"body": Body(members)} if members else {}
    for identifier in ids:
        call(posthouse, "queue.get_queued_message", identifier)
    for identifier in () if dry_run else ids:
        posthouse.send(operation(f"queue.{action}_message"), identifier, **body)
    return {"matched": len(ids), "acted": 0 if dry_run else len(ids), "skipped": 0, "done": True}


def _act_on_matches(
    posthouse: Posthouse, action: str, selection: Selection, members: dict[str, Any], *, dry_run: bool, yes: bool
) -> dict[str, Any]:
    """Acts on all messages that match, and returns the result. It shows their number and asks before any is changed."""
    body = {"filter": selection.as_json(), **members}
    planned: dict[str, Any] = call(posthouse, f"queue.{action}_messages", body=Body(body), dry_run=True)
    if dry_run or not planned["matched"]:
        return planned
    confirm(f"{action.capitalize()} {counted(planned['matched'], 'message')}?", yes)
    return _stream(posthouse, action, body, planned["matched"])


def _stream(posthouse: Posthouse, action: str, body: dict[str, Any], total: int) -> dict[str, Any]:
    """Acts on many messages, with a progress bar that follows the API's lines of progress."""
    from posthouse_client.errors import refusal
    from rich.console import Console
    from rich.progress import Progress

    outcome: dict[str, Any] = {"matched": 0, "acted": 0, "skipped": 0, "done": True}
    http = posthouse.client.get_httpx_client()
    headers = {"Accept": "application/x-ndjson"}
    console = Console(stderr=True)
    with (
        Progress(console=console, transient=True, disable=not console.is_terminal) as bar,
        http.stream("POST", f"/v1/queue/messages:{action}", json=body, headers=headers) as response,
    ):
        if not response.is_success:
            response.read()
            raise refusal(response)
        task = bar.add_task(action, total=total)
        for line in response.iter_lines():
            outcome = json.loads(line)
            bar.update(task, completed=outcome["acted"] + outcome["skipped"])
    return outcome


for _name, (_summary, _done) in _ACTIONS.items():
    app.command(_name)(_action(_name, _summary, _done))


@app.command()
def redirect(
    terms: Terms = None,
    recipient: Annotated[
        str | None, typer.Option("--to", metavar="ADDRESS", help="Recipient who gets the mail instead.")
    ] = None,
    next_hop: Annotated[
        str | None,
        typer.Option(metavar="HOST[:PORT]", help="Server that gets the mail, whatever the configuration says."),
    ] = None,
    lmtp: Annotated[bool, typer.Option("--lmtp", help="Use LMTP with the next hop instead of SMTP.")] = False,
    tls: Annotated[
        str, typer.Option(help="Use of TLS with the next hop: none, may (when it is offered), encrypt or verify.")
    ] = "may",
    configured_route: Annotated[
        bool, typer.Option("--configured-route", help="Undo --next-hop, so that the configuration decides again.")
    ] = False,
    dry_run: DryRun = False,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Send mail that waits to another recipient or server."""
    if [recipient is not None, next_hop is not None, configured_route].count(True) != 1:
        raise CommandError("give exactly one of --to, --next-hop and --configured-route", ExitStatus.USAGE)
    members: dict[str, Any] = {"configured_route": True}
    if recipient is not None:
        members = {"recipient": recipient}
    elif next_hop is not None:
        members = {"next_hop": {"kind": "lmtp" if lmtp else "smtp", "tls": tls, **_host_and_port(next_hop)}}
    _act("redirect", "redirected", terms, members, dry_run=dry_run, yes=yes, as_json=as_json)


def _host_and_port(text: str) -> dict[str, Any]:
    """Returns the members `host` and `port` of a server that is written as HOST, HOST:PORT or [IPv6]:PORT."""
    if match := _BRACKETED.fullmatch(text):
        host, port = match[1], match[2]
    else:
        host, _, port = text.partition(":") if text.count(":") == 1 else (text, "", None)
    if port is None:
        return {"host": host}
    if not port.isdecimal():
        raise CommandError(f"--next-hop {text}: the port is a number", ExitStatus.USAGE)
    return {"host": host, "port": int(port)}


@app.command("destinations")
def destinations(as_json: AsJson = False) -> None:
    """List the destinations of queued mail, and what delays it."""
    with connected() as posthouse:
        listed = list(items(posthouse, "queue.list_destinations"))
    if as_json:
        print_json({"items": listed})
        return
    print_table(
        ("destination", "queued", "active", "deferred", "held", "oldest", "suspended", "last error"),
        (
            (
                each["name"],
                each["queued"],
                each["active"],
                each["deferred"],
                each["held"],
                age(each["oldest_at"]),
                _suspension(each),
                each["last_error"],
            )
            for each in listed
        ),
        right=("queued", "active", "deferred", "held"),
    )


def _suspension(destination: dict[str, Any]) -> str:
    if not destination["suspended"]:
        return "no"
    until = destination["suspended_until"]
    return f"by {destination['suspended_by']}" + (f", until {until}" if until else "")
