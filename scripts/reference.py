"""Writes the generated pages of docs/reference. With --check it fails when a page differs from the code."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import SecretStr
from typer.main import get_command

from libs.runtime.settings import ProcessSettings, ServiceSettings
from libs.smtp import reply
from libs.smtp.reply import Reply
from scripts import reference_api, reference_metrics, reference_settings
from services.__main__ import app as posthouse
from services.config_api.settings import Settings as ConfigApiSettings
from services.config_api.snapshot import publisher
from services.console.settings import Settings as ConsoleSettings
from services.ingress import servicer as ingress
from services.ingress import submission_servicer
from services.ingress.settings import Settings as IngressSettings
from services.policy import servicer as policy
from services.policy.settings import Settings as PolicySettings
from services.relay.api import servicer as relay
from services.relay.settings import Settings as RelaySettings
from tests.docs.pages import blocks, pages

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "docs" / "reference"
_SERVICES: dict[str, type[ProcessSettings]] = {
    "ingress": IngressSettings,
    "policy": PolicySettings,
    "relay": RelaySettings,
    "config_api": ConfigApiSettings,
    "console": ConsoleSettings,
}
_WRITTEN_BY = "<!-- This page is made by `make reference`. -->\n\n"


def environment() -> str:
    """Returns the page of every environment variable of every service."""
    rows: dict[str, list[tuple[str, str, str]]] = {"": []}
    speakers = [settings for settings in _SERVICES.values() if issubclass(settings, ServiceSettings)]
    shared = set.intersection(*(set(settings.model_fields) for settings in speakers))
    for name in sorted(shared):
        variable = IngressSettings.variable(name)
        shown = variable if variable.startswith("POSTHOUSE_") else variable.replace("INGRESS_", "*SERVICE*_", 1)
        rows[""].append((shown, _default(IngressSettings, name), _description(IngressSettings, name)))
    for service, settings in _SERVICES.items():
        rows[service] = [
            (settings.variable(name), _default(settings, name), _description(settings, name))
            for name in settings.model_fields
            if name not in shared
        ]
    parts = [
        "# Environment variables\n",
        "This page is for operators who configure the processes of Posthouse.",
        "What operators configure is in the API. Ports, addresses, files and limits of a process are environment",
        "variables. They are read once, at the start. An empty variable counts as not set. A variable that begins with",
        "a prefix of Posthouse and is none of these is refused, with the name of the nearest right one. A secret may",
        "be the name of a file instead: `CONFIG_API_ADMIN_KEY_FILE` for `CONFIG_API_ADMIN_KEY`.\n",
        "## All services\n",
        "*SERVICE* is `INGRESS`, `POLICY`, `RELAY` or `CONFIG_API`. The console has only `CONSOLE_LOG_LEVEL` and the",
        "variables of this list that begin with `POSTHOUSE_` and do not concern gRPC.\n",
        *_table(rows.pop("")),
    ]
    for service, of_service in rows.items():
        parts += [f"\n## {service}\n", *_table(of_service)]
    return "\n".join(parts) + "\n"


def _table(rows: list[tuple[str, str, str]]) -> Iterator[str]:
    yield "| variable | default | what it is |"
    yield "|---|---|---|"
    for variable, default, description in rows:
        yield f"| `{variable}` | {default} | {description} |".replace("|  |", "| |")


def _description(settings: type[ProcessSettings], name: str) -> str:
    field = settings.model_fields[name]
    text = (field.description or "").replace("|", "\\|")
    kind = _choices(field.annotation)
    notes = [f"One of {kind}." if kind else "", "May be a file." if _is_secret(settings, name) else ""]
    return " ".join(part for part in (text, *notes) if part)


def _is_secret(settings: type[ProcessSettings], name: str) -> bool:
    return settings.variable(name) in settings.secret_variables()


def _choices(kind: Any) -> str:
    if get_origin(kind) is Literal:
        return ", ".join(f"`{value}`" for value in get_args(kind))
    if get_origin(kind) in (Union, UnionType):
        return next(filter(None, map(_choices, get_args(kind))), "")
    return ""


def _default(settings: type[ProcessSettings], name: str) -> str:
    value = settings.model_fields[name].get_default(call_default_factory=True, validated_data={})
    if isinstance(value, SecretStr):
        value = value.get_secret_value()
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if value is None or value in ("", ()):
        return ""
    return f"`{value}`"


def refusals() -> str:
    """Returns the page of policy's rules in the order in which they are tried, and of the replies with a text of our
    own that SMTP clients get.
    """
    parts = [
        "# Refusals and replies\n",
        "This page is for operators who see a reply or a `reason_id`, and want to know which rule gave it.\n",
        "## Rules\n",
        "Policy tries its rules in this order at each stage of a session. The `reason_id` of the rule that refused a",
        "command stands in the log, in the metrics, in `GET /v1/messages`, and in what Explain answers. A discard rule",
        "of the block list answers as if the mail was accepted, and drops it. Four `reason_id` come from ingress:",
        "`policy_unavailable` (`451 4.3.0`), `login_lapsed` (`421 4.7.0`: the account was disabled or has a new",
        "password), and `handler_refused` or `handler_failed` of a [site's handler](../handler.md).\n",
        "| stage | reason_id | replies | settings |",
        "|---|---|---|---|",
    ]
    for answer in reference_settings.answers():
        settings = reference_settings.SETTINGS_OF_RULES[answer.reason_id]
        names = "<br>".join(f"`{member}` of `{path}`" for path, member in (setting.split(" ") for setting in settings))
        parts.append(f"| {answer.stage} | `{answer.reason_id}` | {answer.text} | {names or '-'} |")
    parts += [
        "\n## Replies\n",
        "Every reply with a text of our own. Where a text has a part that changes, the part is left out here.\n",
        "| code | enhanced | text |",
        "|---|---|---|",
    ]
    replies = {value for value in vars(reply).values() if isinstance(value, Reply)}
    parts += [
        f"| {each.code} | {each.enhanced or '-'} | {each.text} |"
        for each in sorted(replies, key=lambda each: (each.code, each.enhanced, each.text))
    ]
    return "\n".join(parts) + "\n"


@dataclass(frozen=True, slots=True)
class LogEvent:
    """A log line that a service or a library writes: its level, its name, and the fields that not every line has."""

    name: str
    level: str
    source: str
    fields: tuple[str, ...]


_LEVELS = ("debug", "info", "warning", "error", "critical", "exception")


def log_events(root: Path = ROOT) -> list[LogEvent]:
    """Returns the events of all calls of loggers in services and libs that name the event in a literal text."""
    events = set()
    for file in sorted([*(root / "services").rglob("*.py"), *(root / "libs").rglob("*.py")]):
        parts = file.relative_to(root).parts
        source = parts[1] if parts[0] == "services" else "libs"
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in _LEVELS):
                continue
            if not node.args or not isinstance(node.args[0], ast.Constant) or not isinstance(node.args[0].value, str):
                continue
            if not isinstance(node.func.value, ast.Name) or "log" not in node.func.value.id:
                continue
            fields = tuple(
                sorted(keyword.arg for keyword in node.keywords if keyword.arg and keyword.arg != "exc_info")
            )
            events.add(LogEvent(node.args[0].value, node.func.attr, source, fields))
    return sorted(events, key=lambda event: (event.source, event.name, event.level, event.fields))


def log_page() -> str:
    """Returns the page of every event of the log."""
    parts = [
        "# Log events\n",
        "This page is for operators who read the log, and for those who write programs that read it.",
        "Each line of the log is an event with a name. Every line has `timestamp`, `level`, `service` and `event`; the",
        "rest is in this table. An event stands here more than once where its fields differ.\n",
    ]
    for source, of_source in groupby(log_events(), key=lambda event: event.source):
        title = "All services" if source == "libs" else source
        parts += [f"## {title}\n", "| event | level | fields |", "|---|---|---|"]
        parts += [
            f"| `{event.name}` | {event.level} | {', '.join(f'`{name}`' for name in event.fields) or '-'} |"
            for event in of_source
        ]
        parts.append("")
    return "\n".join(parts)


def contracts() -> str:
    """Returns the page of every method of the gRPC contracts, with its comment and its callers."""
    parts = [
        "# gRPC contracts\n",
        "This page is for developers of Posthouse, and for operators who decide which process may call which other.",
        "How the services talk with each other. The files are in `proto`; the order is theirs. Over TCP only the",
        "services that need a method may call it. Through a Unix socket every process that can open it may.\n",
    ]
    for file in sorted((ROOT / "proto").rglob("*.proto")):
        text = file.read_text("utf-8")
        for service in _SERVICE.finditer(text):
            callers = _CALLERS[service[1]]
            parts += [f"## {service[1]} (`{file.relative_to(ROOT)}`)\n"]
            parts += ["| method | callers | what it does |", "|---|---|---|"]
            for method in _METHOD.finditer(service[2]):
                signature = f"`{method['name']}({method['takes']}) → {method['gives']}`"
                allowed = ", ".join(sorted(callers[method["name"]]))
                parts.append(f"| {signature} | {allowed} | {_comment(method['comment']) or '-'} |")
            parts.append("")
    return "\n".join(parts)


_CALLERS: dict[str, Mapping[str, Collection[str]]] = {
    "Checks": ingress.CALLERS,
    "Configuration": publisher.CALLERS,
    "Ingress": submission_servicer.CALLERS,
    "Policy": policy.CALLERS,
    "Relay": relay.CALLERS,
}
_SERVICE = re.compile(r"^service (\w+) \{\n(.*?)^\}", re.MULTILINE | re.DOTALL)
_METHOD = re.compile(
    r"(?P<comment>(?:^ *//[^\n]*\n)*)^ *rpc (?P<name>\w+)\((?P<takes>[^)]*)\) returns \((?P<gives>[^)]*)\)",
    re.MULTILINE,
)


def _comment(lines: str) -> str:
    return " ".join(line.strip().removeprefix("//").strip() for line in lines.splitlines()).replace("|", "\\|")


def command_line() -> str:
    """Returns the page of every command with its arguments and options."""
    parts = [
        "# The command line\n",
        "This page is for operators who look up a command or an option.",
        "Exit status: 0 done, 1 refused or found nothing, 2 wrong usage, 3 not reachable, 4 not allowed, 5 conflict.",
        "On the machine of `posthouse up` the commands find the API and its key themselves; elsewhere `POSTHOUSE_URL`",
        "and `POSTHOUSE_KEY`, or a profile, say where it is.\n",
    ]
    parts += _commands(get_command(posthouse), "posthouse")
    return "\n".join(parts) + "\n"


def _commands(command: Any, name: str) -> Iterator[str]:
    if subcommands := getattr(command, "commands", {}):
        for each, subcommand in subcommands.items():
            if not subcommand.hidden:
                yield from _commands(subcommand, f"{name} {each}")
        return
    takes = [f"`{each.human_readable_name}`" for each in command.params if each.param_type_name == "argument"]
    options = [param for param in command.params if param.param_type_name == "option" and param.name != "help"]
    yield f"## {name}\n"
    yield f"{' '.join((command.help or '').split())}\n"
    if takes:
        yield f"Arguments: {', '.join(takes)}.\n"
    if options:
        yield "| option | what it does |"
        yield "|---|---|"
        yield from (f"| `{', '.join(each.opts)}` | {' '.join((each.help or '').split())} |" for each in options)
        yield ""


def commands_not_run() -> str:
    """Returns the page of the commands in README and docs that the tests of the documentation do not run, with the
    reasons.
    """
    parts = [
        "# Commands that are not run\n",
        "This page is for readers who want to know which commands of the documentation no test runs.",
        "The tests run the commands of README and these pages, in the order of the page and on a fresh suite, except",
        "the measurements of [Performance](../performance.md) and [Scaling](../scaling.md), and the commands below. A",
        "comment in the source of the page says why.\n",
        "| page | command | why it is not run there |",
        "|---|---|---|",
    ]
    for page in pages():
        for block in blocks(page):
            if block.not_run:
                first = next(line for line in block.commands.splitlines() if line.strip()).replace("|", "\\|")
                parts.append(f"| `{block.page}` | `{first.rstrip(chr(92)).strip()}` | {block.not_run} |")
    return "\n".join(parts) + "\n"


PAGES: dict[str, Callable[[], str]] = {
    "settings.md": reference_settings.page,
    "environment.md": environment,
    "refusals.md": refusals,
    "log-events.md": log_page,
    "contracts.md": contracts,
    "metrics.md": reference_metrics.page,
    "api.md": reference_api.page,
    "command-line.md": command_line,
    "commands-not-run.md": commands_not_run,
}


def main() -> None:
    stale = []
    for name, make in PAGES.items():
        page = FOLDER / name
        text = _WRITTEN_BY + make()
        if "--check" not in sys.argv:
            page.write_text(text, "utf-8")
        elif not page.exists() or page.read_text("utf-8") != text:
            stale.append(f"docs/reference/{name}")
    if stale:
        sys.exit(f"stale: {', '.join(stale)}: make reference")


if __name__ == "__main__":
    main()
