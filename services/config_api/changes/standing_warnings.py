"""Finds warnings about stored settings. Perhaps nobody has seen these warnings, for example because a release
introduced them after the settings were written.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import structlog

from services.config_api.resources.catalogue import RESOURCES
from services.config_api.resources.description import CheckContext, Finding
from services.config_api.storage.documents import Store, every

log = structlog.get_logger(__name__)

# Collections that may have many thousands of objects are not checked.
_KINDS = (
    *(kind for kind in RESOURCES if kind.startswith("settings/")),
    "local-domains",
    "relay-domains",
    "relay-rules",
    "trusted-networks",
)
_MOST_OBJECTS = 500
_SECONDS = 30


@dataclass(frozen=True, slots=True)
class StandingWarning:
    """A warning about a stored object."""

    kind: str
    id: str
    finding: Finding


async def standing_warnings(store: Store, check_context_of: Callable[[str], CheckContext]) -> Sequence[StandingWarning]:
    """Returns the present warnings about stored settings. At most _MOST_OBJECTS objects are checked, and no check
    begins after half a minute.
    """
    async with store.database.reading() as connection:
        documents = [document async for document in every(connection, _KINDS)][:_MOST_OBJECTS]
    warnings: list[StandingWarning] = []
    deadline = asyncio.get_running_loop().time() + _SECONDS
    for document in documents:
        if asyncio.get_running_loop().time() > deadline:
            break
        findings = await RESOURCES[document.kind].check(document.body, check_context_of(document.id))
        warnings += [StandingWarning(document.kind, document.id, finding) for finding in findings]
    return warnings


async def log_standing_warnings(store: Store, check_context_of: Callable[[str], CheckContext]) -> None:
    """Logs one line for each warning when the service starts (F37, F43, F52)."""
    for warning in await standing_warnings(store, check_context_of):
        log.warning(
            "configuration_warning",
            kind=warning.kind,
            object_id=warning.id,
            pointer=warning.finding.pointer,
            code=warning.finding.code,
            detail=warning.finding.detail,
        )
