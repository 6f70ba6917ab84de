"""Functions that run the complete config_api in the event loop of a test, on free ports."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, TypeVar

import grpc
import httpx
from posthouse.config.v1 import config_pb2 as pb
from posthouse.config.v1 import config_pb2_grpc
from sqlalchemy.ext.asyncio import AsyncConnection

from libs.runtime import rpc
from libs.runtime.lifecycle import Shutdown
from libs.runtime.snapshot_pages import SnapshotPages
from services.config_api.__main__ import run
from services.config_api.settings import Settings
from services.config_api.storage.database import Database
from tests.peers.plain_grpc import INSECURE

ADMIN_KEY = "an-admin-key-for-tests-of-config-api"
NOWHERE = "127.0.0.1:1"
ANY_VERSION = {"If-Match": "*"}
START_SECONDS = 30


@dataclass(frozen=True, slots=True)
class Service:
    """A running config_api with clients of its HTTP API and of its gRPC service."""

    api: httpx.AsyncClient
    channel: grpc.aio.Channel
    http_port: int
    grpc: str
    data_dir: Path
    url: str

    @property
    def watches(self) -> config_pb2_grpc.ConfigurationAsyncStub:
        stub: config_pb2_grpc.ConfigurationAsyncStub = config_pb2_grpc.ConfigurationStub(self.channel)
        return stub

    async def policy(self, until: Callable[[pb.PolicySnapshot], object]) -> tuple[pb.PolicySnapshot, bytes]:
        """Returns policy's first snapshot for which `until` returns true.

        A change is pushed a moment after it was written.
        """
        async with self.watch_policy() as watch:
            while not until((await watch.next()).merged(pb.PolicySnapshot())):
                pass
            return watch.merged(pb.PolicySnapshot()), watch.digest

    async def relay(self, until: Callable[[pb.RelaySnapshot], object]) -> tuple[pb.RelaySnapshot, bytes]:
        """Returns relay's first snapshot for which `until` returns true."""
        async with self.watch_relay() as watch:
            while not until((await watch.next()).merged(pb.RelaySnapshot())):
                pass
            return watch.merged(pb.RelaySnapshot()), watch.digest

    def watch_policy(self, name: str = "policy-test", digest: bytes = b"") -> Watch:
        return Watch(self.watches.WatchPolicy(), name, digest)

    def watch_relay(self, name: str = "relay-test", digest: bytes = b"") -> Watch:
        return Watch(self.watches.WatchRelay(), name, digest)

    async def get(self, path: str) -> dict[str, Any]:
        answer = await self.api.get(path)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    async def make(self, kind: str, body: dict[str, Any]) -> dict[str, Any]:
        """Creates an object with POST and returns it."""
        answer = await self.api.post(f"/v1/{kind}", json=body)
        assert answer.status_code == 201, answer.text
        found: dict[str, Any] = answer.json()
        return found

    async def change(self, path: str, patch: dict[str, Any]) -> dict[str, Any]:
        """Changes an object with PATCH and its present ETag, and returns the answer."""
        tag = (await self.api.get(path)).headers["etag"]
        answer = await self.api.patch(path, json=patch, headers={"If-Match": tag})
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found


def settings(url: str, data_dir: Path, **more: Any) -> Settings:
    """Returns settings with free ports. `more` sets further fields by their names."""
    values: dict[str, Any] = {
        "port": 0,
        "grpc_listen": "127.0.0.1:0",
        "database_url": url,
        "admin_key": ADMIN_KEY,
        "policy_target": NOWHERE,
        "relay_target": NOWHERE,
        # Unless a test sets a name server, DNS look-ups fail at once, because nothing listens at this address.
        "nameservers": NOWHERE,
        "POSTHOUSE_DATA_DIR": data_dir,
    }
    return Settings(**{**values, **more})


@asynccontextmanager
async def running(url: str, data_dir: Path, **more: Any) -> AsyncIterator[Service]:
    """Starts config_api and ends it as SIGTERM does. Fails when config_api has ended by itself."""
    shutdown = Shutdown()
    ports: asyncio.Future[tuple[int, str]] = asyncio.get_running_loop().create_future()
    found = settings(url, data_dir, **more)
    work = asyncio.create_task(run(found, shutdown, lambda http, grpc: ports.set_result((http, grpc))))
    try:
        async with asyncio.timeout(START_SECONDS):
            await asyncio.wait((work, ports), return_when=asyncio.FIRST_COMPLETED)
        if work.done():
            work.result()
        http_port, grpc_address = ports.result()
        key = found.admin_key.get_secret_value()
        async with (
            rpc.channel(grpc_address, INSECURE, "config_api") as channel,
            httpx.AsyncClient(
                base_url=f"http://127.0.0.1:{http_port}",
                headers={"Authorization": f"Bearer {key}"},
                timeout=60,
                # This client uses no TLS. The empty context avoids loading the system's certificates, which takes
                # longer than most tests.
                verify=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),
            ) as api,
        ):
            yield Service(api, channel, http_port, grpc_address, data_dir, url)
    finally:
        shutdown.request("end of test")
        await work


@asynccontextmanager
async def writing(service: Service) -> AsyncIterator[AsyncConnection]:
    """Opens a transaction in the service's database, without the service."""
    database = Database(service.url)
    try:
        async with database.writing() as connection:
            yield connection
    finally:
        await database.close()


M = TypeVar("M", pb.PolicySnapshot, pb.RelaySnapshot)


class Watch:
    """A consumer of snapshots that checks every digest.

    It reports a revision as in force only when the test says so.
    """

    def __init__(self, call: Any, name: str, digest: bytes) -> None:
        self.call = call
        self.pages = SnapshotPages()
        self.digest = digest
        self.revision = 0
        # The parts of the last revision, and whether these are a whole snapshot.
        self.parts: list[pb.SnapshotPart] = []
        self.is_whole = False
        self._name = name

    async def __aenter__(self) -> Self:
        await self.call.write(pb.WatchRequest(digest=self.digest, consumer=self._name))
        return self

    async def __aexit__(self, *_: object) -> None:
        """Leaves the watch as a service does when it stops."""
        with contextlib.suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
            await self.call.write(pb.WatchRequest(leaving=True))
            while await self.call.read() is not grpc.aio.EOF:
                pass
        self.call.cancel()

    async def next(self) -> Self:
        """Reads the next revision."""
        self.parts, self.is_whole = [], False
        async with asyncio.timeout(START_SECONDS):
            while True:
                part = await self.call.read()
                assert part is not grpc.aio.EOF, "the watch ended before the next revision"
                self.parts.append(part)
                if part.whole:
                    self.pages, self.is_whole = SnapshotPages(), True
                for piece in part.pieces:
                    self.pages.put(piece.key, piece.content)
                if part.last:
                    break
        if self.is_whole or self.pages.parts():
            assert self.pages.digest() == part.digest
        self.digest, self.revision = part.digest, part.revision
        return self

    async def put_in_force(self) -> None:
        await self.call.write(pb.WatchRequest(revision_in_force=self.revision))

    def merged(self, message: M) -> M:
        """Returns all pieces merged into an empty snapshot."""
        for _, content in self.pages.pieces():
            message.MergeFromString(content)
        return message
