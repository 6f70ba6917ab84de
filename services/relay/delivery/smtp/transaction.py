"""One mail transaction in an open session. It sends MAIL, RCPT and DATA in as few round trips as the server allows."""

from __future__ import annotations

from collections.abc import Sequence

from services.relay.delivery.smtp.message import PreparedMessage, rcpt, recipient_refusal
from services.relay.delivery.smtp.protocol import ConnectionFailedError
from services.relay.delivery.smtp.session import Session
from services.relay.delivery.targets.options import Timeouts
from services.relay.model.attempt import OutgoingRecipient, Result
from services.relay.model.outcome import Reply, ReplyMeaning, Stage, deferred, lost, meaning_of, refuses_our_address

_SERVICE_CLOSES = 421


class Transaction:
    """One transaction, which runs once. Afterwards the public attributes have the results."""

    __slots__ = (
        "_accepted",
        "_message",
        "_named",
        "_offered",
        "_protocol",
        "_recipients",
        "_reused",
        "_session",
        "_stage",
        "_timeouts",
        "address_refused",
        "alive",
        "failure",
        "meanings",
        "recipient_limit",
        "stale",
    )

    def __init__(
        self,
        session: Session,
        message: PreparedMessage,
        recipients: Sequence[OutgoingRecipient],
        timeouts: Timeouts,
    ) -> None:
        self._session = session
        self._protocol = session.protocol
        self._offered = session.capabilities
        self._message = message
        self._recipients = recipients
        self._timeouts = timeouts
        self._reused = session.messages > 0
        # The indexes of recipients that are sent to the server, and the indexes of those that it accepted.
        self._named: list[int] = []
        self._accepted: list[int] = []
        self._stage = Stage.RESET if self._reused else Stage.MAIL
        # The result for each recipient, in their order. None means that there is no result, and `failure` says why.
        self.meanings: list[ReplyMeaning | None] = [None] * len(recipients)
        self.failure: ReplyMeaning | None = None
        # Whether the server had ended a reused session before it accepted anything, or refused the sender temporarily
        # in a reused session. Then this does not count as a try (C122), and the session must not be used again.
        self.stale = False
        # Whether the server was ready to handle the message.
        self.alive = False
        # The positions of recipients that were refused because of the address of this client.
        self.address_refused: list[int] = []
        # The number of recipients after which the server accepted no more. 0 means that it showed no limit.
        self.recipient_limit = 0

    async def run(self) -> None:
        """Runs the transaction. Raises only CancelledError. The session is closed when it cannot be used again."""
        refusal = self._message.refusal(self._offered)
        for index, recipient in enumerate(self._recipients):
            meaning = self.meanings[index] = refusal or recipient_refusal(recipient, self._offered)
            if meaning is None:
                self._named.append(index)
        if not self._named:
            self.alive = True
            return
        self._session.messages += 1
        try:
            if self._offered.pipelining:
                await self._pipelined()
            else:
                await self._step_by_step()
        except ConnectionFailedError as error:
            self._protocol.abort()
            self._lost(lost(self._stage, error.what, error.error))
        except BaseException:
            self._protocol.abort()
            raise

    def _lost(self, meaning: ReplyMeaning) -> None:
        if self._stage is Stage.END_OF_DATA:
            # The result is final for this attempt: no other host may get a message that this host may have accepted
            # (C120).
            self._decide([one for one in self._accepted if self.meanings[one] is None], meaning)
        if self.failure is None:
            self.failure = meaning
            self.stale = self._reused and self._stage in (Stage.RESET, Stage.MAIL)

    async def _pipelined(self) -> None:
        """Sends everything up to DATA at once (RFC 2920 3.1). Answers that arrive together are read without a wait."""
        offered, protocol, timeouts, named = self._offered, self._protocol, self._timeouts, self._named
        protocol.send(*self._flight())
        if self._reused and not self._fresh(protocol.ready() or await protocol.reply(timeouts.reset)):
            return
        self._stage = Stage.MAIL
        mail = protocol.ready() or await protocol.reply(timeouts.mail)
        if not self._sender_taken(mail):
            if mail.code != _SERVICE_CLOSES:
                await self._wind_up(len(named))
            return
        self._stage = Stage.RCPT
        for index in named:
            if not self._recipient_judged(index, protocol.ready() or await protocol.reply(timeouts.rcpt)):
                return
        if offered.chunking:
            await self._chunk()
            return
        self._stage = Stage.DATA
        data = protocol.ready() or await protocol.reply(timeouts.data)
        if not self._accepted:
            if data.code == 354:
                await self._lone_dot()
        elif self._content_wanted(data):
            await self._send(b"", self._message.stuffed(), b".\r\n")

    def _flight(self) -> tuple[bytes, int]:
        """Returns the commands RSET (where it is needed), MAIL, RCPT and DATA, and their number."""
        offered = self._offered
        recipients = [self._recipients[index] for index in self._named]
        commands = [b"RSET\r\n"] if self._reused else []
        commands.append(self._message.mail(recipients, offered))
        commands += [rcpt(recipient, offered) for recipient in recipients]
        if not offered.chunking:
            commands.append(b"DATA\r\n")
        return b"".join(commands), len(commands)

    async def _step_by_step(self) -> None:
        offered = self._offered
        if self._reused:
            self._protocol.send(b"RSET\r\n", 1)
            if not self._fresh(await self._reply(Stage.RESET, self._timeouts.reset)):
                return
        self._stage = Stage.MAIL
        recipients = [self._recipients[index] for index in self._named]
        self._protocol.send(self._message.mail(recipients, offered), 1)
        if not self._sender_taken(await self._reply(Stage.MAIL, self._timeouts.mail)):
            return
        for index in self._named:
            self._stage = Stage.RCPT
            self._protocol.send(rcpt(self._recipients[index], offered), 1)
            if not self._recipient_judged(index, await self._reply(Stage.RCPT, self._timeouts.rcpt)):
                return
        if offered.chunking:
            await self._chunk()
            return
        if not self._accepted:
            return
        self._stage = Stage.DATA
        self._protocol.send(b"DATA\r\n", 1)
        if self._content_wanted(await self._reply(Stage.DATA, self._timeouts.data)):
            await self._send(b"", self._message.stuffed(), b".\r\n")

    def _fresh(self, reply: Reply) -> bool:
        """Reads the reply to RSET on a reused session. Any reply other than 2yz means that the session has ended."""
        if reply.positive:
            return True
        self.stale = True
        self.failure = meaning_of(Stage.RESET, reply)
        self._protocol.abort()
        return False

    def _sender_taken(self, reply: Reply) -> bool:
        self.alive = reply.code != _SERVICE_CLOSES
        if reply.positive:
            return True
        if reply.code == _SERVICE_CLOSES:
            self._protocol.abort()
        meaning = meaning_of(Stage.MAIL, reply)
        if refuses_our_address(meaning, self._protocol.local_address):
            self.address_refused += self._named
        if meaning.result is Result.FAILED:
            self._decide(self._named, meaning)
        else:
            # On a reused session, this reply may mean only that the session has had enough messages or time (C25).
            self.stale = self._reused
            self.failure = meaning
        return False

    def _recipient_judged(self, index: int, reply: Reply) -> bool:
        """Reads the reply to one RCPT. Returns False when the server says that it closes the session. Then this
        recipient, and all that are not refused yet, have failed temporarily.
        """
        if reply.positive:
            self._accepted.append(index)
            return True
        meaning = meaning_of(Stage.RCPT, reply)
        if reply.code == _SERVICE_CLOSES:
            self._protocol.abort()
            self.failure = meaning
            self._decide([one for one in self._named if self.meanings[one] is None], meaning)
            return False
        if meaning.too_many:
            self.recipient_limit = self.recipient_limit or len(self._accepted)
        if refuses_our_address(meaning, self._protocol.local_address):
            self.address_refused.append(index)
        self.meanings[index] = meaning
        return True

    def _content_wanted(self, data: Reply) -> bool:
        """Returns whether the reply to DATA was 354. Any other reply is the result for the recipients that were
        accepted.
        """
        if data.code == 354:
            return True
        if data.code // 100 in (4, 5):
            self._judge_content(self._accepted, Stage.DATA, data)
        else:
            # After this reply it is unknown what the server waits for.
            self._decide(self._accepted, deferred(data.code, "4.5.0", "unexpected reply to DATA"))
            self._protocol.abort()
        if data.code == _SERVICE_CLOSES:
            self._protocol.abort()
        return False

    async def _chunk(self) -> None:
        """Sends the content unchanged and in one piece (RFC 3030), if any recipient was accepted."""
        if self._accepted:
            content = self._message.content
            await self._send(b"BDAT %d LAST\r\n" % len(content), content, b"")

    async def _send(self, start: bytes, content: bytes, end: bytes) -> None:
        """Sends the content and reads the answers: one for all recipients, or in LMTP one for each (RFC 2033 4.2)."""
        self._stage = Stage.DATA
        protocol, accepted = self._protocol, self._accepted
        replies = len(accepted) if self._session.endpoint.lmtp else 1
        if not (
            protocol.send_short(start, content, end, replies)
            or await protocol.send_content(start, content, end, self._timeouts.block, replies)
        ):
            await self._cut_short()
            return
        self._stage = Stage.END_OF_DATA
        closes = False
        for number in range(replies):
            reply = protocol.ready() or await protocol.reply(self._timeouts.end_of_data)
            concerned = accepted if replies == 1 else [accepted[number]]
            self._judge_content(concerned, Stage.END_OF_DATA, reply)
            # In LMTP the reply 421 is about one recipient. The others may still get their answers, or lose them with
            # the connection.
            closes = closes or reply.code == _SERVICE_CLOSES
        if closes:
            protocol.abort()

    async def _cut_short(self) -> None:
        """Handles an answer that came before the end of the content. A refusal is valid, but an acceptance of an
        incomplete message is not.
        """
        reply = await self._protocol.reply(self._timeouts.block)
        taken = reply.code // 100 not in (4, 5)
        meaning = deferred(reply.code, "4.5.0", "answered before the end of the message")
        if taken:
            self._decide(self._accepted, meaning)
        else:
            self._judge_content(self._accepted, Stage.DATA, reply)

    async def _lone_dot(self) -> None:
        """Ends a DATA for which no recipient was accepted: the server waits for content, so an empty one is sent (RFC
        2920 3.1; C118).
        """
        self._stage = Stage.DATA
        self._protocol.send(b".\r\n", 1)
        await self._protocol.reply(self._timeouts.end_of_data)

    async def _wind_up(self, recipients: int) -> None:
        """Reads the answers to the commands that were sent together with a MAIL that was refused."""
        for _ in range(recipients):
            if (await self._protocol.reply(self._timeouts.rcpt)).code == _SERVICE_CLOSES:
                self._protocol.abort()
                return
        if not self._offered.chunking and (await self._protocol.reply(self._timeouts.data)).code == 354:
            await self._lone_dot()

    async def _reply(self, stage: Stage, seconds: float) -> Reply:
        self._stage = stage
        return await self._protocol.reply(seconds)

    def _judge_content(self, indexes: Sequence[int], stage: Stage, reply: Reply) -> None:
        meaning = meaning_of(stage, reply)
        if refuses_our_address(meaning):
            self.address_refused += indexes
        self._decide(indexes, meaning)

    def _decide(self, indexes: Sequence[int], meaning: ReplyMeaning) -> None:
        for index in indexes:
            self.meanings[index] = meaning
