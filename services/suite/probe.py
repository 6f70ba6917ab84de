"""Asks services whether they are ready, for `posthouse ready` and the health checks of containers."""

from __future__ import annotations

import smtplib
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterable
from http import HTTPStatus
from urllib.parse import urlsplit

READY, NOT_READY, NOT_REACHABLE = 0, 1, 3
_SECONDS = 3.0
_SERVICE_READY = 220  # RFC 5321 4.2.3


class NotReadyError(Exception):
    """The service answers that it is not ready, or does not answer. `status` is the exit status for this."""

    def __init__(self, reason: str, status: int) -> None:
        super().__init__(reason)
        self.status = status


def ask(urls: Iterable[str]) -> None:
    """Asks each address, http(s)://HOST:PORT/readyz or smtp://HOST:PORT. Raises NotReadyError at the first failure."""
    for url in urls:
        try:
            scheme = urlsplit(url).scheme
            if scheme in {"http", "https"}:
                _ask_http(url)
            elif scheme == "smtp":
                _ask_smtp(url)
            else:
                raise NotReadyError(f"{url} is not an http, https or smtp address", NOT_REACHABLE)
        except (OSError, ValueError, smtplib.SMTPServerDisconnected) as error:
            raise NotReadyError(f"{url} does not answer: {error}", NOT_REACHABLE) from error


def _ask_http(url: str) -> None:
    # Proxies of the environment are not used. Any certificate is accepted, because the request contains no secret.
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context))
    try:
        with opener.open(url, timeout=_SECONDS) as response:
            if response.status != HTTPStatus.OK:
                raise NotReadyError(f"{url} answers {response.status}", NOT_READY)
    except urllib.error.HTTPError as error:
        reason = error.read(2_000).decode("utf-8", "replace")
        raise NotReadyError(f"{url} answers {error.code}: {reason}", NOT_READY) from error


def _ask_smtp(url: str) -> None:
    address = urlsplit(url)
    with smtplib.SMTP(timeout=_SECONDS) as session:
        code, text = session.connect(address.hostname or "", address.port or smtplib.SMTP_PORT)
    if code != _SERVICE_READY:
        raise NotReadyError(f"{url} answers {code}: {text.decode('utf-8', 'replace')}", NOT_READY)
