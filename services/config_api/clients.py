"""Calls to policy, relay and ingress. An outage becomes a Problem, which says which service failed and why."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Generic, Literal, TypeVar

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from posthouse.checks.v1 import checks_pb2, checks_pb2_grpc
from posthouse.ingress.v1 import ingress_pb2, ingress_pb2_grpc
from posthouse.policy.v1 import policy_pb2, policy_pb2_grpc
from posthouse.relay.v1 import relay_pb2, relay_pb2_grpc

from libs.runtime import addresses
from libs.runtime.addresses import TcpAddress
from libs.runtime.checks import CheckReport, CheckResult, Level
from libs.runtime.dialing import Dialers, NoReplicaError
from libs.runtime.lifecycle import StartupError
from libs.runtime.rpc import REVISION_METADATA, VERSION_METADATA, Dialer
from libs.runtime.security import Security
from services.config_api.problems import Problem, not_found

_SECONDS = 10.0
# The time-out for the test of a relay host, the look-up of a route, and the transfer of a message, in seconds.
_LONG_SECONDS = 120.0
_HEALTH_SECONDS = 3.0
# The time-out for the checks of a service, which makes all of them at the same time, each within 20 s.
_CHECKS_SECONDS = 30.0
# The time-out for a submission. It is longer than the time-outs of policy's delays, of the content checks and of
# relay's answer.
_SUBMIT_SECONDS = 300.0
_UNAVAILABLE = grpc.StatusCode.UNAVAILABLE

S = TypeVar("S")
T = TypeVar("T")

_WHY = {
    grpc.StatusCode.UNAVAILABLE: "The service cannot be reached.",
    grpc.StatusCode.DEADLINE_EXCEEDED: "The service did not answer in time.",
    grpc.StatusCode.RESOURCE_EXHAUSTED: "The service has too many requests.",
    grpc.StatusCode.UNIMPLEMENTED: "The release of the service does not support this call.",
}


def problem_of(service: str, code: grpc.StatusCode, what: str) -> Problem:
    """Returns the problem for a failed RPC. The error text of the other service is not shown."""
    if code == grpc.StatusCode.NOT_FOUND:
        return not_found(what)
    if code == grpc.StatusCode.INVALID_ARGUMENT:
        return Problem(422, "invalid", "The request is not valid.", f"{service} does not accept these values.")
    if code == grpc.StatusCode.FAILED_PRECONDITION:
        return Problem(409, "conflict", "The object is not in a state that allows this.")
    if code == grpc.StatusCode.ABORTED:
        # Policy answers, but the store of counters that all its replicas share does not (F50).
        return Problem(
            503,
            "store-unavailable",
            f"The store of {service}'s counters does not answer.",
            "Settings can still be read and changed.",
            headers={"Retry-After": "5"},
            more={"service": service, "store": "counters"},
        )
    return Problem(
        503,
        "service-unavailable",
        f"{service} does not answer.",
        f"{_WHY.get(code, 'The call failed.')} ({code.name.lower()}) Settings can still be read and changed.",
        headers={"Retry-After": "5"},
        more={"service": service},
    )


class _Replicas(Generic[S]):
    """Calls the replicas of a service. The first replica that can be reached answers."""

    def __init__(self, service: str, dialers: Dialers, stub: Callable[[grpc.aio.Channel], S]) -> None:
        self._service = service
        self._dialers = dialers
        self._stub = stub

    async def call(self, what: str, start: Callable[[S], Awaitable[T]], *, of_one: bool = False) -> T:
        """Calls one replica. With `of_one`, only one replica has the answer, so the replicas are called in turn until
        one gives it. Raises Problem.
        """
        elsewhere = {_UNAVAILABLE} | ({grpc.StatusCode.NOT_FOUND} if of_one else set())
        code = _UNAVAILABLE
        unreached = False
        for dialer in await self._all():
            try:
                return await start(self._stub(dialer.channel()))
            except grpc.aio.AioRpcError as error:
                code = self._failed(dialer, error)
            if code not in elsewhere:
                break
            unreached = unreached or code == _UNAVAILABLE
        # If only one replica has the answer, it may be one that could not be reached.
        raise problem_of(self._service, _UNAVAILABLE if of_one and unreached and code in elsewhere else code, what)

    async def stream(self, what: str, start: Callable[[S], AsyncIterable[T]]) -> AsyncIterator[T]:
        """Yields the answers of a streaming call. Another replica is called only when a replica cannot be reached and
        no answer has arrived. Raises Problem.
        """
        code = _UNAVAILABLE
        for dialer in await self._all():
            begun = False
            try:
                async for message in start(self._stub(dialer.channel())):
                    begun = True
                    yield message
                return
            except grpc.aio.AioRpcError as error:
                code = self._failed(dialer, error)
            if begun or code != _UNAVAILABLE:
                break
        raise problem_of(self._service, code, what)

    async def _all(self) -> Sequence[Dialer]:
        try:
            return await self._dialers.all()
        except NoReplicaError:
            return ()

    def _failed(self, dialer: Dialer, error: grpc.aio.AioRpcError) -> grpc.StatusCode:
        """Returns the status code of the failure. A replica that is unreachable or too slow is not called first the
        next time.
        """
        if (code := error.code()) in (_UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED):
            self._dialers.failed(dialer)
        return code


class PolicyClient:
    """The calls of policy.v1 that the API uses. They raise Problem when they fail."""

    def __init__(self, dialers: Dialers) -> None:
        self._replicas: _Replicas[policy_pb2_grpc.PolicyAsyncStub] = _Replicas(
            "policy", dialers, policy_pb2_grpc.PolicyStub
        )

    async def explain(self, request: policy_pb2.ExplainRequest) -> policy_pb2.ExplainResponse:
        # Only the replica that decided about a past session remembers it.
        return await self._replicas.call(
            "session",
            lambda stub: stub.Explain(request, timeout=_SECONDS),
            of_one=request.HasField("session_id"),
        )

    async def blocked(self, page_size: int, page_token: str) -> policy_pb2.ListBlockedClientsResponse:
        request = policy_pb2.ListBlockedClientsRequest(page_size=page_size, page_token=page_token)
        return await self._replicas.call("page", lambda stub: stub.ListBlockedClients(request, timeout=_SECONDS))

    async def unblock(self, client: str) -> policy_pb2.BlockedClient:
        request = policy_pb2.UnblockClientRequest(client=client)
        response = await self._replicas.call(
            "blocked client", lambda stub: stub.UnblockClient(request, timeout=_SECONDS)
        )
        return response.client


class RelayClient:
    """The calls of relay.v1 that the API uses. They raise Problem when they fail."""

    def __init__(self, dialers: Dialers) -> None:
        self._replicas: _Replicas[relay_pb2_grpc.RelayAsyncStub] = _Replicas("relay", dialers, relay_pb2_grpc.RelayStub)

    async def messages(self, request: relay_pb2.ListMessagesRequest) -> relay_pb2.ListMessagesResponse:
        return await self._replicas.call("page", lambda stub: stub.ListMessages(request, timeout=_SECONDS))

    async def message(self, queue_id: str, *, include_header: bool) -> relay_pb2.Message:
        request = relay_pb2.GetMessageRequest(queue_id=queue_id, include_header=include_header)
        return await self._replicas.call("message", lambda stub: stub.GetMessage(request, timeout=_SECONDS))

    async def content(self, queue_id: str) -> AsyncIterator[bytes]:
        """Yields the content of a message in chunks."""
        request = relay_pb2.GetMessageContentRequest(queue_id=queue_id)
        async for chunk in self._replicas.stream(
            "message content", lambda stub: stub.GetMessageContent(request, timeout=_LONG_SECONDS)
        ):
            yield chunk.data

    async def events(self, request: relay_pb2.ReadEventsRequest) -> relay_pb2.ReadEventsResponse:
        """Returns events. If there are none yet, waits for at most the time in the request."""
        seconds = request.wait_ms / 1000 + _SECONDS
        return await self._replicas.call("event", lambda stub: stub.ReadEvents(request, timeout=seconds))

    def act(self, request: relay_pb2.ActOnMessagesRequest) -> AsyncIterator[relay_pb2.ActOnMessagesProgress]:
        """Acts on messages, without a time limit. Yields the progress."""
        return self._replicas.stream("message", lambda stub: stub.ActOnMessages(request))

    async def history(self, request: relay_pb2.ListHistoryRequest) -> relay_pb2.ListHistoryResponse:
        return await self._replicas.call("page", lambda stub: stub.ListHistory(request, timeout=_SECONDS))

    async def statistics(self, request: relay_pb2.GetStatisticsRequest) -> relay_pb2.GetStatisticsResponse:
        return await self._replicas.call("statistics", lambda stub: stub.GetStatistics(request, timeout=_SECONDS))

    async def destinations(self, page_size: int, page_token: str) -> relay_pb2.ListDestinationsResponse:
        request = relay_pb2.ListDestinationsRequest(page_size=page_size, page_token=page_token)
        return await self._replicas.call("page", lambda stub: stub.ListDestinations(request, timeout=_SECONDS))

    async def suspend(self, request: relay_pb2.SuspendDestinationRequest) -> relay_pb2.Destination:
        return await self._replicas.call("destination", lambda stub: stub.SuspendDestination(request, timeout=_SECONDS))

    async def resume(self, request: relay_pb2.ResumeDestinationRequest) -> relay_pb2.Destination:
        return await self._replicas.call("destination", lambda stub: stub.ResumeDestination(request, timeout=_SECONDS))

    async def resolve_route(self, sender: bytes, recipient: bytes) -> relay_pb2.ResolveRouteResponse:
        request = relay_pb2.ResolveRouteRequest(sender=sender, recipient=recipient)
        return await self._replicas.call("route", lambda stub: stub.ResolveRoute(request, timeout=_LONG_SECONDS))

    def test_relay_host(self, request: relay_pb2.TestRelayHostRequest) -> AsyncIterator[relay_pb2.TestRelayHostStep]:
        return self._replicas.stream("relay rule", lambda stub: stub.TestRelayHost(request, timeout=_LONG_SECONDS))


class IngressClient:
    """The calls of ingress.v1 that the API uses. They raise Problem when they fail."""

    def __init__(self, dialers: Dialers) -> None:
        self._dialers = dialers

    async def submit(
        self, envelope: ingress_pb2.MessageEnvelope, content: Callable[[], AsyncIterable[bytes]]
    ) -> ingress_pb2.SubmitMessageResponse:
        """Submits a message. Another replica is called only when the first one could not be reached, because otherwise
        the message may already have been accepted.
        """
        try:
            dialers: Sequence[Dialer] = await self._dialers.all()
        except NoReplicaError:
            dialers = ()
        code = _UNAVAILABLE
        for dialer in dialers:
            begun = False

            async def frames() -> AsyncIterator[ingress_pb2.SubmitMessageFrame]:
                nonlocal begun
                yield ingress_pb2.SubmitMessageFrame(envelope=envelope)
                async for piece in content():
                    begun = True
                    yield ingress_pb2.SubmitMessageFrame(content=piece)
                yield ingress_pb2.SubmitMessageFrame(content=b"", last=True)

            stub: ingress_pb2_grpc.IngressAsyncStub = ingress_pb2_grpc.IngressStub(dialer.channel())
            try:
                return await stub.SubmitMessage(frames(), timeout=_SUBMIT_SECONDS)
            except grpc.aio.AioRpcError as error:
                code = error.code()
                if code in (_UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED):
                    self._dialers.failed(dialer)
            if begun or code != _UNAVAILABLE:
                break
        raise problem_of("ingress", code, "session")


@dataclass(frozen=True, slots=True)
class Neighbour:
    """The present state of a replica of a service. `version` is its release, or None when it did not report its
    release. `revision` is the revision in force at the replica, or None when there is none or it was not reported.
    """

    service: Literal["config_api", "policy", "relay", "ingress"]
    address: str
    transport: Literal["unix_socket", "mutual_tls", "plain_tcp"]
    state: Literal["ready", "not_ready", "unreachable"]
    version: str | None
    revision: int | None


@dataclass(frozen=True, slots=True)
class ShownCertificate:
    """A certificate that mail clients see. `ends_at` is in seconds since 1970."""

    file: str
    names: tuple[str, ...]
    ends_at: float


@dataclass(frozen=True, slots=True)
class ReplicaChecks:
    """The checks of one replica. `report` is None when it did not answer. `clock_ahead` is the number of seconds by
    which its clock is ahead of this machine's.
    """

    service: Literal["policy", "relay", "ingress"]
    address: str
    report: CheckReport | None
    clock_ahead: float = 0.0
    certificates: tuple[ShownCertificate, ...] = ()


def _of_machine(listen: str) -> str:
    """Returns the address at which this replica listens. The name of the machine replaces a wildcard address."""
    address = addresses.parse(listen)
    if isinstance(address, TcpAddress) and address.host in ("0.0.0.0", "::"):
        address = TcpAddress(socket.gethostname(), address.port)
    return str(address)


class Neighbours:
    """Describes this replica of config_api, and asks all replicas of the other services for their state."""

    def __init__(self, listen: str, security: Security, dialers: Mapping[str, Dialers]) -> None:
        self._listen = listen
        self._security = security
        self._dialers = dialers
        # This address identifies the replica for other replicas and for operators. A wildcard address would be the same
        # for each replica.
        self.own_address = _of_machine(listen)
        self._version = version("posthouse")

    def own(self, revision: int) -> Neighbour:
        """Returns the state of this replica. `revision` is the newest revision that it has."""
        transport = self._security.transport(self._listen)
        return Neighbour("config_api", self.own_address, transport, "ready", self._version, revision)

    async def look(self) -> list[Neighbour]:
        """Returns the state of all replicas of the other services. They are asked at the same time."""
        asked = [self._ask(name, dialer) for name, each in self._dialers.items() for dialer in await _replicas(each)]
        return await asyncio.gather(*asked)

    async def checks(self, hostname: str, *, again: bool) -> list[ReplicaChecks]:
        """Returns the checks of every replica of the other services. With `again` the replicas make the checks now."""
        request = checks_pb2.ListChecksRequest(run=again, hostname=hostname)
        asked = [
            self._checks(name, dialer, request)
            for name, each in self._dialers.items()
            for dialer in await _replicas(each)
        ]
        return await asyncio.gather(*asked)

    async def certificates(self) -> dict[ShownCertificate, list[str]]:
        """Returns the certificates that mail clients see, with the replicas that use each one. Replicas that do not
        answer soon are left out.
        """
        request = checks_pb2.ListChecksRequest(certificates_only=True)
        dialers = self._dialers.get("ingress")
        replicas = await _replicas(dialers) if dialers is not None else ()
        shown: dict[ShownCertificate, list[str]] = {}
        for each in await asyncio.gather(
            *(self._checks("ingress", dialer, request, _HEALTH_SECONDS) for dialer in replicas)
        ):
            for certificate in each.certificates:
                shown.setdefault(certificate, []).append(each.address)
        return shown

    async def _checks(
        self, service: str, dialer: Dialer, request: checks_pb2.ListChecksRequest, seconds: float = _CHECKS_SECONDS
    ) -> ReplicaChecks:
        asked_at = time.time()
        try:
            stub: checks_pb2_grpc.ChecksAsyncStub = checks_pb2_grpc.ChecksStub(dialer.channel())
            response = await stub.ListChecks(request, timeout=seconds)
        except (grpc.aio.AioRpcError, StartupError):
            return ReplicaChecks(service, dialer.target, None)  # type: ignore[arg-type]
        answered_at = time.time()
        clock = response.clock.ToNanoseconds() / 1e9
        # The replica read its clock at some time between the request and the answer.
        ahead = min(clock - asked_at, 0.0) + max(clock - answered_at, 0.0)
        results = tuple(_check_result(result) for result in response.results)
        report = CheckReport(results, response.made_at.ToNanoseconds() / 1e9)
        certificates = tuple(
            ShownCertificate(certificate.file, tuple(certificate.names), certificate.ends_at.ToSeconds())
            for certificate in response.certificates
        )
        return ReplicaChecks(service, dialer.target, report, ahead, certificates)  # type: ignore[arg-type]

    async def _ask(self, service: str, dialer: Dialer) -> Neighbour:
        release: str | None = None
        revision: int | None = None
        state = "unreachable"
        try:
            call = health_pb2_grpc.HealthStub(dialer.channel()).Check(
                health_pb2.HealthCheckRequest(), timeout=_HEALTH_SECONDS
            )
            answer = await call
            state = "ready" if answer.status == health_pb2.HealthCheckResponse.SERVING else "not_ready"
            metadata = dict(await call.trailing_metadata())
            release = metadata.get(VERSION_METADATA)
            revision_text = metadata.get(REVISION_METADATA, "")
            revision = int(revision_text) if revision_text.isdecimal() else None
        except (grpc.aio.AioRpcError, StartupError):
            pass
        transport = self._security.transport(dialer.target)
        return Neighbour(service, dialer.target, transport, state, release, revision)  # type: ignore[arg-type]


def _check_result(message: checks_pb2.CheckResult) -> CheckResult:
    """Converts the result of a check. A level that this release does not know counts as an error, because it may be
    severe.
    """
    try:
        level = Level(message.level)
    except ValueError:
        level = Level.ERROR
    return CheckResult(message.id, level, message.text, message.remedy)


async def _replicas(dialers: Dialers) -> Sequence[Dialer]:
    try:
        return sorted(await dialers.all(), key=lambda dialer: dialer.target)
    except NoReplicaError:
        return ()
