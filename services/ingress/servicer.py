"""The gRPC service of ingress besides health: it checks the machine that ingress runs on."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import grpc
from posthouse.checks.v1 import checks_pb2, checks_pb2_grpc

from libs.runtime.certificates import CertificateFacts
from libs.runtime.checks import Checks, checks_servicer

SERVICE = checks_pb2.DESCRIPTOR.services_by_name["Checks"].full_name
# Which services may call each method.
CALLERS = {"ListChecks": {"config_api"}}


def register(
    server: grpc.aio.Server,
    checks: Checks,
    on_hostname: Callable[[str], None],
    certificates: Callable[[], Sequence[CertificateFacts]],
) -> None:
    """Adds the service. `on_hostname` gets the gateway's name from each call, since ingress holds no configuration.

    `certificates`: those that clients see.
    """
    checks_pb2_grpc.add_ChecksServicer_to_server(checks_servicer(checks, checks_pb2, on_hostname, certificates), server)
