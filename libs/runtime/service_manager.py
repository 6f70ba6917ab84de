"""Reports the state of this process to the process that started it: systemd (`Type=notify`, `NotifyAccess=all`) or
`posthouse up`.
"""

from __future__ import annotations

import asyncio
import os
import socket

import structlog

log = structlog.get_logger(__name__)

# The variable with the address of the service manager's datagram socket (sd_notify(3)).
SOCKET_VARIABLE = "NOTIFY_SOCKET"
READY = "READY=1"
STOPPING = "STOPPING=1"
ALIVE = "WATCHDOG=1"
# The variable with the microseconds without ALIVE after which the service manager ends the process
# (sd_watchdog_enabled(3)).
WATCHDOG_VARIABLE = "WATCHDOG_USEC"
# The beginning of the state that requests more time, in microseconds.
EXTEND_TIMEOUT = "EXTEND_TIMEOUT_USEC="


def tell_ready() -> None:
    """Reports that the process can do its work."""
    _tell(READY)


def tell_stopping(seconds: float) -> None:
    """Reports that the process ends, and needs at most `seconds` for it."""
    _tell(f"{STOPPING}\n{EXTEND_TIMEOUT}{round(seconds * 1e6)}")


async def tell_alive_for_ever() -> None:
    """Reports that the event loop runs, three times in each period of the service manager. Returns at once when there
    is no watchdog.
    """
    try:
        period_seconds = int(os.environ.get(WATCHDOG_VARIABLE, "")) / 1e6
    except ValueError:
        return
    while period_seconds > 0:
        _tell(ALIVE)
        await asyncio.sleep(period_seconds / 3)


def _tell(state: str) -> None:
    address = os.environ.get(SOCKET_VARIABLE)
    if not address:
        return
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            # The service manager may be busy, and must not delay the process.
            sender.setblocking(False)
            # A name that begins with @ is an abstract socket, which is not a file.
            sender.sendto(state.encode(), "\0" + address[1:] if address.startswith("@") else address)
    except OSError as error:
        log.warning("service_manager_not_notified", state=state, reason=error.strerror)
