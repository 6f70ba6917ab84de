"""Reports the progress of an action on many messages to a client that reads it line by line."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from fastapi.responses import JSONResponse

from services.config_api.http.responses import as_kept
from services.config_api.operations.queue import wire
from services.config_api.storage.idempotency import IdempotentRequest

# The progress when there was no step at all.
NOTHING: dict[str, Any] = {"matched": 0, "acted": 0, "skipped": 0, "done": True}
# Running tasks are stored here because the event loop has only weak references to tasks. Otherwise a task could be
# deleted after its client has closed the connection.
_at_work: set[asyncio.Task[None]] = set()


async def shown(steps: AsyncIterator[Any]) -> AsyncIterator[dict[str, Any]]:
    """Yields relay's steps in the form of the API. The work ends when the client closes the connection."""
    async for step in steps:
        yield wire.progress(step)


async def shown_once(repeat: IdempotentRequest, steps: AsyncIterator[Any]) -> AsyncIterator[dict[str, Any]]:
    """Yields relay's steps like `shown`, for a request with an Idempotency-Key. The work continues when the client
    closes the connection. The last step is stored as the answer.

    Before the first step, it may raise the errors of `IdempotentRequest.claimed`.
    """
    told: asyncio.Queue[dict[str, Any] | Exception | None] = asyncio.Queue()
    task = asyncio.create_task(_work(repeat, steps, told))
    _at_work.add(task)
    task.add_done_callback(_at_work.discard)
    while (step := await told.get()) is not None:
        if isinstance(step, Exception):
            raise step
        yield step


async def _work(
    repeat: IdempotentRequest, steps: AsyncIterator[Any], told: asyncio.Queue[dict[str, Any] | Exception | None]
) -> None:
    last = NOTHING
    try:
        async with repeat.claimed() as answers:
            async for step in shown(steps):
                last = step
                told.put_nowait(step)
            answers.append(as_kept(JSONResponse(last)))
    except Exception as error:  # noqa: BLE001 - raised again where the request is answered
        told.put_nowait(error)
    finally:
        told.put_nowait(None)
