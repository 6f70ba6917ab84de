"""Log lines about a refused submission or an action name the session or the message."""

from __future__ import annotations

from pathlib import Path

from structlog.testing import capture_logs

from services.relay.api.operator import Action
from services.relay.intake.intake import Result
from services.relay.queue.filters import MessageFilter
from tests.relay.scripted_transport import ScriptedTransport, deferred
from tests.relay.whole_relay import WholeRelay


async def test_a_refused_submission_names_its_session(tmp_path: Path) -> None:
    async with WholeRelay(f"sqlite:///{tmp_path / 'queue'}", tmp_path) as relay:
        with capture_logs() as lines:
            ack = await relay.submit(b"u@one.test", size=99)
    assert ack.result is Result.INVALID
    (line,) = [one for one in lines if one["event"] == "submission_refused"]
    assert (line["session_id"], line["submission_id"]) == ("s1", ack.submission_id)


async def test_the_log_line_of_an_action_names_its_message(tmp_path: Path) -> None:
    transport = ScriptedTransport({b"u@one.test": [deferred]})
    async with WholeRelay(f"sqlite:///{tmp_path / 'queue'}", tmp_path, transport=transport) as relay:
        ack = await relay.submit(b"u@one.test")
        await relay.settled(1)
        with capture_logs() as lines:
            act = relay.relay.operator.act
            async for _ in act(Action.HOLD, MessageFilter(), int(ack.queue_id, 16), "an operator", dry_run=False):
                pass
    (line,) = [one for one in lines if one["event"] == "queue_action"]
    assert (line["queue_id"], line["actor"], line["acted"]) == (ack.queue_id, "an operator", 1)
