"""`posthouse up`: runs the whole suite as child processes of this one."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import time
from collections.abc import Mapping
from pathlib import Path

from libs.runtime import service_manager
from libs.runtime.line_writer import LineWriter
from services.suite import databases
from services.suite.children import Child
from services.suite.claims import ClaimError, FolderLock, check_ports
from services.suite.notices import Notices
from services.suite.output import ConsoleOutput, JsonOutput, Output
from services.suite.sockets import tell_folder
from services.suite.topology import SERVICES, Process, scheme_of

# After this number of starts in a row in which the service did not become ready, the suite ends.
MAX_FAILED_STARTS = 5
_FIRST_PAUSE_SECONDS = 0.5
_LONGEST_PAUSE_SECONDS = 30.0
# A service that was ready for this time counts as working, and its pauses begin again with the first.
_SOUND_SECONDS = 10.0
# The statuses of a service that another process has ended. It counts as working if it was ready.
_ENDED_FROM_OUTSIDE = (0, -signal.SIGTERM, -signal.SIGKILL)
# The interval at which the services that are not ready are shown.
_STILL_WAITING_SECONDS = 30.0
# The exit status of a service with wrong settings or arguments. Another start would not help.
_STATUS_OF_WRONG_SETTINGS = 2
# The time to write the last lines, even if nobody reads them.
_LAST_LINES_SECONDS = 2.0


class SuiteError(Exception):
    """The suite cannot run, or cannot continue. The message is for the operator."""


class Suite:
    """The running services. Each is started again when it ends, until `stop`."""

    def __init__(self, processes: tuple[Process, ...], data_folder: Path, output: Output) -> None:
        self.run_folder = data_folder / "run"
        self.children = [Child(process, self.run_folder, output) for process in processes]
        self._output = output
        self._lock: FolderLock | None = None
        self._notices: Notices | None = None
        self._keepers: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Starts all services at the same time, because none needs another one to start. Returns when each has been
        ready. Raises SuiteError when the folder or a port is in use, and the errors of `failed`.
        """
        try:
            self._lock = FolderLock(self.run_folder)
            check_ports([child.process for child in self.children])
            tell_folder(self.run_folder, [child.process.grpc for child in self.children if child.process.grpc])
            databases.remember(self.run_folder, [child.process for child in self.children])
        except ClaimError as error:
            raise SuiteError(str(error)) from None
        except OSError as error:
            raise SuiteError(f"{error.filename} can't be written: {error.strerror}") from None
        self._notices = Notices(self._on_ready, self._on_more_time)
        self._keepers = [asyncio.create_task(self._keep(child, self._notices.address)) for child in self.children]
        ready = asyncio.create_task(self._until_ready())
        try:
            await asyncio.wait((ready, *self._keepers), return_when=asyncio.FIRST_COMPLETED)
            if not ready.done():
                await self.failed()
            self._output.drop_held()
        finally:
            ready.cancel()

    async def failed(self) -> None:
        """Waits until a service fails permanently. Raises SuiteError with its name and its last lines."""
        done, _ = await asyncio.wait(self._keepers, return_when=asyncio.FIRST_COMPLETED)
        for keeper in done:
            keeper.result()

    async def stop(self) -> None:
        """Ends the services one after the other: the console, ingress, relay, policy, and config_api."""
        for keeper in self._keepers:
            keeper.cancel()
        await asyncio.gather(*self._keepers, return_exceptions=True)
        for service in reversed(SERVICES):
            await asyncio.gather(*(child.stop() for child in self.children if child.process.service == service))
        if self._notices is not None:
            self._notices.close()
        if self._lock is not None:
            self._lock.release()

    def kill(self) -> None:
        for child in self.children:
            child.kill()

    async def _keep(self, child: Child, notify_address: str) -> None:
        """Starts a service again each time it ends, with growing pauses. Raises SuiteError when this does not help."""
        failed_starts, pause = 0, _FIRST_PAUSE_SECONDS
        while True:
            await child.start(notify_address)
            was_ready, status, seconds_ready = await self._one_run(child)
            failed_starts = 0 if was_ready else failed_starts + 1
            if seconds_ready > _SOUND_SECONDS or (was_ready and status in _ENDED_FROM_OUTSIDE):
                pause = _FIRST_PAUSE_SECONDS
            name = child.process.name
            how = f"with signal {-status}" if status < 0 else f"with status {status}"
            if failed_starts == MAX_FAILED_STARTS:
                how = f"{failed_starts} times in a row before it was ready, the last time {how}"
            if failed_starts == MAX_FAILED_STARTS or (status == _STATUS_OF_WRONG_SETTINGS and not was_ready):
                raise SuiteError("\n  ".join((f"{name} ended {how}. Its last lines:", *child.last_lines)))
            self._output.show_held()
            self._output.tell(
                "child_ended",
                f"posthouse: {name} ended {how}; it is started again in {pause:g} s",
                level="error",
                child=name,
                status=status,
                pause_seconds=pause,
            )
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)

    async def _one_run(self, child: Child) -> tuple[bool, int, float]:
        """Runs a child once. Returns whether it became ready, its exit status, and for how many seconds it was
        ready.
        """
        loop = asyncio.get_running_loop()
        ready_since: float | None = None
        ended = asyncio.create_task(child.wait())
        ready = asyncio.create_task(child.ready.wait())
        try:
            await asyncio.wait((ended, ready), return_when=asyncio.FIRST_COMPLETED)
            if ready.done():
                ready_since = loop.time()
            status = await asyncio.shield(ended)
        finally:
            ready.cancel()
        return ready_since is not None, status, 0.0 if ready_since is None else loop.time() - ready_since

    async def _until_ready(self) -> None:
        """Waits until each child has been ready, and shows at intervals which ones are not."""
        waits = {asyncio.create_task(child.ready.wait()): child.process.name for child in self.children}
        try:
            waiting = set(waits)
            while waiting:
                done, waiting = await asyncio.wait(
                    waiting, timeout=_STILL_WAITING_SECONDS, return_when=asyncio.FIRST_COMPLETED
                )
                for task in done:
                    self._output.tell("child_ready", f"posthouse: {waits[task]} is ready", child=waits[task])
                if waiting and not done:
                    self._output.show_held()
                    names = ", ".join(sorted(waits[task] for task in waiting))
                    self._output.tell(
                        "still_starting", f"posthouse: not ready yet: {names}", level="warning", children=names
                    )
        finally:
            for task in waits:
                task.cancel()

    def _child(self, pid: int) -> Child | None:
        return next((child for child in self.children if child.runs and child.pid == pid), None)

    def _on_ready(self, pid: int) -> None:
        child = self._child(pid)
        if child is not None:
            child.ready.set()

    def _on_more_time(self, pid: int, seconds: float) -> None:
        child = self._child(pid)
        if child is not None:
            child.needs_time(seconds)


def data_folder(environment: Mapping[str, str]) -> Path:
    return Path(environment.get("POSTHOUSE_DATA_DIR") or "var").resolve()


async def up(processes: tuple[Process, ...], folder: Path, *, as_json: bool) -> int:
    """Runs the suite until a signal, or until it cannot run. Returns the exit status."""
    began = time.monotonic()
    writer = LineWriter(_lost_as_json if as_json else _lost_as_text, file_descriptor=1)
    output = _output(writer, processes, as_json=as_json)
    suite = Suite(processes, folder, output)
    stop = _stop_on_signals(suite)
    starting = asyncio.create_task(suite.start())
    stopped = asyncio.create_task(stop.wait())
    watchdog = asyncio.create_task(service_manager.tell_alive_for_ever())
    status = 0
    try:
        await asyncio.wait((starting, stopped), return_when=asyncio.FIRST_COMPLETED)
        if starting.done():
            starting.result()
            _welcome(output, processes, folder, time.monotonic() - began)
            service_manager.tell_ready()
            failed = asyncio.create_task(suite.failed())
            await asyncio.wait((failed, stopped), return_when=asyncio.FIRST_COMPLETED)
            if failed.done():
                failed.result()
            failed.cancel()
    except SuiteError as error:
        status = 1
        output.tell("suite_failed", f"posthouse: {error}", level="error")
    finally:
        starting.cancel()
        stopped.cancel()
        await asyncio.gather(starting, stopped, return_exceptions=True)
        output.tell("suite_stopping", "posthouse: stopping")
        await suite.stop()
        await asyncio.to_thread(writer.finish, _LAST_LINES_SECONDS)
        watchdog.cancel()
    return status


def _stop_on_signals(suite: Suite) -> asyncio.Event:
    """Returns an event that SIGTERM and Ctrl-C set. A second Ctrl-C kills the processes that are left. A second SIGTERM
    changes nothing (F64).
    """
    stop = asyncio.Event()

    def on_interrupt() -> None:
        if stop.is_set():
            suite.kill()
        stop.set()

    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    loop.add_signal_handler(signal.SIGINT, on_interrupt)
    return stop


def _output(writer: LineWriter, processes: tuple[Process, ...], *, as_json: bool) -> Output:
    if as_json:
        return JsonOutput(writer.write)
    return ConsoleOutput(writer.write, max(len(process.name) for process in processes))


def _lost_as_text(count: int) -> str:
    return f"posthouse: {count} lines were lost that could not be written\n"


def _lost_as_json(count: int) -> str:
    return json.dumps({"level": "error", "event": "log_lines_lost", "service": "suite", "count": count}) + "\n"


def _welcome(output: Output, processes: tuple[Process, ...], folder: Path, seconds: float) -> None:
    first = {process.service: process for process in reversed(processes)}
    api, ingress, console = first["config_api"], first["ingress"], first.get("console")
    base = _url(api, "CONFIG_API")
    # The commands on this machine find the API by this file.
    (folder / "run" / "api-url").write_text(f"{base}\n")
    key_file = folder / "admin-key"
    with contextlib.suppress(ValueError):
        key_file = key_file.relative_to(Path.cwd())
    smtp, submission, smtps = (
        ingress.ports[name] or "off" for name in ("INGRESS_SMTP_PORT", "INGRESS_SUBMISSION_PORT", "INGRESS_SMTPS_PORT")
    )
    hosts = ", ".join(ingress.listen_hosts)
    text = "\n".join(
        (
            "",
            f"posthouse is ready ({seconds:.1f} s). Data is in {folder}.",
            f"  mail        {hosts}: SMTP {smtp}, submission {submission}, submission over TLS {smtps}",
            f"  API         {base}/docs, OpenAPI document {base}/openapi.json",
            *([f"  console     {_url(console, 'CONSOLE')}"] if console is not None else []),
            f"  admin key   {key_file}",
            "  try         make demo",
            f'              curl -H "Authorization: Bearer $(cat {key_file})" {base}/v1/settings/general',
            "  stop        Ctrl-C",
            "",
        )
    )
    output.tell("suite_ready", text, seconds=round(seconds, 1), api=base, folder=str(folder))


def _url(process: Process, prefix: str) -> str:
    """Returns the URL of a service that serves HTTP. `prefix` is the prefix of its variables."""
    return f"{scheme_of(process.environment, prefix)}://{process.url_host}:{process.ports[f'{prefix}_PORT']}"


def environment() -> dict[str, str]:
    """Returns the environment of this process, with an absolute data folder for the children."""
    variables = dict(os.environ)
    variables["POSTHOUSE_DATA_DIR"] = str(data_folder(variables))
    # Lines are for people, unless JSON is requested.
    variables["POSTHOUSE_LOG_FORMAT"] = variables.get("POSTHOUSE_LOG_FORMAT") or "console"
    # Without byte code on disk, each start would compile every library, which takes seconds.
    variables.pop("PYTHONDONTWRITEBYTECODE", None)
    return variables
