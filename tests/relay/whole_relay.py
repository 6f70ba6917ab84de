"""Runs relay's real parts in the process of the test: database, committer, dispatcher and gRPC.

The next hops, the clock and the configuration come from the test.
"""

from __future__ import annotations

import asyncio
import random
import time
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import grpc
from sqlalchemy import text

from libs.runtime import rpc
from libs.runtime.lifecycle import Shutdown
from services.relay.clock import MICROSECONDS, Clock
from services.relay.configuration.model import Configuration
from services.relay.intake.intake import Ack, Stream
from services.relay.intake.submission import Frame, IncomingSubmission
from services.relay.model.message import Origin
from services.relay.process import Relay
from services.relay.queue.database import Database, open_database
from services.relay.queue.reading import StoredMessage, whole_message
from services.relay.queue.settling import Settlement
from services.relay.routing.recipients import SubmittedRecipient
from services.relay.settings import Settings
from tests.peers.plain_grpc import INSECURE
from tests.relay.scripted_transport import ScriptedTransport

CONTENT = b"From: a@sender.test\r\nSubject: hello\r\nMessage-ID: <1@sender.test>\r\n\r\nbody\r\n"
CONFIGURATION = Configuration(revision=1, hostname="gw.test")


class HandClock(Clock):
    """The real clocks plus an offset that the test changes by hand."""

    def __init__(self) -> None:
        self.wall_seconds = 0.0
        self.steady_seconds = 0.0
        super().__init__(self._read_wall, self._read_steady)

    def pass_time(self, seconds: float) -> None:
        """Advances both clocks."""
        self.wall_seconds += seconds
        self.steady_seconds += seconds

    def jump(self, seconds: float) -> None:
        """Changes only the wall clock, as when somebody sets the clock."""
        self.wall_seconds += seconds

    def _read_wall(self) -> int:
        return time.time_ns() // 1000 + int(self.wall_seconds * MICROSECONDS)

    def _read_steady(self) -> float:
        return time.monotonic() + self.steady_seconds


class WholeRelay:
    """A complete relay, used as a context manager. `url` is the URL of the queue's database."""

    def __init__(
        self,
        url: str,
        folder: Path,
        configuration: Configuration = CONFIGURATION,
        transport: ScriptedTransport | None = None,
        clock: HandClock | None = None,
        **settings: Any,
    ) -> None:
        given: dict[str, Any] = {"listen": "127.0.0.1:0", "database_url": url, "POSTHOUSE_DATA_DIR": folder}
        self.settings = Settings(**given, **settings)
        self.transport = transport or ScriptedTransport()
        self.clock = clock or HandClock()
        self.database: Database = open_database(url)
        self.shutdown = Shutdown()
        self._configuration = configuration
        self.address = ""
        self.settlements: list[Settlement] = []
        self._noticed = asyncio.Event()

    async def __aenter__(self) -> Self:
        await self.database.open()
        self.relay = Relay(self.settings, self.database, self.shutdown, self.transport, self.clock, random.Random(1))
        settle = self.relay.committer.settle

        def noticing(settlement: Settlement) -> None:
            settle(settlement)
            self.settlements.append(settlement)
            self._noticed.set()

        self.relay.committer.settle = noticing  # type: ignore[method-assign]
        await self.relay.open()
        self.configure(self._configuration)
        self.address = await self.relay.start()
        self.stream = Stream(self.relay.intake)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.relay.close()
        await self.database.close()

    def channel(self) -> grpc.aio.Channel:
        return rpc.channel(self.address, INSECURE, "relay")

    def configure(self, configuration: Configuration) -> None:
        """Puts a configuration in force, as a new snapshot does."""
        self.relay.watch.adopt(configuration, configuration.revision)

    async def submit(
        self,
        *recipients: bytes | SubmittedRecipient,
        sender: bytes = b"a@sender.test",
        content: bytes = CONTENT,
        submission_id: str = "",
        **fields: Any,
    ) -> Ack:
        """Submits one message through a stream and returns its acknowledgement."""
        incoming = incoming_of(recipients, sender, content, submission_id, **fields)
        self.stream.feed(Frame((incoming,), (), (), ()))
        return (await self.acks(1))[0]

    async def acks(self, count: int, stream: Stream | None = None) -> list[Ack]:
        found: list[Ack] = []
        stream = stream or self.stream
        async with asyncio.timeout(60):
            while len(found) < count:
                await stream.changed.wait()
                stream.changed.clear()
                found += stream.take_acks()
        return found

    async def settled(self, count: int) -> None:
        """Waits until this number of transactions has ended and their outcomes are committed."""
        await self.transport.until_ended(count)
        await self.committed()

    async def committed(self) -> None:
        async with asyncio.timeout(60):
            # The loop gets more turns than an attempt needs between its end and its settlement.
            for _ in range(20):
                await asyncio.sleep(0)
            await self.relay.committer.drained()

    async def given_back(self, times: int) -> None:
        """Waits until this number of deliveries was given back without an attempt, and until this is committed."""
        async with asyncio.timeout(60):
            while (
                sum(delivery.attempt is None for settlement in self.settlements for delivery in settlement.deliveries)
                < times
            ):
                self._noticed.clear()
                await self._noticed.wait()
        await self.committed()

    async def after(self, seconds: float) -> None:
        """Lets time pass, and makes relay look for deliveries that are due."""
        self.clock.pass_time(seconds)
        self.relay.dispatcher.wake()

    async def rows(self, sql: str) -> list[tuple[Any, ...]]:
        return await self.database.read(lambda connection: [tuple(row) for row in connection.execute(text(sql))])

    async def message(self, queue_id: str) -> StoredMessage:
        now = self.clock.now()
        found = await self.database.read(
            lambda connection: whole_message(connection, int(queue_id, 16), now, with_header=True)
        )
        assert found is not None
        return found

    async def states(self, queue_id: str) -> dict[bytes, int]:
        """Returns the state of each recipient of a message in the database."""
        return {row.recipient: row.state for row in (await self.message(queue_id)).deliveries}


def incoming_of(
    recipients: Sequence[bytes | SubmittedRecipient],
    sender: bytes = b"a@sender.test",
    content: bytes = CONTENT,
    submission_id: str = "",
    **fields: Any,
) -> IncomingSubmission:
    return IncomingSubmission(
        id=submission_id or uuid.uuid4().hex,
        sender=sender,
        recipients=tuple(
            recipient if isinstance(recipient, SubmittedRecipient) else SubmittedRecipient(recipient)
            for recipient in recipients
        ),
        content=content,
        size=fields.pop("size", len(content)),
        received_at=0,
        origin=fields.pop("origin", Origin("s1", "192.0.2.9", b"client.test", "", "smtp", may_relay=True)),
        **fields,
    )
