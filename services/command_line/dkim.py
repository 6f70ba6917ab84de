"""`posthouse dkim import` and `rotate`: imports signing keys, and replaces one while mail flows."""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from services.command_line.connection import connected
from services.command_line.failures import CommandError, ExitStatus
from services.command_line.operations import Body, call, items, operation
from services.command_line.output import AsJson, Yes, confirm, print_json

if TYPE_CHECKING:
    from posthouse_client import Posthouse

_PEM = "-----BEGIN"
_MOST_OCTETS = 20_000
# Signed mail may wait in queues for this time before its receiver checks the signature.
_OVERLAP_DAYS = 7


# Import


@dataclass(frozen=True, slots=True)
class KeyFile:
    """A private key of another program, with its domain and selector."""

    domain: str
    selector: str
    path: Path
    private_key: str = field(repr=False)


def import_keys(
    paths: Annotated[
        list[Path],
        typer.Argument(
            help="File with a key, for --domain and --selector; or a KeyTable of OpenDKIM; or a folder with keys as "
            "OpenDKIM (DOMAIN/SELECTOR.private) or rspamd (DOMAIN.SELECTOR.key) keep them."
        ),
    ],
    domain: Annotated[str, typer.Option(help="Domain for which the key in the file signs.")] = "",
    selector: Annotated[str, typer.Option(help="Selector of the key: the name of its record below _domainkey.")] = "",
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Import the keys of another program. Their records in the DNS stay as they are."""
    from posthouse_client import ProblemError

    keys = [key for path in paths for key in _keys_at(path, domain, selector)]
    if not keys:
        raise CommandError("there is no key in these places", ExitStatus.USAGE)
    imported, failures = [], []
    with connected() as posthouse:
        if len(keys) > 1:
            confirm(f"Import {len(keys)} keys?", yes)
        for key in keys:
            members = {"domain": key.domain, "selector": key.selector, "private_key": key.private_key}
            try:
                imported.append(posthouse.send(operation("delivery.create_dkim_key"), body=Body(members)).content)
            except ProblemError as problem:
                failures.append(f"{key.path}: {problem.sentence()}")
        posthouse.wait_until_in_force()
    if as_json:
        print_json({"imported": imported, "failures": failures})
    else:
        for made in imported:
            typer.echo(f"imported {made['dns_name']}")
            typer.echo(f"  its record must be {made['dns_record']}")
    for failure in failures:
        typer.echo(failure, err=True)
    if failures:
        raise CommandError(f"keys that were refused: {len(failures)}")


def _keys_at(path: Path, domain: str, selector: str) -> Iterator[KeyFile]:
    """Reads the keys of a file, a KeyTable or a folder. Raises CommandError."""
    if path.is_dir():
        yield from _keys_in_folder(path)
        return
    text = _text(path)
    if domain and selector:
        yield KeyFile(domain, selector, path, text)
    elif _PEM in text:
        raise CommandError(f"{path} is a key: give --domain and --selector", ExitStatus.USAGE)
    else:
        yield from _keys_of_table(path, text)


def _keys_in_folder(folder: Path) -> Iterator[KeyFile]:
    for path in sorted(folder.rglob("*")):
        if path.suffix == ".private" and path.is_file():
            # opendkim-genkey names the file after the selector, and there is a folder for each domain.
            yield KeyFile(path.parent.name, path.stem, path, _text(path))
        elif path.suffix == ".key" and path.is_file():
            domain, _, selector = path.stem.rpartition(".")
            if not domain:
                raise CommandError(f"{path}: its name is not DOMAIN.SELECTOR.key", ExitStatus.USAGE)
            yield KeyFile(domain, selector, path, _text(path))


def _keys_of_table(table: Path, text: str) -> Iterator[KeyFile]:
    """Reads lines NAME DOMAIN:SELECTOR:PATH, as opendkim.conf(5) describes a KeyTable."""
    for number, line in enumerate(text.splitlines(), start=1):
        words = line.split("#", 1)[0].split()
        if not words:
            continue
        parts = words[-1].split(":", 2)
        if len(words) != 2 or len(parts) != 3:
            raise CommandError(f"{table}, line {number}: the line is not NAME DOMAIN:SELECTOR:PATH", ExitStatus.USAGE)
        domain, selector, place = parts
        if domain == "%":
            text = "% stands for the domain of each sender: import that key for each domain with --domain"
            raise CommandError(f"{table}, line {number}: {text}", ExitStatus.USAGE)
        path = table.parent / place
        yield KeyFile(domain, selector, path, _text(path))


def _text(path: Path) -> str:
    try:
        with path.open(encoding="utf-8") as file:
            text = file.read(_MOST_OCTETS + 1)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not text"
        raise CommandError(f"{path} can't be read: {reason}", ExitStatus.USAGE) from None
    if len(text) > _MOST_OCTETS and _PEM in text:
        raise CommandError(f"{path} is too large for a key", ExitStatus.USAGE)
    return text


# Rotation


def rotate(
    domain: str,
    selector: Annotated[
        str, typer.Option(help="Selector of the new key. The default is made from the date, for example p20260131.")
    ] = "",
    algorithm: Annotated[
        str, typer.Option(help="Algorithm of the key to replace, when keys of both algorithms sign.")
    ] = "",
    overlap_days: Annotated[
        int,
        typer.Option(
            min=0, max=365, help="Days for which the old record stays after its key has signed the last mail."
        ),
    ] = _OVERLAP_DAYS,
    nameserver: Annotated[str, typer.Option(help="HOST:PORT of the name server to ask for the record.")] = "",
    as_json: AsJson = False,
) -> None:
    """Replace the key of a domain, one step each time. A new key is published, then used, then the old one withdrawn.

    The first call makes a key that does not sign yet, and shows the record to publish. The next call, when the record
    is in the DNS, lets the new key sign instead of the old one. A call after the overlap removes the old key, and says
    which record may be removed. Exit status 1: it is too early for the next step.
    """
    with connected() as posthouse:
        keys = list(items(posthouse, "delivery.list_dkim_keys", {"domain": domain}))
        keys = [key for key in keys if algorithm in ("", key["algorithm"])]
        step = _next_step(posthouse, domain, keys, selector, datetime.timedelta(days=overlap_days), nameserver)
    if as_json:
        print_json(step)
    else:
        typer.echo(step["text"])
    if step["done"] is False:
        raise CommandError(f"nothing was changed: {domain} is not ready for the next step")


def _next_step(
    posthouse: Posthouse,
    domain: str,
    keys: Sequence[dict[str, Any]],
    selector: str,
    overlap: datetime.timedelta,
    nameserver: str,
) -> dict[str, Any]:
    """Takes the next step for the keys of the domain, and returns what was done."""
    signing = [key for key in keys if key["enabled"]]
    if not signing:
        raise CommandError(f"no key of {domain} signs; `posthouse dkim add {domain}` makes one that does")
    if len({key["algorithm"] for key in keys}) > 1:
        raise CommandError(f"{domain} has keys of both algorithms: give --algorithm", ExitStatus.USAGE)
    newest = max(key["created_at"] for key in signing)
    waiting = [key for key in keys if not key["enabled"] and key["created_at"] > newest]
    retired = [key for key in keys if not key["enabled"] and key["created_at"] < newest]
    if waiting:
        return _use(posthouse, waiting[-1], signing, nameserver)
    if retired:
        return _withdraw(posthouse, retired, overlap)
    return _publish(posthouse, domain, signing[-1]["algorithm"], selector)


def _publish(posthouse: Posthouse, domain: str, algorithm: str, selector: str) -> dict[str, Any]:
    selector = selector or f"p{datetime.datetime.now(datetime.UTC):%Y%m%d}"
    members = {"domain": domain, "selector": selector, "algorithm": algorithm, "enabled": False}
    made = posthouse.send(operation("delivery.create_dkim_key"), body=Body(members)).content
    text = f"Publish at {made['dns_name']} the TXT record\n{made['dns_record']}\nand call this again."
    return {"step": "published", "done": True, "text": text, "key": made}


def _use(
    posthouse: Posthouse, new: dict[str, Any], signing: Sequence[dict[str, Any]], nameserver: str
) -> dict[str, Any]:
    if not _is_published(new, nameserver):
        text = f"{new['dns_name']} is not published yet: {new['dns_record']}"
        return {"step": "used", "done": False, "text": text, "key": new}
    # The new key signs before the old one stops, so that no message is sent unsigned.
    for key, patch in ((new, Body({"enabled": True})), *((old, Body({"enabled": False})) for old in signing)):
        _change(posthouse, key["id"], patch)
    posthouse.wait_until_in_force()
    old = ", ".join(key["dns_name"] for key in signing)
    text = f"{new['dns_name']} signs from now on. The record of {old} stays until mail that it signed has arrived."
    return {"step": "used", "done": True, "text": text, "key": call(posthouse, "delivery.get_dkim_key", new["id"])}


def _change(posthouse: Posthouse, identifier: str, patch: Body) -> None:
    read, update = operation("delivery.get_dkim_key"), operation("delivery.update_dkim_key")
    posthouse.change(read, update, lambda _: patch, identifier)


def _is_published(key: dict[str, Any], nameserver: str) -> bool:
    """Returns whether the record of a DKIM key is in the DNS. Raises CommandError when no name server answers."""
    import dns.exception

    from services.command_line.domain_checks import DomainChecks

    if nameserver and not nameserver.rpartition(":")[2].isdecimal():
        raise CommandError("--nameserver is HOST:PORT", ExitStatus.USAGE)
    try:
        return DomainChecks(key["domain"], nameserver=nameserver).has_record(key)
    except dns.exception.DNSException as error:
        raise CommandError(f"no answer from the DNS: {error}") from None


def _withdraw(posthouse: Posthouse, retired: Sequence[dict[str, Any]], overlap: datetime.timedelta) -> dict[str, Any]:
    until = max(datetime.datetime.fromisoformat(key["updated_at"]) for key in retired) + overlap
    names = ", ".join(key["dns_name"] for key in retired)
    if until > datetime.datetime.now(datetime.UTC):
        text = f"The record of {names} has to stay until {until:%Y-%m-%d %H:%M} UTC."
        return {"step": "withdrawn", "done": False, "text": text, "key": retired[-1]}
    for key in retired:
        posthouse.delete(operation("delivery.get_dkim_key"), operation("delivery.delete_dkim_key"), key["id"])
    posthouse.wait_until_in_force()
    text = f"The old key is removed. Remove its record too: {names}"
    return {"step": "withdrawn", "done": True, "text": text, "key": retired[-1]}
