"""Adds the commands for operators to the command line, and defines how each of them ends after an error."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import typer
from typer.core import TyperGroup

from services.command_line import (
    configuration,
    dkim,
    environment,
    health,
    operating,
    profiles,
    queue,
    sending,
    tracing,
    webhooks,
)
from services.command_line.failures import CommandError
from services.command_line.postfix import importing
from services.command_line.resources import KINDS, commands

if TYPE_CHECKING:
    from libs.runtime.settings import ProcessSettings


# The headings of `posthouse --help`, each with its commands.
HEADINGS: Mapping[str, tuple[str, ...]] = {
    "Run a suite": ("up", "demo", "ready", "install", "settings", "secrets", "certificates"),
    "Run one service": ("ingress", "policy", "relay", "config_api", "console"),
    "See what happens": ("status", "doctor", "top", "trace", "why", "send-test", "test-relay", "version"),
    "Act on mail that waits": ("queue", "suspend", "resume"),
    "Configure": (
        *("config", "domain", "relay-domain", "account", "recipients", "alias", "rule", "access", "blocked"),
        *("trusted", "dkim", "tls", "webhook", "key", "import", "profile"),
    ),
    "Keep data safe": ("backup", "restore", "migrate", "rotate-secret-key"),
}


class OperatorGroup(TyperGroup):
    """Lists the commands under headings, and ends a command that failed with one line and an exit status."""

    def format_commands(self, _: Any, formatter: Any) -> None:
        width = formatter.width - 6 - max(map(len, self.commands))
        for heading, names in HEADINGS.items():
            with formatter.section(heading):
                formatter.write_dl([(name, self.commands[name].get_short_help_str(width)) for name in names])

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except CommandError as error:
            typer.echo(f"posthouse: {' '.join(str(error).split())}", err=True)
            raise SystemExit(error.status) from None


def add_commands(app: typer.Typer, models: Callable[[], Iterable[type[ProcessSettings]]]) -> None:
    """Adds every command that operates a suite. `models` returns the settings of the services' processes."""
    app.command("status")(operating.status)
    app.command("version")(operating.version)
    app.command("doctor")(health.doctor)
    app.command("top")(health.top)
    app.add_typer(queue.app, name="queue")
    app.command("trace")(tracing.trace)
    app.command("why")(tracing.why)
    app.add_typer(configuration.app, name="config")
    for kind in KINDS:
        of_kind = commands(kind)
        if kind.command == "key":
            of_kind.command("rotate")(operating.rotate_key)
        if kind.command == "webhook":
            of_kind.command("test")(webhooks.try_webhook)
            of_kind.command("deliveries")(webhooks.deliveries)
            of_kind.command("resend")(webhooks.resend)
            of_kind.command("rotate")(webhooks.rotate)
        if kind.command == "dkim":
            of_kind.command("import")(dkim.import_keys)
            of_kind.command("rotate")(dkim.rotate)
        app.add_typer(of_kind, name=kind.command)
    app.add_typer(operating.blocked_app, name="blocked")
    app.command("suspend")(operating.suspend)
    app.command("resume")(operating.resume)
    app.command("test-relay")(operating.try_relay_host)
    app.command("send-test")(sending.send_test)
    app.command("settings")(environment.settings_command(models))
    app.add_typer(importing.app, name="import")
    app.add_typer(profiles.app, name="profile")
