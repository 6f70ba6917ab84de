"""One session of the scripted SMTP peer.

The peer is a correct server; the script may replace its answer at each stage.
"""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from tests.peers.smtp_auth import AuthError, exchange
from tests.peers.smtp_offer import NO_PATH, Offer, Path, parse_path, refused_parameter, unstuffed
from tests.peers.smtp_records import Ending, Recipient, Session, Tls, Transaction
from tests.peers.smtp_script import (
    Close,
    Endless,
    Proceed,
    Reset,
    Script,
    Send,
    Stage,
    Step,
    UpgradeBroken,
    Wait,
)
from tests.peers.smtp_wire import ClientGone, Wire

# The last line of a reply consists of the code and, if there is text, a space and the text (RFC 5321 section 4.2.1).
_FINAL_LINE = re.compile(rb"^(\d\d\d)(?: [^\n]*)?\r\n", re.MULTILINE)


class _Over(Exception):  # noqa: N818 - an event of the dialogue, not a fault
    """The script or the peer has ended the session."""


@dataclass(frozen=True, slots=True)
class _Played:
    """The result of a stage.

    `code` is the code of the reply that was sent, or None when the sent octets were not a reply. `proceeded` says
    whether the script let the peer continue with its own answer.
    """

    code: int | None
    proceeded: bool

    @property
    def positive(self) -> bool:
        return self.code is not None and 200 <= self.code < 300


class Dialogue:
    """Runs one session to its end and fills `session`."""

    def __init__(
        self,
        wire: Wire,
        session: Session,
        offer: Offer,
        script: Script,
        context: ssl.SSLContext | None,
        server_name: Callable[[ssl.SSLObject], str | None],
        changed: Callable[[], None],
        ended: Callable[[Transaction], None],
    ) -> None:
        self._wire = wire
        self._session = session
        self._offer = offer
        self._script = script
        self._context = context
        self._server_name = server_name
        # `_changed` is called after each change of the record, and `_ended` with each transaction that has ended.
        self._changed = changed
        self._ended = ended
        self._transaction: Transaction | None = None
        self._interrupted: Transaction | None = None
        self._greeted = False
        self._esmtp = False

    async def run(self) -> None:
        try:
            if self._offer.implicit_tls:
                await self._start_tls(implicit=True)
            await self._play(Stage.CONNECT, f"220 {self._offer.hostname} {'LMTP' if self._offer.lmtp else 'ESMTP'}")
            while True:
                await self._command(await self._read_command())
        except ClientGone as gone:
            self._session.ending = Ending.BROKEN if gone.broken else Ending.CLIENT_CLOSED
        except ConnectionError:
            self._session.ending = Ending.BROKEN
        except _Over:
            pass
        finally:
            self._session.ending = self._session.ending or Ending.SERVER_CLOSED
            if self._transaction is not None and self._transaction.via == "DATA":
                # The client left in the middle of the content. The first two octets were added by `read_content`.
                self._transaction.raw = self._wire.take()[2:]
            self._abandon()
            self._wire.transport.close()

    async def _read_command(self) -> bytes:
        line = await self._wire.read_line()
        if b"\n" in self._wire.buffer:
            self._session.pipelined += 1
        # A bare LF at the end of the line is kept, so that the record shows it.
        command = line.removesuffix(b"\r\n")
        self._session.commands.append(command)
        self._changed()
        return command

    async def _command(self, line: bytes) -> None:
        match self._session.verbs[-1]:
            case "EHLO" | "HELO" | "LHLO" as verb:
                await self._hello(verb, line)
            case "STARTTLS":
                await self._starttls(line)
            case "AUTH":
                await self._auth(line)
            case "MAIL":
                await self._mail(line)
            case "RCPT":
                await self._rcpt(line)
            case "DATA":
                await self._data(line)
            case "BDAT":
                await self._bdat(line)
            case "RSET":
                self._abandon()
                await self._play(Stage.RSET, "250 2.0.0 Reset", line)
            case "NOOP":
                await self._play(Stage.NOOP, "250 2.0.0 Ok", line)
            case "QUIT":
                self._session.ending = Ending.QUIT
                await self._play(Stage.QUIT, "221 2.0.0 Bye", line)
                await self._wire.close()
                raise _Over
            case _:
                await self._play(Stage.OTHER, "500 5.5.1 Unknown command", line)

    # Greeting, TLS, AUTH

    async def _hello(self, verb: str, line: bytes) -> None:
        offer = self._offer
        self._session.helo = line.partition(b" ")[2]
        self._session.greeting_word = verb
        self._abandon()
        if (verb == "LHLO") != offer.lmtp or (verb == "EHLO" and not offer.ehlo):
            await self._play(Stage.EHLO, "502 5.5.1 Not here", line)
            return
        self._esmtp = verb != "HELO"
        lines = [offer.hostname, *(self._offered if self._esmtp else ())]
        text = [f"250{' ' if number == len(lines) else '-'}{line}" for number, line in enumerate(lines, 1)]
        await self._play(Stage.EHLO, "\r\n".join(text), line)

    @property
    def _offered(self) -> list[str]:
        """The extensions that this session offers at this moment."""
        can_start_tls = self._context is not None and self._session.tls is None
        return self._offer.extensions(can_start_tls=can_start_tls, over_tls=self._session.tls is not None)

    async def _starttls(self, line: bytes) -> None:
        default = "220 2.0.0 Go ahead" if "STARTTLS" in self._offered else "502 5.5.1 Not here"
        played = await self._play(Stage.STARTTLS, default, line)
        if played.code == 220:
            self._session.behind_starttls = self._wire.take()
            await self._start_tls(implicit=False)

    async def _start_tls(self, *, implicit: bool) -> None:
        assert self._context is not None, "STARTTLS was used, but this peer has no certificate"
        try:
            await self._wire.start_tls(self._context)
        except OSError as error:
            self._session.tls_failure = str(error) or type(error).__name__
            raise _Over from None
        tls = self._wire.tls
        assert tls is not None
        cipher = tls.cipher()
        self._session.tls = Tls(
            version=tls.version() or "",
            cipher=cipher[0] if cipher else "",
            server_name=self._server_name(tls),
            implicit=implicit,
        )
        # After STARTTLS the server must forget all that the client sent before (RFC 3207 section 4.2).
        self._esmtp = False
        self._session.helo = b""
        self._session.greeting_word = ""
        self._abandon()

    async def _auth(self, line: bytes) -> None:
        _, _, rest = line.partition(b" ")
        mechanism, _, initial = rest.partition(b" ")
        name = mechanism.decode("ascii", "replace").upper()
        refusal = ""
        if not self._offer.logins:
            refusal = "502 5.5.1 Not here"
        elif not any(extension.startswith("AUTH ") for extension in self._offered):
            refusal = "538 5.7.11 Encryption required"
        elif self._session.authenticated or self._transaction is not None:
            refusal = "503 5.5.1 Not now"
        elif name not in self._offer.mechanisms:
            refusal = "504 5.5.4 Unknown mechanism"
        played = await self._play(Stage.AUTH, refusal, line)
        if refusal or not played.proceeded:
            return
        try:
            login = await exchange(name, initial, self._offer.logins, self._ask)
        except AuthError as error:
            await self._reply(str(error))
            return
        login = replace(login, tls=self._session.tls is not None)
        default = "235 2.7.0 Welcome" if login.accepted else "535 5.7.8 Wrong name or password"
        self._session.logins.append(login)
        played = await self._play(Stage.AUTH_RESULT, default, line)
        self._session.logins[-1] = replace(login, accepted=played.code == 235)

    async def _ask(self, challenge: bytes) -> bytes:
        await self._reply(f"334 {challenge.decode('ascii')}")
        return await self._read_command()

    # The transaction

    async def _mail(self, line: bytes) -> None:
        path = parse_path(b"MAIL FROM", line)
        if not self._session.greeting_word or self._transaction is not None:
            answer = "503 5.5.1 Not now"
        elif self._offer.tls_required and self._session.tls is None:
            answer = "530 5.7.0 STARTTLS first"
        elif self._offer.auth_required and not self._session.authenticated:
            answer = "530 5.7.0 AUTH first"
        else:
            answer = self._refusal(path) or "250 2.1.0 Ok"
        address, parameters = path or NO_PATH
        played = await self._play(Stage.MAIL, answer, line, address)
        if played.positive:
            self._transaction = Transaction(self._session, address, parameters)
            self._session.transactions.append(self._transaction)
            self._changed()

    async def _rcpt(self, line: bytes) -> None:
        path = parse_path(b"RCPT TO", line)
        transaction = self._transaction
        answer = "503 5.5.1 Not now" if transaction is None else self._refusal(path) or "250 2.1.5 Ok"
        address, parameters = path or NO_PATH
        limit = self._offer.max_recipients
        if transaction is not None and limit and len(transaction.accepted_recipients) >= limit:
            answer = "452 4.5.3 Too many recipients"
        if transaction is not None:
            transaction.recipients.append(Recipient(address, parameters, None))
        played = await self._play(Stage.RCPT, answer, line, address)
        if transaction is not None:
            transaction.recipients[-1] = replace(transaction.recipients[-1], code=played.code)
            self._changed()

    def _refusal(self, path: Path | None) -> str:
        if path is None:
            return "501 5.5.4 MAIL FROM:<address> or RCPT TO:<address> wanted"
        return refused_parameter(self._offer, self._offered if self._esmtp else (), path.parameters)

    async def _data(self, line: bytes) -> None:
        transaction = self._transaction
        if transaction is None or transaction.via == "BDAT":
            await self._play(Stage.DATA, "503 5.5.1 Not now", line)
            return
        default = "354 Go ahead" if transaction.accepted_recipients else "554 5.5.1 No valid recipients"
        played = await self._play(Stage.DATA, default, line)
        if played.code != 354:
            return
        transaction.via = "DATA"
        transaction.raw = await self._wire.read_content(self._content_came)
        transaction.content = unstuffed(transaction.raw)
        await self._end_of_data(transaction, line)

    async def _content_came(self, octets: int) -> None:
        rule = self._script.content_rule(self._session.number)
        if rule is not None and octets >= rule.after_octets and self._interrupted is not self._transaction:
            # The script interrupts the content of one message once at most.
            self._interrupted = self._transaction
            if rule.times is not None:
                rule.times -= 1
            await self._follow(rule.steps, "")

    async def _bdat(self, line: bytes) -> None:
        words = line.split()
        if not self._offer.chunking:
            await self._play(Stage.BDAT, "502 5.5.1 Not here", line)
            return
        if not (len(words) in (2, 3) and words[1].isdigit() and words[2:] in ([], [b"LAST"], [b"last"])):
            # The octets that follow cannot be distinguished from commands, so the session ends.
            await self._reply("501 5.5.4 BDAT size [LAST] wanted")
            raise _Over
        octets = await self._wire.read_exactly(int(words[1]))
        transaction = self._transaction
        if transaction is None or not transaction.accepted_recipients:
            await self._play(Stage.BDAT, "503 5.5.1 Not now", line)
            return
        transaction.via = "BDAT"
        transaction.chunk_sizes.append(len(octets))
        transaction.raw += octets
        transaction.content = transaction.raw
        if len(words) == 3:
            await self._end_of_data(transaction, line)
        else:
            await self._play(Stage.BDAT, f"250 2.0.0 {len(octets)} octets", line)

    async def _end_of_data(self, transaction: Transaction, line: bytes) -> None:
        transaction.complete = True
        self._changed()
        too_big = self._offer.size and len(transaction.content) > self._offer.size
        default = "552 5.3.4 Too big" if too_big else "250 2.0.0 Kept"
        # The content is complete. From now on, an end of the session does not count as an abandoned transaction.
        self._transaction = None
        try:
            if self._offer.lmtp:
                await self._final_codes(transaction, default, line)
            else:
                await self._play(
                    Stage.END_OF_DATA, default, line, answered=lambda code: self._settle(transaction, code)
                )
        finally:
            if transaction.code is None:
                self._ended(transaction)
        await self._play(Stage.IDLE, "")

    def _settle(self, transaction: Transaction, code: int) -> None:
        # This happens before the answer is sent, so a client that has read the answer finds the message in the record.
        transaction.code = code
        self._ended(transaction)

    async def _final_codes(self, transaction: Transaction, default: str, line: bytes) -> None:
        """Sends one answer for each accepted recipient, in their order (RFC 2033 section 4.2)."""
        waiting = [number for number, recipient in enumerate(transaction.recipients) if recipient.accepted]
        for number in waiting:
            recipient = transaction.recipients[number]

            def answered(code: int, number: int = number, recipient: Recipient = recipient) -> None:
                transaction.recipients[number] = replace(recipient, final_code=code)
                codes = [transaction.recipients[index].final_code for index in waiting]
                if None not in codes:
                    self._settle(transaction, min(code for code in codes if code is not None))

            await self._play(Stage.END_OF_DATA, default, line, recipient.address, answered)

    def _abandon(self) -> None:
        if self._transaction is not None:
            self._ended(self._transaction)
            self._transaction = None
        self._changed()

    # The script

    async def _play(
        self,
        stage: Stage,
        default: str,
        line: bytes = b"",
        address: bytes | None = None,
        answered: Callable[[int], None] | None = None,
    ) -> _Played:
        """Does the script's steps for this stage.

        `default` is the peer's own answer. It is "" when the peer has no answer yet.
        """
        steps = self._script.take(stage, self._session.number, line, address)
        return await self._follow(steps, default, answered)

    async def _follow(
        self, steps: Sequence[Step], default: str, answered: Callable[[int], None] | None = None
    ) -> _Played:
        sent = b""
        code: int | None = None
        proceeded = False
        before: Send | None = None
        for step in steps:
            if isinstance(step, Proceed):
                proceeded = True
                if not default:
                    continue
                step = Send(default.encode() + b"\r\n")
            if isinstance(step, Send):
                sent += step.octets
                final = _FINAL_LINE.search(sent) if code is None else None
                if final is not None:
                    code = int(final[1])
                    if answered is not None:
                        answered(code)
                if before is not None:
                    await self._wire.delivered()
            before = step if isinstance(step, Send) else None
            await self._step(step)
        return _Played(code, proceeded)

    async def _step(self, step: Step) -> None:
        match step:
            case Send(octets):
                if not self._greeted:
                    self._greeted = True
                    self._session.early = bytes(self._wire.buffer)
                await self._wire.send(octets)
            case Wait(gate):
                await gate.passing()
            case Endless(octets):
                many = octets * (16384 // len(octets) + 1)
                while not self._wire.client_is_gone:
                    await self._wire.send(many)
                    # `send` may return without waiting. The sleep lets the event loop notice that the client has gone.
                    await asyncio.sleep(0)
                raise ClientGone(broken=False)
            case UpgradeBroken():
                await self._wire.send(b"220 2.0.0 Go ahead\r\n")
                await self._wire.delivered()
                await self._wire.send(b"this is no handshake\r\n")
                await self._wire.close()
                raise _Over
            case Close():
                await self._wire.close()
                raise _Over
            case Reset():
                await self._wire.reset()
                raise _Over

    async def _reply(self, line: str) -> None:
        await self._wire.send(line.encode() + b"\r\n")
