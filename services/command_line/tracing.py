"""`posthouse trace` and `posthouse why`: the history of mail, and the decisions about possible mail."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from services.command_line.connection import connected
from services.command_line.failures import CommandError, ExitStatus
from services.command_line.operations import Body, call, items
from services.command_line.output import AsJson, print_json, print_table, printable, words
from services.command_line.resources import KINDS, members
from services.command_line.timeline import events, print_message, reply_line

if TYPE_CHECKING:
    from posthouse_client import Posthouse

_SESSION_ID = re.compile(r"[0-9a-f]{32}")
_DOMAIN = re.compile(r"[^@<>\s]+\.[^@<>\s.]+")
_ACCESS_RULES = next(kind for kind in KINDS if kind.command == "access")
_FOLLOW_SECONDS = 2.0
_MOST = 1000


def trace(
    what: Annotated[str, typer.Argument(help="Queue id, Message-ID, session id, address or domain.")],
    limit: Annotated[int, typer.Option(min=1, max=_MOST, help="Largest number of messages to show.")] = 20,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on to show new events until Ctrl-C.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show what happened to mail. Each message has a timeline; the oldest comes first."""
    with connected() as posthouse:
        messages = _messages(posthouse, what, limit)
        if not messages and not follow:
            raise CommandError(f"no mail is known of {what!r}; messages older than queue.retention_days are removed")
        if as_json and not follow:
            print_json({"items": messages})
            return
        for number, message in enumerate(messages):
            if number:
                typer.echo("")
            print_message(message)
        if follow:
            _follow(posthouse, what, limit, messages)


def _filters(what: str) -> list[dict[str, Any]]:
    """Returns the filters with which a list finds the messages that a text stands for. There are several filters if the
    text may have several meanings.
    """
    if _SESSION_ID.fullmatch(what):
        return [{"session_id": what}]
    if what.startswith("<") or (what.count("@") == 1 and what.endswith(">")):
        return [{"message_id": what.strip("<>")}]
    if "@" in what:
        return [{"sender": what}, {"recipient": what}]
    if _DOMAIN.fullmatch(what):
        return [{"sender_domain": what}, {"recipient_domain": what}]
    return []


def _messages(posthouse: Posthouse, what: str, limit: int) -> list[dict[str, Any]]:
    """Returns the newest messages that match, with all their data, oldest first."""
    filters = _filters(what)
    if not filters:
        return [call(posthouse, "queue.get_message", what)]
    listed: dict[str, dict[str, Any]] = {}
    for each in filters:
        for message in items(posthouse, "queue.list_message_history", each, most=limit):
            listed.setdefault(message["queue_id"] or message["submission_id"] or str(len(listed)), message)
    newest = sorted(listed.values(), key=lambda message: message["received_at"] or "")[-limit:]
    return [_whole(posthouse, message) for message in newest]


def _whole(posthouse: Posthouse, message: dict[str, Any]) -> dict[str, Any]:
    """Returns the message with its timeline. A message without a queue id is returned as the list shows it."""
    if not message["queue_id"]:
        return message
    whole: dict[str, Any] = call(posthouse, "queue.get_message", message["queue_id"])
    return whole


def _follow(posthouse: Posthouse, what: str, limit: int, messages: list[dict[str, Any]]) -> None:
    """Prints each line that a later request shows and the earlier ones did not."""
    printed = {line for message in messages for line in _lines(message)}
    while True:
        time.sleep(_FOLLOW_SECONDS)
        for message in _messages(posthouse, what, limit):
            for line in _lines(message):
                if line not in printed:
                    printed.add(line)
                    typer.echo(line)


def _lines(message: dict[str, Any]) -> Iterator[str]:
    name = message["queue_id"] or message["submission_id"] or "refused"
    return (f"{name}  {line}" for line in events(message))


def why(
    what: Annotated[
        str,
        typer.Argument(
            metavar="[WHAT]",
            help="Address, domain, queue id or session id: its newest mail that was refused is explained.",
            show_default=False,
        ),
    ] = "",
    session: Annotated[str, typer.Option(help="Id of a past session.")] = "",
    client: Annotated[str, typer.Option(help="Address of a client.")] = "",
    sender: Annotated[str, typer.Option("--from", help="Envelope sender. An empty text is the null sender.")] = "",
    recipient: Annotated[str, typer.Option("--to", help="Recipient.")] = "",
    helo: Annotated[str, typer.Option(help="Name in EHLO.")] = "",
    login: Annotated[str, typer.Option(help="Account that is logged in.")] = "",
    listener: Annotated[str, typer.Option(help="smtp, submission or submissions.")] = "",
    proposed_rule: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FIELD=VALUE",
            help="Try an access rule as if it existed. Give the option once for each member, for example "
            "--proposed-rule list=allow --proposed-rule criterion=ip --proposed-rule value=192.0.2.1; `posthouse "
            "access add` takes the same members.",
            show_default=False,
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Say which rule refused mail, or would refuse it. With --to, also show where mail would go."""
    if [bool(what), bool(session), bool(client)].count(True) != 1:
        raise CommandError(
            "give an address or queue id of refused mail, or --session ID, or --client IP with --from and --to",
            ExitStatus.USAGE,
        )
    if proposed_rule and not client:
        raise CommandError("--proposed-rule needs --client: a past session is not decided again", ExitStatus.USAGE)
    question: dict[str, Any] = {"kind": "past", "session_id": session}
    if what and (sender or recipient):
        raise CommandError("--from and --to need --client", ExitStatus.USAGE)
    if client:
        facts = _facts(client, sender, recipient, helo, login, listener)
        rule = {"proposed_rule": members(_ACCESS_RULES, proposed_rule)} if proposed_rule else {}
        question = {"kind": "hypothetical", "facts": facts, **rule}
    with connected() as posthouse:
        if what:
            question["session_id"] = _refused_session(posthouse, what)
        explanation = call(posthouse, "explain.explain_session", body=Body(question))
        route = None
        if recipient:
            asked = {"recipient": recipient, **({"sender": sender} if sender else {})}
            route = call(posthouse, "explain.explain_route", body=Body(asked))
    if as_json:
        print_json({"session": explanation, "route": route})
        return
    _print_session(explanation, past=not client)
    if route is not None:
        _print_route(route, refused=explanation["action"] == "reject")


def _refused_session(posthouse: Posthouse, what: str) -> str:
    """Returns the session of the newest mail of an address, a domain or a Message-ID that was refused, or the session
    of the mail with this queue id. A session id is returned unchanged.
    """
    if _SESSION_ID.fullmatch(what):
        return what
    filters = _filters(what)
    refused = (
        [
            message
            for each in filters
            for message in items(posthouse, "queue.list_message_history", {**each, "state": "rejected"}, most=1)
        ]
        if filters
        else [call(posthouse, "queue.get_message", what)]
    )
    sessions = {each["received_at"] or "": each["origin"]["session_id"] for each in refused}
    if not any(sessions.values()):
        raise CommandError(f"no mail of {what!r} is known that was refused; `posthouse trace` shows all its mail")
    return str(sessions[max(sessions)])


def _facts(client: str, sender: str, recipient: str, helo: str, login: str, listener: str) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "client_address": client,
        "stage": "rcpt" if recipient else "mail" if sender else "connect",
    }
    optional = {
        "sender": sender,
        "recipient": recipient,
        "helo_name": helo,
        "account_login": login,
        "listener": listener or ("submission" if login else ""),
    }
    return {**facts, **{name: value for name, value in optional.items() if value}}


_ENDS = {"accept": "accepted", "reject": "refused", "discard": "accepted and discarded", "unknown": "decided"}


def _print_session(explanation: dict[str, Any], *, past: bool) -> None:
    reply, rule = explanation["reply"], explanation["reason_id"]
    ended = f"This {'was' if past else 'would be'} {_ENDS.get(explanation['action'], explanation['action'])}"
    proposed = " that is proposed" if explanation["rule_id"] == _PROPOSED else ""
    because = f" by the rule {rule}{proposed}" if rule else ", because no rule refuses it" if not reply else ""
    typer.echo(f"{ended}{because}{f': {reply_line(reply)}' if reply else '.'}")
    rows = [
        (words(each["stage"]), _rule(each), _OUTCOMES.get(each["outcome"], words(each["outcome"])), _reason(each))
        for each in explanation["rules"]
        if each["outcome"] not in ("off", "not_reached")
    ]
    if rows:
        print_table(("stage", "rule", "outcome", "why"), rows)


# The id of a rule that is only proposed.
_PROPOSED = "proposed"


def _rule(rule: dict[str, Any]) -> str:
    return f"{rule['reason_id']} (proposed)" if rule["rule_id"] == _PROPOSED else str(rule["reason_id"])


_OUTCOMES = {"pass": "does not apply", "decided": "decides", "shadow": "would refuse (shadow)", "skipped": "exempt"}


def _reason(rule: dict[str, Any]) -> str:
    skipped = f"because of {rule['skipped_by']}" if rule["skipped_by"] else ""
    return " ".join(filter(None, (skipped, rule["explanation"], rule["reply"] and reply_line(rule["reply"]))))


_ROUTES = {
    "direct": "goes to the MX hosts of its domain",
    "relay_host": "goes through a relay host",
    "mailbox": "goes into a mailbox",
    "held": "would be held",
    "failed": "would be returned to the sender",
}


def _print_route(explanation: dict[str, Any], *, refused: bool = False) -> None:
    for route in explanation["routes"]:
        goes = _ROUTES.get(route["kind"], words(route["kind"]))
        whose = "" if route["kind"] == "failed" else f" Its destination is {printable(route['destination'])}."
        typer.echo(f"\n{'If it were accepted: ' if refused else ''}{printable(route['recipient'])} {goes}.{whose}")
        for sentence in _of_route(route):
            typer.echo(printable(sentence))
        rows = [
            (words(rule["kind"]), rule["name"], "yes" if rule["won"] else "", rule["reason"]) for rule in route["rules"]
        ]
        print_table(("rule", "name", "decides", "why"), rows)
        for host in route["hosts"]:
            addresses = printable(host["addresses"])
            left_out = f", left out: {printable(host['left_out'])}" if host["left_out"] else ""
            typer.echo(f"host {printable(host['host'])} {addresses} port {host['port']}{left_out}")


def _of_route(route: dict[str, Any]) -> Iterator[str]:
    """Yields lines about a route besides its destination, in the words of the console."""
    if route["code"]:
        yield f"Fails with {route['code']} {route['enhanced_code'] or ''}".strip() + "."
    if route["reason"]:
        yield route["reason"]
    if route["tls_policy"]:
        yield f"TLS: {route['tls_policy']}{', with a valid certificate' if route['verify_certificate'] else ''}."
    if route["auth_username"]:
        yield f"Logs in as {route['auth_username']}."
