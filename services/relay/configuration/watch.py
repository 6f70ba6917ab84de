"""Relay's watch on config_api."""

from __future__ import annotations

from typing import TypeAlias

import grpc
from posthouse.config.v1 import config_pb2, config_pb2_grpc

from libs.runtime.configuration_watch import ConfigurationWatch, SnapshotSource
from libs.runtime.dialing import Dialers
from libs.runtime.sealed_file import SealedFile
from services.relay.configuration.model import Configuration
from services.relay.configuration.snapshot import configuration
from services.relay.metrics import SNAPSHOT

Watch: TypeAlias = ConfigurationWatch[config_pb2.RelaySnapshotPart, Configuration]
_Call: TypeAlias = grpc.aio.UnaryStreamCall[config_pb2.WatchRequest, config_pb2.RelaySnapshotPart]


def configuration_watch(dialers: Dialers, file: SealedFile) -> Watch:
    """The watch of this process, which keeps the last good configuration in `file`."""
    source = SnapshotSource("relay", config_pb2.RelaySnapshotPart, _open, configuration)
    return ConfigurationWatch(source, dialers, file, SNAPSHOT)


def _open(channel: grpc.aio.Channel, digest: bytes, consumer: str) -> _Call:
    request = config_pb2.WatchRequest(digest=digest, consumer=consumer)
    return config_pb2_grpc.ConfigurationStub(channel).WatchRelay(request)
