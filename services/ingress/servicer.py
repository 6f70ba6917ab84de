"""What ingress serves over gRPC besides health: the checks of its machine."""

from __future__ import annotations

from collections.abc import Callable

import grpc
from posthouse.checks.v1 import checks_pb2, checks_pb2_grpc

from libs.runtime.checks import Checks, checks_servicer

SERVICE = checks_pb2.DESCRIPTOR.services_by_name["Checks"].full_name
# Which services may call each method.
CALLERS = {"ListChecks": {"config_api"}}


def register(server: grpc.aio.Server, checks: Checks, on_hostname: Callable[[str], None]) -> None:
    """`on_hostname` is told the gateway's name in the settings, which ingress does not hold."""
    checks_pb2_grpc.add_ChecksServicer_to_server(checks_servicer(checks, checks_pb2, on_hostname), server)
