"""Handlers like those that sites write. Tests name them in INGRESS_HANDLER."""

from __future__ import annotations

import asyncio
import email
import email.policy
import io
import os
import sys
import threading
import time
import urllib.request
from email.message import Message as EmailMessage
from pathlib import Path
from typing import Any

from aiosmtpd.handlers import AsyncMessage, Debugging, Mailbox, Message, Proxy, Sink

# These are aiosmtpd's own handlers, made as its documentation shows. The addresses and folders that some of them need
# are in environment variables.


def debugging() -> Debugging:
    return Debugging(io.StringIO())


def proxy() -> Proxy:
    host, _, port = os.environ["SITE_NEXT_HOP"].rpartition(":")
    return Proxy(host, int(port))


def sink() -> Sink:
    return Sink()


def mailbox() -> Mailbox:
    return Mailbox(Path(os.environ["SITE_MAILDIR"]))


class Collecting(Message):
    """Derives from the abstract class Message, as the handlers of sites do."""

    def __init__(self) -> None:
        super().__init__()
        self.messages: list[EmailMessage] = []

    def handle_message(self, message: EmailMessage) -> None:
        self.messages.append(message)


class CollectingLater(AsyncMessage):
    """Uses the event loop that it finds when it is created."""

    def __init__(self) -> None:
        super().__init__()
        self.messages: list[EmailMessage] = []

    async def handle_message(self, message: EmailMessage) -> None:
        await asyncio.sleep(0)
        await self.loop.run_in_executor(None, self.messages.append, message)


# Three handlers like those that people publish


class DomainHandler:
    """Accepts only example.com, and keeps the text that the example in aiosmtpd's documentation prints."""

    async def handle_RCPT(self, server: Any, session: Any, envelope: Any, address: str, rcpt_options: list[str]) -> str:
        if not address.endswith("@example.com"):
            return "550 not relaying to that domain"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        self.printed = f"Message from {envelope.mail_from} for {envelope.rcpt_tos}\n"
        self.printed += envelope.content.decode("utf8", errors="replace")
        return "250 Message accepted for delivery"


class WebhookHandler:
    """Parses the message and posts it to a web server with a blocking client. If this fails, it refuses the message."""

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        message = email.message_from_bytes(envelope.content, policy=email.policy.default)
        request = urllib.request.Request(
            os.environ["SITE_WEBHOOK"],
            data=str(message["subject"]).encode(),
            headers={"X-Peer": session.peer[0], "X-Helo": session.host_name, "X-Rcpt": ", ".join(envelope.rcpt_tos)},
        )
        try:
            urllib.request.urlopen(request, timeout=30)  # noqa: ASYNC210 - as sites do
        except OSError:
            return "451 Requested action aborted: error in processing"
        return "250 OK"


class TaggingHandler:
    """Sets two fields, and leaves the message as the email package writes it, with LF at the ends of lines."""

    async def handle_MAIL(self, server: Any, session: Any, envelope: Any, address: str, mail_options: list[str]) -> str:
        envelope.mail_from = address
        envelope.mail_options.extend(mail_options)
        envelope.began = time.monotonic()
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        message = email.message_from_bytes(envelope.content)
        del message["X-Site"]
        message["X-Site"] = f"{server.hostname}; {session.host_name}; tls={session.ssl is not None}"
        message["X-Took"] = str(time.monotonic() - envelope.began >= 0)
        envelope.content = message.as_bytes()
        return "250 OK"

    async def handle_exception(self, error: Exception) -> str:
        return "542 Internal server error"


# A handler whose hooks a test sets


class Scripted:
    """A handler that calls the function `on[hook]` in place of the hook, with the same arguments. The function may be a
    coroutine function.
    """

    def __init__(self) -> None:
        self.on: dict[str, Any] = {}
        self.calls: list[tuple[str, tuple[Any, ...]]] = []
        self.threads: set[str] = set()

    async def _hook(self, name: str, *arguments: Any) -> Any:
        self.calls.append((name, arguments))
        self.threads.add(threading.current_thread().name)
        action = self.on.get(name, "250 OK")
        result = action(*arguments) if callable(action) else action
        return await result if asyncio.iscoroutine(result) else result

    async def handle_MAIL(self, *arguments: Any) -> Any:
        return await self._hook("MAIL", *arguments)

    async def handle_RCPT(self, *arguments: Any) -> Any:
        return await self._hook("RCPT", *arguments)

    async def handle_DATA(self, *arguments: Any) -> Any:
        return await self._hook("DATA", *arguments)


class ScriptedWithExceptions(Scripted):
    async def handle_exception(self, error: Exception) -> Any:
        return await self._hook("exception", error)


class OtherHooks(Sink):
    """Has methods that look like hooks but that ingress must not call."""

    async def handle_EHLO(self, *arguments: Any) -> str:
        return "250 never"

    def auth_PLAIN(self, *arguments: Any) -> None:
        raise AssertionError


def broken() -> None:
    raise RuntimeError("no licence")


def exiting() -> None:
    sys.exit(3)


NOT_CALLABLE = 7
