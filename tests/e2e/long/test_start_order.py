"""The services start in any order.

A service that waits for another service reports this, and continues when the other service has started.
"""

from __future__ import annotations

import smtplib
from collections.abc import Iterator

import pytest

from tests.e2e import world
from tests.peers.process import until
from tests.peers.suite import Suite

pytestmark = pytest.mark.e2e


@pytest.fixture
def empty() -> Iterator[Suite]:
    """A suite that has never run."""
    suite = Suite()
    yield suite
    print(suite.logs[-20_000:])
    suite.stop()


def greeting(suite: Suite) -> str:
    """Returns the code and the enhanced code of the greeting, or an empty text when nobody listens."""
    client = smtplib.SMTP(timeout=60)
    try:
        code, text = client.connect(suite.host, suite.smtp_port)
    except (OSError, smtplib.SMTPException):
        return ""
    finally:
        client.close()
    return f"{code} {text.split(b' ', 1)[0].decode()}"


def test_services_that_start_before_config_api_wait_for_it(empty: Suite) -> None:
    suite = empty
    suite.start_service("ingress", wait=False)
    until(lambda: greeting(suite) == "421 4.3.0", "ingress listens, and policy does not run")
    suite.start_service("relay", wait=False)
    suite.start_service("policy", wait=False)
    until(lambda: greeting(suite) == "421 4.3.2", "policy runs, and has no configuration")
    assert not suite.is_ready("policy")
    suite.start_service("config_api")
    for name in ("policy", "relay", "ingress"):
        suite.wait_until_ready(name)
    world.local_domain(suite)
    world.account(suite)
    world.until_in_force(suite)
    until(lambda: world.reply_to_rcpt(suite, world.ALICE)[0] == 250, "ingress has connected to policy and relay")
    with world.smtp(suite) as client:
        assert client.sendmail("bob@far.test", [world.ALICE], world.message("bob@far.test", [world.ALICE])) == {}
    new = suite.folder / "mail" / "alice" / "new"
    until(lambda: new.is_dir() and len(list(new.iterdir())) == 1, "the message is in alice's maildir")
