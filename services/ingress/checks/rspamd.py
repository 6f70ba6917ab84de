"""Asks rspamd about a message over HTTP, within a time limit. Any answer that is not clear is an error."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx

from services.ingress.content_facts import SpamAction, SpamScan
from services.ingress.shared_slots import NoSlotError, SharedSlots
from services.ingress.spam import Question
from services.ingress.verdict import Rspamd

# The largest number of checks that run or wait, as a multiple of the number that may run. Further checks fail at once.
_UNDER_WAY_PER_SLOT = 4
_ANSWER_OCTETS = 1024 * 1024
_SYMBOLS = 10
_SYMBOL_LENGTH = 80
_NO_ANSWER = SpamAction.ERROR
# The actions are documented at https://rspamd.com/doc/developers/protocol.html; `quarantine` and `discard` are for
# milters. A message to discard is refused, so that its sender learns of it.
_ACTIONS = {
    "no action": SpamAction.NO_ACTION,
    "greylist": SpamAction.GREYLIST,
    "add header": SpamAction.ADD_HEADER,
    "quarantine": SpamAction.ADD_HEADER,
    "rewrite subject": SpamAction.REWRITE_SUBJECT,
    "soft reject": SpamAction.SOFT_REJECT,
    "reject": SpamAction.REJECT,
    "discard": SpamAction.REJECT,
}


class RspamdClient:
    """Asks about at most `concurrency` messages at the same time. One client may use three quarters of these places.
    Each question uses a new connection, because a check would fail on a connection that rspamd has closed.
    """

    def __init__(self, concurrency: int) -> None:
        self._slots = SharedSlots(
            concurrency,
            share=max(1, concurrency * 3 // 4),
            under_way=concurrency * _UNDER_WAY_PER_SLOT,
        )
        self._http: httpx.AsyncClient | None = None

    async def ask(self, rspamd: Rspamd, question: Question, tail: Iterator[bytes], client: str = "") -> SpamScan:
        """Asks rspamd. `question` contains the head of the content, and `tail` is the rest. `client` is the network of
        the SMTP client that sent the message. Never raises.
        """
        try:
            async with asyncio.timeout(rspamd.seconds), self._slots.held(client):
                status, body = await self._post(rspamd, question, tail)
        except NoSlotError:
            return SpamScan(_NO_ANSWER, reason="too many checks waiting")
        except TimeoutError:
            return SpamScan(_NO_ANSWER, reason="timed out")
        except (httpx.HTTPError, httpx.InvalidURL, OSError):
            return SpamScan(_NO_ANSWER, reason="unreachable")
        if status != httpx.codes.OK:
            return SpamScan(_NO_ANSWER, reason=f"rspamd answered {status}")
        return read_answer(body)

    async def close(self) -> None:
        if self._http is not None:
            await self._http.aclose()

    async def _post(self, rspamd: Rspamd, question: Question, tail: Iterator[bytes]) -> tuple[int, bytes]:
        if self._http is None:
            # The client is made on first use, because it is not needed where no rspamd is configured. Proxies of the
            # environment are not used, so that nobody else sees the mail.
            limits = httpx.Limits(max_keepalive_connections=0)
            self._http = httpx.AsyncClient(timeout=None, limits=limits, trust_env=False)  # noqa: S113 - see `ask`
        headers = [*question.headers(), (b"Content-Length", str(question.size).encode("ascii"))]
        if rspamd.password:
            headers.append((b"Password", rspamd.password.encode()))
        request = self._http.build_request(
            "POST", f"{rspamd.url}/checkv2", headers=headers, content=_pieces(question.head, tail)
        )
        response = await self._http.send(request, stream=True)
        try:
            body = bytearray()
            async for piece in response.aiter_bytes():
                body += piece
                if len(body) > _ANSWER_OCTETS:
                    break
            return response.status_code, bytes(body)
        finally:
            await response.aclose()


async def _pieces(head: bytes, tail: Iterator[bytes]) -> AsyncIterator[bytes]:
    yield head
    for piece in tail:
        yield piece


def read_answer(body: bytes) -> SpamScan:
    """Returns the result in rspamd's JSON answer. An answer that is not clear counts as no answer."""
    try:
        answer = json.loads(body)
        action = _ACTIONS.get(answer["action"])
        score, required = float(answer["score"]), float(answer["required_score"] or 0.0)
        symbols = _symbols(answer.get("symbols") or {})
    except (ValueError, TypeError, KeyError, AttributeError):
        action, score, required, symbols = None, math.nan, math.nan, ()
    if action is None or not (math.isfinite(score) and math.isfinite(required)):
        return SpamScan(_NO_ANSWER, reason="answer not understood")
    return SpamScan(action, score, required, symbols)


def _symbols(symbols: dict[str, dict[str, Any]]) -> tuple[str, ...]:
    """Returns the names of the symbols with the most weight, without those of weight 0."""
    scores = {name: abs(float(symbol["score"])) for name, symbol in symbols.items()}
    weighty = sorted((name for name, score in scores.items() if score), key=lambda name: -scores[name])
    return tuple(_printable(name)[:_SYMBOL_LENGTH] for name in weighty[:_SYMBOLS])


def _printable(name: str) -> str:
    return "".join(char if " " < char <= "~" else "?" for char in name)
