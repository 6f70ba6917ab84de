"""The console script: `posthouse up`, `posthouse demo`, and one subcommand a service."""

from __future__ import annotations

import asyncio
import os
import runpy
import sys
from typing import Annotated

import typer

from libs.runtime.lifecycle import StartupError
from libs.runtime.secrets import from_files

# Each may be given as a file instead: NAME_FILE.
SECRETS = (
    "CONFIG_API_ADMIN_KEY",
    "CONFIG_API_DATABASE_URL",
    "CONFIG_API_SECRET_KEY",
    "POLICY_STATE_URL",
    "RELAY_DATABASE_URL",
)

app = typer.Typer(
    name="posthouse",
    help="A mail delivery gateway: ingress, policy, relay and config_api.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.command()
def up(
    replicas: Annotated[
        str, typer.Option(help="How many of each service, as ingress=2,policy=2,relay=3; 1 of each by default.")
    ] = "",
    postgres: Annotated[
        str, typer.Option(help="URL of the PostgreSQL that config_api and relay share instead of SQLite files.")
    ] = "",
    redis: Annotated[str, typer.Option(help="URL of the Redis that policy counts in instead of memory.")] = "",
) -> None:
    """Run the four services here, until Ctrl-C."""
    from libs.runtime import processors
    from services.suite import up as suite
    from services.suite.topology import TopologyError, lay_out, parse_replicas

    environment = suite.environment()
    try:
        processes = lay_out(
            environment,
            parse_replicas(replicas),
            postgres_url=postgres,
            redis_url=redis,
            cpus=processors.usable(),
        )
    except TopologyError as error:
        raise SystemExit(f"posthouse: {error}") from error
    raise SystemExit(asyncio.run(suite.up(processes, suite.data_folder(environment))))


@app.command()
def demo() -> None:
    """Send mail through a throw-away suite on loopback and show each message's fate."""
    from services.suite.demo import run

    raise SystemExit(asyncio.run(run()))


def _service_command(service: str, summary: str) -> None:
    @app.command(
        name=service,
        help=summary,
        context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
    )
    def command(context: typer.Context) -> None:
        sys.argv = [f"posthouse {service}", *context.args]
        runpy.run_module(f"services.{service}", run_name="__main__", alter_sys=True)


_service_command("ingress", "Receive mail over SMTP.")
_service_command("policy", "Decide on sessions and messages.")
_service_command("relay", "Keep the queue and deliver.")
_service_command("config_api", "Serve and keep the settings.")


def main() -> None:
    try:
        from_files(os.environ, SECRETS)
    except StartupError as error:
        raise SystemExit(f"posthouse: {error}") from error
    app()


if __name__ == "__main__":
    main()
