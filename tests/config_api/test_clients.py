"""Calls to several replicas skip a replica that does not answer, and find the only replica that knows a session."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from functools import partial
from typing import Any

import grpc
import pytest
from posthouse.policy.v1 import policy_pb2, policy_pb2_grpc

from libs.runtime import endpoints, rpc
from libs.runtime.dialing import Dialers
from services.config_api.clients import Neighbours, PolicyClient
from services.config_api.problems import Problem
from tests.config_api.peers import FakePolicy
from tests.peers import plain_grpc
from tests.peers.ports import free_address, free_port


class Remembering(FakePolicy):
    """A policy that remembers one past session."""

    async def Explain(self, request: policy_pb2.ExplainRequest, context: Any) -> policy_pb2.ExplainResponse:  # noqa: N802
        if request.session_id != "known":
            await context.abort(grpc.StatusCode.NOT_FOUND, "not kept")
        return policy_pb2.ExplainResponse(snapshot_revision=3)


@pytest.fixture
async def replicas() -> AsyncIterator[tuple[str, str, str]]:
    """The addresses of three replicas: one does not run, one knows no session, and one remembers a session."""
    away = f"127.0.0.1:{free_port()}"
    found = [away]
    async with AsyncExitStack() as stack:
        for fake in (FakePolicy(), Remembering()):
            server = rpc.Server({}, partial(policy_pb2_grpc.add_PolicyServicer_to_server, fake))
            found.append(f"127.0.0.1:{await plain_grpc.start(server)}")
            stack.push_async_callback(server.stop, 0)
        yield found[0], found[1], found[2]


async def explain(session_id: str, *targets: str) -> int:
    """Returns the revision of the explanation, or the status of the problem."""
    async with Dialers("policy", targets, plain_grpc.INSECURE) as dialers:
        try:
            answer = await PolicyClient(dialers).explain(policy_pb2.ExplainRequest(session_id=session_id))
        except Problem as problem:
            return problem.status
        return int(answer.snapshot_revision)


async def test_a_past_session_is_found_at_the_replica_that_remembers_it(replicas: tuple[str, str, str]) -> None:
    away, forgetful, remembering = replicas
    assert await explain("known", away, forgetful, remembering) == 3
    assert await explain("known", remembering, forgetful) == 3
    assert await explain("unknown", forgetful, remembering) == 404


async def test_a_session_is_not_reported_as_unknown_while_a_replica_is_unreachable(
    replicas: tuple[str, str, str],
) -> None:
    away, forgetful, _ = replicas
    assert await explain("known", away, forgetful) == 503
    assert await explain("known", forgetful, away) == 503


async def test_a_name_with_several_addresses_counts_as_several_replicas(monkeypatch: pytest.MonkeyPatch) -> None:
    hosts = [free_address() for _ in range(3)]
    port = free_port(*hosts)

    async def addresses(_: str) -> list[str]:
        return hosts

    monkeypatch.setattr(endpoints, "addresses", addresses)
    server = rpc.Server({}, partial(policy_pb2_grpc.add_PolicyServicer_to_server, Remembering()))
    await plain_grpc.start(server, port, hosts[1])
    assert await explain("known", f"policy:{port}") == 3
    await server.stop(0)
    assert await explain("known", f"policy:{port}") == 503


async def test_a_name_without_an_address_is_reported_as_an_outage_of_its_service(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def addresses(_: str) -> list[str]:
        raise OSError("no such name")

    monkeypatch.setattr(endpoints, "addresses", addresses)
    assert await explain("known", "policy:1") == 503


@pytest.mark.parametrize("host", ["0.0.0.0", "[::]"])
async def test_a_replica_on_every_address_of_its_machine_is_shown_by_the_name_of_the_machine(host: str) -> None:
    neighbours = Neighbours(f"{host}:50053", plain_grpc.INSECURE, {})
    assert neighbours.own(3).address == f"{socket.gethostname()}:50053"
    assert Neighbours("10.1.2.3:50053", plain_grpc.INSECURE, {}).own(3).address == "10.1.2.3:50053"
