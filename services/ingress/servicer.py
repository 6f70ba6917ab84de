"""The gRPC service of ingress besides health and submission: it checks the machine on which ingress runs."""

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
    """Adds the service. `on_hostname` gets the gateway's name from each call, because ingress has no configuration.
    `certificates` are those that clients see.
    """
    checks_pb2_grpc.add_ChecksServicer_to_server(checks_servicer(checks, checks_pb2, on_hostname, certificates), server)
