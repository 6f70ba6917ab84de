"""A scriptable SMTP or LMTP server that acts as a next hop and keeps every octet that it receives.

with SmtpSink(offer=Offer(chunking=True), certificate=leaf) as sink:
    sink.on(Stage.RCPT, reply("550 5.1.1 Unknown"), address="nobody@example.test")
    sink.on(Stage.END_OF_DATA, Wait(gate), Close(), times=1)
    ...
    sink.wait_for_messages(1)
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import threading
import weakref
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Self

import trustme

from tests.peers.background import DEADLINE_SECONDS, Gate, background, wait_for
from tests.peers.ports import LOOPBACK, free_port, listening_socket
from tests.peers.smtp_dialogue import Dialogue
from tests.peers.smtp_offer import Offer
from tests.peers.smtp_records import Ending, Login, Recipient, Session, Tls, Transaction
from tests.peers.smtp_script import (
    Close,
    Endless,
    Proceed,
    Reset,
    Rule,
    Script,
    Send,
    Stage,
    Step,
    UpgradeBroken,
    Wait,
    in_packets,
    reply,
)
from tests.peers.smtp_wire import Wire

__all__ = [
    "Close",
    "Ending",
    "Endless",
    "Gate",
    "Login",
    "Offer",
    "Proceed",
    "Recipient",
    "Reset",
    "Send",
    "Session",
    "SmtpSink",
    "Stage",
    "Tls",
    "Transaction",
    "UpgradeBroken",
    "Wait",
    "in_packets",
    "reply",
]


class SmtpSink:
    """Listens on any loopback address and port. `offer` says which extensions it offers; `on` scripts its answers.

    It runs in a thread of its own. The blocking `wait_…` methods are for plain tests, the `…_came` coroutines for tests
    that run in an event loop.
    """

    def __init__(
        self,
        offer: Offer | None = None,
        *,
        host: str = LOOPBACK,
        port: int = 0,
        certificate: trustme.LeafCert | None = None,
        tls_versions: tuple[ssl.TLSVersion, ssl.TLSVersion] | None = None,
        keep_octets: bool = True,
    ) -> None:
        """With `keep_octets=False`, sessions do not keep their `octets`, which halves the memory of a load test."""
        self.host = host
        self.port = port or free_port(host)
        # The offer may be replaced while the peer runs. A session keeps the offer with which it began.
        self.offer = offer or Offer()
        self._keep_octets = keep_octets
        self._script = Script()
        self._changed = threading.Condition()
        self._sessions: list[Session] = []
        self._ended: list[Transaction] = []
        self._accepted: list[Transaction] = []
        self._sessions_over = 0
        self._wires: set[Wire] = set()
        self._faults: list[Exception] = []
        self._server: asyncio.Server | None = None
        self._names: weakref.WeakKeyDictionary[ssl.SSLObject, str] = weakref.WeakKeyDictionary()
        self._context = None if certificate is None else self._make_context(certificate, tls_versions)

    # Running

    def start(self) -> Self:
        background().call(self._start())
        return self

    def stop(self) -> None:
        """Refuses further connections and ends the existing ones. `start` listens on the same port again.

        Raises any error of the peer itself, so that no test passes because of a fault in the peer.
        """
        background().call(self._stop())
        faults, self._faults = self._faults, []
        if faults:
            raise faults[0]

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def address(self) -> str:
        """The peer's host:port."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    # The script

    def on(
        self,
        stage: Stage,
        *steps: Step,
        address: str | bytes | None = None,
        times: int | None = None,
        session: int | None = None,
        after_octets: int = 0,
        when: Callable[[bytes], bool] | None = None,
    ) -> None:
        """Does `steps` at `stage` in place of the peer's own answer. The step Proceed gives the peer's own answer.

        The other arguments limit when the steps are used. `address`: only for this recipient (at RCPT, and at
        END_OF_DATA of LMTP) or sender (at MAIL). `times`: only so many times. `session`: only in the session with this
        number. `after_octets`: only after so many octets (at CONTENT). `when`: only if this function returns true for
        the command line. When several calls apply, the last call is used.
        """
        wanted = address.encode() if isinstance(address, str) else address
        with self._changed:
            self._script.add(Rule(stage, steps, wanted, times, session, after_octets, when))

    def hold(
        self,
        stage: Stage,
        *then: Step,
        address: str | bytes | None = None,
        times: int | None = None,
        session: int | None = None,
    ) -> Gate:
        """Waits at `stage` until the returned gate is open, then does `then` (by default, the peer's own answer)."""
        gate = Gate()
        self.on(stage, Wait(gate), *(then or (Proceed(),)), address=address, times=times, session=session)
        return gate

    def clear(self) -> None:
        """Removes the script and all records. Running sessions go on."""
        with self._changed:
            self._script.clear()
            self._sessions.clear()
            self._ended.clear()
            self._accepted.clear()
            self._sessions_over = 0

    # The records

    @property
    def sessions(self) -> list[Session]:
        with self._changed:
            return list(self._sessions)

    @property
    def transactions(self) -> list[Transaction]:
        """Every transaction that has ended, in whatever way, in the order of the ends."""
        with self._changed:
            return list(self._ended)

    @property
    def messages(self) -> list[Transaction]:
        """The transactions whose content was answered with 2xx (with LMTP for at least one recipient)."""
        with self._changed:
            return list(self._accepted)

    def wait_for_messages(self, count: int, seconds: float = DEADLINE_SECONDS) -> list[Transaction]:
        """Blocks until `count` messages were accepted, and returns all messages. Raises NotReachedError."""
        self.wait_until(lambda: len(self._accepted) >= count, f"{self.address} has accepted {count} messages", seconds)
        return self.messages

    def wait_for_transactions(self, count: int, seconds: float = DEADLINE_SECONDS) -> list[Transaction]:
        self.wait_until(
            lambda: len(self._ended) >= count, f"{count} transactions have ended at {self.address}", seconds
        )
        return self.transactions

    def wait_for_sessions(self, count: int, seconds: float = DEADLINE_SECONDS) -> list[Session]:
        """Blocks until `count` sessions have ended."""
        self.wait_until(
            lambda: self._sessions_over >= count,
            f"{count} sessions have ended at {self.address}",
            seconds,
        )
        return self.sessions

    def wait_until(self, reached: Callable[[], bool], what: str, seconds: float = DEADLINE_SECONDS) -> None:
        """Blocks until `reached` returns true.

        `reached` is called after each command, each reply and each end of a session. Raises NotReachedError.
        """
        wait_for(self._changed, reached, lambda: f"{what}; {self._so_far()}", seconds)

    async def messages_came(self, count: int, seconds: float = DEADLINE_SECONDS) -> list[Transaction]:
        return await asyncio.to_thread(self.wait_for_messages, count, seconds)

    async def transactions_came(self, count: int, seconds: float = DEADLINE_SECONDS) -> list[Transaction]:
        return await asyncio.to_thread(self.wait_for_transactions, count, seconds)

    async def sessions_ended(self, count: int, seconds: float = DEADLINE_SECONDS) -> list[Session]:
        return await asyncio.to_thread(self.wait_for_sessions, count, seconds)

    def _so_far(self) -> str:
        return "; ".join(
            f"session {session.number}: {' '.join(session.verbs)} {session.ending and session.ending.name}"
            for session in self._sessions[-10:]
        )

    # Serving (runs in the peers' event loop)

    async def _start(self) -> None:
        if self._server is None:
            loop = asyncio.get_running_loop()
            listener = listening_socket(self.host, self.port)
            self._server = await loop.create_server(lambda: Wire(self._accept), sock=listener)

    async def _stop(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        await asyncio.gather(*(wire.abort() for wire in tuple(self._wires)))

    async def _accept(self, wire: Wire) -> None:
        client = wire.transport.get_extra_info("peername")[:2]
        with self._noting():
            session = Session(number=len(self._sessions) + 1, client=client)
            self._sessions.append(session)
        self._wires.add(wire)
        dialogue = Dialogue(
            wire, session, self.offer, self._script, self._context, self._names.get, self._note, self._note_ended
        )
        try:
            if self._keep_octets:
                wire.received = session.octets.extend
            await dialogue.run()
        except Exception as fault:  # noqa: BLE001 - raised by `stop`
            self._faults.append(fault)
        finally:
            self._wires.discard(wire)
            with self._noting():
                # A session that began before the call of `clear` does not count.
                self._sessions_over += any(known is session for known in self._sessions[session.number - 1 :][:1])

    def _note(self) -> None:
        with self._noting():
            pass

    def _note_ended(self, transaction: Transaction) -> None:
        with self._noting():
            self._ended.append(transaction)
            if transaction.accepted:
                self._accepted.append(transaction)

    @contextlib.contextmanager
    def _noting(self) -> Iterator[None]:
        with self._changed:
            yield
            self._changed.notify_all()

    def _make_context(
        self, certificate: trustme.LeafCert, versions: tuple[ssl.TLSVersion, ssl.TLSVersion] | None
    ) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        if versions is not None:
            if versions[0] < ssl.TLSVersion.TLSv1_2:
                # OpenSSL offers the old versions of TLS only at its lowest security level.
                context.set_ciphers("DEFAULT@SECLEVEL=0")
            context.minimum_version, context.maximum_version = versions
        certificate.configure_cert(context)

        def keep_name(tls: ssl.SSLObject, name: str | None, _context: ssl.SSLContext) -> None:
            if name is not None:
                self._names[tls] = name

        context.sni_callback = keep_name
        return context
