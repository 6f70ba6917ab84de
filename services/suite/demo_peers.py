"""The outside world of the demonstration: a DNS zone and two mail servers, on loopback."""

from __future__ import annotations

import asyncio
import datetime
import logging
import ssl
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import dns.flags
import dns.message
import dns.rcode
import dns.rrset
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from libs.runtime import self_signed as self_signed_certificate
from libs.runtime.lifecycle import write_private

# For each (name, type), the texts of the records.
Zone = Mapping[tuple[str, str], tuple[str, ...]]
# The number of newest messages that a mail server stores.
_MOST_KEPT = 100
_TAKEN = "250 2.1.5 Taken"


class Nameserver(asyncio.DatagramProtocol):
    """Answers from one zone over UDP. The answer is NXDOMAIN for a name outside of the zone, and empty for a name
    without records of the type.
    """

    def __init__(self, zone: Zone) -> None:
        self._zone = zone
        self._transport: asyncio.DatagramTransport | None = None

    async def start(self) -> str:
        """Listens on a free loopback port. Returns host:port."""
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(lambda: self, local_addr=("127.0.0.1", 0))
        host, port = transport.get_extra_info("sockname")[:2]
        return f"{host}:{port}"

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, address: tuple[str, int]) -> None:
        query = dns.message.from_wire(data)
        response = dns.message.make_response(query, recursion_available=True)
        question = query.question[0]
        name, kind = question.name.to_text(omit_final_dot=True).lower(), dns.rdatatype.to_text(question.rdtype)
        records = self._zone.get((name, kind))
        if records:
            response.answer.append(dns.rrset.from_text(question.name, 60, "IN", kind, *records))
        elif not any(known == name for known, _ in self._zone):
            response.set_rcode(dns.rcode.NXDOMAIN)
        if self._transport is not None:
            self._transport.sendto(response.to_wire(), address)

    def stop(self) -> None:
        if self._transport is not None:
            self._transport.close()


@dataclass(frozen=True, slots=True)
class Received:
    """One message that a mail server of the demonstration accepted."""

    sender: str
    recipients: tuple[str, ...]
    content: bytes
    tls: bool
    login: str


# This class has no slots, because aiosmtpd reads every member of its handler. In Python 3.11.2 reading `__weakref__` of
# a dataclass with slots raises TypeError.
@dataclass
class MailServer:
    """A mail server that stores the newest messages that it accepted. With a certificate and a login it demands TLS and
    AUTH.

    `reply` returns its answer to a recipient's address.
    """

    name: str
    certificate: ssl.SSLContext | None = None
    login: str = ""
    password: str = ""
    reply: Callable[[str], str] = lambda _: _TAKEN
    received: deque[Received] = field(default_factory=lambda: deque(maxlen=_MOST_KEPT))
    _server: asyncio.Server | None = None

    async def start(self, host: str, port: int) -> int:
        """Listens. Returns the port."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._session, host, port)
        return int(self._server.sockets[0].getsockname()[1])

    def _session(self) -> SMTP:
        # aiosmtpd logs a warning about the use of a deprecated attribute, which only its own code uses.
        logging.getLogger("mail.log").setLevel(logging.ERROR)
        return SMTP(
            self,
            hostname=self.name,
            tls_context=self.certificate,
            require_starttls=self.certificate is not None,
            auth_required=bool(self.login),
            authenticator=self._authenticate if self.login else None,
            loop=asyncio.get_running_loop(),
        )

    def _authenticate(
        self, _server: SMTP, _session: Session, _envelope: Envelope, _mechanism: str, data: object
    ) -> AuthResult:
        right = LoginPassword(self.login.encode(), self.password.encode())
        return AuthResult(success=data == right, auth_data=data)

    async def handle_RCPT(  # noqa: N802 - aiosmtpd's
        self, _server: SMTP, _session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        reply = self.reply(address)
        if reply.startswith("250 "):
            envelope.rcpt_tos.append(address)
            envelope.rcpt_options.extend(options)
        return reply

    async def handle_DATA(self, _server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802 - aiosmtpd's
        proved: object = session.auth_data
        self.received.append(
            Received(
                sender=envelope.mail_from or "",
                recipients=tuple(envelope.rcpt_tos),
                content=bytes(envelope.original_content or b""),
                tls=getattr(session, "ssl", None) is not None,
                login=proved.login.decode() if isinstance(proved, LoginPassword) else "",
            )
        )
        return "250 2.0.0 Kept"

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()


def self_signed(folder: Path, name: str) -> ssl.SSLContext:
    """Returns a server context with a certificate for `name` that is valid for one day."""
    certificate, key = self_signed_certificate.make(name, datetime.datetime.now(datetime.UTC), days=1)
    pem = folder / f"{name}.pem"
    write_private(pem, key + certificate)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(pem)
    return context
