"""The AUTH exchanges of the scripted SMTP peer (RFC 4954, RFC 4616, RFC 2195)."""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Awaitable, Callable, Mapping

from tests.peers.smtp_records import Login

_CHALLENGE = b"<1896.697170952@sink.test>"

# A function that sends a challenge (already in base64) and returns the client's answer line.
Ask = Callable[[bytes], Awaitable[bytes]]


class AuthError(Exception):
    """The exchange cannot continue. The text of the exception is the reply to the client."""


async def exchange(mechanism: str, initial: bytes, logins: Mapping[str, str], ask: Ask) -> Login:
    """Runs one exchange until its verdict. `initial` is the initial response as sent; it is empty when there is none.

    Raises AuthError.
    """
    match mechanism:
        case "PLAIN":
            parts = _decoded(initial or await ask(b"")).split(b"\0")
            if len(parts) != 3:
                raise AuthError("501 5.5.2 Malformed credentials")
            return _login(mechanism, parts[1], parts[2], logins)
        case "LOGIN":
            username = _decoded(initial or await ask(base64.b64encode(b"Username:")))
            return _login(mechanism, username, _decoded(await ask(base64.b64encode(b"Password:"))), logins)
        case "CRAM-MD5":
            response = _decoded(await ask(base64.b64encode(_CHALLENGE)))
            username, _, digest = response.rpartition(b" ")
            password = logins.get(username.decode("utf-8", "replace"))
            right = password is not None and hmac.compare_digest(
                hmac.new(password.encode(), _CHALLENGE, "md5").hexdigest().encode(), digest
            )
            known = password if right and password is not None else ""
            return Login(mechanism, username.decode("utf-8", "replace"), known, right, tls=False)
        case _:
            raise AuthError("504 5.5.4 Unknown mechanism")


def _login(mechanism: str, username: bytes, password: bytes, logins: Mapping[str, str]) -> Login:
    name, secret = username.decode("utf-8", "replace"), password.decode("utf-8", "replace")
    return Login(mechanism, name, secret, logins.get(name) == secret, tls=False)


def _decoded(line: bytes) -> bytes:
    if line == b"*":
        raise AuthError("501 5.7.0 Cancelled")
    try:
        return base64.b64decode(b"" if line == b"=" else line, validate=True)
    except binascii.Error:
        raise AuthError("501 5.5.2 Not base64") from None
