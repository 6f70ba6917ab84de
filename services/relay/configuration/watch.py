"""Watches config_api for new configurations of relay."""

from __future__ import annotations

from typing import TypeAlias

import grpc
from posthouse.config.v1 import config_pb2, config_pb2_grpc

from libs.runtime.configuration_watch import ConfigurationWatch, SnapshotSource
from libs.runtime.dialing import Dialers
from libs.runtime.sealed_file import SealedFile
from services.relay.configuration.model import Configuration
from services.relay.configuration.snapshot import RelaySnapshotReader
from services.relay.metrics import SNAPSHOT

Watch: TypeAlias = ConfigurationWatch[Configuration]
_Call: TypeAlias = grpc.aio.StreamStreamCall[config_pb2.WatchRequest, config_pb2.SnapshotPart]


def configuration_watch(dialers: Dialers, file: SealedFile, name: str, wait_seconds: float) -> Watch:
    """Makes the watch of the replica `name`, which stores the last good configuration in `file`.

    At the start the watch waits `wait_seconds` for config_api before it puts the stored configuration in force.
    """
    source = SnapshotSource("relay", _open, config_pb2.WatchRequest, config_pb2.SnapshotPart, RelaySnapshotReader)
    return ConfigurationWatch(source, dialers, file, SNAPSHOT, name, wait_seconds)


def _open(channel: grpc.aio.Channel) -> _Call:
    return config_pb2_grpc.ConfigurationStub(channel).WatchRelay()
