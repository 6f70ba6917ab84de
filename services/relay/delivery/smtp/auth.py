"""Logging in at a relay host: RFC 4954 with PLAIN, LOGIN or CRAM-MD5."""

from __future__ import annotations

import binascii

from aiosmtplib.auth import auth_crammd5_verify, auth_login_encode, auth_plain_encode
from aiosmtplib.errors import SMTPAuthenticationError

from services.relay.configuration.model import RelayHostAuth
from services.relay.delivery.smtp.protocol import DeliveryProtocol
from services.relay.model.outcome import Reply

# Over TLS the simplest comes first; without it the one that doesn't show the password.
_OVER_TLS = ("plain", "login", "cram-md5")
_IN_CLEAR = ("cram-md5", "plain", "login")


def mechanism(offered: tuple[str, ...], *, tls: bool) -> str:
    """The mechanism to use of those offered; empty when none of ours is."""
    return next((name for name in (_OVER_TLS if tls else _IN_CLEAR) if name in offered), "")


async def log_in(protocol: DeliveryProtocol, name: str, auth: RelayHostAuth, seconds: float) -> Reply:
    """Runs one mechanism and returns the last reply: 235 when logged in. Raises ConnectionFailedError.

    No reply's text is repeated to anyone before it is sanitised, and no line that we send is ever shown.
    """

    async def exchange(line: bytes) -> Reply:
        protocol.send(line + b"\r\n", 1)
        return await protocol.reply(seconds)

    if name == "plain":
        reply = await exchange(b"AUTH PLAIN " + auth_plain_encode(auth.username, auth.password))
        # A server that ignores the initial response asks for it.
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
