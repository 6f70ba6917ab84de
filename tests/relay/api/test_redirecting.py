"""Operators redirect queued mail: to another recipient, to another next hop, and back to the configured route."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest
from posthouse.relay.v1 import relay_pb2 as pb
from posthouse.relay.v1 import relay_pb2_grpc

from services.relay.configuration.model import Alias, Configuration, LocalDomain, Mailbox, MailboxKind, Quarantine
from services.relay.model.states import State
from services.relay.routing.recipients import SubmittedRecipient
from tests.relay.scripted_transport import ScriptedTransport, deferred
from tests.relay.whole_relay import WholeRelay

ALIASES = {
    b"all@ours.test": Alias("a1", b"all@ours.test", (b"x@one.test", b"y@two.test")),
    b"round@ours.test": Alias("a2", b"round@ours.test", (b"round@ours.test",)),
}
OURS = LocalDomain("l1", "ours.test", Mailbox(MailboxKind.SMTP, "mail.ours.test", 25))
CONFIGURATION = Configuration(
    3,
    "gw.test",
    aliases=ALIASES,
    local_domains={"ours.test": OURS},
    account_addresses=frozenset({b"anna@ours.test"}),
    quarantine=Quarantine.HOLD,
)
NEXT_HOP = pb.NextHop(
    kind="smtp", host="smart.test", port=2525, tls="may", fallback_hosts=[pb.FallbackHost(host="second.test", port=25)]
)
LATER = (b"later@one.test", b"later@two.test", b"third@one.test", b"stays@far.test")


@pytest.fixture
async def relay(database_url: str, tmp_path: Path) -> AsyncIterator[WholeRelay]:
    transport = ScriptedTransport({recipient: [deferred] for recipient in LATER})
    async with WholeRelay(database_url, tmp_path, CONFIGURATION, transport) as whole:
        yield whole


@pytest.fixture
async def stub(relay: WholeRelay) -> AsyncIterator[relay_pb2_grpc.RelayAsyncStub]:
    async with relay.channel() as channel:
        yield relay_pb2_grpc.RelayStub(channel)


def to(recipient: bytes) -> pb.Redirect:
    return pb.Redirect(recipient=recipient)


async def redirect(
    stub: relay_pb2_grpc.RelayAsyncStub, chosen: str | pb.MessageFilter, target: pb.Redirect, *, dry_run: bool = False
) -> tuple[int, int, list[bytes]]:
    """Redirects one message, or those that match a filter.

    Returns how many deliveries were redirected, how many were skipped, and the recipients that were redirected.
    """
    request = pb.ActOnMessagesRequest(action=pb.QUEUE_ACTION_REDIRECT, redirect=target, actor="anna", dry_run=dry_run)
    if isinstance(chosen, str):
        request.queue_id = chosen
    else:
        request.filter.CopyFrom(chosen)
    last = pb.ActOnMessagesProgress()
    async for progress in stub.ActOnMessages(request):
        last = progress
    assert last.done
    return last.acted, last.skipped, list(last.redirected_recipients)


async def deferred_message(relay: WholeRelay, *recipients: bytes | SubmittedRecipient) -> str:
    """Submits a message, and returns its queue id after one attempt for each domain."""
    attempts = len(relay.transport.ended)
    queue_id = (await relay.submit(*recipients)).queue_id
    domains = {(each if isinstance(each, bytes) else each.address).rpartition(b"@")[2] for each in recipients}
    await relay.settled(attempts + len(domains))
    return queue_id


async def hold(stub: relay_pb2_grpc.RelayAsyncStub, queue_id: str) -> None:
    request = pb.ActOnMessagesRequest(action=pb.QUEUE_ACTION_HOLD, queue_id=queue_id, actor="anna")
    assert [progress.acted async for progress in stub.ActOnMessages(request)] == [1]


async def release(stub: relay_pb2_grpc.RelayAsyncStub, queue_id: str) -> None:
    request = pb.ActOnMessagesRequest(action=pb.QUEUE_ACTION_RELEASE, queue_id=queue_id, actor="anna")
    assert [progress.acted async for progress in stub.ActOnMessages(request)] == [1]


# To another recipient


async def test_another_recipient_gets_the_message_at_once(
    relay: WholeRelay, stub: relay_pb2_grpc.RelayAsyncStub
) -> None:
    queue_id = await deferred_message(relay, b"later@one.test")
    assert await redirect(stub, queue_id, to(b"new@two.test")) == (1, 0, [b"later@one.test"])
    await relay.settled(2)
    (sent,) = relay.transport.to(b"new@two.test")
    assert (sent.destination, sent.sender, sent.recipients) == ("domain:two.test", b"a@sender.test", (b"new@two.test",))
    whole = await stub.GetMessage(pb.GetMessageRequest(queue_id=queue_id))
    assert whole.state == pb.DELIVERY_STATE_DELIVERED
    assert [(each.recipient, each.state, each.original_recipient) for each in whole.deliveries] == [
        (b"later@one.test", pb.DELIVERY_STATE_REDIRECTED, b""),
        (b"new@two.test", pb.DELIVERY_STATE_DELIVERED, b"later@one.test"),
    ]
    (event,) = [each for each in whole.timeline if each.event == "redirected"]
    assert (event.recipient, event.detail, event.actor) == (b"later@one.test", "to new@two.test", "anna")
    # The attempts for the old recipient stay in the history.
    assert [each.code for each in whole.deliveries[0].history] == [451]
    assert await relay.rows("SELECT open FROM messages") == [(0,)]
    assert await relay.rows("SELECT count(*) FROM contents") == [(0,)]
    # A second redirect to the same recipient finds no delivery to change.
    assert await redirect(stub, queue_id, to(b"new@two.test")) == (0, 0, [])


async def test_orcpt_and_notify_stay_and_the_report_hides_the_new_address(
    relay: WholeRelay, stub: relay_pb2_grpc.RelayAsyncStub
) -> None:
    """The report shows no new address (RFC 3461 section 5.2.7.1, F22)."""
    first = await deferred_message(
        relay, SubmittedRecipient(b"later@one.test", ("FAILURE",), b"rfc822;first@else.test")
    )
    second = await deferred_message(relay, b"later@two.test")
    for queue_id in (first, second):
        await redirect(stub, queue_id, to(b"stays@far.test"))
    rows = await relay.rows("SELECT notify, orcpt, submitted_recipient FROM deliveries WHERE state = 1 ORDER BY id")
    assert [tuple(map(_octets, row)) for row in rows] == [
        (b"FAILURE", b"rfc822;first@else.test", b"later@one.test"),
        (b"", b"rfc822;later@two.test", b"later@two.test"),
    ]
    await relay.settled(4)
    for progress in [
        each
        async for each in stub.ActOnMessages(
            pb.ActOnMessagesRequest(action=pb.QUEUE_ACTION_BOUNCE, queue_id=second, actor="anna")
        )
    ]:
        assert progress.acted == 1
    await relay.settled(5)
    (report,) = relay.transport.to(b"a@sender.test")
    assert b"later@two.test" in report.content
    assert b"stays@far.test" not in report.content


async def test_recipients_that_become_one_get_the_message_once(
    relay: WholeRelay, stub: relay_pb2_grpc.RelayAsyncStub
) -> None:
    """Case C56 of docs/cases.md describes this behaviour."""
    queue_id = await deferred_message(relay, b"later@one.test", b"third@one.test", b"later@two.test")
    acted, skipped, old = await redirect(stub, queue_id, to(b"new@far.test"))
    assert (acted, skipped, sorted(old)) == (3, 0, [b"later@one.test", b"later@two.test", b"third@one.test"])
    await relay.transport.until(lambda: len(relay.transport.to(b"new@far.test")) == 1)
    await relay.committed()
    assert list((await relay.states(queue_id)).values()).count(State.DELIVERED) == 1


async def test_a_recipient_that_has_the_message_does_not_get_it_twice(
    relay: WholeRelay, stub: relay_pb2_grpc.RelayAsyncStub
) -> None:
    delivered = await deferred_message(relay, b"later@one.test", b"has@far.test")
    waits = await deferred_message(relay, b"later@one.test", b"later@two.test")
    assert (await redirect(stub, delivered, to(b"has@far.test")))[:2] == (1, 0)
    # The delivery that already has this recipient is skipped.
    assert await redirect(stub, waits, to(b"later@two.test")) == (1, 1, [b"later@one.test"])
    assert await relay.states(delivered) == {b"later@one.test": State.REDIRECTED, b"has@far.test": State.DELIVERED}
    assert await relay.states(waits) == {b"later@one.test": State.REDIRECTED, b"later@two.test": State.QUEUED}
    whole = await stub.GetMessage(pb.GetMessageRequest(queue_id=delivered))
    assert whole.state == pb.DELIVERY_STATE_DELIVERED
    assert await relay.rows("SELECT open FROM messages ORDER BY id") == [(0,), (1,)]


async def test_a_redirect_to_an_alias_goes_to_its_targets(
    relay: WholeRelay, stub: relay_pb2_grpc.RelayAsyncStub
) -> None:
    queue_id = await deferred_message(relay, SubmittedRecipient(b"later@one.test", ("SUCCESS",)))
    assert (await redirect(stub, queue_id, to(b"all@ours.test")))[:2] == (1, 0)
    # The four transactions are the deferred attempt, one for each of the two targets of the alias, and one for the
    # report that the alias was expanded, which NOTIFY=SUCCESS requests.
    await relay.settled(4)
    assert await relay.states(queue_id) == {
        b"later@one.test": State.REDIRECTED,
        b"all@ours.test": State.EXPANDED,
        b"x@one.test": State.DELIVERED,
        b"y@two.test": State.DELIVERED,
    }
    (report,) = relay.transport.to(b"a@sender.test")
    assert b"later@one.test" in report.content
    assert b"all@ours.test" not in report.content


async def test_a_redirect_to_nobody_or_with_invalid_fields_is_refused(
    relay: WholeRelay, stub: relay_pb2_grpc.RelayAsyncStub
) -> None:
    queue_id = await deferred_message(relay, b"later@one.test")
    wrong = (
        (to(b"nobody@ours.test"), grpc.StatusCode.FAILED_PRECONDITION),
        (to(b"round@ours.test"), grpc.StatusCode.FAILED_PRECONDITION),
        (pb.Redirect(), grpc.StatusCode.INVALID_ARGUMENT),
        (to(b""), grpc.StatusCode.INVALID_ARGUMENT),
        (pb.Redirect(configured_route=False), grpc.StatusCode.INVALID_ARGUMENT),
        (pb.Redirect(next_hop=pb.NextHop(kind="smtp", port=25, tls="may")), grpc.StatusCode.INVALID_ARGUMENT),
        (
            pb.Redirect(next_hop=pb.NextHop(kind="maildir", host="x", port=25, tls="may")),
            grpc.StatusCode.INVALID_ARGUMENT,
        ),
    )
    for target, code in wrong:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await redirect(stub, queue_id, target)
        assert caught.value.code() == code, target
    assert await relay.states(queue_id) == {b"later@one.test": State.QUEUED}


async def test_a_held_delivery_stays_held_after_a_redirect(
    relay: WholeRelay, stub: relay_pb2_grpc.RelayAsyncStub
) -> None:
    queue_id = await deferred_message(relay, b"later@one.test")
    await hold(stub, queue_id)
    await redirect(stub, queue_id, to(b"new@two.test"))
    assert await relay.states(queue_id) == {b"later@one.test": State.REDIRECTED, b"new@two.test": State.HELD}
    await release(stub, queue_id)
    await relay.transport.until(lambda: len(relay.transport.to(b"new@two.test")) == 1)
    await relay.committed()


async def test_quarantined_mail_stays_quarantined_after_a_redirect(
    relay: WholeRelay, stub: relay_pb2_grpc.RelayAsyncStub
) -> None:
    queue_id = (await relay.submit(b"anna@ours.test", quarantine=True)).queue_id
    shown = pb.GetMessageRequest(queue_id=queue_id)

    async def until_held() -> None:
        async with asyncio.timeout(60):
            while (await stub.GetMessage(shown)).state != pb.DELIVERY_STATE_HELD:  # noqa: ASYNC110 - there is no event
                await asyncio.sleep(0)

    await until_held()
    for target in (pb.Redirect(next_hop=NEXT_HOP), to(b"new@two.test")):
        assert (await redirect(stub, queue_id, target))[0] == 1
        await until_held()
        assert {each.destination for each in (await stub.GetMessage(shown)).deliveries} == {"quarantine"}
    assert relay.transport.begun == []
    await release(stub, queue_id)
    await relay.transport.until(lambda: len(relay.transport.to(b"new@two.test")) == 1)
    await relay.committed()


async def test_deliveries_that_are_being_tried_are_skipped(
    relay: WholeRelay, stub: relay_pb2_grpc.RelayAsyncStub
) -> None:
    gate = relay.transport.gates[b"slow@one.test"] = asyncio.Event()
    queue_id = (await relay.submit(b"slow@one.test")).queue_id
    await relay.transport.until_begun(1)
    for target in (to(b"new@two.test"), pb.Redirect(next_hop=NEXT_HOP)):
        assert await redirect(stub, queue_id, target) == (0, 1, [])
    gate.set()
    await relay.settled(1)
    assert await relay.states(queue_id) == {b"slow@one.test": State.DELIVERED}


async def test_many_messages_are_counted_first_and_then_redirected(
    relay: WholeRelay, stub: relay_pb2_grpc.RelayAsyncStub
) -> None:
    ids = [await deferred_message(relay, b"later@one.test", b"later@two.test") for _ in range(3)]
    chosen = pb.MessageFilter(recipient_domain="one.test")
    assert await redirect(stub, chosen, to(b"new@far.test"), dry_run=True) == (0, 0, [b"later@one.test"] * 3)
    assert await relay.rows("SELECT count(*) FROM deliveries") == [(6,)]
    assert await redirect(stub, chosen, to(b"new@far.test")) == (3, 0, [b"later@one.test"] * 3)
    await relay.transport.until(lambda: len(relay.transport.to(b"new@far.test")) == 3)
    await relay.committed()
    for queue_id in ids:
        assert await relay.states(queue_id) == {
            b"later@one.test": State.REDIRECTED,
            b"later@two.test": State.QUEUED,
            b"new@far.test": State.DELIVERED,
        }


# To another next hop


async def test_another_next_hop_gets_the_message_at_once(
    relay: WholeRelay, stub: relay_pb2_grpc.RelayAsyncStub
) -> None:
    queue_id = await deferred_message(relay, b"later@one.test")
    target = pb.Redirect(next_hop=NEXT_HOP)
    assert await redirect(stub, queue_id, target) == (1, 0, [b"later@one.test"])
    await relay.settled(2)
    assert [each.destination for each in relay.transport.to(b"later@one.test")] == [
        "domain:one.test",
        "relay:smart.test:2525",
    ]
    whole = await stub.GetMessage(pb.GetMessageRequest(queue_id=queue_id))
    (delivery,) = whole.deliveries
    assert (delivery.state, delivery.destination, delivery.next_hop) == (
        pb.DELIVERY_STATE_DEFERRED,
        "relay:smart.test:2525",
        "smart.test:2525",
    )
    (event,) = [each for each in whole.timeline if each.event == "redirected"]
    assert (event.recipient, event.detail) == (b"later@one.test", "to the next hop smart.test:2525")
    # The delivery has this next hop already, so it is skipped.
    assert await redirect(stub, queue_id, target) == (0, 1, [])


async def test_a_next_hop_stays_through_attempts_and_configurations_until_it_is_removed(
    relay: WholeRelay, stub: relay_pb2_grpc.RelayAsyncStub
) -> None:
    queue_id = await deferred_message(relay, b"later@one.test")
    await redirect(stub, queue_id, pb.Redirect(next_hop=NEXT_HOP))
    await relay.settled(2)
    relay.configure(Configuration(4, "gw.test", quarantine=Quarantine.HOLD))
    await relay.after(1000)
    await relay.settled(3)
    assert relay.transport.ended[-1].destination == "relay:smart.test:2525"
    assert relay.transport.ended[-1].revision == 4
    assert (await redirect(stub, queue_id, pb.Redirect(configured_route=True)))[0] == 1
    await relay.settled(4)
    assert relay.transport.ended[-1].destination == "domain:one.test"
    # The delivery already uses its configured route, so it is skipped.
    assert (await redirect(stub, queue_id, pb.Redirect(configured_route=True)))[:2] == (0, 1)


async def test_a_suspended_destination_does_not_keep_redirected_mail(
    relay: WholeRelay, stub: relay_pb2_grpc.RelayAsyncStub
) -> None:
    queue_id = await deferred_message(relay, b"later@one.test")
    await stub.SuspendDestination(pb.SuspendDestinationRequest(name="domain:one.test", actor="anna"))
    await stub.SuspendDestination(pb.SuspendDestinationRequest(name="relay:smart.test:2525", actor="anna"))
    await redirect(stub, queue_id, pb.Redirect(next_hop=NEXT_HOP))
    # A new configuration makes relay route queued mail for suspended destinations again.
    relay.configure(Configuration(4, "gw.test"))
    await relay.committed()
    await stub.ResumeDestination(pb.ResumeDestinationRequest(name="relay:smart.test:2525", actor="anna"))
    await relay.settled(2)
    assert relay.transport.ended[-1].destination == "relay:smart.test:2525"


def _octets(value: object) -> bytes:
    return value.encode() if isinstance(value, str) else bytes(value)  # type: ignore[call-overload]
