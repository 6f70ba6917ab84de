"""Logs in at a relay host: RFC 4954 with PLAIN, LOGIN or CRAM-MD5."""

from __future__ import annotations

import binascii

from aiosmtplib.auth import auth_crammd5_verify, auth_login_encode, auth_plain_encode
from aiosmtplib.errors import SMTPAuthenticationError

from services.relay.configuration.model import RelayHostAuth
from services.relay.delivery.smtp.protocol import DeliveryProtocol
from services.relay.model.outcome import Reply

# Over TLS the simplest mechanism comes first; without TLS, the mechanism that does not show the password.
_OVER_TLS = ("plain", "login", "cram-md5")
_IN_CLEAR = ("cram-md5", "plain", "login")


def mechanism(offered: tuple[str, ...], *, tls: bool) -> str:
    """Returns the mechanism to use, out of those that the server offers. The result is empty when relay supports none
    of them.
    """
    return next((name for name in (_OVER_TLS if tls else _IN_CLEAR) if name in offered), "")


async def log_in(protocol: DeliveryProtocol, name: str, auth: RelayHostAuth, seconds: float) -> Reply:
    """Runs one mechanism and returns the last reply, which is 235 after a successful login. Raises
    ConnectionFailedError.

    The text of a reply is sanitised before anybody sees it, and no line that relay sends is ever shown.
    """

    async def exchange(line: bytes) -> Reply:
        protocol.send(line + b"\r\n", 1)
        return await protocol.reply(seconds)

    if name == "plain":
        reply = await exchange(b"AUTH PLAIN " + auth_plain_encode(auth.username, auth.password))
        # A server that ignores the initial response asks for it again.
        return await exchange(auth_plain_encode(auth.username, auth.password)) if reply.code == 334 else reply
    if name == "login":
        username, password = auth_login_encode(auth.username, auth.password)
        for line in (b"AUTH LOGIN", username):
            reply = await exchange(line)
            if reply.code != 334:
                return reply
        return await exchange(password)
    reply = await exchange(b"AUTH CRAM-MD5")
    if reply.code != 334:
        return reply
    try:
        answer = auth_crammd5_verify(auth.username, auth.password, reply.text)
    except (SMTPAuthenticationError, binascii.Error):
        answer = b"*"
    return await exchange(answer)
