"""Tests a relay host step by step, with the code that also delivers through it."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from libs.smtp.network import IPNetwork, canonical_ip
from services.relay.configuration.model import RelayHost
from services.relay.delivery.smtp.opening import SessionConnector
from services.relay.delivery.smtp.protocol import ConnectionFailedError
from services.relay.delivery.smtp.session import Session
from services.relay.delivery.targets.endpoint import HostFailedError
from services.relay.delivery.targets.finder import TargetFinder
from services.relay.delivery.targets.mx_security import TargetEndpoints
from services.relay.delivery.targets.options import Timeouts
from services.relay.model.outcome import sanitised


@dataclass(frozen=True, slots=True)
class Step:
    """One step of the test."""

    # The name of the step: resolve, connect, greeting, ehlo, tls, starttls, ehlo_tls, auth, mail, reset, quit or
    # connection.
    name: str
    ok: bool
    # The server's reply, or the finding of relay itself. The text never contains credentials.
    detail: str
    seconds: float
    # Whether this is the last step.
    last: bool = False


class _Steps:
    """Passes the steps on to the caller while the session is opened. It is the Watcher of the session."""

    def __init__(self) -> None:
        self.queue: asyncio.Queue[Step | None] = asyncio.Queue()

    def step(self, name: str, ok: bool, detail: str, seconds: float) -> None:
        self.queue.put_nowait(Step(name, ok, detail, seconds))


class RelayHostTester:
    """Tests relay hosts. There is one in each process, for as long as the process lives."""

    def __init__(
        self, finder: TargetFinder, connector: SessionConnector, timeouts: Timeouts, prohibited: Sequence[IPNetwork]
    ) -> None:
        self._finder = finder
        self._connector = connector
        self._timeouts = timeouts
        self._prohibited = prohibited

    async def run(self, relay_host: RelayHost, hostname: str, *, configured: bool) -> AsyncIterator[Step]:
        """Yields each step when the next step is made or the test ends, so that the last step can be marked. The test
        goes up to MAIL with the null sender, which RSET then undoes.

        `configured` means that mail already goes to this host, so the test may connect to it even in a prohibited
        network.
        """
        steps = _Steps()
        working = asyncio.create_task(self._work(relay_host, hostname, steps, configured), name="test of a relay host")
        try:
            waiting = await steps.queue.get()
            while waiting is not None:
                following = await steps.queue.get()
                last = following is None
                yield Step(waiting.name, waiting.ok, waiting.detail, waiting.seconds, last=last)
                waiting = following
            await working
        finally:
            working.cancel()

    async def _work(self, relay_host: RelayHost, hostname: str, steps: _Steps, configured: bool) -> None:
        try:
            started = time.monotonic()
            found = await self._finder.of_relay_host(relay_host)
            _show_look_up(found, steps, time.monotonic() - started)
            endpoints = deque(
                endpoint for endpoint in found.endpoints if configured or not self._is_prohibited(endpoint.address)
            )
            if found.endpoints and not endpoints:
                # The holder of an operator's API key must not be able to explore the networks of this machine.
                steps.step("connect", False, "the address is in a prohibited network: RELAY_PROHIBITED_NETWORKS", 0.0)
            while endpoints:
                failures: list[HostFailedError] = []
                session = await self._connector.session(endpoints, hostname, failures, steps)
                if session is not None:
                    await self._transaction(session, steps)
                    return
                if failures and not _is_about_connecting(failures[-1]):
                    # The operator wants to see the answer of this host. A try at the next host would hide it.
                    return
        finally:
            steps.queue.put_nowait(None)

    def _is_prohibited(self, text: str) -> bool:
        address = canonical_ip(text)
        return any(address.version == network.version and address in network for network in self._prohibited)

    async def _transaction(self, session: Session, steps: _Steps) -> None:
        """Sends MAIL, RSET and QUIT. A delivery would send RCPT after MAIL."""
        protocol = session.protocol
        try:
            for name, line, seconds in (
                ("mail", b"MAIL FROM:<>\r\n", self._timeouts.mail),
                ("reset", b"RSET\r\n", self._timeouts.reset),
                ("quit", b"QUIT\r\n", self._timeouts.reset),
            ):
                started = time.monotonic()
                protocol.send(line, 1)
                reply = await protocol.reply(seconds)
                detail = sanitised(b"%d %b" % (reply.code, reply.text))
                steps.step(name, reply.positive, detail, time.monotonic() - started)
        except ConnectionFailedError as error:
            steps.step("connection", False, str(error), 0.0)
        finally:
            protocol.abort()


def _show_look_up(found: TargetEndpoints, steps: _Steps, seconds: float) -> None:
    if found.failure is not None:
        steps.step("resolve", False, found.failure.text, seconds)
        return
    addresses = ", ".join(address for host in found.hosts for address in host.addresses)
    steps.step("resolve", True, addresses, seconds)


def _is_about_connecting(failure: HostFailedError) -> bool:
    return failure.meaning.enhanced_code == "4.4.1" and failure.meaning.code == 0
