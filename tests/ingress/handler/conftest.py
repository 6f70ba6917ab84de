"""Fixtures for a worker of ingress with a site's handler."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from posthouse.policy.v1 import policy_pb2 as pb

from tests.fakes.policy import profile
from tests.ingress.client import Client, Reply
from tests.ingress.conftest import Ingress

SITE = "tests.ingress.handler.site:"
MESSAGE = b"From: joe@far.test\r\nSubject: hello\r\n\r\nBody.\r\n"

StartWith = Callable[..., Awaitable[Ingress]]


@pytest.fixture
def start_with(start: Callable[..., Awaitable[Ingress]]) -> StartWith:
    """Starts a worker with one of the handlers in `site`."""

    async def run(factory: str, **settings: Any) -> Ingress:
        return await start(handler=SITE + factory, **settings)

    return run


def handler_of(ingress: Ingress) -> Any:
    """Returns the handler itself. Its hooks run in another thread."""
    hooks = ingress.worker.context.hooks
    assert hooks is not None
    return hooks._handler


async def send(client: Client, *recipients: str, content: bytes = MESSAGE, sender: str = "joe@far.test") -> Reply:
    """Sends one message. Returns the reply to its content, or the first reply that refuses something."""
    reply = await client.command(f"MAIL FROM:<{sender}>")
    if reply.code != 250:
        return reply
    for recipient in recipients or ("alice@example.com",):
        reply = await client.command(f"RCPT TO:<{recipient}>")
        if reply.code != 250:
            return reply
    reply = await client.command("DATA")
    if reply.code != 354:
        return reply
    client.send(content + b".\r\n")
    return await client.reply()


def asks_at_the_end() -> pb.SessionProfile:
    """Returns a session profile that makes ingress ask policy at END_OF_DATA too."""
    stages = [pb.STAGE_CONNECT, pb.STAGE_AUTH, pb.STAGE_RCPT, pb.STAGE_END_OF_DATA]
    return profile(ask_stages=stages)
