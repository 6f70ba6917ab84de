"""One mail transaction in an open session: MAIL, RCPTs, DATA in as few round trips as the server allows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from services.relay.delivery.options import Timeouts
from services.relay.delivery.prepared import PreparedMessage, rcpt, recipient_refusal
from services.relay.delivery.protocol import ConnectionFailedError
from services.relay.delivery.session import Session
from services.relay.outcome import Reply, Stage, Verdict, deferred, judge, lost
from services.relay.transaction import OutgoingRecipient, Result

_SERVICE_CLOSES = 421


@dataclass(slots=True)
class Transacted:
    """What a transaction came to."""

    # One a recipient, in their order; None: nothing was decided, and `failure` says why.
    verdicts: list[Verdict | None]
    failure: Verdict | None = None
    # A reused session turned out to be at its end before the server took anything: not a try at all (C122). It is not
    # to be used again.
    stale: bool = False
    # The server was willing to judge the message.
    alive: bool = False


class Transaction:
    """Runs once."""

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
        self._result = Transacted([None] * len(recipients))
        # Indexes of recipients that are named to the server; of those, the ones it took.
        self._named: list[int] = []
        self._accepted: list[int] = []
        self._stage = Stage.RESET if self._reused else Stage.MAIL

    async def run(self) -> Transacted:
        """Never raises but for cancellation. The session is closed when it can't be used again."""
        verdicts = self._result.verdicts
        refusal = self._message.refusal(self._offered)
        for index, recipient in enumerate(self._recipients):
            verdicts[index] = refusal or recipient_refusal(recipient, self._offered)
            if verdicts[index] is None:
                self._named.append(index)
        if not self._named:
            self._result.alive = True
            return self._result
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
        return self._result

    def _lost(self, verdict: Verdict) -> None:
        if self._stage is Stage.END_OF_DATA:
            # Decided, for this attempt: no other host gets what this one may have (C120).
            self._decide([one for one in self._accepted if self._result.verdicts[one] is None], verdict)
        if self._result.failure is None:
            self._result.failure = verdict
            self._result.stale = self._reused and self._stage in (Stage.RESET, Stage.MAIL)

    async def _pipelined(self) -> None:
        """Everything up to DATA in one flight (RFC 2920 3.1)."""
        offered = self._offered
        commands = [b"RSET\r\n"] if self._reused else []
        recipients = [self._recipients[index] for index in self._named]
        commands.append(self._message.mail(recipients, offered))
        commands += [rcpt(recipient, offered) for recipient in recipients]
        if not offered.chunking:
            commands.append(b"DATA\r\n")
        self._protocol.send(b"".join(commands), len(commands))
        if self._reused and not await self._reset():
            return
        mail = await self._reply(Stage.MAIL, self._timeouts.mail)
        if not self._sender_taken(mail):
            if mail.code != _SERVICE_CLOSES:
                await self._wind_up(len(self._named))
            return
        for index in self._named:
            if not self._recipient_judged(index, await self._reply(Stage.RCPT, self._timeouts.rcpt)):
                return
        if offered.chunking:
            await self._chunk()
            return
        data = await self._reply(Stage.DATA, self._timeouts.data)
        if self._accepted:
            await self._content(data)
        elif data.code == 354:
            await self._lone_dot()

    async def _step_by_step(self) -> None:
        offered = self._offered
        if self._reused:
            self._protocol.send(b"RSET\r\n", 1)
            if not await self._reset():
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
        await self._content(await self._reply(Stage.DATA, self._timeouts.data))

    async def _reset(self) -> bool:
        """RSET on a session used before; whatever isn't 2yz means that it is over."""
        reply = await self._reply(Stage.RESET, self._timeouts.reset)
        if reply.positive:
            return True
        self._result.stale = True
        self._result.failure = judge(Stage.RESET, reply)
        self._protocol.abort()
        return False

    def _sender_taken(self, reply: Reply) -> bool:
        self._result.alive = reply.code != _SERVICE_CLOSES
        if reply.positive:
            return True
        if reply.code == _SERVICE_CLOSES:
            self._protocol.abort()
        verdict = judge(Stage.MAIL, reply)
        if verdict.result is Result.FAILED:
            self._decide(self._named, verdict)
        else:
            # On a session used before it may be about that session only: enough messages, or time, for one (C25).
            self._result.stale = self._reused
            self._result.failure = verdict
        return False

    def _recipient_judged(self, index: int, reply: Reply) -> bool:
        """False when the server says that it closes: temporary for this one and for all that are not refused yet."""
        if reply.positive:
            self._accepted.append(index)
            return True
        verdict = judge(Stage.RCPT, reply)
        if reply.code == _SERVICE_CLOSES:
            self._protocol.abort()
            self._result.failure = verdict
            self._decide([one for one in self._named if self._result.verdicts[one] is None], verdict)
            return False
        self._result.verdicts[index] = verdict
        return True

    async def _content(self, data: Reply) -> None:
        """Sends the content to the recipients that were accepted, if DATA was answered with 354."""
        if data.code != 354:
            if data.code // 100 in (4, 5):
                self._decide(self._accepted, judge(Stage.DATA, data))
            else:
                # Nobody knows what the server waits for now.
                self._decide(self._accepted, deferred(data.code, "4.5.0", "unexpected reply to DATA"))
                self._protocol.abort()
            if data.code == _SERVICE_CLOSES:
                self._protocol.abort()
            return
        await self._send(b"", self._message.stuffed(), b".\r\n")

    async def _chunk(self) -> None:
        """The content in one piece and as it is (RFC 3030), if anybody gets it."""
        if self._accepted:
            content = self._message.content
            await self._send(b"BDAT %d LAST\r\n" % len(content), content, b"")

    async def _send(self, start: bytes, content: bytes, end: bytes) -> None:
        """The content and its answers: one for all; in LMTP one for each recipient (RFC 2033 4.2)."""
        self._stage = Stage.DATA
        replies = len(self._accepted) if self._session.endpoint.lmtp else 1
        whole = await self._protocol.send_content(start, content, end, self._timeouts.block, replies)
        if not whole:
            await self._cut_short()
            return
        closes = False
        for number in range(replies):
            reply = await self._reply(Stage.END_OF_DATA, self._timeouts.end_of_data)
            concerned = self._accepted if replies == 1 else [self._accepted[number]]
            self._decide(concerned, judge(Stage.END_OF_DATA, reply))
            # In LMTP it speaks for one recipient; the others may have theirs still, or be lost with the connection.
            closes = closes or reply.code == _SERVICE_CLOSES
        if closes:
            self._protocol.abort()

    async def _cut_short(self) -> None:
        """The answer came before the end. A refusal is one; what takes half a message is not."""
        reply = await self._protocol.reply(self._timeouts.block)
        taken = reply.code // 100 not in (4, 5)
        verdict = deferred(reply.code, "4.5.0", "answered before the end of the message")
        self._decide(self._accepted, verdict if taken else judge(Stage.DATA, reply))

    async def _lone_dot(self) -> None:
        """The server waits for content though nobody gets it: an empty one ends the wait (RFC 2920 3.1; C118)."""
        self._stage = Stage.DATA
        self._protocol.send(b".\r\n", 1)
        await self._protocol.reply(self._timeouts.end_of_data)

    async def _wind_up(self, recipients: int) -> None:
        """Reads the answers to the rest of a flight whose MAIL was refused."""
        for _ in range(recipients):
            if (await self._protocol.reply(self._timeouts.rcpt)).code == _SERVICE_CLOSES:
                self._protocol.abort()
                return
        if not self._offered.chunking and (await self._protocol.reply(self._timeouts.data)).code == 354:
            await self._lone_dot()

    async def _reply(self, stage: Stage, seconds: float) -> Reply:
        self._stage = stage
        return await self._protocol.reply(seconds)

    def _decide(self, indexes: Sequence[int], verdict: Verdict) -> None:
        for index in indexes:
            self._result.verdicts[index] = verdict
