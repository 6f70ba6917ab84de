"""Sends one signed request to a webhook.

The name is looked up once, and exactly the address that was checked is used.
"""

from __future__ import annotations

import asyncio
import functools
import json
import ssl
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import IPv6Address, ip_address
from typing import Any
from urllib.parse import SplitResult

import httpx
from standardwebhooks import Webhook

from libs.smtp.network import IPAddress, IPNetwork
from services.config_api.metrics import WEBHOOK_ATTEMPTS
from services.config_api.resources.webhook_addresses import canonical, is_allowed, is_listed, literal_of, parse_url

# The longest time from the look-up of the name to the end of the answer, in seconds.
SECONDS = 10.0
_ANSWER_OCTETS = 64 * 1024
_AGENT = "Posthouse"

# A function that returns the addresses of a name, or None when no name server answered.
LookUp = Callable[[str], Awaitable[Sequence[str] | None]]


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of one attempt. `http_status` is None when there was no complete answer, or when the answer was too
    long. `error` says in our own words why the attempt failed; it is empty after a success.
    """

    http_status: int | None
    error: str
    took_us: int

    @property
    def delivered(self) -> bool:
        return self.http_status is not None and 200 <= self.http_status < 300 and not self.error


class _NotSentError(Exception):
    """The request was not sent, or its answer was too long. The text gives the reason in words."""


class Sender:
    """Sends requests to webhooks. Each process has one sender. Redirects and the environment variables for proxies are
    ignored.
    """

    def __init__(self, look_up: LookUp, networks: Sequence[IPNetwork], verify: ssl.SSLContext | None = None) -> None:
        """`networks` are the networks in which private addresses and URLs with http are allowed."""
        self._look_up = look_up
        self._networks = tuple(networks)
        self._verify = verify

    @functools.cached_property
    def _client(self) -> httpx.AsyncClient:
        """Returns the client, which is made on first use because reading the system's certificate authorities takes
        time. Each connection is used for one request only, because the name may have another address the next time.
        """
        return httpx.AsyncClient(
            verify=self._verify or ssl.create_default_context(),
            trust_env=False,
            follow_redirects=False,
            timeout=SECONDS,
            limits=httpx.Limits(max_keepalive_connections=0),
            headers={"User-Agent": _AGENT, "Accept": "*/*", "Accept-Encoding": "identity"},
        )

    async def close(self) -> None:
        if "_client" in self.__dict__:
            await self._client.aclose()

    async def send(self, url: str, secrets: Sequence[str], event_id: str, body: dict[str, Any]) -> Outcome:
        """Makes one attempt to send an event. Raises only CancelledError."""
        began = time.monotonic()
        status, error = None, ""
        try:
            async with asyncio.timeout(SECONDS):
                status = await self._post(url, secrets, event_id, body)
        except TimeoutError:
            error = f"no complete answer within {SECONDS:.0f} s"
        except _NotSentError as refused:
            error = str(refused)
        except httpx.InvalidURL:
            error = "the URL cannot be used"
        except httpx.HTTPError as failure:
            error = _reason(failure)
        except (OSError, ValueError) as failure:
            error = type(failure).__name__
        if status is not None and not 200 <= status < 300:
            error = (
                "the host answered with a redirect, which is not followed"
                if 300 <= status < 400
                else "the host did not accept the event"
            )
        outcome = Outcome(status, error, int((time.monotonic() - began) * 1_000_000))
        WEBHOOK_ATTEMPTS.labels("delivered" if outcome.delivered else "failed").inc()
        return outcome

    async def _post(self, url: str, secrets: Sequence[str], event_id: str, body: dict[str, Any]) -> int:
        parts = parse_url(url)
        address = await self._address(parts)
        octets = json.dumps(body, separators=(",", ":"), ensure_ascii=False).encode()
        headers = {
            **signature_headers(secrets, event_id, octets, datetime.now(UTC)),
            "Content-Type": "application/json",
            "Host": parts.netloc,
        }
        target = httpx.URL(url).copy_with(host=str(address))
        request = self._client.build_request("POST", target, content=octets, headers=headers)
        # The certificate is checked against the name, although the connection is made to the address.
        request.extensions["sni_hostname"] = parts.hostname or ""
        response = await self._client.send(request, stream=True)
        try:
            size = 0
            async for piece in response.aiter_raw():
                size += len(piece)
                if size > _ANSWER_OCTETS:
                    raise _NotSentError("the answer is longer than 64 KB")
        finally:
            await response.aclose()
        return response.status_code

    async def _address(self, parts: SplitResult) -> IPAddress:
        """Returns the address to connect to. Raises _NotSentError unless all addresses of the host are allowed."""
        literal = literal_of(parts)
        if literal is not None:
            addresses = [canonical(literal)]
        else:
            found = await self._look_up(parts.hostname or "")
            if found is None:
                raise _NotSentError("the name could not be looked up")
            addresses = [canonical(ip_address(text)) for text in found]
        if not addresses:
            raise _NotSentError("the name has no address")
        if not all(is_allowed(address, self._networks) for address in addresses):
            raise _NotSentError("the host has an address to which webhooks must not be sent")
        if parts.scheme != "https" and not all(is_listed(address, self._networks) for address in addresses):
            raise _NotSentError("without https the address must be listed in CONFIG_API_WEBHOOK_NETWORKS")
        # IPv4 is preferred, because on hosts with both families it works at least as often.
        return min(addresses, key=lambda address: isinstance(address, IPv6Address))


def signature_headers(secrets: Sequence[str], event_id: str, body: bytes, at: datetime) -> dict[str, str]:
    """Returns the headers of standardwebhooks.com, with one signature for each secret that is valid now."""
    text = body.decode()
    signatures = [Webhook(secret).sign(event_id, at, text) for secret in secrets]
    return {
        "Webhook-Id": event_id,
        "Webhook-Timestamp": str(int(at.timestamp())),
        "Webhook-Signature": " ".join(signatures),
    }


def _reason(failure: httpx.HTTPError) -> str:
    """Returns the reason in our own words, because the text of a server or a library may contain anything."""
    if isinstance(failure.__cause__, ssl.SSLError) or "CERTIFICATE" in str(failure).upper():
        return "TLS failed, or the certificate is not valid for the name"
    kinds = (
        (httpx.ConnectTimeout, "the host did not accept the connection in time"),
        (httpx.ConnectError, "the host did not accept the connection"),
        (httpx.TimeoutException, f"no complete answer within {SECONDS:.0f} s"),
        (httpx.RemoteProtocolError, "the answer is not HTTP"),
    )
    return next((text for kind, text in kinds if isinstance(failure, kind)), "the connection was lost")
