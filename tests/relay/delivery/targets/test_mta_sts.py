"""MTA-STS policies (C129, RFC 8461): how they are parsed and fetched, and how they affect a delivery."""

from __future__ import annotations

import asyncio
import gzip
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import trustme

from services.relay.configuration.model import TlsLevel
from services.relay.delivery import networks
from services.relay.delivery.targets.mta_sts_policy import Policy, parse, record_id
from services.relay.model.attempt import Outcome, Result
from tests.peers.dns import DnsServer
from tests.peers.dns_misbehaviour import Behaviour
from tests.peers.smtp_sink import SmtpSink
from tests.relay.delivery.conftest import Gateway, MxHosts

POLICY = b"version: STSv1\r\nmode: enforce\r\nmx: mx.example.net\r\nmax_age: 86400\r\n"


# The text of a policy


@pytest.mark.parametrize(
    ("text", "policy"),
    [
        (POLICY, Policy("enforce", 86400, ("mx.example.net",))),
        (POLICY.replace(b"\r\n", b"\n"), Policy("enforce", 86400, ("mx.example.net",))),
        (POLICY.rstrip(), Policy("enforce", 86400, ("mx.example.net",))),
        (
            POLICY + b"mx: *.Example.ORG.\nunknown: x\nmode: none\n",
            Policy("enforce", 86400, ("mx.example.net", "*.example.org")),
        ),
        (b"version:STSv1\nmode:none\nmax_age:0\n", Policy("none", 0)),
        (POLICY.replace(b"86400", b"9999999999"), Policy("enforce", 31_557_600, ("mx.example.net",))),
    ],
)  # fmt: skip
def test_policies_are_read(text: bytes, policy: Policy) -> None:
    assert parse(text) == policy


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"<html>",
        POLICY.replace(b"STSv1", b"STSv2"),
        POLICY.replace(b"enforce", b"maybe"),
        POLICY.replace(b"86400", b"soon"),
        POLICY.replace(b"86400", b"-1"),
        POLICY.replace(b"86400", "\u0661".encode()),
        POLICY.replace(b"mx: mx.example.net\r\n", b""),
        POLICY.replace(b"mx.example.net", b"*"),
        POLICY.replace(b"mx.example.net", b"mx.*.net"),
        POLICY.replace(b"mx.example.net", b"mx example"),
        POLICY + b"\xff\xfe: x\n",
    ],
)
def test_an_invalid_policy_is_refused(text: bytes) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        parse(text)


@pytest.mark.parametrize(
    ("host", "allowed"),
    [
        ("mx.example.net", True),
        ("MX.Example.net.", True),
        ("a.pool.test", True),
        ("b.a.pool.test", False),
        ("pool.test", False),
        ("xpool.test", False),
        ("mx.example.net.evil.test", False),
        ("net", False),
    ],
)
def test_a_star_stands_for_exactly_one_label(host: str, allowed: bool) -> None:
    assert Policy("enforce", 1, ("mx.example.net", "*.pool.test")).allows(host) is allowed


@pytest.mark.parametrize(
    ("texts", "found"),
    [
        ([b"v=STSv1; id=20260101T000000;"], "20260101T000000"),
        ([b"v=STSv1;id=1"], "1"),
        ([b"other", b"v=STSv1; ext=x; id=2;"], "2"),
        ([b"v=STSv1; id=1;", b"v=STSv1; id=2;"], ""),
        ([b"v=STSv2; id=1;"], ""),
        ([b"v=STSv10; id=1;"], ""),
        ([b"v=STSv1; id=;"], ""),
        ([b"v=STSv1; id=a-b;"], ""),
        ([b"v=STSv1"], ""),
        ([], ""),
    ],
)
def test_the_id_of_a_policy_is_read_from_the_only_record(texts: list[bytes], found: str) -> None:
    assert record_id(texts) == found


# Fetching and applying a policy


@dataclass
class PolicyServer:
    """An HTTPS server on loopback that answers every request with the same octets."""

    answer: bytes = b""
    requests: list[bytes] = field(default_factory=list)
    hang: bool = False

    def says(self, body: bytes, status: str = "200 OK", *more: str, media_type: str = "text/plain") -> None:
        head = [f"HTTP/1.1 {status}", f"Content-Type: {media_type}", f"Content-Length: {len(body)}", *more]
        self.answer = "\r\n".join([*head, "Connection: close", "", ""]).encode() + body

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            self.requests.append(await reader.readuntil(b"\r\n\r\n"))
            if self.hang:
                await reader.read()
            writer.write(self.answer)
            await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()


@dataclass
class Domain:
    """The domain example.net with a policy, one MX host, and a gateway that delivers to it."""

    gateway: Gateway
    dns: DnsServer
    hosts: MxHosts
    server: PolicyServer
    sink: SmtpSink
    now: list[float]

    async def deliver(self) -> Outcome:
        """Delivers a message over a new connection."""
        self.gateway.configuration_is(hostname=f"n{len(self.sink.sessions)}-{self.now[0]:.0f}.posthouse.test")
        return await self.gateway.deliver_one(b"bob@example.net")


def server_context(leaf: trustme.LeafCert) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    leaf.configure_cert(context)
    return context


@pytest.fixture
def policy_certificate(certificates: trustme.CA, request: pytest.FixtureRequest) -> trustme.LeafCert:
    fault = getattr(request, "param", "")
    authority = trustme.CA() if fault == "self-signed" else certificates
    return authority.issue_cert("example.net" if fault == "wrong-name" else "mta-sts.example.net")


@pytest.fixture
async def domain(
    gateway: Gateway,
    dns_server: DnsServer,
    mx_hosts: MxHosts,
    certificates: trustme.CA,
    authority_file: Path,
    policy_certificate: trustme.LeafCert,
) -> AsyncIterator[Domain]:
    server = PolicyServer()
    server.says(POLICY)
    listener = await asyncio.start_server(server.serve, "127.0.0.1", 0, ssl=server_context(policy_certificate))
    port = listener.sockets[0].getsockname()[1]
    dns_server.add("_mta-sts.example.net", "TXT", "v=STSv1; id=1;", ttl=1)
    dns_server.add("mta-sts.example.net", "A", "127.0.0.1")
    sink = mx_hosts.add("example.net", 10, "mx.example.net", certificate=certificates.issue_cert("mx.example.net"))
    now = [1000.0]
    gateway.clock = lambda: now[0]
    gateway.options_are(ca_file=authority_file, mta_sts_port=port)
    yield Domain(gateway, dns_server, mx_hosts, server, sink, now)
    listener.close()


async def test_an_enforced_policy_is_fetched_and_applied(domain: Domain) -> None:
    outcome = await domain.deliver()
    assert (outcome.result, outcome.tls_policy) == (Result.DELIVERED, "mta-sts")
    assert domain.server.requests[0].startswith(
        b"GET /.well-known/mta-sts.txt HTTP/1.1\r\nHost: mta-sts.example.net\r\n"
    )


@pytest.mark.parametrize("fault", ["no-tls", "self-signed", "wrong-name"])
async def test_enforce_never_delivers_without_verified_tls(
    domain: Domain, certificates: trustme.CA, fault: str
) -> None:
    domain.sink.stop()
    authority = trustme.CA() if fault == "self-signed" else certificates
    name = "other.example.net" if fault == "wrong-name" else "mx.example.net"
    leaf = None if fault == "no-tls" else authority.issue_cert(name)
    with SmtpSink(host=domain.sink.host, port=domain.sink.port, certificate=leaf) as sink:
        outcome = await domain.deliver()
        assert (outcome.result, outcome.tls_policy) == (Result.DEFERRED, "mta-sts")
        assert outcome.enhanced_code.startswith("4.7.")
        assert sink.transactions == []


@pytest.mark.parametrize(
    ("level", "policy"),
    [
        (TlsLevel.NONE, "none"),
        (TlsLevel.MAY, "mta-sts"),
        (TlsLevel.ENCRYPT, "mta-sts"),
        (TlsLevel.VERIFY, "mta-sts"),
    ],
)
async def test_only_the_tls_policy_none_turns_mta_sts_off(domain: Domain, level: TlsLevel, policy: str) -> None:
    domain.gateway.configuration_is(tls_policies={"example.net": level})
    outcome = await domain.deliver()
    assert (outcome.result, outcome.tls_policy, bool(outcome.tls)) == (Result.DELIVERED, policy, policy != "none")


async def test_with_a_policy_in_mode_testing_the_tls_policy_applies(domain: Domain) -> None:
    domain.server.says(POLICY.replace(b"enforce", b"testing"))
    domain.gateway.configuration_is(tls_policies={"example.net": TlsLevel.VERIFY})
    assert (await domain.deliver()).tls_policy == "required"


async def test_hosts_that_the_policy_does_not_name_are_not_used(domain: Domain, certificates: trustme.CA) -> None:
    better = domain.hosts.add("example.net", 1, "evil.test", certificate=certificates.issue_cert("evil.test"))
    assert (await domain.deliver()).host == "mx.example.net"
    assert better.sessions == []


async def test_mail_is_deferred_when_the_policy_names_no_host(domain: Domain) -> None:
    domain.server.says(POLICY.replace(b"mx.example.net", b"elsewhere.test"))
    outcome = await domain.deliver()
    assert (outcome.result, outcome.enhanced_code) == (Result.DEFERRED, "4.7.5")
    explained = await domain.gateway.transport.explain(domain.gateway.configuration, b"", b"bob@example.net")
    assert explained.hosts[0].left_out == "is not named by the MTA-STS policy"


@pytest.mark.parametrize("mode", [b"testing", b"none"])
async def test_a_policy_in_mode_testing_or_none_blocks_nothing(domain: Domain, mode: bytes) -> None:
    domain.server.says(POLICY.replace(b"enforce", mode).replace(b"mx.example.net", b"elsewhere.test"))
    outcome = await domain.deliver()
    assert (outcome.result, outcome.tls_policy) == (Result.DELIVERED, "opportunistic")


@pytest.mark.parametrize(
    "answer",
    [
        {"status": "301 Moved"},
        {"status": "404 Not Found"},
        {"status": "500 Oops"},
        {"media_type": "text/html"},
        {"body": b"nonsense"},
        {"body": POLICY + b"x: y\n" * 20_000},
    ],
)
async def test_a_fetch_that_fails_means_no_policy_and_is_not_repeated_at_once(
    domain: Domain, answer: dict[str, str | bytes]
) -> None:
    status, media_type = str(answer.get("status", "200 OK")), str(answer.get("media_type", "text/plain"))
    body = answer.get("body", POLICY)
    assert isinstance(body, bytes)
    domain.server.says(body, status, "Location: https://evil.test/policy", media_type=media_type)
    for _ in range(2):
        outcome = await domain.deliver()
        assert (outcome.result, outcome.tls_policy) == (Result.DELIVERED, "opportunistic")
    assert len(domain.server.requests) == 1
    domain.server.says(POLICY)
    domain.now[0] += 301
    assert (await domain.deliver()).tls_policy == "mta-sts"


@pytest.mark.parametrize("policy_certificate", ["wrong-name", "self-signed"], indirect=True)
async def test_a_bad_certificate_of_the_policy_host_means_no_policy(domain: Domain) -> None:
    assert (await domain.deliver()).tls_policy == "opportunistic"
    assert domain.server.requests == []


async def test_a_compressed_policy_is_refused(domain: Domain) -> None:
    domain.server.says(gzip.compress(b"x" * 10_000_000), "200 OK", "Content-Encoding: gzip")
    assert (await domain.deliver()).tls_policy == "opportunistic"


async def test_a_policy_host_that_hangs_means_no_policy(domain: Domain) -> None:
    domain.gateway.times_out(policy=0.5)
    domain.server.hang = True
    outcome = await domain.deliver()
    assert (outcome.result, outcome.tls_policy) == (Result.DELIVERED, "opportunistic")


async def test_a_policy_outlives_dns_and_web_server(domain: Domain) -> None:
    await domain.deliver()
    domain.server.says(b"", "500 Oops")
    domain.dns.remove("_mta-sts.example.net")
    domain.now[0] += 3600
    assert (await domain.deliver()).tls_policy == "mta-sts"
    domain.dns.behave("_mta-sts.example.net", Behaviour.SERVFAIL)
    assert (await domain.deliver()).tls_policy == "mta-sts"
    # When the policy of a new id cannot be fetched, the old policy stays in force.
    domain.dns.normal("_mta-sts.example.net")
    domain.dns.replace("_mta-sts.example.net", "TXT", "v=STSv1; id=2;")
    assert (await domain.deliver()).tls_policy == "mta-sts"
    domain.now[0] += 86400
    assert (await domain.deliver()).tls_policy == "opportunistic"


async def test_a_policy_is_fetched_once_while_its_id_stays(domain: Domain) -> None:
    for _ in range(3):
        await domain.deliver()
    assert len(domain.server.requests) == 1


async def test_a_policy_with_max_age_0_is_fetched_each_time(domain: Domain) -> None:
    domain.server.says(POLICY.replace(b"86400", b"0"))
    for _ in range(2):
        assert (await domain.deliver()).tls_policy == "mta-sts"
    assert len(domain.server.requests) == 2


async def test_another_domain_on_the_same_hosts_is_not_affected(domain: Domain) -> None:
    domain.server.says(POLICY.replace(b"mx.example.net", b"elsewhere.test"))
    domain.dns.add("unknown.test", "MX", "10 mx.example.net.")
    outcome = await domain.gateway.deliver_one(b"bob@unknown.test")
    assert (outcome.result, outcome.tls_policy) == (Result.DELIVERED, "opportunistic")


async def test_the_policy_host_belongs_to_the_domain_of_the_recipient(domain: Domain) -> None:
    """Case C113 of docs/cases.md describes this behaviour."""
    domain.dns.add("alias.test", "CNAME", "example.net.")
    outcome = await domain.gateway.deliver_one(b"bob@alias.test")
    assert (outcome.result, outcome.tls_policy) == (Result.DELIVERED, "opportunistic")
    assert domain.server.requests == []
    assert domain.dns.asked("_mta-sts.alias.test")


async def test_policies_are_not_fetched_from_prohibited_networks(domain: Domain) -> None:
    domain.gateway.options_are(prohibited=networks("127.0.0.1/32"))
    assert (await domain.deliver()).tls_policy == "opportunistic"
    assert domain.server.requests == []


async def test_many_deliveries_at_once_fetch_once(domain: Domain) -> None:
    outcomes = await asyncio.gather(*(domain.gateway.deliver_one() for _ in range(10)))
    assert {outcome.tls_policy for outcome in outcomes} == {"mta-sts"}
    assert len(domain.server.requests) == 1
