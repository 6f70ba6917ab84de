"""INGRESS_HANDLER: which values stop the start of a worker, and which methods of a handler it reports as not called."""

from __future__ import annotations

import threading

import pytest
from structlog.testing import capture_logs

from libs.runtime.lifecycle import StartupError
from tests.ingress.handler.conftest import SITE, StartWith, send


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("tests.ingress.handler.site", "package.module:factory"),
        (":debugging", "package.module:factory"),
        ("no.such.module:x", "ModuleNotFoundError"),
        (SITE + "nobody", "AttributeError"),
        (SITE + "NOT_CALLABLE", "can't be called"),
        (SITE + "broken", "RuntimeError: no licence"),
        (SITE + "exiting", "SystemExit"),
    ],
)
async def test_a_worker_does_not_start_when_its_handler_cannot_be_created(start, name: str, words: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(StartupError, match="INGRESS_HANDLER") as caught:
        await start(handler=name)
    assert words in str(caught.value)


async def test_hooks_that_are_never_called_are_logged_at_the_start(start_with: StartWith) -> None:
    with capture_logs() as lines:
        ingress = await start_with("OtherHooks")
    (warning,) = [line for line in lines if line["event"] == "handler_methods_not_called"]
    assert warning["methods"] == ["auth_PLAIN", "handle_EHLO"]
    assert (await send(await ingress.client())).code == 250


async def test_without_a_handler_there_is_no_thread(start_with: StartWith, start) -> None:  # type: ignore[no-untyped-def]
    before = set(threading.enumerate())
    ingress = await start()
    assert ingress.worker.context.hooks is None
    assert "handler" not in {thread.name for thread in set(threading.enumerate()) - before}
    await start_with("debugging")
    assert "handler" in {thread.name for thread in set(threading.enumerate()) - before}
