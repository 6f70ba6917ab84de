"""The commands of docs/following-one-message.md are run in order, for a message that one server has deferred first."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.pages import ROOT, blocks
from tests.e2e import world
from tests.peers.process import until
from tests.peers.smtp_sink import SmtpSink, Stage, reply
from tests.peers.suite import Suite

pytestmark = pytest.mark.e2e

PAGE = ROOT / "docs" / "following-one-message.md"


@pytest.fixture
def suite() -> Iterator[Suite]:
    with Suite() as running:
        world.local_domain(running)
        world.account(running)
        yield running


def _run(blocks: list[str], environment: dict[str, str]) -> str:
    """Runs the commands as one script and returns their output."""
    script = "set -euo pipefail\n" + "\n".join(blocks)
    done = subprocess.run(["bash", "-c", script], env={**os.environ, **environment}, capture_output=True, timeout=120)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode()


def test_the_commands_of_the_page_show_the_message(suite: Suite, smtp_sink: SmtpSink, tmp_path: Path) -> None:
    smtp_sink.on(Stage.RCPT, reply("451 4.7.1 Greylisted"), address="slow@far.test", times=1)
    world.relay_everything_to(suite, smtp_sink.port)
    world.change(suite, "/v1/settings/queue", {"retry_schedule": {"first_minutes": 0.01}})
    world.until_in_force(suite)
    recipients = ["bob@far.test", "slow@far.test"]
    with world.submission(suite) as client:
        client.mail(world.ALICE)
        assert [client.rcpt(recipient)[0] for recipient in recipients] == [250, 250]
        queue_id = client.data(world.message(recipients=recipients))[1].split()[-1].decode()
    assert world.reply_to_rcpt(suite, "nobody@ours.test")[0] == 550
    smtp_sink.wait_for_messages(2)
    world.until_queue_is_empty(suite)
    until(
        lambda: len(re.findall(rf'delivery_attempt.*"{queue_id}"', suite.logs)) == 3, "relay has logged three attempts"
    )
    until(lambda: any(one["state"] == "rejected" for one in world.history(suite)), "the refusal is in the history")
    log = tmp_path / "log"
    log.write_text(suite.logs)

    here = str(Path(__file__).relative_to(ROOT))
    commands = [block.commands for block in blocks(PAGE) if block.not_run == f"it is run by {here}"]
    api = str(suite.api.base_url).rstrip("/")
    shown = _run(commands, {"API": api, "KEY": suite.admin_key, "LOG": str(log), "QUEUE_ID": queue_id})

    events = [json.loads(line)["event"] for line in shown.splitlines() if line.startswith('{"') and '"event"' in line]
    assert events.count("delivery_attempt") == 6, (
        "there are three lines with the queue id, and the same three with the session id"
    )
    assert events.count("submission_stored") == 2
    stages = [json.loads(line)["stage"] for line in shown.splitlines() if '"event": "verdict"' in line]
    assert stages == ["connect", "auth", "rcpt", "rcpt", "end_of_data"]
    assert '"event": "deferred"' in shown
    assert '["rcpt","unknown_recipient","pass"]' in shown
    assert '"reason_id": "unknown_recipient"' in shown
    assert f'"destination": "relay:127.0.0.1:{smtp_sink.port}"' in shown
