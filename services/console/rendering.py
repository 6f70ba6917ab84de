"""Templates, and the formats of values in them."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from services.console.navigation import Entry

_FOLDER = Path(__file__).parent
_SIZES = ("octets", "KB", "MB", "GB", "TB")


@functools.cache
def environment() -> Environment:
    """Returns the environment of the templates. Every value is escaped, and an unknown name is an error."""
    made = Environment(
        loader=FileSystemLoader(_FOLDER / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    made.filters.update(moment=moment, size=size, segment=segment, words=words, number=number, seconds=seconds)
    made.globals.update(static=static, query=query, reply=reply)
    return made


def render(template: str, entries: Sequence[Entry], **values: Any) -> str:
    """Returns a page as HTML."""
    return environment().get_template(template).render(entries=entries, **values)


@functools.cache
def static(name: str) -> str:
    """Returns the path of a static file, with a part that changes with its content."""
    digest = hashlib.sha256((_FOLDER / "static" / name).read_bytes()).hexdigest()[:12]
    return f"/static/{name}?v={digest}"


def moment(value: str | None) -> Markup | str:
    """Returns a time of the API for people, in UTC. The script of the page adds the local time."""
    if not value:
        return ""
    at = datetime.fromisoformat(value)
    return Markup('<time datetime="{}">{}</time>').format(value, f"{at:%Y-%m-%d %H:%M:%S}")


def seconds(value: float) -> str:
    """Returns a duration in its two largest units."""
    rest = int(value)
    parts: list[str] = []
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60), ("s", 1)):
        count, rest = divmod(rest, length)
        if count or (unit == "s" and not parts):
            parts.append(f"{count} {unit}")
    return " ".join(parts[:2])


def size(octets: int) -> str:
    amount = float(octets)
    for unit in _SIZES:
        if amount < 1000 or unit == _SIZES[-1]:
            break
        amount /= 1000
    return f"{amount:.0f} {unit}" if unit == "octets" else f"{amount:.1f} {unit}"


def number(value: float) -> str:
    """Returns a number with a comma between thousands."""
    return f"{value:,}"


def segment(value: str) -> str:
    """Returns a value as one segment of a path."""
    return quote(value, safe="")


def words(name: str) -> str:
    """Returns a constant name of the API as words."""
    return name.replace("_", " ")


def reply(said: Mapping[str, Any]) -> str:
    """Returns the reply of a server as one text. Many servers begin the text with the enhanced code, which is shown
    only once.
    """
    enhanced_code, text = said["enhanced_code"] or "", said["text"] or ""
    if text.startswith(enhanced_code):
        enhanced_code = ""
    return " ".join(str(part) for part in (said["code"], enhanced_code, text) if part)


def query(path: str, **values: Any) -> str:
    """Returns a path with a query. Values that are None or empty are left out."""
    pairs = {name: value for name, value in values.items() if value is not None and value != ""}
    return f"{path}?{urlencode(pairs)}" if pairs else path
