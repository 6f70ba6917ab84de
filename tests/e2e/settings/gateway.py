"""The running suite that all tests of settings share, with functions that configure, use and restore it."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from types import TracebackType
from typing import Any, Self

from tests.e2e import world
from tests.e2e.settings.session import PROXY_NETWORK, Client
from tests.peers.dns import DnsServer
from tests.peers.ports import free_address, free_port
from tests.peers.process import until
from tests.peers.smtp_records import Transaction
from tests.peers.smtp_sink import SmtpSink
from tests.peers.suite import Suite

HOSTNAME = "mx.ours.test"
FAR = "bob@far.test"
SETTLE_SECONDS = 60.0

# The settings that only relay reads, the settings that both policy and relay read, and the members of other settings
# that relay reads. Only policy reads all others.
_RELAYS_ALONE = frozenset({"delivery", "queue", "resolvers", "relay-rules", "dkim-keys"})
_OF_BOTH = frozenset({"relay-domains", "local-domains", "accounts", "aliases", "recipients"})
_OF_BOTH_IN_SETTINGS = frozenset({"profile", "external_postmasters", "quarantine"})

_SECONDS_PER_MINUTE = 60
# The longest time that a few connections of a test need, in seconds. No clock minute may end during this time.
_MINUTE_MARGIN = 8.0


class Gateway:
    """Posthouse with the local domain ours.test (alice, carol, an alias), and a server of far.test outside.

    Every change goes through the HTTP API. When the call returns, the change is in force in each service that reads the
    changed object. `restore` rolls back to the first revision.
    """

    def __init__(self) -> None:
        self.dns = DnsServer()
        # These sinks are the mailbox server of ours.test and the MX host of far.test.
        self.mailbox = SmtpSink()
        self.mx_port = free_port()
        self.far = SmtpSink(host=free_address(), port=self.mx_port)
        self.own_address = free_address()
        self._stack = ExitStack()
        self._suite: Suite | None = None
        self._public = _public_addresses()
        self._baseline = 0
        self._newest = 0
        self._restored = itertools.count(1)
        self._domains = itertools.count(1)
        # The ids of recipients that a test has added to the list.
        self._listed: list[str] = []

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            for peer in (self.dns, self.mailbox, self.far):
                stack.enter_context(peer)
            self._world()
            environment = {
                "INGRESS_PROXY_NETWORKS": PROXY_NETWORK,
                "RELAY_MX_PORT": str(self.mx_port),
                "RELAY_OWN_ADDRESSES": self.own_address,
                "CONFIG_API_NAMESERVERS": self.dns.address,
            }
            self._suite = stack.enter_context(Suite(environment, nameservers=self.dns.address))
            self._configure()
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    @property
    def suite(self) -> Suite:
        assert self._suite is not None
        return self._suite

    # Configuration

    def patch(self, settings: str, patch: dict[str, Any]) -> dict[str, Any]:
        """Applies a merge patch to `/v1/settings/<settings>` and returns the answer with its warnings."""
        before = self.read(f"settings/{settings}")
        changed = world.change(self.suite, f"/v1/settings/{settings}", patch)
        # A patch that changes nothing makes no new snapshot, so there is nothing to wait for.
        if {**changed, "warnings": None} != {**before, "warnings": None}:
            self.settle(settings, patch)
        return changed

    def create(self, collection: str, **fields: Any) -> dict[str, Any]:
        created = world.create(self.suite, f"/v1/{collection}", fields)
        self.settle(collection)
        return created

    def list_recipient(self, address: str) -> None:
        """Adds an address to the list of recipients.

        `restore` removes it, because a rollback does not change the list.
        """
        self._listed.append(self.create("recipients", address=address)["id"])

    def change(self, collection: str, item: str, patch: dict[str, Any]) -> dict[str, Any]:
        """Applies a merge patch to one object of a collection."""
        changed = world.change(self.suite, f"/v1/{collection}/{item}", patch)
        self.settle(collection)
        return changed

    def remove(self, collection: str, item: str) -> None:
        etag = self.suite.api.get(f"/v1/{collection}/{item}").headers["ETag"]
        assert self.status("DELETE", f"{collection}/{item}", headers={"If-Match": etag}) == 204
        self.settle(collection)

    def status(self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None) -> int:
        """Returns the status code of one request."""
        return self.suite.api.request(method, f"/v1/{path}", json=body, headers=headers).status_code

    def read(self, path: str, **query: Any) -> Any:
        answer = self.suite.api.get(f"/v1/{path}", params=query)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def post(self, path: str, body: Any = None, headers: Mapping[str, str] | None = None) -> Any:
        answer = self.suite.api.post(f"/v1/{path}", json=body, headers=headers)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def try_again(self, queue_id: str) -> None:
        """Retries the waiting deliveries of a message.

        The answer 409 means that a new configuration has sent them already.
        """
        assert self.status("POST", f"queue/messages/{queue_id}:retry") in (200, 409)

    def access(self, kind: str, criterion: str, value: str, **fields: Any) -> dict[str, Any]:
        """Creates an access rule: `access("allow", "ip", "192.0.2.1")`."""
        return self.create("access-rules", list=kind, criterion=criterion, value=value, **fields)

    def content_checks(self, **checks: Any) -> None:
        self.patch("content-checks", checks)

    def settle(self, changed: str, patch: Iterable[str] = ()) -> None:
        """Waits until the services that read the setting `changed` use the newest revision."""
        newest = world.newest_revision(self.suite)
        relays = changed in _RELAYS_ALONE or changed in _OF_BOTH or not _OF_BOTH_IN_SETTINGS.isdisjoint(patch)
        policys = changed not in _RELAYS_ALONE and set(patch) != {"quarantine"}
        if newest != self._newest:
            self._newest = newest
            self._wait(newest, policy=policys, relay=relays)

    def restore(self) -> None:
        """Restores the settings and the scripts of the peers, and empties the queue."""
        for recipient in self._listed:
            self.remove("recipients", recipient)
        self._listed.clear()
        if world.newest_revision(self.suite) != self._baseline:
            self.post(f"revisions/{self._baseline}:rollback", headers={"If-Match": "*"})
            # This further change goes to both services, whatever the rollback changed, so waiting for it is enough.
            banner = f"ESMTP {next(self._restored)}"
            world.change(self.suite, "/v1/settings/general", {"profile": {"banner": banner}})
            self._baseline = self._newest = world.newest_revision(self.suite)
            self._wait(self._newest, policy=True, relay=True)
        for one in world.queued(self.suite):
            self.suite.api.post(f"/v1/queue/messages/{one['queue_id']}:delete")
        self.mailbox.clear()
        self.far.clear()

    def _wait(self, revision: int, *, policy: bool, relay: bool) -> None:
        if policy:
            world.until_policy_has(self.suite, revision)
        if relay:
            world.until_relay_has(self.suite, revision)

    # Clients

    def public_address(self) -> str:
        """Returns a public IPv4 address that no earlier test used, so that no counter has it."""
        return next(self._public)

    def new_domain(self) -> str:
        """Returns a domain that no earlier test used, because DNS answers are cached for their TTL."""
        return f"x{next(self._domains)}.test"

    def connect(self, address: str = "", **options: Any) -> Client:
        """Opens a session on the SMTP port, from a new public address unless one is given."""
        return Client(address or self.public_address(), self.suite.smtp_port, **options)

    def submission(self, address: str = "", *, login: str = world.LOGIN, **options: Any) -> Client:
        """Opens a session on the submission port, does STARTTLS, and logs in unless `login` is empty."""
        client = Client(address or self.public_address(), self.suite.submission_port, **options)
        assert client.starttls() == "220 2.0.0", client.text
        if login:
            assert client.auth_plain(login) == "235 2.7.0", client.text
        return client

    def attempt(
        self,
        recipient: str = world.ALICE,
        *,
        sender: str = FAR,
        address: str = "",
        helo: str = "client.far.test",
        content: bytes | None = None,
    ) -> str:
        """Does one transaction in its own session. Returns the refused command with its codes, or "accepted"."""
        with self.connect(address, helo=helo) as client:
            if client.greeting != "220":
                return f"CONNECT {client.greeting}"
            return client.transaction(sender, recipient, content=content)

    # The fate of a message

    def delivered(self, marker: str, sink: SmtpSink | None = None) -> Transaction:
        """Waits until the mailbox server (or another peer) has the message that contains `marker`, and returns it."""
        peer = sink or self.mailbox

        def found() -> list[Transaction]:
            return [one for one in peer.messages if marker.encode() in one.content]

        until(lambda: bool(found()), f"{peer.address} has the message {marker}; states so far: {self.states(marker)}")
        return found()[0]

    def states(self, sender: str) -> dict[str, str]:
        """Returns the state of the delivery to each recipient of the mail from `sender`."""
        listed = [*world.queued(self.suite), *world.history(self.suite)]
        return {
            delivery["recipient"]: delivery["state"]
            for one in listed
            if one["sender"] == sender
            for delivery in one["deliveries"]
        }

    def finished(self, sender: str) -> dict[str, Any]:
        """Waits until the newest message from `sender` is in the history, which happens a moment after its delivery."""

        def found() -> list[dict[str, Any]]:
            return [one for one in world.history(self.suite) if one["sender"] == sender]

        until(lambda: bool(found()), f"the mail from {sender} is in the history", SETTLE_SECONDS)
        return found()[0]

    def explain(self, **facts: Any) -> dict[str, Any]:
        """Returns the explanation of `/explain/session` for these facts at RCPT."""
        explained: dict[str, Any] = self.post(
            "explain/session", {"kind": "hypothetical", "facts": {"stage": "rcpt", **facts}}
        )
        return explained

    def metric(self, service: str, name: str, **labels: str) -> float:
        """Returns the sum of the samples of a metric that have these labels."""
        port = self.suite.port(f"{service.upper()}_METRICS_PORT")
        text = self.suite.api.get(f"http://127.0.0.1:{port}/metrics").text
        wanted = [f'{label}="{value}"' for label, value in labels.items()]
        return sum(
            float(line.rpartition(" ")[2])
            for line in text.splitlines()
            if line.partition("{")[0].partition(" ")[0] == name and all(one in line for one in wanted)
        )

    # The first configuration

    def _world(self) -> None:
        self.dns.add("far.test", "MX", "10 mx.far.test.")
        self.dns.add("mx.far.test", "A", self.far.host)
        self.dns.add("client.far.test", "A", "127.0.0.1")
        self.dns.host_with_ptr(HOSTNAME, self.own_address)

    def _configure(self) -> None:
        world.change(self.suite, "/v1/settings/general", {"profile": {"hostname": HOSTNAME}})
        mailbox = {"kind": "smtp", "host": self.mailbox.host, "port": self.mailbox.port}
        world.create(self.suite, "/v1/local-domains", {"name": "ours.test", "mailbox": mailbox})
        world.account(self.suite)
        world.account(self.suite, "carol", "carol@ours.test")
        world.create(self.suite, "/v1/aliases", {"address": "info@ours.test", "targets": [world.ALICE]})
        self._baseline = self._newest = world.newest_revision(self.suite)
        self._wait(self._newest, policy=True, relay=True)
        until(
            lambda: world.reply_to_rcpt(self.suite, world.ALICE)[0] == 250,
            "ingress has connected to policy and relay",
            SETTLE_SECONDS,
        )


def message(marker: str, *, sender: str = FAR, header: str = "", body: str = "Hello.\r\n") -> bytes:
    """Returns a message with `marker` as its subject. `header` contains further fields, each with its CRLF."""
    date = "Date: Wed, 25 Nov 2026 09:00:00 +0000\r\n"
    return f"{header}From: {sender}\r\nTo: {world.ALICE}\r\n{date}Subject: {marker}\r\n\r\n{body}".encode()


def within_one_minute() -> None:
    """Waits until a few connections fit into the rest of the present clock minute."""
    left = _SECONDS_PER_MINUTE - time.time() % _SECONDS_PER_MINUTE
    if left < _MINUTE_MARGIN:
        until(
            lambda: _SECONDS_PER_MINUTE - time.time() % _SECONDS_PER_MINUTE > _MINUTE_MARGIN,
            "the next clock minute has begun",
            _MINUTE_MARGIN + 1,
            0.1,
        )


def _public_addresses() -> Iterator[str]:
    return (f"93.184.{high}.{low}" for high in range(1, 255) for low in range(1, 255))
