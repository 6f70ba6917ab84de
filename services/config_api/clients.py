"""Calls to policy and relay; their outages are problems that say which and why."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable
from typing import TypeVar

import grpc
from posthouse.policy.v1 import policy_pb2, policy_pb2_grpc
from posthouse.relay.v1 import relay_pb2, relay_pb2_grpc

from libs.runtime import rpc
from services.config_api.problems import Problem, not_found

_SECONDS = 10.0
# A relay host is tried with patience; a queue action on many messages reports as it goes.
_LONG_SECONDS = 120.0

T = TypeVar("T")

_WHY = {
    grpc.StatusCode.UNAVAILABLE: "It can't be reached.",
    grpc.StatusCode.DEADLINE_EXCEEDED: "It did not answer in time.",
    grpc.StatusCode.RESOURCE_EXHAUSTED: "It has too much to do.",
    grpc.StatusCode.UNIMPLEMENTED: "It is of a release that can't do this.",
}


def trouble(service: str, error: grpc.aio.AioRpcError, what: str) -> Problem:
    """The problem that an RPC's failure is. The peer's own text is not repeated."""
    code = error.code()
    if code == grpc.StatusCode.NOT_FOUND:
        return not_found(what)
    if code == grpc.StatusCode.INVALID_ARGUMENT:
        return Problem(422, "invalid", "The request is not valid.", f"{service} does not take these values.")
    if code == grpc.StatusCode.FAILED_PRECONDITION:
        return Problem(409, "conflict", "It is not in a state that allows this.")
    return Problem(
        503,
        "service-unavailable",
        f"{service} does not answer.",
        f"{_WHY.get(code, 'The call failed.')} ({rpc.caught(error)}) Settings can still be read and changed.",
        headers={"Retry-After": "5"},
        more={"service": service},
    )


class PolicyClient:
    """policy.v1 as the API uses it."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._stub = policy_pb2_grpc.PolicyStub(channel)

    async def explain(self, request: policy_pb2.ExplainRequest) -> policy_pb2.ExplainResponse:
        return await _call("policy", "session", lambda: self._stub.Explain(request, timeout=_SECONDS))

    async def blocked(self, page_size: int, page_token: str) -> policy_pb2.ListBlockedClientsResponse:
        request = policy_pb2.ListBlockedClientsRequest(page_size=page_size, page_token=page_token)
        return await _call("policy", "page", lambda: self._stub.ListBlockedClients(request, timeout=_SECONDS))

    async def unblock(self, client: str) -> policy_pb2.BlockedClient:
        request = policy_pb2.UnblockClientRequest(client=client)
        answer = await _call("policy", "blocked client", lambda: self._stub.UnblockClient(request, timeout=_SECONDS))
        return answer.client


class RelayClient:
    """relay.v1 as the API uses it."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._stub = relay_pb2_grpc.RelayStub(channel)

    async def messages(self, request: relay_pb2.ListMessagesRequest) -> relay_pb2.ListMessagesResponse:
        return await _call("relay", "page", lambda: self._stub.ListMessages(request, timeout=_SECONDS))

    async def message(self, queue_id: str, *, include_header: bool) -> relay_pb2.Message:
        request = relay_pb2.GetMessageRequest(queue_id=queue_id, include_header=include_header)
        return await _call("relay", "message", lambda: self._stub.GetMessage(request, timeout=_SECONDS))

    async def content(self, queue_id: str) -> AsyncIterator[bytes]:
        """The content's chunks."""
        request = relay_pb2.GetMessageContentRequest(queue_id=queue_id)
        async for chunk in _stream(
            "relay", "message content", self._stub.GetMessageContent(request, timeout=_LONG_SECONDS)
        ):
            yield chunk.data

    async def act(self, request: relay_pb2.ActOnMessagesRequest) -> AsyncIterator[relay_pb2.ActOnMessagesProgress]:
        async for progress in _stream("relay", "message", self._stub.ActOnMessages(request)):
            yield progress

    async def history(self, request: relay_pb2.ListHistoryRequest) -> relay_pb2.ListHistoryResponse:
        return await _call("relay", "page", lambda: self._stub.ListHistory(request, timeout=_SECONDS))

    async def destinations(self, page_size: int, page_token: str) -> relay_pb2.ListDestinationsResponse:
        request = relay_pb2.ListDestinationsRequest(page_size=page_size, page_token=page_token)
        return await _call("relay", "page", lambda: self._stub.ListDestinations(request, timeout=_SECONDS))

    async def suspend(self, request: relay_pb2.SuspendDestinationRequest) -> relay_pb2.Destination:
        return await _call("relay", "destination", lambda: self._stub.SuspendDestination(request, timeout=_SECONDS))

    async def resume(self, request: relay_pb2.ResumeDestinationRequest) -> relay_pb2.Destination:
        return await _call("relay", "destination", lambda: self._stub.ResumeDestination(request, timeout=_SECONDS))

    async def resolve_route(self, sender: bytes, recipient: bytes) -> relay_pb2.ResolveRouteResponse:
        request = relay_pb2.ResolveRouteRequest(sender=sender, recipient=recipient)
        return await _call("relay", "route", lambda: self._stub.ResolveRoute(request, timeout=_LONG_SECONDS))

    async def test_relay_host(
        self, request: relay_pb2.TestRelayHostRequest
    ) -> AsyncIterator[relay_pb2.TestRelayHostStep]:
        async for step in _stream("relay", "relay rule", self._stub.TestRelayHost(request, timeout=_LONG_SECONDS)):
            yield step


async def _call(service: str, what: str, start: Callable[[], Awaitable[T]]) -> T:
    try:
        return await start()
    except grpc.aio.AioRpcError as error:
        raise trouble(service, error, what) from None


async def _stream(service: str, what: str, call: AsyncIterable[T]) -> AsyncIterator[T]:
    try:
        async for message in call:
            yield message
    except grpc.aio.AioRpcError as error:
        raise trouble(service, error, what) from None
