"""One service is down: the SMTP client gets temporary replies, nothing is lost, and service resumes without help."""

from __future__ import annotations

import smtplib

import pytest

from tests.e2e import world
from tests.peers.process import until
from tests.peers.smtp_sink import SmtpSink
from tests.peers.suite import Suite

pytestmark = pytest.mark.e2e


def _taken(client: smtplib.SMTP) -> bool:
    """Sends a message and returns whether it was accepted. When any of its commands gets 451, nothing is stored."""
    client.rset()
    code, _ = client.mail(world.ALICE)
    if code == 250:
        code, _ = client.rcpt("bob@far.test")
    if code == 250:
        try:
            code, _ = client.data(world.message())
        except smtplib.SMTPDataError as refused:
            code = refused.smtp_code
    assert code in (250, 451)
    return code == 250


def test_without_policy_the_answer_is_451_until_it_is_back(suite: Suite, far: SmtpSink) -> None:
    with world.submission(suite) as client:
        suite.kill("policy")
        client.mail(world.ALICE)
        code, text = client.rcpt("bob@far.test")
        assert (code, text[:5]) == (451, b"4.3.0")
        suite.start_service("policy")

        until(lambda: _taken(client), "the same session is served again")
    far.wait_for_messages(1)


def test_without_relay_the_answer_is_451_and_nothing_is_stored(suite: Suite, far: SmtpSink) -> None:
    # All earlier outcomes must be committed, because relay would send uncommitted ones again after the kill.
    world.until_queue_is_empty(suite)
    far.clear()
    with world.submission(suite) as client:
        suite.kill("relay")
        client.mail(world.ALICE)
        client.rcpt("bob@far.test")
        code, text = client.data(world.message())
        assert (code, text[:5]) == (451, b"4.3.0")
        suite.start_service("relay")
        assert world.queued(suite) == []

        until(lambda: _taken(client), "mail is accepted again")
    assert len(far.wait_for_messages(1)) == 1


def test_mail_flows_without_config_api_even_after_a_restart_of_the_others(suite: Suite, far: SmtpSink) -> None:
    suite.kill("config_api")
    suite.restart("policy")
    suite.restart("relay")
    with world.submission(suite) as client:
        until(lambda: _taken(client), "ingress has connected to policy and relay again")
    far.wait_for_messages(1)
    suite.start_service("config_api")
