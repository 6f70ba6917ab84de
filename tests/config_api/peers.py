"""Fakes of policy and relay for config_api: they implement the contracts with the answers that a test sets."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
from posthouse.checks.v1 import checks_pb2 as checks
from posthouse.checks.v1 import checks_pb2_grpc
from posthouse.policy.v1 import policy_pb2 as policy
from posthouse.policy.v1 import policy_pb2_grpc
from posthouse.relay.v1 import relay_pb2 as relay
from posthouse.relay.v1 import relay_pb2_grpc

from libs.runtime import rpc
from tests.peers import plain_grpc

MESSAGE = relay.Message(
    queue_id="q1",
    sender=b"a@b.example",
    size=1234,
    state=relay.DELIVERY_STATE_DEFERRED,
    origin=relay.Origin(helo_name=b"\xff\x01", client_address="192.0.2.1"),
    deliveries=[
        relay.Delivery(
            id="d1",
            recipient="jürgen@c.example".encode(),
            state=relay.DELIVERY_STATE_DEFERRED,
            last_attempt=relay.Attempt(code=451, text="later"),
            history=[relay.Attempt(code=451, text="later")],
        )
    ],
    delivery_count=1,
)


class FakeChecks(checks_pb2_grpc.ChecksServicer):
    """Reports that its disk is full. `clock_ahead` is the number of seconds by which its clock is wrong."""

    def __init__(self) -> None:
        self.asked: list[checks.ListChecksRequest] = []
        self.clock_ahead = 0.0

    async def ListChecks(self, request: checks.ListChecksRequest, _: Any) -> checks.ListChecksResponse:  # noqa: N802
        self.asked.append(request)
        response = checks.ListChecksResponse()
        response.results.add(id="clock", level=checks.CHECK_LEVEL_OK, text="The clock is synchronised.")
        response.results.add(id="disk", level=checks.CHECK_LEVEL_ERROR, text="Full.", remedy="Delete something.")
        response.made_at.FromJsonString("2026-01-31T12:00:00Z")
        response.clock.FromNanoseconds(time.time_ns() + int(self.clock_ahead * 1e9))
        return response


class FakePolicy(policy_pb2_grpc.PolicyServicer):
    """A policy with one blocked client. It explains every supposed session as refused, and knows no past session."""

    def __init__(self) -> None:
        self.asked: list[Any] = []
        self.store_is_away = False
        self.checks = FakeChecks()

    async def Explain(self, request: policy.ExplainRequest, context: Any) -> policy.ExplainResponse:  # noqa: N802
        self.asked.append(request)
        if request.session_id:
            await context.abort(grpc.StatusCode.NOT_FOUND, "no such session: secret text")
        reply = policy.Reply(code=554, enhanced_code="5.7.1", text="relay denied")
        response = policy.ExplainResponse(
            rules=[
                policy.RuleReport(
                    stage=policy.STAGE_RCPT,
                    reason_id="relay_denied",
                    outcome=policy.RuleReport.OUTCOME_DECIDED,
                    reply=reply,
                )
            ],
            verdict=policy.Verdict(action=policy.ACTION_REJECT, reply=reply, reason_id="relay_denied"),
            snapshot_revision=7,
        )
        lookup = response.lookups.add(name="client_name", outcome=policy.LOOKUP_OUTCOME_NONE)
        lookup.took.FromMicroseconds(1500)
        return response

    async def ListBlockedClients(  # noqa: N802
        self, request: policy.ListBlockedClientsRequest, context: Any
    ) -> policy.ListBlockedClientsResponse:
        self.asked.append(request)
        await self._reach_store(context)
        blocked = policy.BlockedClient(client="2001:db8::/64", reason="unknown_recipients", count=9)
        return policy.ListBlockedClientsResponse(clients=[blocked], next_page_token="more")

    async def _reach_store(self, context: Any) -> None:
        """Fails as policy does when Redis does not answer."""
        if self.store_is_away:
            await context.abort(grpc.StatusCode.ABORTED, "the store of counters is away")

    async def Decide(self, request: policy.DecideRequest, context: Any) -> policy.Verdict:  # noqa: N802
        raise NotImplementedError

    async def DecideStream(self, request_iterator: Any, context: Any) -> AsyncIterator[policy.VerdictFrame]:  # noqa: N802
        raise NotImplementedError
        yield policy.VerdictFrame()

    async def UnblockClient(  # noqa: N802
        self, request: policy.UnblockClientRequest, context: Any
    ) -> policy.UnblockClientResponse:
        self.asked.append(request)
        await self._reach_store(context)
        if request.client != "2001:db8::/64":
            await context.abort(grpc.StatusCode.NOT_FOUND, "not blocked")
        return policy.UnblockClientResponse()


class FakeRelay(relay_pb2_grpc.RelayServicer):
    """A relay with one message and one destination."""

    def __init__(self) -> None:
        self.asked: list[Any] = []
        # Whether the state of its message allows actions.
        self.acts = True
        # A redirect to this recipient is refused.
        self.nobody = b"nobody@c.example"
        # While this event is cleared, a suspension waits, and so does an action on many messages after its first step.
        self.go_on = asyncio.Event()
        self.go_on.set()
        self.suspending = asyncio.Event()

    async def Submit(self, request_iterator: Any, context: Any) -> AsyncIterator[relay.SubmitAckFrame]:  # noqa: N802
        raise NotImplementedError
        yield relay.SubmitAckFrame()

    async def ListMessages(self, request: relay.ListMessagesRequest, _: Any) -> relay.ListMessagesResponse:  # noqa: N802
        self.asked.append(request)
        return relay.ListMessagesResponse(messages=[MESSAGE], next_page_token="t2")

    async def ListHistory(self, request: relay.ListHistoryRequest, _: Any) -> relay.ListHistoryResponse:  # noqa: N802
        self.asked.append(request)
        return relay.ListHistoryResponse(messages=[MESSAGE])

    async def GetStatistics(  # noqa: N802
        self, request: relay.GetStatisticsRequest, _: Any
    ) -> relay.GetStatisticsResponse:
        self.asked.append(request)
        bucket = relay.StatisticsBucket(accepted=4, delivered=3, deferred=2, bounced=1)
        bucket.starts_at.FromJsonString("2026-01-31T12:00:00Z")
        bucket.refused.add(reason_id="relay_denied", count=9)
        bucket.shadow.add(reason_id="dnsbl_listed", count=8)
        bucket.shadow.add(reason_id="access_rule", rule_id="r1", count=7)
        return relay.GetStatisticsResponse(buckets=[bucket])

    async def GetMessage(self, request: relay.GetMessageRequest, context: Any) -> relay.Message:  # noqa: N802
        self.asked.append(request)
        if request.queue_id != "q1":
            await context.abort(grpc.StatusCode.NOT_FOUND, "none")
        return MESSAGE

    async def GetMessageContent(  # noqa: N802
        self, request: relay.GetMessageContentRequest, context: Any
    ) -> AsyncIterator[relay.ContentChunk]:
        if request.queue_id != "q1":
            await context.abort(grpc.StatusCode.NOT_FOUND, "none")
        yield relay.ContentChunk(data=b"Subject: x\r\n\r\n")
        yield relay.ContentChunk(data=b"body\r\n")

    async def ActOnMessages(  # noqa: N802
        self, request: relay.ActOnMessagesRequest, context: Any
    ) -> AsyncIterator[relay.ActOnMessagesProgress]:
        self.asked.append(request)
        if request.queue_id not in ("", "q1"):
            await context.abort(grpc.StatusCode.NOT_FOUND, "none")
        if request.redirect.recipient == self.nobody:
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, "nobody has the address")
        if not self.acts:
            yield relay.ActOnMessagesProgress(matched=1, skipped=1, done=True)
            return
        old = [b"old@c.example", "jürgen@c.example".encode()] if request.HasField("redirect") else []
        yield relay.ActOnMessagesProgress(matched=2, acted=1, redirected_recipients=old[:1])
        if not request.queue_id:
            await self.go_on.wait()
        yield relay.ActOnMessagesProgress(matched=3, acted=2, skipped=1, done=True, redirected_recipients=old)

    async def ListDestinations(  # noqa: N802
        self, request: relay.ListDestinationsRequest, _: Any
    ) -> relay.ListDestinationsResponse:
        self.asked.append(request)
        return relay.ListDestinationsResponse(destinations=[relay.Destination(name="domain:c.example", queued=1)])

    async def SuspendDestination(self, request: relay.SuspendDestinationRequest, _: Any) -> relay.Destination:  # noqa: N802
        self.asked.append(request)
        self.suspending.set()
        await self.go_on.wait()
        queued = 1 if request.name == "domain:c.example" else 0
        found = relay.Destination(name=request.name, suspended=True, suspended_by=request.actor, queued=queued)
        if request.HasField("until"):
            found.suspended_until.CopyFrom(request.until)
        return found

    async def ResumeDestination(self, request: relay.ResumeDestinationRequest, context: Any) -> relay.Destination:  # noqa: N802
        self.asked.append(request)
        if request.name != "relay:smart.example:587":
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, "not suspended")
        return relay.Destination(name=request.name)

    async def ResolveRoute(self, request: relay.ResolveRouteRequest, _: Any) -> relay.ResolveRouteResponse:  # noqa: N802
        self.asked.append(request)
        return relay.ResolveRouteResponse(
            routes=[
                relay.ResolvedRoute(
                    recipient=request.recipient,
                    kind="direct",
                    hosts=[relay.RouteHost(preference=10, host="mx.c.example", port=25, addresses=["192.0.2.9"])],
                    rules=[relay.RouteRuleReport(kind="mode", won=True)],
                    lookups=[relay.RouteLookup(query="c.example MX", outcome="found")],
                )
            ]
        )

    async def ReadEvents(self, request: relay.ReadEventsRequest, _: Any) -> relay.ReadEventsResponse:  # noqa: N802
        return relay.ReadEventsResponse(next_cursor=request.cursor or "1-0-0")

    async def VerifyRecipient(  # noqa: N802
        self, request: relay.VerifyRecipientRequest, context: Any
    ) -> relay.VerifyRecipientResponse:
        raise AssertionError("config_api must not ask whether a recipient exists")

    async def TestRelayHost(  # noqa: N802
        self, request: relay.TestRelayHostRequest, context: Any
    ) -> AsyncIterator[relay.TestRelayHostStep]:
        self.asked.append(request)
        if request.rule_id == "none":
            await context.abort(grpc.StatusCode.NOT_FOUND, "none")
        yield relay.TestRelayHostStep(step="connect", ok=True)
        yield relay.TestRelayHostStep(step="auth", ok=not request.rule_id, detail="535 5.7.8", last=True)


@asynccontextmanager
async def peers() -> AsyncIterator[tuple[FakePolicy, FakeRelay, dict[str, str]]]:
    """Runs both fakes on free ports. Also yields the settings of config_api that name these ports."""
    fake_policy, fake_relay = FakePolicy(), FakeRelay()

    def register_policy(server: grpc.aio.Server) -> None:
        policy_pb2_grpc.add_PolicyServicer_to_server(fake_policy, server)
        checks_pb2_grpc.add_ChecksServicer_to_server(fake_policy.checks, server)

    policy_server = rpc.Server({}, register_policy)
    relay_server = rpc.Server({}, lambda server: relay_pb2_grpc.add_RelayServicer_to_server(fake_relay, server))
    policy_port = await plain_grpc.start(policy_server)
    relay_port = await plain_grpc.start(relay_server)
    try:
        targets = {"policy_target": f"127.0.0.1:{policy_port}", "relay_target": f"127.0.0.1:{relay_port}"}
        yield fake_policy, fake_relay, targets
    finally:
        await policy_server.stop(0)
        await relay_server.stop(0)
