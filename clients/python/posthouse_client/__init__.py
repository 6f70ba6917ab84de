"""A client of Posthouse's HTTP API.

`Posthouse` is where a program begins. The operations are modules of `posthouse_client.api`, one for each, named as in
the API's document; the values that they take and give are in `posthouse_client.models`. Everything is loaded when it
is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from posthouse_client.client import AuthenticatedClient, Client
    from posthouse_client.errors import FieldProblem, ProblemError
    from posthouse_client.posthouse import NotInForceError, Posthouse, Written
    from posthouse_client.types import UNSET, Response, Unset

_MODULES = {
    "UNSET": "types",
    "AuthenticatedClient": "client",
    "Client": "client",
    "FieldProblem": "errors",
    "NotInForceError": "posthouse",
    "Posthouse": "posthouse",
    "ProblemError": "errors",
    "Response": "types",
    "Unset": "types",
    "Written": "posthouse",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(name)
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)


__all__ = [
    "UNSET",
    "AuthenticatedClient",
    "Client",
    "FieldProblem",
    "NotInForceError",
    "Posthouse",
    "ProblemError",
    "Response",
    "Unset",
    "Written",
]
