"""Calls the hooks of a site's handler, each with a time limit, and checks their answers and their changes.

Hooks are called with aiosmtpd's own Session and Envelope. 250 means that the message continues. Policy has not seen
changes that a hook makes to the envelope, so such a message is answered with 451. The answer is also 451 when a hook
takes too long or does not return an SMTP reply, or when it fails and `handle_exception` chooses no other reply.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import time
import traceback
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import structlog
from aiosmtpd.smtp import Envelope

from libs.runtime.lifecycle import StartupError
from libs.smtp import header
from libs.smtp.network import sharing_network
from libs.smtp.parameters import MailParameters, RcptParameters
from libs.smtp.reply import TRY_AGAIN, Reply
from services.ingress.content import Content
from services.ingress.data import ChunkReader, LineReader
from services.ingress.handler.loading import make
from services.ingress.handler.server import Caller, present
from services.ingress.handler.status import StatusError, refusal
from services.ingress.handler.thread import HandlerThread
from services.ingress.metrics import Metrics
from services.ingress.session import Recipient, Transaction
from services.ingress.shared_slots import NoSlotError, SharedSlots

log = structlog.get_logger(__name__)

# The largest number of hooks at the same time. Hooks that block run one after another. Each hook may have a whole
# message in memory.
_SLOTS = 16
_SHARE = 12
_UNDER_WAY = 1_000
_NULL_SENDER = "<>"


class Hooks:
    """The handler of one worker. Each hook returns the reply with which it refuses, or None when the message
    continues.
    """

    def __init__(self, name: str, handler: object, thread: HandlerThread, metrics: Metrics, seconds: float) -> None:
        self.name = name
        self._handler = handler
        self._thread = thread
        self._metrics = metrics
        self._seconds = seconds
        self._slots = SharedSlots(_SLOTS, share=_SHARE, under_way=_UNDER_WAY)

    @classmethod
    async def load(cls, name: str, metrics: Metrics, seconds: float) -> Hooks:
        """Loads the handler with this name, and starts a thread for it. Raises StartupError."""
        thread = HandlerThread()
        try:
            return cls(name, await make(name, thread), thread, metrics, seconds)
        except StartupError:
            thread.stop()
            raise

    def close(self) -> None:
        self._thread.stop()

    async def mail(self, caller: Caller, transaction: Transaction) -> Reply | None:
        """Calls the hook after policy has accepted MAIL."""
        transaction.envelope = Envelope()
        transaction.envelope.smtp_utf8 = transaction.parameters.smtputf8
        return await self._answered("handle_MAIL", caller, self._mail(caller, transaction))

    async def rcpt(self, caller: Caller, transaction: Transaction, recipient: Recipient) -> Reply | None:
        """Calls the hook after policy has accepted a recipient, which is not in the transaction yet."""
        recipients_before = _recipients(transaction)
        reply = await self._answered(
            "handle_RCPT", caller, self._rcpt(caller, transaction, recipient, recipients_before)
        )
        if reply is not None:
            transaction.envelope.mail_from, transaction.envelope.rcpt_tos = _sender(transaction), recipients_before
        return reply

    async def data(self, caller: Caller, transaction: Transaction, content: Content) -> Reply | None:
        """Calls the hook after policy has accepted the content, which the hook may change."""
        return await self._answered("handle_DATA", caller, self._data(caller, transaction, content))

    async def _mail(self, caller: Caller, transaction: Transaction) -> Reply | None:
        sender, options = _sender(transaction), _mail_options(transaction.parameters)
        reply = await self._call("handle_MAIL", caller, transaction, sender, options)
        envelope = transaction.envelope
        envelope.mail_from = envelope.mail_from or sender
        envelope.mail_options = envelope.mail_options or options
        if reply is None:
            _expect(transaction, [])
        return reply

    async def _rcpt(
        self, caller: Caller, transaction: Transaction, recipient: Recipient, recipients_before: list[str]
    ) -> Reply | None:
        address, options = _text(recipient.address), _rcpt_options(recipient.parameters)
        options_before = list(transaction.envelope.rcpt_options)
        reply = await self._call("handle_RCPT", caller, transaction, address, options)
        envelope = transaction.envelope
        if reply is None:
            if envelope.rcpt_tos == recipients_before:
                envelope.rcpt_tos.append(address)
            if envelope.rcpt_options == options_before:
                envelope.rcpt_options.extend(options)
            _expect(transaction, [*recipients_before, address])
        return reply

    async def _data(self, caller: Caller, transaction: Transaction, content: Content) -> Reply | None:
        if not self._has("handle_DATA"):
            return None
        reply = await self._call("handle_DATA", caller, transaction, content=content)
        envelope = transaction.envelope
        before, after = envelope.original_content, envelope.content
        envelope.content = envelope.original_content = None
        if reply is None:
            _expect(transaction, _recipients(transaction))
            if after is not before:
                _replace(caller, content, after)
        return reply

    def _has(self, hook: str) -> bool:
        return hasattr(self._handler, hook)

    async def _answered(self, hook: str, caller: Caller, work: Coroutine[Any, Any, Reply | None]) -> Reply | None:
        """Returns the answer of a hook, and counts its outcome."""
        try:
            reply = await work
        except _FailedError as failure:
            self._failed(hook, caller, failure)
            return failure.reply
        if self._has(hook):
            self._metrics.handler_calls[hook, "accepted" if reply is None else "refused"] += 1
        return reply

    async def _call(
        self, hook: str, caller: Caller, transaction: Transaction, *arguments: object, content: Content | None = None
    ) -> Reply | None:
        """Returns the reply with which the hook refuses, or None when it does not. Raises _FailedError."""
        if not self._has(hook):
            return None
        server, envelope = caller.server, transaction.envelope
        began = time.monotonic()
        deadline = asyncio.timeout(self._seconds)
        try:
            async with deadline, self._slots.held(_party(caller)):
                if content is not None:
                    envelope.content = envelope.original_content = b"".join(content.pieces())
                present(caller, self._handler, self._thread.loop)
                server.envelope = envelope
                function = getattr(self._handler, hook)
                status = await self._thread.call(function, server, server.session, envelope, *arguments)
            return refusal(status)
        except NoSlotError:
            raise _FailedError("overloaded") from None
        except StatusError:
            raise _FailedError("answer_unusable") from None
        except Exception as error:  # A site's code may raise any exception.
            if isinstance(error, TimeoutError) and deadline.expired():
                # The hook may still run. Its changes of the envelope must not affect the rest of the message.
                transaction.envelope = _detached(envelope)
                raise _FailedError("timed_out") from None
            raise _FailedError("exception", error, await self._chosen(caller, error)) from error
        finally:
            self._metrics.handler_seconds[hook].observe(time.monotonic() - began)

    async def _chosen(self, caller: Caller, error: Exception) -> Reply:
        """Returns the reply to an error of a hook, which handle_exception may choose. The message does not continue,
        whatever handle_exception returns.
        """
        if not self._has("handle_exception"):
            return TRY_AGAIN
        try:
            async with asyncio.timeout(self._seconds):
                chosen = refusal(await self._thread.call(getattr(self._handler, "handle_exception"), error))  # noqa: B009
                return chosen or TRY_AGAIN
        except Exception as second_error:  # noqa: BLE001 - as above
            self._failed("handle_exception", caller, _FailedError("exception", second_error))
            return TRY_AGAIN

    def _failed(self, hook: str, caller: Caller, failure: _FailedError) -> None:
        self._metrics.handler_calls[hook, failure.outcome] += 1
        error = failure.error
        fields = {} if error is None else {"error": type(error).__name__, "at": _place(error)}
        log.error(
            "handler_failed",
            handler=self.name,
            hook=hook,
            outcome=failure.outcome,
            session_id=caller.session.id,
            **fields,
        )


class _FailedError(Exception):
    """A hook did something that is not allowed, or failed. `outcome` is its label in the metrics."""

    def __init__(self, outcome: str, error: Exception | None = None, reply: Reply = TRY_AGAIN) -> None:
        super().__init__(outcome)
        self.outcome = outcome
        self.error = error
        self.reply = reply


def _expect(transaction: Transaction, recipients: list[str]) -> None:
    """Checks that policy decided about the sender and the recipients of the envelope. Raises _FailedError."""
    envelope = transaction.envelope
    senders = (_sender(transaction),) if transaction.sender else (_NULL_SENDER, "")
    if envelope.mail_from not in senders or envelope.rcpt_tos != recipients:
        raise _FailedError("envelope_changed")


def _replace(caller: Caller, content: Content, after: object) -> None:
    """Replaces the content by the content from a hook, as lines that end in CRLF. Raises _FailedError."""
    if isinstance(after, str):
        after = after.encode("utf-8", "surrogateescape")
    if not isinstance(after, (bytes, bytearray)):
        raise _FailedError("content_unusable")
    content.discard()
    lines = LineReader(
        content, max_octets=caller.profile.max_message_size, max_line=caller.limits.max_line_octets, normalise=True
    )
    reader = ChunkReader(lines)
    reader.feed(_with_crlf_at_the_end(bytes(after)))
    reader.finish()
    if lines.fault is None and header.boundary(content.head).header_end <= caller.limits.max_header_octets:
        with contextlib.suppress(OSError):
            content.complete()
            return
    raise _FailedError("content_unusable")


def _with_crlf_at_the_end(content: bytes) -> bytes:
    """Returns the content with CRLF in place of a single LF or CR at its end. The last line already has its end, so no
    empty line must be added.
    """
    if content.endswith(b"\r"):
        return content + b"\n"
    return content[:-1] + b"\r\n" if content.endswith(b"\n") and not content.endswith(b"\r\n") else content


def _place(error: Exception) -> str:
    """Returns the place in the code where an exception was raised, without the text of the exception, which may contain
    a part of the message.
    """
    frames = traceback.extract_tb(error.__traceback__)
    return f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""


def _party(caller: Caller) -> str:
    return sharing_network(caller.session.peer.client_address)


def _text(address: bytes) -> str:
    return address.decode("utf-8", "surrogateescape")


def _sender(transaction: Transaction) -> str:
    """Returns the sender as text. aiosmtpd uses `<>` for the null sender."""
    return _text(transaction.sender) or _NULL_SENDER


def _recipients(transaction: Transaction) -> list[str]:
    """Returns the recipients that policy has accepted so far."""
    return [_text(recipient.address) for recipient in transaction.recipients.values() if recipient.discard is None]


def _detached(envelope: Envelope) -> Envelope:
    """Returns a copy, with the attributes that a handler has set. A hook that still runs has the old envelope."""
    detached = copy.copy(envelope)
    detached.rcpt_tos, detached.rcpt_options = list(envelope.rcpt_tos), list(envelope.rcpt_options)
    detached.mail_options = list(envelope.mail_options)
    return detached


def _mail_options(parameters: MailParameters) -> list[str]:
    """Returns the parameters of MAIL in the form of aiosmtpd: in upper case, in no particular order."""
    options = [f"SIZE={parameters.size}"] if parameters.size else []
    if parameters.body is not None:
        options.append(f"BODY={parameters.body}")
    if parameters.smtputf8:
        options.append("SMTPUTF8")
    if parameters.ret:
        options.append(f"RET={parameters.ret}")
    if parameters.envelope_id:
        options.append(f"ENVID={parameters.envelope_id.decode('ascii', 'replace')}")
    return [option.upper() for option in options]


def _rcpt_options(parameters: RcptParameters) -> list[str]:
    options = [f"NOTIFY={','.join(parameters.notify)}"] if parameters.notify else []
    if parameters.original_recipient:
        options.append(f"ORCPT={parameters.original_recipient.decode('ascii', 'replace')}")
    return [option.upper() for option in options]
