"""The content checks run in parallel, with real DNS.

A session runs only the checks that policy asked for (C85, C86, C102).
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from aiosmtpd.smtp import Envelope
from posthouse.policy.v1 import policy_pb2 as pb

from libs.runtime import processors
from services.ingress.checks.keys import Key, KeyLookup, NoKey
from services.ingress.checks.runner import CheckRunner
from services.ingress.content import Content
from services.ingress.content_facts import ScanOutcome
from services.ingress.metrics import Metrics
from services.ingress.verdict import CheckResult, Checks
from tests.fakes.policy import accept, reject
from tests.ingress.checks.signing import DOMAIN, MESSAGE, ed25519_key, rsa_key, sign, sign_by_hand
from tests.ingress.conftest import Ingress, Start
from tests.ingress.handler.conftest import SITE, handler_of
from tests.peers.clamd import Clamd, eicar
from tests.peers.dns import Behaviour, DnsServer

RSA = rsa_key()
ED25519 = ed25519_key()
KEY_NAME = f"s1._domainkey.{DOMAIN}"


@pytest.fixture
def zone(dns_server: DnsServer) -> DnsServer:
    dns_server.add(KEY_NAME, "TXT", RSA.record)
    dns_server.add(f"e1._domainkey.{DOMAIN}", "TXT", ED25519.record)
    return dns_server


@pytest.fixture
async def runner(zone: DnsServer) -> AsyncIterator[CheckRunner]:
    made = CheckRunner(zone.address, Metrics(), crypto_threads=2, clamd_concurrency=2)
    yield made
    await made.close()


def content(octets: bytes, folder: Path) -> Content:
    made = Content(folder)
    for start in range(0, len(octets), 50_000):
        made.add(octets[start : start + 50_000])
    return made


async def test_signatures_are_verified_with_keys_of_the_dns(runner: CheckRunner, tmp_path: Path) -> None:
    signed = content(sign_by_hand(sign(MESSAGE, RSA), ED25519), tmp_path)
    dkim, arc, virus = await runner.run(Checks(dkim=True, arc=True), signed)
    assert dkim is not None
    assert [each.result for each in dkim] == [CheckResult.PASS, CheckResult.PASS]
    assert arc is not None
    assert arc.result is CheckResult.NONE
    assert virus is None


async def test_signatures_are_verified_on_the_processors_for_cryptography(zone: DnsServer, tmp_path: Path) -> None:
    """A worker that is bound to one processor verifies signatures on all processors that are set for cryptography."""
    everywhere = processors.usable()
    processors.set_affinity(everywhere[:1])
    try:
        runner = CheckRunner(
            zone.address, Metrics(), crypto_threads=1, clamd_concurrency=1, crypto_processors=everywhere
        )
        async with AsyncExitStack() as stack:
            stack.push_async_callback(runner.close)
            dkim, _, _ = await runner.run(Checks(dkim=True), content(sign(MESSAGE, RSA), tmp_path))
            assert [each.result for each in dkim or ()] == [CheckResult.PASS]
            (thread,) = [each for each in threading.enumerate() if each.name.startswith("crypto")]
            assert tuple(sorted(os.sched_getaffinity(thread.native_id or 0))) == everywhere
    finally:
        processors.set_affinity(everywhere)


async def test_a_message_too_large_for_memory_is_verified(runner: CheckRunner, tmp_path: Path) -> None:
    body = b"".join(b"%070d\r\n" % number for number in range(30_000))
    head, _, _ = MESSAGE.partition(b"\r\n\r\n")
    signed = content(sign(head + b"\r\n\r\n" + body, RSA), tmp_path)
    assert signed.size > len(signed.head)
    dkim, _, _ = await runner.run(Checks(dkim=True), signed)
    assert dkim is not None
    assert dkim[0].result is CheckResult.PASS
    signed.close()


@pytest.mark.parametrize("behaviour", [Behaviour.SERVFAIL, Behaviour.REFUSED])
async def test_c86_a_key_without_a_dns_answer_gives_a_temporary_error(
    runner: CheckRunner, zone: DnsServer, tmp_path: Path, behaviour: Behaviour
) -> None:
    zone.behave(KEY_NAME, behaviour)
    dkim, _, _ = await runner.run(Checks(dkim=True), content(sign(MESSAGE, RSA), tmp_path))
    assert dkim is not None
    assert (dkim[0].result, dkim[0].reason) == (CheckResult.TEMPERROR, "key could not be looked up")


async def test_a_missing_key_is_a_permanent_error(runner: CheckRunner, zone: DnsServer, tmp_path: Path) -> None:
    zone.remove(KEY_NAME)
    dkim, _, _ = await runner.run(Checks(dkim=True), content(sign(MESSAGE, RSA), tmp_path))
    assert dkim is not None
    assert dkim[0].result is CheckResult.PERMERROR


async def test_without_a_request_for_dkim_nothing_is_looked_up(
    runner: CheckRunner, zone: DnsServer, tmp_path: Path
) -> None:
    assert await runner.run(Checks(clamd="127.0.0.1:1", clamd_seconds=1), content(sign(MESSAGE, RSA), tmp_path)) == (
        None,
        None,
        await runner._scanner.scan("127.0.0.1:1", iter(()), 1),
    )
    assert zone.queries == ()


async def test_a_key_that_is_named_twice_is_looked_up_once(zone: DnsServer) -> None:
    lookup = KeyLookup(zone.address)
    found = await lookup.find([f"{KEY_NAME}.", f"{KEY_NAME}.", "other._domainkey.nowhere.example.", "..bad.."])
    assert isinstance(found[f"{KEY_NAME}."], Key)
    assert found["other._domainkey.nowhere.example."] == NoKey("no key for signature")
    assert found["..bad.."] == NoKey("no valid key name")
    assert len(zone.asked(KEY_NAME)) == 1


@pytest.mark.parametrize("text", ["127.0.0.1", "127.0.0.1:53", "::1", "[::1]:53", "127.0.0.1, 127.0.0.2:5353"])
async def test_name_servers_with_and_without_a_port_are_accepted(text: str) -> None:
    assert await KeyLookup(text).find([]) == {}


async def test_keys_are_cached_for_their_ttl_and_failures_are_not(zone: DnsServer) -> None:
    now = 1_000.0
    lookup = KeyLookup(zone.address, lambda: now)
    zone.replace(KEY_NAME, "TXT", RSA.record, ttl=60)
    for at in (1_000.0, 1_059.0):
        now = at
        assert isinstance((await lookup.find([f"{KEY_NAME}."]))[f"{KEY_NAME}."], Key)
    assert len(zone.asked(KEY_NAME)) == 1
    now = 1_061.0
    zone.behave(KEY_NAME, Behaviour.SERVFAIL)
    assert (await lookup.find([f"{KEY_NAME}."]))[f"{KEY_NAME}."] == NoKey("key could not be looked up", temporary=True)
    zone.normal(KEY_NAME)
    assert isinstance((await lookup.find([f"{KEY_NAME}."]))[f"{KEY_NAME}."], Key)


async def test_a_name_server_may_be_given_by_its_name(zone: DnsServer) -> None:
    lookup = KeyLookup(f"localhost:{zone.port}")
    assert isinstance((await lookup.find([f"{KEY_NAME}."]))[f"{KEY_NAME}."], Key)


@pytest.mark.parametrize("text", ["no name at all", "127.0.0.1:x", "[::1]:x"])
async def test_an_invalid_name_server_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"address|host\[:port\]"):
        KeyLookup(text)


# Checks in a session


@pytest.fixture
async def checking(start: Start, zone: DnsServer) -> Ingress:
    ingress = await start(nameservers=zone.address)
    ingress.policy.profile.ask_stages.append(pb.STAGE_END_OF_DATA)
    ingress.policy.on(pb.STAGE_RCPT, accept(checks=pb.ContentChecks(dkim=True, arc=True)))
    return ingress


async def test_results_of_checks_reach_policy_and_the_message(checking: Ingress) -> None:
    client = await checking.client()
    assert (await client.send_mail(sign(MESSAGE, RSA))).code == 250
    (asked,) = checking.policy.asked(pb.STAGE_END_OF_DATA)
    assert asked.content.dkim_checked
    (signature,) = asked.content.dkim
    assert (signature.result, signature.domain, signature.selector) == (
        pb.CHECK_RESULT_PASS,
        DOMAIN.encode(),
        b"s1",
    )
    assert asked.content.arc.result == pb.CHECK_RESULT_NONE
    assert not asked.content.HasField("virus")
    assert checking.relay.messages[0].content.startswith(
        b"Authentication-Results: mx.example.com;\r\n\tdkim=pass header.d=signer.example header.s=s1 "
        b"header.a=rsa-sha256 header.b="
    )


async def test_checks_of_several_recipients_are_joined(checking: Ingress) -> None:
    answers = iter([accept(checks=pb.ContentChecks(dkim=True)), accept(), accept(checks=pb.ContentChecks(arc=True))])
    checking.policy.on(pb.STAGE_RCPT, lambda _request: next(answers))
    client = await checking.client()
    assert (await client.send_mail(MESSAGE, "a@example.com", "b@example.com", "c@example.com")).code == 250
    (asked,) = checking.policy.asked(pb.STAGE_END_OF_DATA)
    assert asked.content.dkim_checked
    assert asked.content.HasField("arc")


async def test_only_requested_checks_are_run(checking: Ingress, zone: DnsServer) -> None:
    checking.policy.on(pb.STAGE_RCPT, accept())
    client = await checking.client()
    assert (await client.send_mail(sign(MESSAGE, RSA))).code == 250
    (asked,) = checking.policy.asked(pb.STAGE_END_OF_DATA)
    assert not asked.content.dkim_checked
    assert not asked.content.HasField("arc")
    assert zone.queries == ()
    assert checking.relay.messages[0].content.startswith(b"Received: ")


async def test_the_outcome_of_a_scan_reaches_policy(checking: Ingress, clamd: Clamd) -> None:
    def judge(request: pb.DecideRequest) -> pb.Verdict:
        infected = request.content.virus.outcome == pb.VirusScan.OUTCOME_INFECTED
        return reject(554, "5.7.1", "Infected") if infected else accept()

    checking.policy.on(
        pb.STAGE_RCPT,
        accept(checks=pb.ContentChecks(clamd=clamd.address, clamd_timeout={"seconds": 20})),  # type: ignore[arg-type]
    )
    checking.policy.on(pb.STAGE_END_OF_DATA, judge)
    client = await checking.client()
    assert (await client.send_mail(MESSAGE)).code == 250
    assert (await client.send_mail(b"Subject: x\r\n\r\n" + eicar() + b"\r\n")).code == 554
    outcomes = [request.content.virus.outcome for request in checking.policy.asked(pb.STAGE_END_OF_DATA)]
    assert [int(outcome) for outcome in outcomes] == [ScanOutcome.CLEAN, ScanOutcome.INFECTED]
    # An infected message leaves nothing of its transaction (C15).
    assert (await client.command("DATA")).code == 503
    assert len(checking.relay.messages) == 1


async def test_results_are_about_the_content_before_a_handler_changes_it(
    start: Start, zone: DnsServer, clamd: Clamd
) -> None:
    """A signature that the change breaks passes, and a virus that the handler adds is not found."""
    ingress = await start(nameservers=zone.address, handler=SITE + "Scripted")
    ingress.policy.profile.ask_stages.append(pb.STAGE_END_OF_DATA)
    checks = pb.ContentChecks(dkim=True, clamd=clamd.address, clamd_timeout={"seconds": 20})  # type: ignore[arg-type]
    ingress.policy.on(pb.STAGE_RCPT, accept(checks=checks))

    def change(_server: object, _session: object, envelope: Envelope) -> str:
        assert isinstance(envelope.content, bytes)
        head, _, body = envelope.content.partition(b"\r\n\r\n")
        envelope.content = b"%b\r\n\r\n%b\r\n%b" % (head, eicar(), body)
        return "250 OK"

    handler_of(ingress).on["DATA"] = change
    client = await ingress.client()
    signed = sign(MESSAGE, RSA)
    assert (await client.send_mail(signed)).code == 250
    (asked,) = ingress.policy.asked(pb.STAGE_END_OF_DATA)
    assert (asked.content.size, asked.content.virus.outcome) == (len(signed), pb.VirusScan.OUTCOME_CLEAN)
    assert [signature.result for signature in asked.content.dkim] == [pb.CHECK_RESULT_PASS]
    stored = ingress.relay.messages[0].content
    assert stored.startswith(b"Authentication-Results: mx.example.com;\r\n\tdkim=pass header.d=signer.example ")
    assert eicar() in stored


async def test_a_client_that_disconnects_during_a_scan_ends_the_scan(checking: Ingress) -> None:
    begun, ended = asyncio.Event(), asyncio.Event()

    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        begun.set()
        await reader.read()
        ended.set()
        writer.close()

    async with await asyncio.start_server(hang, "127.0.0.1", 0) as server:
        address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        checking.policy.on(
            pb.STAGE_RCPT,
            accept(checks=pb.ContentChecks(clamd=address, clamd_timeout={"seconds": 100})),  # type: ignore[arg-type]
        )
        client = await checking.client()
        await client.envelope()
        assert (await client.command("DATA")).code == 354
        client.send(MESSAGE + b".\r\n")
        async with asyncio.timeout(60):
            await begun.wait()
            client.reset()
            await ended.wait()
    await checking.until_empty()
    assert not checking.relay.messages
    assert not checking.policy.asked(pb.STAGE_END_OF_DATA)
