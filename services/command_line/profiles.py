"""`posthouse profile`: the APIs that this user operates, with their keys."""

from __future__ import annotations

from typing import Annotated

import typer

from services.command_line.connection import Access, profile_file, read_profiles, write_profiles
from services.command_line.failures import CommandError, ExitStatus
from services.command_line.output import AsJson, print_json, print_table, read_secret

app = typer.Typer(no_args_is_help=True, help="Addresses and keys of the APIs that you operate.")


@app.command()
def save(
    url: Annotated[str, typer.Argument(help="Address of the API, for example https://mail.example.com:8080.")],
    name: Annotated[str, typer.Option(help="Name of the profile.")] = "default",
    ca_file: Annotated[str, typer.Option(help="File of the authorities that may sign its certificate.")] = "",
) -> None:
    """Save an address and a key. The key is asked for, or read from standard input."""
    if not url.startswith(("http://", "https://")):
        raise CommandError("the address begins with http:// or https://", ExitStatus.USAGE)
    key = read_secret("API key").strip()
    if not key:
        raise CommandError("no key was given", ExitStatus.USAGE)
    path = profile_file()
    write_profiles(path, {**read_profiles(path), name: Access(url, key, ca_file)})
    typer.echo(f"profile {name} saved in {path}")


@app.command("list")
def list_all(as_json: AsJson = False) -> None:
    """List profiles, without their keys."""
    profiles = read_profiles(profile_file())
    if as_json:
        print_json({"items": [{"name": name, "url": access.url} for name, access in sorted(profiles.items())]})
    else:
        print_table(("name", "url"), ((name, access.url) for name, access in sorted(profiles.items())))


@app.command()
def remove(name: str) -> None:
    """Remove a profile."""
    path = profile_file()
    profiles = read_profiles(path)
    if profiles.pop(name, None) is None:
        raise CommandError(f"there is no profile {name!r}")
    write_profiles(path, profiles)
    typer.echo(f"profile {name} removed")
