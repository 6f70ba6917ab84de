"""Converts the test of a relay host to a request of relay.v1, and its steps to models of the API."""

from __future__ import annotations

from typing import Any

from posthouse.relay.v1 import relay_pb2 as pb

from services.config_api.operations.relay_hosts.schemas import ConfiguredRelayHost, RelayHostToTest
from services.config_api.operations.wire import or_none


def request(given: RelayHostToTest) -> pb.TestRelayHostRequest:
    if isinstance(given, ConfiguredRelayHost):
        return pb.TestRelayHostRequest(rule_id=given.rule_id)
    host = given.relay_host
    tried = pb.RelayHostToTest(
        host=host.host,
        port=host.port,
        always_tls=host.always_tls,
        implicit_tls=host.implicit_tls,
        verify_certificate=host.verify_certificate,
    )
    if host.auth is not None:
        tried.auth_username = host.auth.username
        tried.auth_password = host.auth.password.get_secret_value() if host.auth.password is not None else ""
        tried.auth_allow_without_tls = host.auth.allow_without_tls
    return pb.TestRelayHostRequest(relay_host=tried)


def step(found: pb.TestRelayHostStep) -> dict[str, Any]:
    return {"step": found.step, "ok": found.ok, "detail": or_none(found.detail), "took_us": found.took_us}
