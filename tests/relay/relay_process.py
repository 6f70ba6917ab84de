"""Runs relay as a process of its own that can be killed. Relay reads its configuration from a snapshot on disk."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from posthouse.config.v1 import config_pb2
from posthouse.relay.v1 import relay_pb2 as pb
from posthouse.relay.v1 import relay_pb2_grpc

from libs.runtime.addresses import TcpAddress
from libs.runtime.sealed_file import SealedFile
from libs.runtime.snapshot_pages import SnapshotPages
from tests.peers import plain_grpc
from tests.peers.ports import LOOPBACK, accepts_connections, free_port
from tests.peers.process import PeerProcess

ROOT = Path(__file__).parents[2]

_ENDING_SECONDS = 90


class RelayProcess:
    """A relay that sends all mail to `next_hop_port` on loopback. `command` is the module to run and its arguments."""

    def __init__(
        self,
        folder: Path,
        database_url: str,
        next_hop_port: int,
        name: str = "relay",
        command: Sequence[str] = ("services.relay",),
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._folder = folder
        self._name = name
        self._command = command
        self.port = free_port()
        snapshot = config_pb2.RelaySnapshot(
            profile=config_pb2.Profile(hostname="gw.test"),
            delivery=config_pb2.Delivery(
                mode=config_pb2.Delivery.MODE_RELAY_HOST,
                relay_host=config_pb2.RelayHost(host=LOOPBACK, port=next_hop_port),
            ),
        )
        snapshot.queue.first_retry.FromSeconds(1)
        snapshot.queue.max_retry.FromSeconds(2)
        pages = SnapshotPages()
        pages.put("settings", snapshot.SerializeToString())
        ending = config_pb2.SnapshotPart(whole=True, last=True, revision=1, digest=pages.digest())
        kept = folder / f"{name}.snapshot"
        SealedFile(kept).write(b"".join([*pages.parts(), ending.SerializeToString()]))
        self._environment = {
            **os.environ,
            "PYTHONPATH": f"{ROOT}:{ROOT / 'proto'}",
            "POSTHOUSE_DATA_DIR": str(folder),
            "RELAY_LISTEN": f"{LOOPBACK}:{self.port}",
            "RELAY_CONFIG_TARGET": f"{LOOPBACK}:{free_port()}",
            "RELAY_DATABASE_URL": database_url,
            "RELAY_SNAPSHOT_FILE": str(kept),
            # There is no config_api, so relay does not wait for it.
            "RELAY_CONFIG_WAIT_SECONDS": "0",
            "RELAY_LEASE_SECONDS": "2",
            "RELAY_DISK_RESERVE_MB": "0",
            # On a busy machine, transactions still need time to end after SIGTERM.
            "RELAY_DRAIN_SECONDS": "60",
            **(environment or {}),
        }
        self._process: PeerProcess | None = None

    async def start(self) -> None:
        self._process = PeerProcess(
            [sys.executable, "-m", *self._command],
            self._folder / f"{self._name}.log",
            folder=ROOT,
            environment=self._environment,
        )
        async with asyncio.timeout(60):
            while not await self._serving():
                assert self._process.running, self._process.log_tail()
                await asyncio.sleep(0.02)

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def threads(self) -> list[int]:
        """Returns the operating system's thread ids of the running process."""
        return [int(thread.name) for thread in Path(f"/proc/{self.pid}/task").iterdir()]

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()

    async def died(self) -> int:
        """Waits until the process has ended by itself and returns its exit status."""
        assert self._process is not None
        return await asyncio.to_thread(self._process.wait, _ENDING_SECONDS)

    def terminate(self) -> int:
        """Sends SIGTERM twice and returns the exit status."""
        assert self._process is not None
        self._process.signal(signal.SIGTERM)
        self._process.signal(signal.SIGTERM)
        return self._process.wait(_ENDING_SECONDS)

    def channel(self) -> grpc.aio.Channel:
        return plain_grpc.channel(self.port)

    async def _serving(self) -> bool:
        if not accepts_connections(TcpAddress(LOOPBACK, self.port)):
            return False
        async with self.channel() as channel:
            try:
                answer = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=2)
            except grpc.aio.AioRpcError:
                return False
        return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


def submission(number: int, recipient: bytes) -> pb.Submission:
    content = b"Subject: test\r\nX-Number: %d\r\n\r\nbody\r\n" % number
    return pb.Submission(
        id=uuid.uuid4().hex,
        envelope=pb.Envelope(sender=b"a@sender.test", recipients=[pb.Recipient(address=recipient)]),
        origin=pb.Origin(may_relay=True),
        content_size=len(content),
        content=content,
    )


async def submit(relay: RelayProcess, submissions: list[pb.Submission]) -> dict[str, str]:
    """Submits messages in one stream, as ingress does, until all are acknowledged or the stream breaks.

    Returns the queue ids of the stored messages by submission id.
    """
    stored: dict[str, str] = {}
    wanted = {one.id for one in submissions}
    done = asyncio.Event()

    async def frames() -> AsyncIterator[pb.SubmitFrame]:
        for start in range(0, len(submissions), 20):
            yield pb.SubmitFrame(submissions=submissions[start : start + 20])
        await done.wait()

    async with relay.channel() as channel:
        call = relay_pb2_grpc.RelayStub(channel).Submit(frames())
        try:
            async for answer in call:
                for ack in answer.acks:
                    wanted.discard(ack.submission_id)
                    if ack.result == pb.SubmitAck.RESULT_STORED:
                        stored[ack.submission_id] = ack.queue_id
                if not wanted:
                    done.set()
                    break
        except grpc.aio.AioRpcError:
            pass
        finally:
            done.set()
            call.cancel()
    return stored


async def history(relay: RelayProcess) -> dict[str, pb.Message]:
    """Returns every finished message by its queue id."""
    found: dict[str, pb.Message] = {}
    async with relay.channel() as channel:
        stub = relay_pb2_grpc.RelayStub(channel)
        token = ""
        while True:
            page = await stub.ListHistory(pb.ListHistoryRequest(page_size=1000, page_token=token))
            for message in page.messages:
                assert message.queue_id not in found
                found[message.queue_id] = message
            token = page.next_page_token
            if not token:
                return found


async def until_empty(relay: RelayProcess) -> None:
    async with relay.channel() as channel:
        stub = relay_pb2_grpc.RelayStub(channel)
        async with asyncio.timeout(90):
            while (await stub.ListMessages(pb.ListMessagesRequest(page_size=1))).messages:  # noqa: ASYNC110
                await asyncio.sleep(0.1)
