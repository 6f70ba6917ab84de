"""A running suite with the console and some mail, and a browser. The tests of a module share them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.console.browser import Browser
from tests.console.visitor import Visitor
from tests.e2e import world
from tests.peers.ports import free_port
from tests.peers.suite import Suite


@pytest.fixture(scope="module")
def suite() -> Iterator[Suite]:
    """A suite with the local domain ours.test and the mailbox alice@ours.test.

    Mail to slow.test waits, since no server listens.
    """
    with Suite(console=True, metrics=False) as running:
        world.local_domain(running)
        world.account(running)
        world.trust_loopback(running)
        world.create(
            running,
            "/v1/relay-rules",
            {
                "name": "nobody listens",
                "type": "recipient",
                "target_type": "domain",
                "targets": ["slow.test"],
                "relay_host": {"host": "127.0.0.1", "port": free_port()},
            },
        )
        world.until_in_force(running)
        yield running
        print(running.logs[-20_000:])


@pytest.fixture
def visitor(suite: Suite) -> Iterator[Visitor]:
    """A visitor who has signed in with the admin key."""
    with Visitor(suite.console_url, suite.admin_key) as visitor:
        yield visitor


@pytest.fixture(scope="module")
def _browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    folder: Path = tmp_path_factory.mktemp("browser")
    with Browser(folder) as browser:
        yield browser


@pytest.fixture
def browser(_browser: Browser, suite: Suite) -> Browser:
    """Debian's Chromium, signed in with the admin key."""
    _browser.sign_in(suite.console_url, suite.admin_key)
    return _browser
