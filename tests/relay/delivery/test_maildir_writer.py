"""A Maildir whose file system hangs delays only its own mail."""

from __future__ import annotations

import asyncio
import threading

from services.relay.delivery.maildir_writer import MaildirWriter
from services.relay.model.attempt import Result
from services.relay.model.outcome import ReplyMeaning

STORED = ReplyMeaning(Result.DELIVERED, 250, "2.0.0", "stored")


async def test_a_folder_that_hangs_uses_only_its_share_of_the_threads() -> None:
    hanging = threading.Event()
    at_work: list[str] = []

    def store(template: str, _sender: bytes, _recipient: bytes, _content: bytes) -> ReplyMeaning:
        at_work.append(template)
        if template == "/hangs":
            hanging.wait(60)
        return STORED

    writer = MaildirWriter(store)
    waiting = [asyncio.create_task(writer.store("/hangs", b"", b"u@a.test", b"")) for _ in range(100)]
    try:
        async with asyncio.timeout(60):
            for number in range(50):
                assert await writer.store(f"/works{number}", b"", b"u@b.test", b"") == STORED
        assert at_work.count("/hangs") <= 4
        # When a caller gives up, its thread is not free, because the thread still hangs.
        for task in waiting[:50]:
            task.cancel()
        await asyncio.gather(*waiting[:50], return_exceptions=True)
        await writer.store("/works", b"", b"u@b.test", b"")
        assert at_work.count("/hangs") <= 4
    finally:
        hanging.set()
    assert await asyncio.gather(*waiting[50:]) == [STORED] * 50
    writer.close()
    # The writer remembers no folder to which nobody writes any more.
    async with asyncio.timeout(60):
        while writer._places:  # noqa: ASYNC110 - there is no event
            await asyncio.sleep(0.01)
