"""Several replicas of policy and relay share the work. It moves when a replica stops or dies, and comes back later."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from posthouse.policy.v1 import policy_pb2 as pb
from posthouse.policy.v1 import policy_pb2_grpc
from posthouse.relay.v1 import relay_pb2, relay_pb2_grpc

from libs.runtime import endpoints, rpc
from libs.smtp.reply import Reply
from services.ingress.clients import policy as policy_client
from services.ingress.clients import policy_replica, stream
from services.ingress.clients.policy_replica import PendingDecision, PolicyReplica
from services.ingress.clients.relay import RelayClient
from services.ingress.metrics import Metrics
from services.ingress.submission import Refusal
from tests.fakes.policy import FakePolicy, reject
from tests.fakes.relay import FakeRelay
from tests.ingress.client import Client
from tests.ingress.conftest import Ingress, Start
from tests.peers import plain_grpc
from tests.peers.ports import free_port


class Policy(FakePolicy):
    """A fake policy that is served like a real one and reports its health."""

    def __init__(self, *, serving: bool = True) -> None:
        super().__init__()
        self.port = free_port()
        self._serving = serving

    async def start(self, port: int = 0) -> None:
        self._rpc = rpc.Server({}, lambda server: policy_pb2_grpc.add_PolicyServicer_to_server(self, server))
        await plain_grpc.start(self._rpc, port or self.port)
        await self._rpc.serving(self._serving)

    async def stop(self, grace: float = 0) -> None:
        await self._rpc.stop(grace)

    async def say(self, *, serving: bool) -> None:
        await self._rpc.serving(serving)


class Relay(FakeRelay):
    """A fake relay that is served like a real one."""

    def __init__(self) -> None:
        super().__init__()
        self.port = free_port()

    async def start(self, port: int = 0) -> None:
        self._rpc = rpc.Server({}, lambda server: relay_pb2_grpc.add_RelayServicer_to_server(self, server))
        await plain_grpc.start(self._rpc, port or self.port)
        await self._rpc.serving(True)

    async def stop(self, grace: float = 0) -> None:
        await self._rpc.stop(grace)


@pytest.fixture
async def policies() -> AsyncIterator[tuple[Policy, Policy]]:
    pair = Policy(), Policy()  # type: ignore[abstract]
    for each in pair:
        await each.start()
    yield pair
    for each in pair:
        each.answering.set()
        await each.stop()


@pytest.fixture
async def relays() -> AsyncIterator[tuple[Relay, Relay]]:
    pair = Relay(), Relay()  # type: ignore[abstract]
    for each in pair:
        await each.start()
    yield pair
    for each in pair:
        each.acknowledging.set()
        await each.stop()


def targets(pair: tuple[Any, Any]) -> str:
    return ",".join(f"127.0.0.1:{each.port}" for each in pair)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 - there is no event
            await asyncio.sleep(0.005)


def replicas_in_use(client: Any) -> int:
    """Returns the number of replicas that get work."""
    return len(client._usable)


@pytest.fixture
async def two_policies(start: Start, policies: tuple[Policy, Policy]) -> Ingress:
    ingress = await start(policy_target=targets(policies))
    await until(lambda: replicas_in_use(ingress.worker.policy) == 2)
    return ingress


@pytest.fixture
async def two_relays(start: Start, relays: tuple[Relay, Relay]) -> Ingress:
    ingress = await start(relay_target=targets(relays))
    await until(lambda: replicas_in_use(ingress.worker.relay) == 2)
    return ingress


def replica_of(ingress: Ingress, address: str) -> int:
    """Returns the port of the replica that is asked about a client."""
    asked = ingress.worker.policy._replica_of(address)
    return int(asked.target.rpartition(":")[2])


def clients_of(ingress: Ingress, policy: Policy, number: int) -> list[str]:
    """Returns `number` loopback addresses. Ingress asks this replica about clients from these addresses."""
    addresses = (f"127.0.{net}.{host}" for net in range(1, 50) for host in range(1, 250))
    return list(
        itertools.islice((address for address in addresses if replica_of(ingress, address) == policy.port), number)
    )


async def test_each_client_has_one_replica_and_clients_are_distributed(
    two_policies: Ingress, policies: tuple[Policy, Policy]
) -> None:
    addresses = [address for policy in policies for address in clients_of(two_policies, policy, 2)]
    for _ in range(2):
        for address in addresses:
            client = await two_policies.client(source=address)
            assert (await client.send_mail()).code == 250
            await client.command("QUIT")
    for policy, own in zip(policies, (addresses[:2], addresses[2:]), strict=True):
        assert {request.session.client_address for request in policy.requests} == set(own)
        opened = [request.session.id for request in policy.asked(pb.STAGE_CONNECT)]
        await policy.until(lambda policy=policy, opened=opened: policy.closed == opened)  # type: ignore[misc]


def test_when_a_replica_stops_only_its_clients_move() -> None:
    replicas = [PolicyReplica(f"10.0.0.{number}:7001", Asker()) for number in range(4)]
    addresses = [f"192.0.{net}.{host}" for net in range(8) for host in range(250)]
    of_all = policy_client._chooser(replicas)
    shares = Counter(of_all(address).target for address in addresses)
    assert all(400 < share < 600 for share in shares.values())
    of_three = policy_client._chooser(replicas[:3])
    moved = [address for address in addresses if of_three(address) is not of_all(address)]
    assert all(of_all(address) is replicas[3] for address in moved)


async def hold_at(policies: tuple[Policy, Policy], client: Client, command: str) -> tuple[Policy, Policy, Any]:
    """Sends a command for which ingress asks a replica that does not answer.

    Returns the replica that was asked, the other replica, and the task that waits for the reply.
    """
    for policy in policies:
        policy.answering.clear()
    before = [len(policy.requests) for policy in policies]
    reply = asyncio.create_task(client.command(command))
    await until(lambda: [len(policy.requests) for policy in policies] != before)
    asked = int(len(policies[1].requests) != before[1])
    policies[1 - asked].answering.set()
    return policies[asked], policies[1 - asked], reply


@pytest.mark.parametrize("command", ["RCPT TO:<b@example.com>", "MAIL FROM:<a@example.org>"])
async def test_unanswered_requests_of_a_dead_replica_are_sent_to_another_and_not_counted_again(
    two_policies: Ingress, policies: tuple[Policy, Policy], command: str
) -> None:
    for policy in policies:
        policy.profile.ask_stages.append(pb.STAGE_MAIL)
    client = await two_policies.client()
    if command.startswith("RCPT"):
        assert (await client.command("MAIL FROM:<a@example.org>")).code == 250
    dead, other, reply = await hold_at(policies, client, command)
    session_id = dead.requests[-1].session.id
    await dead.stop()
    assert (await reply).code == 250
    again = other.requests[-1]
    assert again.asked_before
    assert (again.session, again.transaction) == (dead.requests[-1].session, dead.requests[-1].transaction)
    # The dead replica may not have stored its last frames, so ingress sends all open sessions to the other one.
    await other.until(lambda: other.open_sessions[-1] == {session_id})
    await client.command("QUIT")
    await other.until(lambda: session_id in other.closed)
    dead.answering.set()
    await dead.start()
    await until(lambda: replicas_in_use(two_policies.worker.policy) == 2)


async def test_a_connection_at_a_dead_replica_is_decided_by_another(
    two_policies: Ingress, policies: tuple[Policy, Policy]
) -> None:
    for policy in policies:
        policy.answering.clear()
    client = await two_policies.connect()
    await until(lambda: any(policy.requests for policy in policies))
    dead, other = policies if policies[0].requests else policies[::-1]
    other.answering.set()
    await dead.stop()
    assert (await client.reply()).code == 220
    assert other.requests[0].asked_before
    client.close()
    await other.until(lambda: other.requests[0].session.id in other.closed)
    await dead.start()


async def test_a_request_that_crashes_replicas_is_not_repeated_without_end(
    two_policies: Ingress, policies: tuple[Policy, Policy]
) -> None:
    def deadly(_: pb.DecideRequest) -> pb.Verdict:
        raise RuntimeError("a fault of policy")

    for policy in policies:
        policy.on(pb.STAGE_RCPT, deadly)
    client = await two_policies.client()
    assert (await client.command("MAIL FROM:<a@example.org>")).code == 250
    reply = await client.command("RCPT TO:<b@example.com>")
    assert (reply.code, reply.enhanced) == (451, "4.3.0")
    asked = sum(len(policy.asked(pb.STAGE_RCPT)) for policy in policies)
    assert asked <= policy_client._MOST_LOSSES


async def test_a_stopping_replica_answers_its_requests_and_gets_no_new_ones(
    two_policies: Ingress, policies: tuple[Policy, Policy]
) -> None:
    client = await two_policies.client()
    assert (await client.command("MAIL FROM:<a@example.org>")).code == 250
    leaving, other, reply = await hold_at(policies, client, "RCPT TO:<b@example.com>")
    bystanders = clients_of(two_policies, leaving, 1)
    asked = len(leaving.requests)
    stopping = asyncio.create_task(leaving.stop(grace=30))
    await until(lambda: replicas_in_use(two_policies.worker.policy) == 1)
    bystander = await two_policies.client(source=next(iter(bystanders)))
    assert (await bystander.send_mail()).code == 250
    leaving.answering.set()
    assert (await reply).code == 250
    # The replica has answered all its requests, so the stream and the server end long before the 30 seconds are over.
    await stopping
    assert len(leaving.requests) == asked
    assert not any(request.asked_before for request in other.requests)
    assert (await client.command("RCPT TO:<c@example.com>")).code == 250
    await leaving.start()


async def test_a_replica_that_is_back_gets_the_open_sessions_and_its_clients(
    two_policies: Ingress, policies: tuple[Policy, Policy]
) -> None:
    first, second = policies
    own, others = clients_of(two_policies, first, 1)[0], clients_of(two_policies, second, 1)[0]
    await first.stop()
    await until(lambda: replicas_in_use(two_policies.worker.policy) == 1)
    clients = [await two_policies.client(source=address) for address in (own, others)]
    opened = {request.session.id for request in second.asked(pb.STAGE_CONNECT)}
    first.requests.clear()
    await first.start()
    await first.until(lambda: first.open_sessions[-1] == opened)
    await until(lambda: replicas_in_use(two_policies.worker.policy) == 2)
    for client in clients:
        assert (await client.send_mail()).code == 250
        await client.command("QUIT")
    assert {request.session.client_address for request in first.requests} == {own}
    await first.until(lambda: len(first.closed) == 1)
    await second.until(lambda: len(second.closed) == 1)


async def test_a_replica_without_a_configuration_is_used_only_when_there_is_no_other(start: Start) -> None:
    unready, ready = Policy(serving=False), Policy()  # type: ignore[abstract]
    await unready.start()
    unready.on(pb.STAGE_CONNECT, reject(421, "4.3.2", "No configuration yet", close=True))
    ingress = await start(policy_target=targets((unready, ready)))
    client = await ingress.connect()
    assert (await client.reply()).code == 421
    await ready.start()
    await until(lambda: replicas_in_use(ingress.worker.policy) == 1 and ingress.worker.policy._usable[0].healthy)
    for _ in range(3):
        assert (await ingress.client()) is not None
    assert len(unready.requests) == 1
    await unready.say(serving=True)
    await until(lambda: replicas_in_use(ingress.worker.policy) == 2)
    await unready.stop()
    await ready.stop()


class Hanging(health_pb2_grpc.HealthServicer):  # type: ignore[misc]
    """The health service of a process that reports once that it serves, and then hangs."""

    def __init__(self) -> None:
        self.hangs = asyncio.Event()

    async def Check(self, request: object, context: object) -> object:  # noqa: N802 - the contract's name
        await asyncio.Event().wait()
        raise AssertionError

    async def Watch(self, request: object, context: Any) -> AsyncIterator[object]:  # noqa: N802
        yield health_pb2.HealthCheckResponse(status=health_pb2.HealthCheckResponse.SERVING)
        await asyncio.Event().wait()


async def test_a_silent_replica_is_abandoned_within_the_deadline(
    start: Start, policies: tuple[Policy, Policy], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(policy_client, "_SILENCE_SECONDS", 0.1)
    monkeypatch.setattr(stream, "_PROBE_SECONDS", 0.2)
    silent = FakePolicy()  # type: ignore[abstract]
    server = grpc.aio.server()
    policy_pb2_grpc.add_PolicyServicer_to_server(silent, server)
    health_pb2_grpc.add_HealthServicer_to_server(Hanging(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    silent.answering.clear()
    ingress = await start(policy_target=f"127.0.0.1:{port},127.0.0.1:{policies[0].port}", policy_seconds=60)
    await until(lambda: replicas_in_use(ingress.worker.policy) == 2)
    silent_address = next(
        address for address in (f"127.0.1.{host}" for host in range(1, 250)) if replica_of(ingress, address) == port
    )
    assert (await ingress.client(source=silent_address)) is not None
    assert silent.requests
    assert any(request.asked_before for request in policies[0].requests)
    silent.answering.set()
    await server.stop(0)


async def test_when_the_addresses_of_a_name_change_the_new_ones_are_used(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = free_port("127.0.0.1", "127.0.0.2")
    table = ["127.0.0.1"]

    async def addresses(_: str) -> list[str]:
        return list(table)

    monkeypatch.setattr(endpoints, "addresses", addresses)
    monkeypatch.setattr("services.ingress.clients.replicas._LOOK_SECONDS", 0.02)
    first, second = FakePolicy(), FakePolicy()  # type: ignore[abstract]
    servers = []
    for host, fake in (("127.0.0.1", first), ("127.0.0.2", second)):
        server = rpc.Server({}, lambda server, fake=fake: policy_pb2_grpc.add_PolicyServicer_to_server(fake, server))  # type: ignore[misc]
        await plain_grpc.start(server, port, host)
        await server.serving(True)
        servers.append(server)
    ingress = await start(policy_target=f"localhost:{port}")
    client = await ingress.client()
    session_id = first.requests[0].session.id
    table[:] = ["127.0.0.2"]
    await second.until(lambda: second.open_sessions[-1:] == [{session_id}])
    assert (await client.send_mail()).code == 250
    assert second.asked(pb.STAGE_RCPT)
    assert not first.asked(pb.STAGE_RCPT)
    # No stream keeps the former target running, so it can stop at once.
    await servers[0].stop(30)
    await servers[1].stop(0)


async def test_submissions_are_distributed_over_replicas(two_relays: Ingress, relays: tuple[Relay, Relay]) -> None:
    for relay in relays:
        relay.acknowledging.clear()
    clients = [await two_relays.client() for _ in range(4)]
    replies = [asyncio.create_task(client.send_mail()) for client in clients]
    await until(lambda: sum(replica.load for replica in two_relays.worker.relay._replicas) == 4)
    assert [replica.load for replica in two_relays.worker.relay._replicas] == [2, 2]
    for relay in relays:
        relay.acknowledging.set()
    assert [(await reply).code for reply in replies] == [250] * 4


@pytest.mark.parametrize("octets", [100, 700_000])
async def test_unacknowledged_submissions_of_a_dead_relay_go_to_another(
    two_relays: Ingress, relays: tuple[Relay, Relay], octets: int
) -> None:
    for relay in relays:
        relay.acknowledging.clear()
    client = await two_relays.client()
    content = b"Subject: x\r\n\r\n" + (b"y" * 68 + b"\r\n") * (octets // 70)
    await client.envelope()
    reply = asyncio.create_task(client.data(content))
    await until(lambda: any(relay.frames for relay in relays))
    dead, other = relays if relays[0].frames else relays[::-1]
    await dead.stop()
    other.acknowledging.set()
    assert (await reply).code == 250
    (kept,) = other.messages
    assert kept.content.endswith(content)
    dead.acknowledging.set()
    await dead.start()


async def test_a_stopping_relay_acknowledges_its_submissions_and_gets_no_new_ones(
    two_relays: Ingress, relays: tuple[Relay, Relay]
) -> None:
    for relay in relays:
        relay.acknowledging.clear()
    first = await two_relays.client()
    reply = asyncio.create_task(first.send_mail())
    await until(lambda: any(relay.frames for relay in relays))
    leaving, other = relays if relays[0].frames else relays[::-1]
    stopping = asyncio.create_task(leaving.stop(grace=30))
    await until(lambda: replicas_in_use(two_relays.worker.relay) == 1)
    other.acknowledging.set()
    second = await two_relays.client()
    for _ in range(3):
        assert (await second.send_mail()).code == 250
    leaving.acknowledging.set()
    assert (await reply).code == 250
    await stopping
    assert (len(leaving.messages), len(other.messages)) == (1, 3)
    await leaving.start()


async def test_a_relay_short_of_storage_gets_no_mail(two_relays: Ingress, relays: tuple[Relay, Relay]) -> None:
    short, roomy = relays
    await short.tell_storage(relay_pb2.StorageState(accepting=False))
    await until(lambda: not all(replica.takes(0) for replica in two_relays.worker.relay._replicas))
    client = await two_relays.client()
    for _ in range(3):
        assert (await client.send_mail()).code == 250
    assert (len(short.messages), len(roomy.messages)) == (0, 3)
    await roomy.tell_storage(relay_pb2.StorageState(accepting=False))
    await until(lambda: not any(replica.takes(0) for replica in two_relays.worker.relay._replicas))
    assert (await client.command("MAIL FROM:<a@example.org>")).code == 452


class Asker:
    """A stand-in for the client that owns a replica. Its methods do nothing; `new_frame` returns an empty frame."""

    def changed(self, lost: PolicyReplica | None = None, reason: str = "") -> None: ...

    def take(self, frame: pb.VerdictFrame) -> None: ...

    def new_frame(self) -> pb.DecideFrame:
        return pb.DecideFrame()

    def add_open_sessions(self, frame: pb.DecideFrame, *, introduce: bool) -> None: ...


class NoStream:
    def wake(self) -> None: ...


async def test_no_frame_of_requests_exceeds_the_size_of_a_grpc_message() -> None:
    replica = PolicyReplica("127.0.0.1:1", Asker())
    replica.stream = NoStream()  # type: ignore[assignment]
    longest = [b"r" * 318 + b"%d" % (number % 10) for number in range(1000)]
    request = pb.DecideRequest(stage=pb.STAGE_RCPT, transaction=pb.Transaction(recipients=longest))
    for _ in range(policy_replica._FRAME_REQUESTS):
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        replica.ask(PendingDecision(request, len(longest), answer, 0.0, 10.0))
    sizes = []
    while (ready := replica.next_frame()) is not None and ready[0].requests:
        sizes.append(ready[0].ByteSize())
    assert len(sizes) > 2
    assert max(sizes) < rpc.MAX_MESSAGE_OCTETS / 2


async def test_no_frame_of_refusals_exceeds_the_size_of_a_grpc_message() -> None:
    client = RelayClient(("127.0.0.1:1",), plain_grpc.INSECURE, Metrics(), deadline=1)
    recipients = tuple(b"r" * 320 for _ in range(1000))
    for _ in range(400):
        client.report(
            Refusal(
                "s", "192.0.2.1", b"", "", b"", recipients, Reply(550, "5.1.1", "no"), "r", "", "RCPT", 0, "smtp", False
            )
        )
    sizes = []
    while refused := client.take_refusals():
        sizes.append(relay_pb2.SubmitFrame(refused=refused).ByteSize())
    assert sum(1 for _ in sizes) > 2
    assert max(sizes) < rpc.MAX_MESSAGE_OCTETS / 2
