"""`posthouse import`: reads the configuration of another server, reports the result, and applies it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from services.command_line.configuration import export_document, import_document, print_changes
from services.command_line.connection import connected
from services.command_line.failures import CommandError, ExitStatus
from services.command_line.operations import Body, operation
from services.command_line.output import AsJson, Yes, confirm, counted, print_json, print_table
from services.command_line.postfix.parameters import Parameters, read_main, read_master
from services.command_line.postfix.report import Plan
from services.command_line.postfix.translation import translate

app = typer.Typer(no_args_is_help=True, help="Take over the configuration of another mail server.")

# The members by which an object of a collection is recognised as an existing one.
_KEYS = {
    "local_domains": "name",
    "relay_domains": "domain",
    "aliases": "address",
    "relay_rules": "name",
    "access_rules": "name",
    "trusted_networks": "name",
    "tls_policies": "domain",
}
_RECIPIENTS_AT_ONCE = 10_000


@app.callback()
def import_() -> None:
    """Take over the configuration of another mail server."""


@app.command("postfix")
def import_postfix(
    folder: Annotated[
        Path, typer.Argument(metavar="DIRECTORY", help="Folder with main.cf and master.cf, for example /etc/postfix.")
    ],
    report_only: Annotated[bool, typer.Option("--report", help="Only report what each parameter becomes.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Report, and show what would change.")] = False,
    nameserver: Annotated[
        str, typer.Option(help="HOST:PORT of the name server to ask for the MX of next hops without brackets.")
    ] = "",
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Take over the configuration of a Postfix. The command reports what each parameter becomes here, shows the
    changes, asks, and makes them as one revision.
    """
    plan = _plan(folder, nameserver)
    if report_only:
        print_json(plan.as_json()) if as_json else _print_report(plan)
        return
    if not as_json:
        _print_report(plan)
    with connected() as posthouse:
        exported = export_document(posthouse, "json")
        # If somebody else makes a change from here on, the API refuses the import with a conflict, so that their change
        # is not lost.
        etag = exported.headers.get("etag", "")
        document = json.dumps(_merged(exported.json(), plan)).encode()
        planned = import_document(posthouse, document, etag, dry_run=True)
        if not as_json:
            typer.echo("")
            print_changes(planned["changes"])
        if dry_run:
            if as_json:
                print_json({**plan.as_json(), "changes": planned["changes"]})
            return
        changes, recipients = len(planned["changes"]), len(plan.recipients)
        listed = f" and {counted(recipients, 'recipient')}" if recipients else ""
        confirm(f"Change {counted(changes, 'object')}{listed}?", yes)
        imported = import_document(posthouse, document, etag, dry_run=False)
        _add_recipients(posthouse, plan.recipients)
        posthouse.wait_until_in_force()
    if as_json:
        print_json({**plan.as_json(), "changes": imported["changes"], "revision": imported["revision"]})
    else:
        typer.echo(f"revision {imported['revision']} has the settings; `posthouse config rollback` undoes them")


def _plan(folder: Path, nameserver: str) -> Plan:
    from services.command_line.postfix.mail_exchangers import mail_exchangers

    if nameserver and not nameserver.rpartition(":")[2].isdecimal():
        raise CommandError("--nameserver is HOST:PORT", ExitStatus.USAGE)
    try:
        main = read_main((folder / "main.cf").read_text("utf-8", "surrogateescape"))
        master = folder / "master.cf"
        services = read_master(master.read_text("utf-8", "surrogateescape")) if master.exists() else []
    except OSError as error:
        raise CommandError(f"{error.filename} can't be read: {error.strerror}", ExitStatus.USAGE) from None
    return translate(Parameters(main), services, folder, mail_exchangers(nameserver))


def _print_report(plan: Plan) -> None:
    print_table(
        ("parameter", "", "what it becomes"),
        ((finding.parameter, finding.level, finding.text) for finding in plan.findings),
    )
    missing = sum(finding.level == "not taken" for finding in plan.findings)
    if missing:
        typer.echo(f"Of these, {missing} have no counterpart. Read the reasons before mail is sent to this gateway.")


def _merged(document: dict[str, Any], plan: Plan) -> dict[str, Any]:
    """Returns the present configuration with the plan in it. An object with the same name is replaced."""
    for section, members in plan.settings.items():
        _merge(document["settings"][section], members)
    for collection, bodies in plan.objects.items():
        key = _KEYS[collection]
        present = {str(each[key]).casefold(): each for each in document.setdefault(collection, [])}
        for body in bodies:
            former = present.get(str(body[key]).casefold())
            if former is None:
                document[collection].append(body)
                present[str(body[key]).casefold()] = body
            else:
                identifier = former.get("id")
                former.clear()
                former.update(body if identifier is None else {"id": identifier, **body})
    return document


def _merge(target: dict[str, Any], members: dict[str, Any]) -> None:
    for name, value in members.items():
        if isinstance(value, dict) and isinstance(target.get(name), dict) and name != "relay_host":
            _merge(target[name], value)
        else:
            target[name] = value


def _add_recipients(posthouse: Any, addresses: list[str]) -> None:
    """Adds listed recipients that do not exist yet."""
    from services.command_line.operations import items

    present = {each["address"].casefold() for each in items(posthouse, "accounts.list_recipients")}
    missing = [address for address in dict.fromkeys(addresses) if address.casefold() not in present]
    for start in range(0, len(missing), _RECIPIENTS_AT_ONCE):
        operations = [
            {"action": "create", "object": {"address": address}}
            for address in missing[start : start + _RECIPIENTS_AT_ONCE]
        ]
        posthouse.send(operation("accounts.batch_recipients"), body=Body({"operations": operations}))
