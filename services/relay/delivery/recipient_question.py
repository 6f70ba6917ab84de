"""Asks a mailbox server whether it accepts mail for a recipient. The session goes up to RCPT, and no mail is sent."""

from __future__ import annotations

import asyncio
from collections import deque
from enum import Enum

from services.relay.configuration.model import Configuration
from services.relay.delivery.smtp.opening import SessionConnector
from services.relay.delivery.smtp.protocol import ConnectionFailedError
from services.relay.delivery.smtp.session import Session
from services.relay.delivery.targets.endpoint import HostFailedError
from services.relay.delivery.targets.finder import TargetFinder
from services.relay.delivery.targets.options import Timeouts
from services.relay.model.attempt import Result, Route, RouteKind
from services.relay.model.outcome import Stage, by_operators_own_host, meaning_of

# The time for all hosts together.
_SECONDS = 25.0
_HAS_SERVER = (RouteKind.MAILBOX, RouteKind.RELAY_DOMAIN, RouteKind.RELAY_HOST)
# RFC 3463: these replies are about the size of a message, the policy of the server or the protocol, and not about the
# recipient.
_NOT_ABOUT_THE_ADDRESS = ("5.2.3", "5.3.", "5.4.", "5.5.", "5.6.", "5.7.")
_MAILBOX_FULL = "5.2.2"


class ServerAnswer(Enum):
    YES = "yes"
    NO = "no"
    # The recipient exists, and the server permanently refuses its mail while the mailbox is full.
    FULL = "full"
    # The server was silent, refused temporarily, or refused for a reason that is not about the recipient.
    NONE = "none"


class RecipientQuestions:
    """Asks mailbox servers about recipients. There is one in each process, for as long as the process lives."""

    def __init__(self, finder: TargetFinder, connector: SessionConnector, timeouts: Timeouts) -> None:
        self._finder = finder
        self._connector = connector
        self._timeouts = timeouts

    async def ask(self, configuration: Configuration, route: Route, recipient: bytes) -> ServerAnswer:
        """Asks the hosts of the route one after the other until one answers. Raises only CancelledError."""
        if route.kind not in _HAS_SERVER:
            # Servers of other organisations are never asked, even if an old configuration says so.
            return ServerAnswer.NONE
        try:
            async with asyncio.timeout(_SECONDS):
                return await self._ask_hosts(configuration, route, recipient)
        except TimeoutError:
            return ServerAnswer.NONE

    async def _ask_hosts(self, configuration: Configuration, route: Route, recipient: bytes) -> ServerAnswer:
        targets = await self._finder.find(configuration, route)
        endpoints = deque(self._connector.in_order(targets.endpoints))
        while endpoints:
            failures: list[HostFailedError] = []
            session = await self._connector.session(endpoints, configuration.hostname, failures)
            if session is None:
                continue
            answer = await self._ask_server(session, recipient)
            if answer is not ServerAnswer.NONE:
                return answer
        return ServerAnswer.NONE

    async def _ask_server(self, session: Session, recipient: bytes) -> ServerAnswer:
        protocol, needs_utf8 = session.protocol, not recipient.isascii()
        if needs_utf8 and not session.capabilities.smtputf8:
            # The server could not accept mail for this recipient.
            protocol.quit()
            return ServerAnswer.NO
        try:
            protocol.send(b"MAIL FROM:<>%b\r\n" % (b" SMTPUTF8" if needs_utf8 else b""), 1)
            if not (await protocol.reply(self._timeouts.mail)).positive:
                protocol.quit()
                return ServerAnswer.NONE
            protocol.send(b"RCPT TO:<%b>\r\n" % recipient, 1)
            meaning = by_operators_own_host(meaning_of(Stage.RCPT, await protocol.reply(self._timeouts.rcpt)))
            protocol.quit()
        except ConnectionFailedError:
            protocol.abort()
            return ServerAnswer.NONE
        except BaseException:
            protocol.abort()
            raise
        if meaning.result is Result.DELIVERED:
            return ServerAnswer.YES
        if meaning.result is not Result.FAILED or meaning.enhanced_code.startswith(_NOT_ABOUT_THE_ADDRESS):
            return ServerAnswer.NONE
        return ServerAnswer.FULL if meaning.enhanced_code == _MAILBOX_FULL else ServerAnswer.NO
