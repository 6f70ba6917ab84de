"""The end of a command that failed: an exit status, and one line that says what to do next."""

from __future__ import annotations

import sys
from enum import IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from posthouse_client import ProblemError


class ExitStatus(IntEnum):
    """The exit statuses, by which a calling program can distinguish failures."""

    DONE = 0
    REFUSED = 1
    USAGE = 2
    NOT_REACHABLE = 3
    NOT_ALLOWED = 4
    CONFLICT = 5


class CommandError(Exception):
    """Ends a command. The message is one line for the operator."""

    def __init__(self, message: str, status: ExitStatus = ExitStatus.REFUSED) -> None:
        super().__init__(message)
        self.status = status


_STATUSES = {
    401: ExitStatus.NOT_ALLOWED,
    403: ExitStatus.NOT_ALLOWED,
    409: ExitStatus.CONFLICT,
    412: ExitStatus.CONFLICT,
    502: ExitStatus.NOT_REACHABLE,
    503: ExitStatus.NOT_REACHABLE,
    504: ExitStatus.NOT_REACHABLE,
}
_NEXT = {
    401: "Set POSTHOUSE_KEY, or save a key that is valid with `posthouse profile save`.",
    412: "Read the object again, and repeat the change.",
    503: "`posthouse status` says which service does not answer.",
}


def explain(error: Exception, url: str) -> CommandError | None:
    """Returns the end of a command after an error of the API or of the connection. None means that the error is a fault
    of our code.
    """
    if isinstance(error, CommandError):
        return error
    # A module that was not loaded cannot have raised an error. Loading it would take longer than showing a help text.
    client = sys.modules.get("posthouse_client.errors")
    if client is not None and isinstance(error, client.ProblemError):
        return CommandError(_sentence(error), _STATUSES.get(error.status, ExitStatus.REFUSED))
    httpx = sys.modules.get("httpx")
    if httpx is not None and isinstance(error, httpx.TransportError):
        reason = str(error) or type(error).__name__
        return CommandError(
            f"{url} is not reachable ({reason}). Is Posthouse running there? POSTHOUSE_URL names another address.",
            ExitStatus.NOT_REACHABLE,
        )
    return None


def _sentence(problem: ProblemError) -> str:
    parts = [problem.sentence(), _NEXT.get(problem.status, "")]
    if problem.status == 403 and "required_role" in problem.members:
        parts.append(f"A key with the role {problem.members['required_role']} may do it.")
    return " ".join(part for part in parts if part)
