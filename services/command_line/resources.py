"""The collections of settings. All have the commands list, show, add, change and remove, and most of them import from
CSV.
"""

from __future__ import annotations

import csv
import json
import re
import sys
import typing
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import typer

from services.command_line.connection import connected
from services.command_line.failures import CommandError, ExitStatus
from services.command_line.operations import Body, call, items, operation
from services.command_line.output import (
    AsJson,
    Yes,
    confirm,
    print_fields,
    print_json,
    print_table,
    printable,
    progress,
    read_secret,
)

if typing.TYPE_CHECKING:
    from posthouse_client import Posthouse

_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}")
# The number of objects that are added as one change.
_BATCH = 1000
# The problems with which one object of a batch may be refused.
_REFUSED_CONTENT = (400, 404, 409, 413, 422)
LIST_SEPARATOR = re.compile(r"[,;\s]+")


@dataclass(frozen=True, slots=True)
class Kind:
    """A collection of settings in the command line. `group` is the path of its operations below `posthouse_client.api`.
    `one` and `many` are its names in the operations, for example `relay_rule` and `relay_rules`. `model` is the
    client's model. `key` is the member by which people name an object. `columns` are the members of the table.
    `secrets` are members that must not be arguments. `told` are members of the answer to `add` that are shown.
    `list_finds_key` tells whether the list has a filter for `key`. `has_batch` tells whether many objects can be added
    in one request.
    """

    command: str
    summary: str
    group: str
    one: str
    many: str
    model: str
    key: str
    columns: tuple[str, ...]
    secrets: tuple[str, ...] = ()
    told: tuple[str, ...] = ()
    list_finds_key: bool = True
    has_batch: bool = True
    # Whether `import` reads CSV. Otherwise the collection has its own import, or none.
    from_csv: bool = True

    def name(self, verb: str) -> str:
        noun = self.many if verb == "list" else self.one
        return f"{self.group}.{verb}_{noun}"


Fields = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[FIELD=VALUE]...",
        help="Members, for example enabled=false or mailbox.kind=maildir. The values of a list have commas between "
        "them. With - the value, such as a password, is read from a line of standard input. At a terminal it is "
        "asked for and not shown.",
        show_default=False,
    ),
]


def find(posthouse: Posthouse, kind: Kind, name: str) -> dict[str, Any]:
    """Returns the object with this id or name. Raises CommandError when there is none, or several."""
    if _ID.fullmatch(name):
        found: dict[str, Any] = call(posthouse, kind.name("get"), name)
        return found
    filters = {kind.key: name} if kind.list_finds_key else {}
    matches = [each for each in items(posthouse, kind.name("list"), filters) if _same(each[kind.key], name)]
    if len(matches) != 1:
        several = f"{len(matches)} have the {kind.key} {name!r}: name one by its id" if matches else ""
        raise CommandError(several or f"there is no {kind.command} {name!r}; `posthouse {kind.command} list` shows all")
    return matches[0]


def _same(value: object, name: str) -> bool:
    return str(value).casefold() == name.casefold()


def members(kind: Kind, assignments: Sequence[str]) -> dict[str, Any]:
    """Returns the object that FIELD=VALUE arguments describe. Raises CommandError."""
    body: dict[str, Any] = {}
    for assignment in assignments:
        field, equals, text = assignment.partition("=")
        if not equals or not field:
            raise CommandError(f"{assignment!r} is not FIELD=VALUE", ExitStatus.USAGE)
        if text == "-":
            text = read_secret(field)
        elif field in kind.secrets:
            raise CommandError(
                f"{field} must not be in an argument, which other users of the machine can read: give {field}=- "
                "and write it to standard input",
                ExitStatus.USAGE,
            )
        place(kind, body, field, text)
    return body


def place(kind: Kind, body: dict[str, Any], field: str, text: str) -> None:
    """Sets a value at its dotted path, with the type in the client's model."""
    *path, last = field.split(".")
    target = body
    for name in path:
        inner = target.setdefault(name, {})
        if not isinstance(inner, dict):
            raise CommandError(f"{field}: {name} is given twice", ExitStatus.USAGE)
        target = inner
    target[last] = _value(_annotation(kind, field), text)


def _annotation(kind: Kind, field: str) -> str:
    """Returns the type of a member in the client's model, as source text. The result is empty for a member of an inner
    object.
    """
    import posthouse_client.models

    if "." in field:
        return ""
    annotations = getattr(posthouse_client.models, kind.model).__annotations__
    # In the client, names that are Python keywords have an underscore at the end.
    return str(annotations.get(field) or annotations.get(f"{field}_") or "")


def _value(annotation: str, text: str) -> Any:
    """Converts text to the wanted type. For any other type than a text or a list, valid JSON is read as JSON."""
    if annotation.startswith("list[") and not text.startswith("["):
        return [part for part in LIST_SEPARATOR.split(text) if part]
    if annotation.startswith("str"):
        return None if text == "" and "None" in annotation else text
    try:
        return json.loads(text)
    except ValueError:
        return text


def _warn(answer: Any) -> None:
    for warning in (answer or {}).get("warnings") or []:
        typer.echo(f"warning: {warning['detail']}", err=True)


def _shown(kind: Kind, answer: dict[str, Any], as_json: bool, done: str, told: Sequence[str]) -> None:
    _warn(answer)
    if as_json:
        print_json(answer)
    else:
        typer.echo(f"{kind.command} {answer[kind.key]} {done}")
        for name in told:
            typer.echo(f"{name}: {printable(answer.get(name))}")


def commands(kind: Kind) -> typer.Typer:
    """Makes the commands of one collection."""
    app = typer.Typer(no_args_is_help=True, help=kind.summary)
    for make in (_list, _show, _add, _change, _remove):
        make(app, kind)
    if kind.from_csv:
        _import(app, kind)
    return app


def _list(app: typer.Typer, kind: Kind) -> None:
    @app.command("list")
    def list_all(filters: Fields = None, as_json: AsJson = False) -> None:
        """List all objects, or those with the given values."""
        wanted = members(kind, filters or [])
        with connected() as posthouse:
            found = list(items(posthouse, kind.name("list"), wanted))
        if as_json:
            print_json({"items": found})
        else:
            print_table(kind.columns, ([each.get(column) for column in kind.columns] for each in found))


def _show(app: typer.Typer, kind: Kind) -> None:
    @app.command("show")
    def show(name: str, as_json: AsJson = False) -> None:
        """Show one object with all its members. NAME is the first column of the list, or an id."""
        with connected() as posthouse:
            found = find(posthouse, kind, name)
        print_json(found) if as_json else print_fields(found)


def _add(app: typer.Typer, kind: Kind) -> None:
    @app.command("add")
    def add(name: str, fields: Fields = None, as_json: AsJson = False) -> None:
        """Add an object. The command returns when every service uses it."""
        body = {kind.key: name, **members(kind, fields or [])}
        with connected() as posthouse:
            written = posthouse.send(operation(kind.name("create")), body=Body(body))
            posthouse.wait_until_in_force(written)
        _shown(kind, written.content, as_json, "added", kind.told)


def _change(app: typer.Typer, kind: Kind) -> None:
    @app.command("change")
    def change(name: str, fields: Fields, as_json: AsJson = False) -> None:
        """Change members of an object. Its other members stay as they are."""
        patch = members(kind, fields or [])
        with connected() as posthouse:
            identifier = find(posthouse, kind, name)["id"]
            read, update = operation(kind.name("get")), operation(kind.name("update"))
            written = posthouse.change(
                read, update, lambda present: Body(_of_another_kind(patch, present.to_dict())), identifier
            )
            posthouse.wait_until_in_force(written)
        _shown(kind, written.content, as_json, "changed", ())


def _of_another_kind(patch: dict[str, Any], present: dict[str, Any]) -> dict[str, Any]:
    """Returns a patch that also removes the members of a former `kind`, for example the path when a Maildir becomes a
    server. When the `kind` of an inner object changes, the object keeps only the members that the patch gives.
    """
    whole = dict(patch)
    for name, new in patch.items():
        old = present.get(name)
        if isinstance(new, dict) and isinstance(old, dict) and new.get("kind", old.get("kind")) != old.get("kind"):
            whole[name] = {**dict.fromkeys(old), **new}
    return whole


def _remove(app: typer.Typer, kind: Kind) -> None:
    @app.command("remove")
    def remove(names: list[str], yes: Yes = False, as_json: AsJson = False) -> None:
        """Remove one or several objects."""
        with connected() as posthouse:
            found = [find(posthouse, kind, name) for name in names]
            if len(found) > 1:
                confirm(f"Remove {len(found)} of {kind.command}?", yes)
            read, delete = operation(kind.name("get")), operation(kind.name("delete"))
            for each in found:
                _warn(posthouse.delete(read, delete, each["id"]).content)
            posthouse.wait_until_in_force()
        if as_json:
            print_json({"removed": [each["id"] for each in found]})
        else:
            for each in found:
                typer.echo(f"{kind.command} {each[kind.key]} removed")


@dataclass(slots=True)
class _Import:
    """The results for the rows of a file so far."""

    added: int = 0
    changed: int = 0
    unchanged: int = 0
    failures: list[str] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        return {
            "added": self.added,
            "changed": self.changed,
            "unchanged": self.unchanged,
            "failures": self.failures,
        }


def _import(app: typer.Typer, kind: Kind) -> None:
    @app.command("import")
    def import_csv(
        file: Annotated[
            Path,
            typer.Argument(
                help="CSV file whose first line has the names of the members. With - it is read from standard input."
            ),
        ],
        yes: Yes = False,
        as_json: AsJson = False,
    ) -> None:
        """Add the rows of a CSV file. Change the objects that exist already with the same name."""
        from posthouse_client import ProblemError

        rows = _rows(kind, file)
        with connected() as posthouse:
            present = {str(each[kind.key]).casefold(): each for each in items(posthouse, kind.name("list"))}
            changes = sum(str(body[kind.key]).casefold() in present for _, body in rows)
            confirm(f"Add {len(rows) - changes} of {kind.command} and change up to {changes}?", yes)
            outcome = _Import()
            new = [row for row in rows if str(row[1][kind.key]).casefold() not in present]
            singly = [row for row in rows if str(row[1][kind.key]).casefold() in present]
            for start in progress(range(0, len(new), _BATCH), "adding", -(-len(new) // _BATCH)):
                # A batch is done completely or not at all. If it is refused, its rows are tried one by one, to find the
                # faulty ones.
                batch = new[start : start + _BATCH]
                if not _add_batch(posthouse, kind, [body for _, body in batch], outcome):
                    singly += batch
            for line, body in progress(singly, "importing", len(singly)):
                try:
                    _take(posthouse, kind, body, present.get(str(body[kind.key]).casefold()), outcome)
                except ProblemError as problem:
                    outcome.failures.append(f"line {line}: {problem.sentence()}")
            posthouse.wait_until_in_force()
        _report(kind, outcome, as_json)


def _rows(kind: Kind, file: Path) -> list[tuple[int, dict[str, Any]]]:
    """Returns the objects of a CSV file with the numbers of their lines. An empty cell leaves its member out."""
    try:
        text = sys.stdin.read() if str(file) == "-" else file.read_text("utf-8-sig")
    except (OSError, UnicodeError) as error:
        raise CommandError(f"{file} can't be read: {error}", ExitStatus.USAGE) from None
    reader = csv.DictReader(text.splitlines())
    if kind.key not in (reader.fieldnames or ()):
        raise CommandError(f"{file}: the first line must name the members, {kind.key} among them", ExitStatus.USAGE)
    rows = []
    for row in reader:
        body: dict[str, Any] = {}
        if None in row or None in row.values():
            raise CommandError(f"{file}, line {reader.line_num}: it has not as many cells as the first line")
        for name, cell in row.items():
            if cell != "":
                place(kind, body, name, cell)
        if kind.key not in body:
            raise CommandError(f"{file}, line {reader.line_num}: it has no {kind.key}")
        rows.append((reader.line_num, body))
    return rows


def _add_batch(posthouse: Posthouse, kind: Kind, bodies: list[dict[str, Any]], outcome: _Import) -> bool:
    """Adds objects as one change. Returns whether that was done. Collections whose secrets are made by the service have
    no batch.
    """
    from posthouse_client import ProblemError

    if not kind.has_batch:
        return False
    body = Body({"operations": [{"action": "create", "object": each} for each in bodies]})
    try:
        posthouse.send(operation(f"{kind.group}.batch_{kind.many}"), body=body)
    except ProblemError as problem:
        if problem.status not in _REFUSED_CONTENT:
            raise
        return False
    outcome.added += len(bodies)
    return True


def _take(
    posthouse: Posthouse, kind: Kind, body: dict[str, Any], present: dict[str, Any] | None, outcome: _Import
) -> None:
    """Adds or changes one object. Raises ProblemError."""
    if present is None:
        posthouse.send(operation(kind.name("create")), body=Body(body))
        outcome.added += 1
        return
    read, update = operation(kind.name("get")), operation(kind.name("update"))
    written = posthouse.change(read, update, lambda _: Body(body), present["id"])
    if written.content["updated_at"] == present["updated_at"]:
        outcome.unchanged += 1
    else:
        outcome.changed += 1


def _report(kind: Kind, outcome: _Import, as_json: bool) -> None:
    if as_json:
        print_json(outcome.as_json())
    else:
        typer.echo(
            f"{kind.command}: {outcome.added} added, {outcome.changed} changed, {outcome.unchanged} as they were"
        )
    for failure in outcome.failures:
        typer.echo(failure, err=True)
    if outcome.failures:
        raise CommandError(f"rows that were refused: {len(outcome.failures)}")


KINDS = (
    Kind(
        "domain",
        "Domains whose mail ends here.",
        "local_domains",
        "local_domain",
        "local_domains",
        "LocalDomain",
        "name",
        ("name", "recipients", "mailbox"),
    ),
    Kind(
        "relay-domain",
        "Domains whose mail is accepted for another server.",
        "relay_control",
        "relay_domain",
        "relay_domains",
        "RelayDomain",
        "domain",
        ("domain", "enabled", "recipients"),
    ),
    Kind(
        "account",
        "Logins and their addresses.",
        "accounts",
        "account",
        "accounts",
        "Account",
        "login",
        ("login", "addresses", "enabled"),
        ("password",),
    ),
    Kind(
        "recipients",
        "Addresses of the domains whose recipients are a list.",
        "accounts",
        "recipient",
        "recipients",
        "Recipient",
        "address",
        ("address",),
    ),
    Kind(
        "alias",
        "Addresses that stand for others.",
        "accounts",
        "alias",
        "aliases",
        "Alias",
        "address",
        ("address", "targets"),
    ),
    Kind(
        "rule",
        "Rules that send some mail through a relay host.",
        "delivery",
        "relay_rule",
        "relay_rules",
        "RelayRule",
        "name",
        ("name", "type", "targets", "enabled"),
        ("relay_host.auth.password",),
    ),
    Kind(
        "access",
        "Rules that block clients and mail, or exempt them.",
        "security",
        "access_rule",
        "access_rules",
        "AccessRule",
        "name",
        ("name", "list", "criterion", "value", "mode"),
    ),
    Kind(
        "trusted",
        "Networks that may relay without a login.",
        "relay_control",
        "trusted_network",
        "trusted_networks",
        "TrustedNetwork",
        "name",
        ("name", "networks", "enabled"),
    ),
    Kind(
        "dkim",
        "Keys by which mail is signed.",
        "delivery",
        "dkim_key",
        "dkim_keys",
        "DkimKey",
        "domain",
        ("domain", "selector", "algorithm", "enabled"),
        secrets=("private_key",),
        told=("dns_name", "dns_record"),
        from_csv=False,
    ),
    Kind(
        "tls",
        "TLS that direct mail to a domain must use.",
        "delivery",
        "domain_tls_policy",
        "domain_tls_policies",
        "DomainTlsPolicy",
        "domain",
        ("domain", "level"),
    ),
    Kind(
        "webhook",
        "URLs to which events about mail are sent.",
        "events",
        "webhook",
        "webhooks",
        "Webhook",
        "url",
        ("url", "events", "enabled"),
        secrets=("secret",),
        told=("secret",),
        list_finds_key=False,
        has_batch=False,
    ),
    Kind(
        "key",
        "Keys of this API.",
        "access",
        "api_key",
        "api_keys",
        "ApiKey",
        "name",
        ("name", "prefix", "role", "expires_at"),
        told=("key",),
        has_batch=False,
    ),
)
