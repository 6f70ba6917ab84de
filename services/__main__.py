"""The console script `posthouse`: commands that run, install, back up and restore a suite, one command for each
service, and the commands for operators.
"""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import urlsplit

import typer

from services.command_line.app import OperatorGroup, add_commands
from services.command_line.connection import DATA_FOLDERS, chosen_profile
from services.command_line.failures import CommandError, ExitStatus
from services.command_line.output import AsJson, print_json, read_secret

if TYPE_CHECKING:
    from collections.abc import Coroutine, Sequence

    from libs.runtime.database_copy import ServiceDatabase
    from libs.runtime.settings import ProcessSettings
    from services.suite.backup import Contents

app = typer.Typer(
    name="posthouse",
    cls=OperatorGroup,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


def _show_version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        typer.echo(f"posthouse {version('posthouse')}")
        raise typer.Exit


@app.callback()
def posthouse(
    _: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
    profile: Annotated[
        str,
        typer.Option(
            help="Name of the profile whose address and key are used; see `posthouse profile`.", show_default=False
        ),
    ] = "",
) -> None:
    """A mail delivery gateway: run it, and operate it.

    Exit status: 0 done, 1 refused or found nothing, 2 wrong usage, 3 not reachable, 4 not allowed, 5 conflict.
    """
    chosen_profile.set(profile)


@app.command()
def up(
    replicas: Annotated[
        str,
        typer.Option(
            help="Number of processes of each service, for example ingress=2,policy=2,relay=3. The default is 1 of "
            "each."
        ),
    ] = "",
    postgres: Annotated[
        str, typer.Option(help="URL of the PostgreSQL that config_api and relay share instead of SQLite files.")
    ] = "",
    redis: Annotated[str, typer.Option(help="URL of the Redis that policy counts in instead of memory.")] = "",
) -> None:
    """Run the services here, until Ctrl-C."""
    import asyncio

    from libs.runtime import processors
    from libs.runtime.lifecycle import StartupError
    from services.suite import up as suite
    from services.suite.sockets import sockets_of
    from services.suite.topology import TopologyError, lay_out, parse_replicas

    _check_environment()
    environment = suite.environment()
    folder = suite.data_folder(environment)
    try:
        counts = parse_replicas(replicas)
        _refuse_password("--postgres", postgres, "CONFIG_API_DATABASE_URL and RELAY_DATABASE_URL")
        _refuse_password("--redis", redis, "POLICY_STATE_URL")
        with sockets_of(folder, environment, counts) as sockets:
            processes = lay_out(
                environment,
                counts,
                sockets=sockets,
                postgres_url=postgres,
                redis_url=redis,
                cpus=processors.usable(),
            )
            as_json = environment["POSTHOUSE_LOG_FORMAT"] == "json"
            raise SystemExit(asyncio.run(suite.up(processes, folder, as_json=as_json)))
    except (StartupError, TopologyError) as error:
        raise SystemExit(f"posthouse: {error}") from error


def _refuse_password(option: str, url: str, variables: str) -> None:
    """Refuses a URL with a password, because every user who lists the machine's processes sees their arguments."""
    if urlsplit(url).password is not None:
        typer.echo(f"posthouse: {option}: a password must not be in an argument; set {variables} instead", err=True)
        raise SystemExit(2)


@app.command()
def demo(
    keep: Annotated[
        bool, typer.Option("--keep", help="Go on sending mail with various results until Ctrl-C, to try the console.")
    ] = False,
    minutes: Annotated[float, typer.Option(min=0, max=24 * 60, help="Longest time for --keep.")] = 60,
) -> None:
    """Send mail through a temporary suite on loopback. Show what became of each message."""
    import asyncio

    from services.suite import demo as demonstration
    from services.suite import demo_keep

    raise SystemExit(asyncio.run(demo_keep.run(minutes) if keep else demonstration.run()))


@app.command()
def ready(
    urls: Annotated[
        list[str] | None,
        typer.Argument(
            help="The /readyz of a service, or smtp://HOST:PORT. The default is config_api and ingress of this "
            "machine.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Ask services whether they are ready. Exit status: 0 ready, 1 not ready, 3 not reachable."""
    from services.suite import probe

    try:
        probe.ask(urls or ("http://127.0.0.1:8080/readyz", "smtp://127.0.0.1:8025"))
    except probe.NotReadyError as error:
        typer.echo(f"posthouse: {error}", err=True)
        raise SystemExit(error.status) from None


Postgres = Annotated[
    str,
    typer.Option(
        help="URL of the PostgreSQL that config_api and relay share, as for `posthouse up`; else the databases are "
        "those of the environment variables, or of the suite of this machine."
    ),
]
PassphraseFile = Annotated[
    Path | None,
    typer.Option(help="File whose first line is the passphrase; else it is asked for, or read from standard input."),
]


@app.command()
def backup(
    file: Annotated[Path, typer.Argument(help="File to write. An existing file is replaced.")],
    passphrase_file: PassphraseFile = None,
    postgres: Postgres = "",
    as_json: AsJson = False,
) -> None:
    """Back up a suite into one sealed file, while mail flows. It holds the queue, the settings with their secrets, and
    the keys.

    Run it on the machine of the services, as their user. It finds the databases of `posthouse up` by itself; those of
    services that are started one by one are named by the same environment variables as for them.
    """
    from services.suite import backup as backups

    databases, folder = _databases(postgres)
    passphrase = _passphrase(passphrase_file, twice=True)
    contents = _finished(backups.make(file, passphrase, databases, folder, os.environ))
    _show_backup(contents, "taken", "from", databases, as_json)


@app.command()
def restore(
    file: Annotated[Path, typer.Argument(help="A file of `posthouse backup`.")],
    passphrase_file: PassphraseFile = None,
    postgres: Postgres = "",
    as_json: AsJson = False,
) -> None:
    """Fill an empty machine from a backup. The services must not run there yet."""
    from services.suite import backup as backups

    databases, folder = _databases(postgres)
    passphrase = _passphrase(passphrase_file, twice=False)
    contents = _finished(backups.restore(file, passphrase, databases, folder, os.environ))
    _show_backup(contents, "restored", "into", databases, as_json)


def _databases(postgres: str) -> tuple[list[ServiceDatabase], Path]:
    """Returns the databases of relay and config_api, in the order in which they are copied, and the data folder."""
    from libs.runtime.database_copy import ServiceDatabase
    from services.config_api.settings import Settings as ConfigApiSettings
    from services.config_api.storage import restoring as settings_restoring
    from services.config_api.storage.database import SCHEMA as SETTINGS_SCHEMA
    from services.relay.queue import restoring as queue_restoring
    from services.relay.queue.database import SCHEMA as QUEUE_SCHEMA
    from services.relay.settings import Settings as QueueSettings

    folder = _find_databases(postgres)
    databases = [
        ServiceDatabase(QUEUE_SCHEMA, QueueSettings.load().url, queue_restoring.after_restore),
        ServiceDatabase(SETTINGS_SCHEMA, ConfigApiSettings.load().url, settings_restoring.after_restore),
    ]
    return databases, folder


def _find_databases(postgres: str) -> Path:
    """Adds to the environment the variables that a command needs to open the databases. Returns the data folder."""
    from libs.runtime.lifecycle import SettingsError
    from services.suite.databases import find, folder_here

    _check_environment()
    _refuse_password("--postgres", postgres, "CONFIG_API_DATABASE_URL and RELAY_DATABASE_URL")
    folder = folder_here(os.environ, DATA_FOLDERS)
    try:
        os.environ.update(find(folder, os.environ, postgres))
    except SettingsError as error:
        raise CommandError(str(error), ExitStatus.USAGE) from None
    os.environ["POSTHOUSE_DATA_DIR"] = str(folder)
    return folder


def _passphrase(file: Path | None, *, twice: bool) -> str:
    from libs.runtime.sealed_stream import SHORTEST_PASSPHRASE

    try:
        lines = file.read_text().splitlines() if file else []
    except (OSError, UnicodeError) as error:
        raise CommandError(f"{file} can't be read: {error}", ExitStatus.USAGE) from None
    passphrase = (lines or [""])[0] if file else read_secret("Passphrase")
    if len(passphrase) < SHORTEST_PASSPHRASE:
        raise CommandError(f"the passphrase must have {SHORTEST_PASSPHRASE} characters or more", ExitStatus.USAGE)
    if twice and not file and sys.stdin.isatty() and read_secret("Passphrase again") != passphrase:
        raise CommandError("the two passphrases differ", ExitStatus.USAGE)
    return passphrase


def _finished(work: Coroutine[Any, Any, Contents]) -> Contents:
    import asyncio

    from services.suite.backup import BackupError

    try:
        return asyncio.run(work)
    except BackupError as error:
        raise CommandError(str(error)) from None


def _show_backup(
    contents: Contents, done: str, direction: str, databases: Sequence[ServiceDatabase], as_json: bool
) -> None:
    from services.suite.databases import without_password

    if as_json:
        print_json(contents.as_json())
        return
    rows = {name: sum(tables.values()) for name, tables in contents.rows.items()}
    counts = ", ".join(f"{count} rows of {name}" for name, count in rows.items())
    typer.echo(f"{done}: {counts}, and the files {', '.join(contents.files) or 'none'}")
    for database in databases:
        typer.echo(f"{direction} the database of {database.schema.service}: {without_password(database.url)}")
    typer.echo(f"All mail that was accepted before {contents.taken_at.isoformat(timespec='seconds')} is in it.")
    for note in contents.notes:
        typer.echo(note)


@app.command()
def migrate(postgres: Postgres = "") -> None:
    """Bring the databases up to date, and end. When config_api and relay start, they do the same."""
    _find_databases(postgres)
    for service in ("config_api", "relay"):
        _run_service(service, "migrate")
        typer.echo(f"{service}: the database is up to date")


@app.command("rotate-secret-key")
def rotate_secret_key(postgres: Postgres = "") -> None:
    """Encrypt all stored secrets under a new key. On SQLite config_api must not run meanwhile."""
    _find_databases(postgres)
    _run_service("config_api", "rotate-secret-key")


def _run_service(service: str, command: str) -> None:
    """Runs a command of a service in a separate process, and exits with its status when it fails."""
    import subprocess

    from services.suite.up import environment

    arguments = [sys.executable, "-m", f"services.{service}", command]
    status = subprocess.run(arguments, env=environment(), check=False).returncode  # noqa: S603 - our own program
    if status != 0:
        raise SystemExit(status)


install_app = typer.Typer(no_args_is_help=True, help="Install Posthouse on this machine.")
app.add_typer(install_app, name="install")


@install_app.command("systemd")
def install_systemd(
    user: Annotated[
        str, typer.Option(help="The user who runs the services. The user is created when it does not exist.")
    ] = "posthouse",
) -> None:
    """Write units for systemd. There is one for the whole suite, and a template for each service."""
    from libs.runtime.lifecycle import StartupError
    from services.suite import systemd

    try:
        for line in systemd.install(user):
            typer.echo(line)
    except StartupError as error:
        typer.echo(f"posthouse: {error}", err=True)
        raise SystemExit(error.status) from None


def _settings_models() -> tuple[type[ProcessSettings], ...]:
    from services.config_api.settings import Settings as ConfigApiSettings
    from services.console.settings import Settings as ConsoleSettings
    from services.ingress.settings import Settings as IngressSettings
    from services.policy.settings import Settings as PolicySettings
    from services.relay.settings import Settings as RelaySettings

    return (ConfigApiSettings, PolicySettings, RelaySettings, IngressSettings, ConsoleSettings)


def _check_environment() -> None:
    """Refuses variables that no service knows, before a service starts. Reads the secrets that are given as files."""
    from libs.runtime import secrets, settings
    from libs.runtime.lifecycle import StartupError

    models = _settings_models()
    try:
        settings.drop_kubernetes_variables(os.environ)
        secrets.from_files(os.environ, [name for model in models for name in model.secret_variables()])
        settings.refuse_unknown(os.environ, frozenset().union(*(model.variables() for model in models)))
    except StartupError as error:
        typer.echo(f"posthouse: {error}", err=True)
        raise SystemExit(error.status) from None


@app.command()
def certificates(
    authority: Annotated[Path, typer.Argument(help="Folder of the authority and its key, which no service may read.")],
    folder: Annotated[
        Path, typer.Argument(help="Folder that gets a folder for each service, with its chain, key and authority.")
    ],
    days: Annotated[int, typer.Option(min=1, max=3650, help="Validity of a service's certificate.")] = 365,
    owner: Annotated[str, typer.Option(help="User who runs the services; needs root.")] = "",
) -> None:
    """Make or renew the certificates of gRPC over TCP. Run it again every week."""
    import datetime

    from libs.runtime.lifecycle import StartupError
    from services.suite.certificates import renew

    try:
        done = renew(authority, folder, datetime.datetime.now(datetime.UTC), days=days, owner=owner)
    except (StartupError, LookupError) as error:
        raise SystemExit(f"posthouse: {error}") from error
    for line in done or ["every certificate is valid for long enough"]:
        typer.echo(line)
    if not owner:
        typer.echo(
            f"A service that runs as this user and sees the folder {authority} can read the authority's key: "
            "hide the folder from the services."
        )


@app.command("secrets")
def make_secrets(
    folder: Annotated[Path, typer.Argument(help="Folder of the files, which compose.yaml calls ./secrets.")],
    hostname: Annotated[str, typer.Option(help="Name in the self-signed certificates.")] = "localhost",
) -> None:
    """Make the missing secrets of compose.yaml. They are passwords, keys, and self-signed certificates."""
    import datetime

    from libs.runtime.lifecycle import StartupError
    from services.suite.compose_secrets import make_missing

    try:
        files_made = make_missing(folder, datetime.datetime.now(datetime.UTC), hostname)
    except StartupError as error:
        raise SystemExit(f"posthouse: {error}") from error
    typer.echo(f"made {', '.join(files_made)}" if files_made else "every secret exists")


def _service_command(service: str, summary: str) -> None:
    """Adds the command of one service. Its modules are imported only when it runs, because that takes seconds."""

    @app.command(
        name=service,
        help=summary,
        add_help_option=False,
        context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
    )
    def command(context: typer.Context) -> None:
        module = importlib.import_module(f"services.{service}.__main__")
        module.app(context.args, prog_name=f"posthouse {service}")


_service_command("ingress", "Receive mail over SMTP.")
_service_command("policy", "Decide on sessions and messages.")
_service_command("relay", "Keep the queue and deliver.")
_service_command("config_api", "Serve and keep the settings.")
_service_command("console", "Serve the pages for operators.")
add_commands(app, _settings_models)


if __name__ == "__main__":
    app()
