"""Asks one service over HTTP whether it is ready: what `posthouse ready` and the health checks of containers do."""

from __future__ import annotations

import ssl
import sys
import urllib.error
import urllib.request
from http import HTTPStatus

READY, NOT_READY, NOT_REACHABLE = 0, 1, 3
_SECONDS = 3.0


def ask(url: str) -> int:
    """The exit status: 0 ready, 1 not ready, 3 not reachable or no HTTP address. Says on stderr what is wrong."""
    if not url.startswith(("http://", "https://")):
        return _failed(NOT_REACHABLE, f"{url} is no http:// or https:// address")
    try:
        with _opener().open(url, timeout=_SECONDS) as response:
            return READY if response.status == HTTPStatus.OK else NOT_READY
    except urllib.error.HTTPError as error:
        return _failed(NOT_READY, f"{url} answers {error.code}: {error.read(2_000).decode('utf-8', 'replace')}")
    except (OSError, ValueError) as error:
        return _failed(NOT_REACHABLE, f"{url} does not answer: {error}")


def _opener() -> urllib.request.OpenerDirector:
    """Ignores proxy variables. Takes any certificate: the request holds no secret, and only a state is read."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context))


def _failed(status: int, reason: str) -> int:
    print(f"posthouse: {reason}", file=sys.stderr)
    return status
