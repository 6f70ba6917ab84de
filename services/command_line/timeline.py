"""Shows one message in order of time: its origin, the decisions, each attempt, and the result."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import typer

from services.command_line.output import printable


def print_message(message: dict[str, Any]) -> None:
    """Prints a message's facts and its timeline."""
    for name, value in _facts(message):
        typer.echo(f"{name:<10} {printable(value)}")
    for event in events(message):
        typer.echo(event)
    if message.get("header"):
        typer.echo("")
        for line in message["header"].splitlines():
            typer.echo(printable(line))


def _facts(message: dict[str, Any]) -> Iterator[tuple[str, object]]:
    origin = message["origin"]
    yield "message", message["queue_id"] or message["submission_id"] or "refused"
    yield "state", message["state"]
    yield "from", message["sender"] or "<>"
    for delivery in message["deliveries"]:
        yield "to", f"{delivery['recipient']}  {delivery['state']}" + _expanded(delivery)
    yield "client", " ".join(filter(None, (origin["client_address"], origin["helo_name"], origin["account_login"])))
    yield "session", origin["session_id"]
    if message.get("size"):
        yield "size", f"{message['size']} octets"
    if message.get("message_id"):
        yield "message-id", message["message_id"]


def _expanded(delivery: dict[str, Any]) -> str:
    original = delivery.get("original_recipient")
    return f", sent to {original}" if original and original != delivery["recipient"] else ""


def events(message: dict[str, Any]) -> list[str]:
    """Returns a line for each event, oldest first."""
    lines = [(message.get("received_at") or "", "received", reply_line(message) if message.get("code") else "")]
    lines += [(event["occurred_at"] or "", event["event"], _event(event)) for event in message.get("timeline") or ()]
    return [
        f"{time or '-':<24}  {what:<18}  {printable(detail) if detail else ''}".rstrip()
        for time, what, detail in sorted(lines, key=lambda line: line[0])
    ]


def _event(event: dict[str, Any]) -> str:
    attempt, verdict, actor = event.get("attempt"), event.get("verdict"), event.get("actor")
    words = [event.get("recipient"), event.get("detail"), actor and f"by {actor}"]
    if attempt:
        words = [event.get("recipient"), *_peer(attempt), reply_line(attempt)]
    if verdict:
        rules = [verdict["reason_id"], *(f"shadow: {shadow['reason_id']}" for shadow in verdict["shadow"])]
        words = [verdict["stage"], verdict["action"], str(verdict["code"] or ""), *rules]
    return " ".join(filter(None, words))


def _peer(attempt: dict[str, Any]) -> list[str]:
    """Returns the host of an attempt, and its TLS."""
    words = [f"at {attempt['host']}"] if attempt["host"] else []
    words += [f"[{attempt['address']}]"] if attempt["address"] else []
    return [*words, f"TLS {attempt['tls']}"] if attempt["tls"] else words


def reply_line(reply: dict[str, Any]) -> str:
    """Returns code, enhanced code and text of a reply. Many servers repeat the enhanced code in their text."""
    text, enhanced_code = reply["text"] or "", reply["enhanced_code"] or ""
    if text.startswith(enhanced_code):
        enhanced_code = ""
    return " ".join(str(part) for part in (reply["code"], enhanced_code, text) if part)
