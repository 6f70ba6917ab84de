"""`posthouse config`: the settings, their history, and all of them as one document."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import posthouse_client
import typer

from services.command_line.connection import connected
from services.command_line.failures import CommandError, ExitStatus
from services.command_line.operations import Body, call, content, items, operation
from services.command_line.output import (
    AsJson,
    Yes,
    confirm,
    counted,
    flattened,
    print_fields,
    print_json,
    print_table,
    printable,
    read_secret,
)
from services.command_line.resources import LIST_SEPARATOR

if TYPE_CHECKING:
    import httpx
    from posthouse_client import Posthouse

app = typer.Typer(no_args_is_help=True, help="The settings, their history, and all as one document.")


def _find_sections() -> dict[str, str]:
    """Returns the path of each section's operations below `posthouse_client.api`, by the name of the section."""
    folder = Path(posthouse_client.__file__).parent / "api"
    paths = sorted(folder.glob("*/get_*_settings.py"))
    names = {path: path.stem.removeprefix("get_").removesuffix("_settings") for path in paths}
    return {name.replace("_", "-"): f"{path.parent.name}.{{verb}}_{name}_settings" for path, name in names.items()}


_SECTIONS = _find_sections()


def _operation(section: str, verb: str) -> str:
    if section not in _SECTIONS:
        having = [f"{each}.{section}" for each in _SECTIONS if section in _members(each)]
        hint = f", but there is {' and '.join(having)}" if having else ""
        raise CommandError(
            f"there is no section {section!r}{hint}; the sections are {', '.join(_SECTIONS)}", ExitStatus.USAGE
        )
    return _SECTIONS[section].format(verb=verb)


def _members(section: str) -> frozenset[str]:
    """Returns the names of the members of a section."""
    import posthouse_client.models

    model = getattr(posthouse_client.models, f"{section.replace('-', ' ').title().replace(' ', '')}Settings")
    return frozenset(model.__annotations__)


def _member(settings: dict[str, Any], path: list[str], name: str) -> Any:
    value: Any = settings
    for step in path:
        if not isinstance(value, dict) or step not in value:
            raise CommandError(f"there is no member {name}; `posthouse config get {name.partition('.')[0]}` shows all")
        value = value[step]
    return value


@app.command("get")
def get(
    name: Annotated[
        str, typer.Argument(metavar="[SECTION[.FIELD...]]", help="Section to show. The default is all sections.")
    ] = "",
    as_json: AsJson = False,
) -> None:
    """Show settings: all of them, a section, or one member."""
    section, *path = name.split(".") if name else [""]
    with connected() as posthouse:
        if not section:
            value: Any = {name: call(posthouse, _operation(name, "get")) for name in _SECTIONS}
        else:
            value = _member(call(posthouse, _operation(section, "get")), path, name)
    if as_json:
        print_json(value)
    elif isinstance(value, dict):
        print_fields(value)
    else:
        typer.echo(printable(value))


@app.command("set")
def set_(
    assignments: Annotated[
        list[str],
        typer.Argument(
            metavar="SECTION.FIELD=VALUE...",
            help="VALUE is JSON or text, or for a list its values with commas between them. With - it is read from a "
            "line of standard input.",
        ),
    ],
    as_json: AsJson = False,
) -> None:
    """Change members of a section. The command returns when every service uses them."""
    patch: dict[str, Any] = {}
    sections = set()
    for assignment in assignments:
        name, equals, text = assignment.partition("=")
        section, *path = name.split(".")
        if not equals or not path:
            raise CommandError(f"{assignment!r} is not SECTION.FIELD=VALUE", ExitStatus.USAGE)
        if path[-1] == "password" and text != "-":
            raise CommandError(
                f"a password must not be an argument: give {name}=-, and it is read from standard input",
                ExitStatus.USAGE,
            )
        sections.add(section)
        target = patch
        for step in path[:-1]:
            target = target.setdefault(step, {})
        target[path[-1]] = read_secret(name) if text == "-" else _json_or_text(text)
    if len(sections) != 1:
        raise CommandError(
            "change one section at a time, so that either all of a change is made or nothing", ExitStatus.USAGE
        )
    (section,) = sections
    with connected() as posthouse:
        changed = _write(
            posthouse, section, "update", lambda current: Body(with_parsed_lists(patch, current.to_dict()))
        )
    _done(changed, as_json, f"{section} changed")


def with_parsed_lists(patch: dict[str, Any], current: dict[str, Any]) -> dict[str, Any]:
    """Returns a patch in which lists are lists: a text stands for the values of a list, with commas between them."""
    whole: dict[str, Any] = {}
    for name, value in patch.items():
        before = current.get(name)
        if isinstance(value, dict) and isinstance(before, dict):
            whole[name] = with_parsed_lists(value, before)
        elif isinstance(before, list) and isinstance(value, str):
            whole[name] = [_json_or_text(part) for part in LIST_SEPARATOR.split(value) if part]
        elif isinstance(before, list) and value is not None and not isinstance(value, list):
            whole[name] = [value]
        else:
            whole[name] = value
    return whole


def _json_or_text(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _write(posthouse: Posthouse, section: str, verb: str, edit: Any) -> dict[str, Any]:
    read, write = operation(_operation(section, "get")), operation(_operation(section, verb))
    written = posthouse.change(read, write, edit)
    posthouse.wait_until_in_force(written)
    changed: dict[str, Any] = written.content
    return changed


def _done(changed: dict[str, Any], as_json: bool, sentence: str) -> None:
    for warning in changed.get("warnings") or []:
        typer.echo(f"warning: {warning['detail']}", err=True)
    print_json(changed) if as_json else typer.echo(sentence)


@app.command()
def edit(section: Annotated[str, typer.Argument(help=f"One of {', '.join(_SECTIONS)}.")]) -> None:
    """Edit a section as JSON in $EDITOR. Nothing is changed when the file is left as it was."""
    read = operation(_operation(section, "get"))
    with connected() as posthouse:
        current = read(client=posthouse.client)
        before = json.dumps(content(current), indent=2, ensure_ascii=False) + "\n"
        after = _edited(before)
        if after == before:
            raise CommandError("nothing was changed")
        try:
            body = json.loads(after)
        except ValueError as error:
            raise CommandError(f"this is not JSON ({error}); nothing was changed", ExitStatus.USAGE) from None
        replace = operation(_operation(section, "replace"))
        # If somebody else has changed the section since, the API refuses this request with a conflict, because the
        # edited text is outdated.
        written = replace(client=posthouse.client, body=Body(body), if_match=current.headers["etag"])
        posthouse.wait_until_in_force()
    _done(content(written), False, f"{section} changed")


def _edited(text: str) -> str:
    editor = os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "settings.json"
        path.write_text(text)
        process = subprocess.run([*shlex.split(editor), path], check=False)  # noqa: S603 - the operator's own editor
        if process.returncode != 0:
            raise CommandError(f"{editor} failed; nothing was changed")
        return path.read_text()


@app.command("log")
def log(
    limit: Annotated[int, typer.Option(min=1, help="Largest number to show.")] = 20, as_json: AsJson = False
) -> None:
    """List revisions, newest first: who changed what, and when."""
    with connected() as posthouse:
        revisions = list(items(posthouse, "configuration.list_revisions", most=limit))
    if as_json:
        print_json({"items": revisions})
        return
    columns = ("number", "created_at", "actor", "summary")
    print_table(columns, ([revision[column] for column in columns] for revision in revisions), right=("number",))


@app.command()
def diff(
    from_: Annotated[
        int, typer.Argument(metavar="FROM", help="Number of a revision. A negative number counts back from the newest.")
    ] = -1,
    to: Annotated[int, typer.Argument(help="Number of a revision. 0 is the newest.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Show what differs between two revisions. By default, show what the newest has changed."""
    with connected() as posthouse:
        newest = next(items(posthouse, "configuration.list_revisions", most=1))["number"]
        first, last = (number + newest if number <= 0 else number for number in (from_, to))
        compared = call(posthouse, "configuration.compare_revisions", from_revision=first, to_revision=last)
    print_json(compared) if as_json else print_changes(compared["changes"])


def print_changes(changes: list[dict[str, Any]]) -> None:
    for change in changes:
        typer.echo(f"{change['event']} {change['kind']} {change['id']}")
        for difference in change["differences"]:
            if difference.get("secret"):
                typer.echo(f"  {difference['pointer']}: secret {difference['secret']}")
                continue
            before, after = (_side(difference, name) for name in ("before", "after"))
            typer.echo(f"  {difference['pointer'] or '(all)'}: {before} -> {after}")


def _side(difference: dict[str, Any], name: str) -> str:
    if difference.get(name) is None:
        return "nothing"
    value = difference[name]
    if isinstance(value, dict):
        return ", ".join(f"{member}={printable(each)}" for member, each in flattened(value))
    return printable(value)


@app.command()
def rollback(
    revision: Annotated[int, typer.Argument(help="Number of the revision whose settings are restored.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would change.")] = False,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Restore the settings of a revision, as a new revision."""
    with connected() as posthouse:
        planned = call(posthouse, "configuration.roll_back_revision", revision, dry_run=True, if_match="*")
        if dry_run:
            print_json(planned) if as_json else print_changes(planned["changes"])
            return
        if not planned["changes"]:
            raise CommandError(f"nothing differs from revision {revision}")
        if not as_json:
            print_changes(planned["changes"])
        confirm(f"Change {counted(len(planned['changes']), 'object')} back to revision {revision}?", yes)
        # If somebody else has made a change after the plan, the API refuses this request with a conflict, so that their
        # change is not lost.
        planned_etag = f'"{planned["revision"]}"'
        written = posthouse.send(operation("configuration.roll_back_revision"), revision, if_match=planned_etag)
        posthouse.wait_until_in_force(written)
    if as_json:
        print_json(written.content)
    else:
        typer.echo(f"revision {written.content['revision']} has the settings of revision {revision}")


@app.command("export")
def export(
    file: Annotated[Path | None, typer.Argument(help="File to write. The default is standard output.")] = None,
    format_: Annotated[str, typer.Option("--format", help="json or yaml.")] = "json",
) -> None:
    """Write all settings as one document, without secrets. `posthouse config import` reads it."""
    if format_ not in ("json", "yaml"):
        raise CommandError("--format is json or yaml", ExitStatus.USAGE)
    with connected() as posthouse:
        answer = export_document(posthouse, format_)
    if file is None:
        typer.echo(answer.content, nl=False)
    else:
        file.write_bytes(answer.content)


def export_document(posthouse: Posthouse, format_: str) -> httpx.Response:
    """Returns the answer with the document exactly as the API wrote it, because people compare its versions under
    version control.
    """
    from posthouse_client.errors import refusal

    answer = posthouse.client.get_httpx_client().get("/v1/config:export", params={"format": format_})
    if not answer.is_success:
        raise refusal(answer)
    return answer


@app.command("import")
def import_(
    file: Annotated[Path, typer.Argument(help="A document of `posthouse config export`, JSON or YAML.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would change.")] = False,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Replace all settings by those of a document. Objects that the document lacks are removed."""
    try:
        document = file.read_bytes()
    except OSError as error:
        raise CommandError(f"{file} can't be read: {error.strerror}", ExitStatus.USAGE) from None
    with connected() as posthouse:
        # If somebody else makes a change from here on, the API refuses the import with a conflict, so that their change
        # is not lost.
        etag = export_document(posthouse, "json").headers.get("etag", "")
        planned = import_document(posthouse, document, etag, dry_run=True)
        if dry_run:
            print_json(planned) if as_json else print_changes(planned["changes"])
            return
        counts = f"{planned['made']} are made, {planned['changed']} changed, {planned['removed']} removed"
        confirm(f"Import {file}: {counts}. Do it?", yes)
        imported = import_document(posthouse, document, etag, dry_run=False)
        posthouse.wait_until_in_force()
    _done(imported, as_json, f"revision {imported['revision']}: {counts}")


def import_document(posthouse: Posthouse, document: bytes, etag: str, *, dry_run: bool) -> dict[str, Any]:
    """Sends a document unchanged, because the API reads JSON and YAML. Raises ProblemError."""
    from posthouse_client.errors import refusal

    is_json = document.lstrip()[:1] == b"{"
    headers = {"Content-Type": "application/json" if is_json else "application/yaml"}
    if etag:
        headers["If-Match"] = etag
    query = {"dry_run": "true" if dry_run else "false"}
    http = posthouse.client.get_httpx_client()
    answer = http.post("/v1/config:import", params=query, content=document, headers=headers)
    if not answer.is_success:
        raise refusal(answer)
    imported: dict[str, Any] = answer.json()
    return imported
