"""Relay watches config_api: it puts changes in force, and refuses a configuration that contradicts itself."""

from __future__ import annotations

import asyncio
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from posthouse.config.v1 import config_pb2 as pb

from libs.runtime.configuration_watch import PieceChange
from libs.runtime.dialing import Dialers
from libs.runtime.sealed_file import SealedFile
from services.relay.configuration.model import Configuration
from services.relay.configuration.snapshot import RelaySnapshotReader, configuration
from services.relay.configuration.watch import configuration_watch
from tests.fakes.config_api import ConfigApi
from tests.peers import plain_grpc


def delivery(mode: pb.Delivery.Mode.ValueType) -> bytes:
    return pb.RelaySnapshot(profile=pb.Profile(hostname="gw.test"), delivery=pb.Delivery(mode=mode)).SerializeToString()


def alias(address: str, target: str = "t@far.test") -> bytes:
    return pb.RelaySnapshot(aliases=[pb.Alias(id=address, address=address, targets=[target])]).SerializeToString()


async def test_a_bad_configuration_is_refused_and_the_old_one_stays(tmp_path: Path) -> None:
    config_api = ConfigApi()
    await config_api.start()
    configurations: asyncio.Queue[Configuration] = asyncio.Queue()
    direct = delivery(pb.Delivery.MODE_DIRECT)
    config_api.send(5, {"settings/delivery": direct, "aliases/a": alias("a@local.test")}, whole=True)
    # Revision 6 contradicts itself: it delivers by relay host, and no relay host is configured.
    config_api.send(6, {"settings/delivery": delivery(pb.Delivery.MODE_RELAY_HOST), "aliases/b": alias("b@local.test")})
    config_api.send(7, {"settings/delivery": direct})
    async with Dialers("config_api", (f"127.0.0.1:{config_api.port}",), plain_grpc.INSECURE) as dialers:
        watch = configuration_watch(dialers, SealedFile(tmp_path / "snapshot"), "relay", 0)
        watch.on_change.append(configurations.put_nowait)
        task = asyncio.create_task(watch.run())
        async with asyncio.timeout(60):
            first, second = await configurations.get(), await configurations.get()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    await config_api.stop()
    assert first.revision == 5
    assert set(first.aliases) == {b"a@local.test"}
    assert second.revision == 7
    assert set(second.aliases) == {b"a@local.test", b"b@local.test"}


def account(*addresses: str) -> bytes:
    return pb.RelaySnapshot(account_addresses=addresses).SerializeToString()


PIECES = {
    "accounts/1": ["", "A@local.test", "a2@local.test"],
    "accounts/2": ["", "b@local.test"],
    "aliases/1": ["", "Info@local.test", "all@local.test"],
    "settings/delivery": ["direct"],
}
CHANGES = st.lists(st.sampled_from([(key, value) for key, values in PIECES.items() for value in values]), max_size=6)


def content(key: str, value: str) -> bytes:
    if not value:
        return b""
    if value == "direct":
        return delivery(pb.Delivery.MODE_DIRECT)
    return account(value, "shared-" + value) if key.startswith("accounts/") else alias(value)


@settings(max_examples=200, deadline=None)
@given(st.lists(CHANGES, max_size=8))
def test_changes_give_the_same_result_as_the_whole_snapshot(revisions: list[list[tuple[str, str]]]) -> None:
    reader = RelaySnapshotReader()
    present: dict[str, bytes] = {}
    for revision, steps in enumerate(revisions, start=1):
        wanted = {key: content(key, value) for key, value in steps}
        changes = [
            PieceChange(key, present.get(key, b""), after)
            for key, after in wanted.items()
            if present.get(key, b"") != after
        ]
        made = reader.read(changes, revision)
        present.update(wanted)
        message = pb.RelaySnapshot.FromString(b"".join(present[key] for key in sorted(present)))
        message.revision = revision
        assert made == configuration(message)
