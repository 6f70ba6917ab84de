"""One source cannot use all the memory for content that is arriving."""

from __future__ import annotations

from pathlib import Path

from services.relay.intake.intake import Result
from services.relay.intake.submission import Chunk, Frame
from services.relay.model.message import Origin
from tests.relay.whole_relay import WholeRelay, incoming_of

MEGABYTE = 1024 * 1024


def account(login: str) -> Origin:
    return Origin("s1", "192.0.2.9", b"client.test", login, "submission", may_relay=True)


async def test_arriving_content_leaves_room_for_other_sources(tmp_path: Path) -> None:
    async with WholeRelay(f"sqlite:///{tmp_path / 'queue.sqlite3'}", tmp_path, memory_mb=8) as relay:
        # These are eight messages of a megabyte each, of which only the envelopes have come.
        bulk = [
            incoming_of([b"u@one.test"], content=b"", size=MEGABYTE, origin=account("bulk"), submission_id=f"b{number}")
            for number in range(8)
        ]
        relay.stream.feed(Frame(tuple(bulk), (), (), ()))
        refused = relay.stream.take_acks()
        assert [ack.result for ack in refused] == [Result.TEMPORARY_FAILURE] * 2
        other = incoming_of([b"u@one.test"], content=b"", size=MEGABYTE, origin=account("other"), submission_id="o")
        relay.stream.feed(Frame((other,), (), (), ()))
        relay.stream.feed(Frame((), (Chunk("o", b"x" * MEGABYTE, True),), (), ()))
        (ack,) = await relay.acks(1)
        assert ack.result is Result.STORED
        # An abandoned submission frees its memory.
        relay.stream.feed(Frame((), (), tuple(each.id for each in bulk), ()))
        relay.stream.feed(Frame((bulk[0],), (Chunk("b0", b"x" * MEGABYTE, True),), (), ()))
        (ack,) = await relay.acks(1)
        assert ack.result is Result.STORED
