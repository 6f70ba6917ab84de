"""`posthouse up`: the whole suite as child processes of this one."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from services.suite.children import Child
from services.suite.readiness import until_ready
from services.suite.topology import SERVICES, Process

READY_SECONDS = 60.0
STOP_SECONDS = 30.0
# A replica that fails sooner after its start never came up: starting it again would change nothing.
YOUNG_SECONDS = 3.0
# How one ends that somebody else ended, be it an operator or a machine short of memory.
_ENDED_FROM_OUTSIDE = (0, -signal.SIGTERM, -signal.SIGKILL)


class Suite:
    """The running services. `start` returns when all are ready; `failed` when one has died that no other stands for."""

    def __init__(self, processes: tuple[Process, ...], data_folder: Path, print_line: Callable[[str], None]) -> None:
        self.run_folder = data_folder / "run"
        width = max(len(process.name) for process in processes)
        self.children = [Child(process, self.run_folder, print_line, width) for process in processes]
        self._print_line = print_line

    async def start(self) -> None:
        """Starts every service at once (none needs another to start) and waits until each is ready.

        Raises SuiteError when one dies, or is not ready in READY_SECONDS.
        """
        self.run_folder.mkdir(parents=True, exist_ok=True)
        for child in self.children:
            await child.start()
        ready = asyncio.gather(*(until_ready(child.process) for child in self.children))
        died = asyncio.create_task(self._first_death())
        try:
            async with asyncio.timeout(READY_SECONDS):
                await asyncio.wait((ready, died), return_when=asyncio.FIRST_COMPLETED)
        except TimeoutError:
            raise SuiteError(f"not ready after {READY_SECONDS:g} s; the lines above say what is missing") from None
        finally:
            ready.cancel()
            died.cancel()
            await asyncio.gather(ready, died, return_exceptions=True)
        if died.done() and not died.cancelled():
            raise SuiteError(died.result()[2])

    async def failed(self) -> str:
        """Waits for a child to end by itself; says which and how, with its last lines. One of several replicas is
        started again instead, unless it failed while it came up: the others do its work meanwhile.
        """
        while True:
            child, status, how = await self._first_death()
            alike = sum(each.process.service == child.process.service for each in self.children)
            if alike == 1 or (child.age < YOUNG_SECONDS and status not in _ENDED_FROM_OUTSIDE):
                return how
            self._print_line(f"posthouse: {how.partition('. ')[0]}; it is started again")
            await child.start()

    async def _first_death(self) -> tuple[Child, int, str]:
        waits = {asyncio.create_task(child.wait()): child for child in self.children}
        try:
            done, _ = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in waits:
                task.cancel()
        task = done.pop()
        child, status = waits[task], task.result()
        how = f"signal {-status}" if status < 0 else f"status {status}"
        return (
            child,
            status,
            "\n  ".join((f"{child.process.name} ended with {how}. Its last lines:", *child.last_lines)),
        )

    async def stop(self) -> None:
        """Ends the services, the receiving one first, the configuration last."""
        for service in reversed(SERVICES):
            await asyncio.gather(
                *(child.stop(STOP_SECONDS) for child in self.children if child.process.service == service)
            )

    def kill(self) -> None:
        for child in self.children:
            child.kill()


class SuiteError(Exception):
    """The suite did not come up, or a service died; the message is for the operator."""


def data_folder(environment: Mapping[str, str]) -> Path:
    return Path(environment.get("POSTHOUSE_DATA_DIR") or "var").resolve()


def print_plain(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


async def up(processes: tuple[Process, ...], folder: Path) -> int:
    """Runs the suite until a signal or a death; returns the exit status."""
    began = time.monotonic()
    suite = Suite(processes, folder, print_plain)
    stop = asyncio.Event()

    def on_signal() -> None:
        if stop.is_set():
            # Impatience: a second Ctrl-C ends what is left at once.
            suite.kill()
        stop.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal)
    starting = asyncio.create_task(suite.start())
    stopped = asyncio.create_task(stop.wait())
    status = 0
    try:
        await asyncio.wait((starting, stopped), return_when=asyncio.FIRST_COMPLETED)
        if starting.done():
            starting.result()
            print_plain(_welcome(processes, folder, time.monotonic() - began))
            died = asyncio.create_task(suite.failed())
            await asyncio.wait((died, stopped), return_when=asyncio.FIRST_COMPLETED)
            if died.done():
                raise SuiteError(died.result())
            died.cancel()
    except SuiteError as error:
        status = 1
        print_plain(f"posthouse: {error}")
    finally:
        starting.cancel()
        stopped.cancel()
        await asyncio.gather(starting, stopped, return_exceptions=True)
        print_plain("posthouse: stopping")
        await suite.stop()
    return status


def _welcome(processes: tuple[Process, ...], folder: Path, seconds: float) -> str:
    first = {process.service: process for process in reversed(processes)}
    api, ingress = first["config_api"], first["ingress"]
    base = f"http://{api.host}:{api.ports['CONFIG_API_PORT']}"
    key_file = folder / "admin-key"
    with contextlib.suppress(ValueError):
        key_file = key_file.relative_to(Path.cwd())
    smtp, submission, smtps = (
        ingress.ports[name] for name in ("INGRESS_SMTP_PORT", "INGRESS_SUBMISSION_PORT", "INGRESS_SMTPS_PORT")
    )
    return "\n".join(
        (
            "",
            f"posthouse is ready ({seconds:.1f} s). Data is in {folder}.",
            f"  mail        {ingress.host}: SMTP {smtp}, submission {submission}, submission over TLS {smtps}",
            f"  API         {base}/docs, OpenAPI document {base}/openapi.json",
            f"  admin key   {key_file}",
            "  try         make demo",
            f'              curl -H "Authorization: Bearer $(cat {key_file})" {base}/v1/settings/general',
            "  stop        Ctrl-C",
            "",
        )
    )


def environment() -> dict[str, str]:
    """This process's environment, with the data folder made absolute for the children."""
    found = dict(os.environ)
    found["POSTHOUSE_DATA_DIR"] = str(data_folder(found))
    # Without byte code on disk each start would compile every library anew, which takes seconds.
    found.pop("PYTHONDONTWRITEBYTECODE", None)
    return found
