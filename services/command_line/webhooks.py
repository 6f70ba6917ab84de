"""Further commands for a webhook: a test, the list of deliveries, another delivery of an event, and a new secret."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from services.command_line.connection import connected
from services.command_line.failures import CommandError
from services.command_line.operations import call, items, operation
from services.command_line.output import AsJson, age, print_json, print_table, printable
from services.command_line.resources import KINDS, find

Webhook = Annotated[str, typer.Argument(help="URL or id of a webhook.")]


def _identifier(posthouse: Any, webhook: str) -> str:
    kind = next(kind for kind in KINDS if kind.command == "webhook")
    identifier: str = find(posthouse, kind, webhook)["id"]
    return identifier


def try_webhook(webhook: Webhook, as_json: AsJson = False) -> None:
    """Send a test event now, and show the answer."""
    with connected() as posthouse:
        delivery = call(posthouse, "events.test_webhook", _identifier(posthouse, webhook))
    _print_delivery(delivery, as_json)


def resend(
    webhook: Webhook,
    event: Annotated[str, typer.Argument(help="Event id, as `posthouse webhook deliveries` shows it.")],
    as_json: AsJson = False,
) -> None:
    """Send an event again now, and show the answer."""
    with connected() as posthouse:
        delivery = call(posthouse, "events.resend_webhook_delivery", _identifier(posthouse, webhook), event)
    _print_delivery(delivery, as_json)


def deliveries(
    webhook: Webhook,
    limit: Annotated[int, typer.Option(min=1, help="Largest number to show.")] = 20,
    as_json: AsJson = False,
) -> None:
    """List the newest events, with the last attempt of each."""
    with connected() as posthouse:
        of_webhook = {"id": _identifier(posthouse, webhook)}
        sent = list(items(posthouse, "events.list_webhook_deliveries", of_webhook, most=limit))
    if as_json:
        print_json({"items": sent})
        return
    print_table(
        ("event", "type", "message", "state", "attempts", "last attempt", "status", "error"),
        (
            (
                each["event_id"],
                each["type"],
                each["queue_id"],
                each["state"],
                each["attempts"],
                age(each["last_attempt_at"]),
                each["http_status"],
                each["error"],
            )
            for each in sent
        ),
        right=("attempts",),
    )


def rotate(
    webhook: Webhook,
    overlap: Annotated[int, typer.Option(min=0, help="Minutes for which the previous secret signs too.")] = 1440,
    as_json: AsJson = False,
) -> None:
    """Replace the secret that signs. The new secret is shown only now."""
    from posthouse_client.models import SecretRotation

    with connected() as posthouse:
        send = operation("events.rotate_webhook_secret")
        body = SecretRotation(overlap_minutes=overlap)
        rotated = posthouse.send(send, _identifier(posthouse, webhook), body=body).content
    if as_json:
        print_json(rotated)
    else:
        typer.echo(f"webhook {rotated['url']} has a new secret")
        typer.echo(f"secret: {rotated['secret']}")


def _print_delivery(delivery: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(delivery)
    else:
        answer = f"status {delivery['http_status']}" if delivery["http_status"] else "no answer"
        typer.echo(f"{delivery['event_id']} {delivery['state']}: {answer}, {delivery['milliseconds']} ms")
    if delivery["state"] != "delivered":
        raise CommandError(f"the receiver did not accept the event: {printable(delivery['error'])}")
