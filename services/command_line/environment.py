"""`posthouse settings`: every environment variable of the services, from the models that read them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from services.command_line.failures import CommandError
from services.command_line.output import AsJson, print_json, print_table

if TYPE_CHECKING:
    from libs.runtime.settings import ProcessSettings

_HIDDEN = "(secret)"


@dataclass(frozen=True, slots=True)
class Variable:
    """An environment variable: its default, its present value, and the source of this value."""

    name: str
    services: tuple[str, ...]
    default: str
    value: str
    source: str
    description: str


def variables(models: Iterable[type[ProcessSettings]], environment: Mapping[str, str]) -> list[Variable]:
    """Returns every variable that a service reads, in the order of names. For a secret it shows only
    whether it is set.
    """
    by_name: dict[str, Variable] = {}
    for model in models:
        for variable in _of_model(model, environment):
            earlier = by_name.get(variable.name)
            services = (*(earlier.services if earlier else ()), *variable.services)
            by_name[variable.name] = Variable(**{**asdict(variable), "services": services})
    return sorted(by_name.values(), key=lambda variable: variable.name)


def _of_model(model: type[ProcessSettings], environment: Mapping[str, str]) -> Iterator[Variable]:
    secrets = set(model.secret_variables())
    for field, info in model.model_fields.items():
        name = model.variable(field)
        default = _text(info.get_default(call_default_factory=True, validated_data={}))
        file_name = f"{name}_FILE"
        if environment.get(name):
            value, source = environment[name], "environment"
        elif name in secrets and environment.get(file_name):
            value, source = _HIDDEN, f"file {environment[file_name]}"
        else:
            value, source = default, "default"
        if name in secrets and source == "environment":
            value = _HIDDEN
        yield Variable(name, (model.service,), default, value, source, info.description or "")


def _text(value: Any) -> str:
    if hasattr(value, "get_secret_value"):
        return _HIDDEN if value.get_secret_value() else ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple | set | frozenset):
        return ",".join(map(str, value))
    return "" if value is None else str(value)


def settings_command(models: Callable[[], Iterable[type[ProcessSettings]]]) -> Callable[..., None]:
    """Returns the command `posthouse settings` for these services, whose models are loaded when the command runs."""

    def settings(
        names: Annotated[
            list[str] | None, typer.Argument(help="Parts of the names, for example TLS or relay_.")
        ] = None,
        set_only: Annotated[
            bool, typer.Option("--set", help="Show only variables that do not have their default value.")
        ] = False,
        as_json: AsJson = False,
    ) -> None:
        """Show every environment variable. Each has its default, what is in force here, and from where."""
        parts = [name.upper() for name in names or ()]
        shown = [
            variable
            for variable in variables(models(), os.environ)
            if (not parts or any(part in variable.name for part in parts))
            and (not set_only or variable.source != "default")
        ]
        if not shown:
            raise CommandError("no variable has this in its name" if parts else "every variable has its default value")
        if as_json:
            print_json({"items": [asdict(variable) for variable in shown]})
            return
        print_table(
            ("variable", "value", "from", "default", "what it is"),
            (
                (variable.name, variable.value, variable.source, variable.default, variable.description)
                for variable in shown
            ),
        )

    return settings
