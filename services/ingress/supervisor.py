"""Starts several workers on the same ports, restarts a worker that dies, and stops them."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time

import structlog

from libs.runtime.lifecycle import Shutdown, StartupError

log = structlog.get_logger(__name__)

# The variable with the number of a worker. It is not a setting, so it does not have the prefix of settings.
NUMBER_VARIABLE = "WORKER_NUMBER_OF_INGRESS"
# If a worker ends with status 1 earlier than this, it never worked, and another start would not help.
_YOUNG_SECONDS = 5.0
_PAUSE_SECONDS = 1.0


async def supervise(shutdown: Shutdown, workers: int, patience: float) -> None:
    """Keeps `workers` processes running until shutdown, and kills those that have not ended after `patience` seconds.
    Raises StartupError when a worker cannot start.
    """
    tasks = [asyncio.create_task(_keep(number, shutdown, patience)) for number in range(workers)]
    waiting = asyncio.create_task(shutdown.wait())
    try:
        await asyncio.wait([*tasks, waiting], return_when=asyncio.FIRST_COMPLETED)
    finally:
        shutdown.request("a worker can't start")
        waiting.cancel()
    ended = await asyncio.gather(*tasks, return_exceptions=True)
    for outcome in ended:
        if isinstance(outcome, BaseException):
            raise outcome


async def _keep(number: int, shutdown: Shutdown, patience: float) -> None:
    while not shutdown.requested:
        began = time.monotonic()
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "services.ingress",
            stdin=asyncio.subprocess.PIPE,
            env={**os.environ, NUMBER_VARIABLE: str(number)},
        )
        ended = asyncio.create_task(process.wait())
        shutdown_request = asyncio.create_task(shutdown.wait())
        await asyncio.wait([ended, shutdown_request], return_when=asyncio.FIRST_COMPLETED)
        shutdown_request.cancel()
        if shutdown.requested:
            await _stop(process, patience)
            return
        code = await ended
        log.error("worker_died", worker=number, code=code)
        if code == 1 and time.monotonic() - began < _YOUNG_SECONDS:
            raise StartupError(f"worker {number} can't start")
        await asyncio.sleep(_PAUSE_SECONDS)


async def _stop(process: asyncio.subprocess.Process, patience: float) -> None:
    if process.returncode is None:
        process.send_signal(signal.SIGTERM)
    try:
        async with asyncio.timeout(patience):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
