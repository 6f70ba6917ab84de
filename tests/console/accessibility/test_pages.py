"""axe-core finds no serious fault on any page, in light or dark mode, and no page is wider than a telephone."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from services.console.app import PAGES
from tests.console.browser import Browser
from tests.e2e import world
from tests.peers.process import until
from tests.peers.suite import Suite

STANDARDS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"]
GRAVE = {"serious", "critical"}
_RUN = """
const done = arguments[0];
axe.run({runOnly: %s}).then((found) => done(found.violations.map(
  (fault) => [fault.id, fault.impact, fault.nodes.slice(0, 3).map((node) => node.html.slice(0, 200))])));
"""


@pytest.fixture(scope="module")
def axe() -> str:
    """The script axe-core, which `make console-check` gets from npm."""
    return Path(os.environ["AXE_CORE"]).read_text()


@pytest.fixture
def faults(browser: Browser, axe: str) -> Any:
    """Returns axe-core's faults of the open page.

    The driver runs the script, because the page's policy would block it.
    """

    def ask() -> list[Any]:
        browser.driver.execute_cdp_cmd("Runtime.evaluate", {"expression": axe})
        return list(browser.driver.execute_async_script(_RUN % STANDARDS))

    return ask


@pytest.fixture(scope="module")
def paths(suite: Suite) -> list[str]:
    """The paths of all pages without variable parts, and examples of the others, such as a refused message."""
    block = {"list": "block", "criterion": "sender", "value": "eve@far.test"}
    rule = world.create(suite, "/v1/access-rules", block)["id"]
    until(lambda: _sent(suite, "eve@far.test", world.ALICE) == 554, "the rule refuses the sender")
    assert _sent(suite, "bob@far.test", "x@slow.test") == 250
    waiting = suite.api.get("/v1/queue/messages").json()["items"][0]["queue_id"]
    refused = suite.api.get("/v1/messages", params={"state": "rejected"}).json()["items"][0]["queue_id"]
    fixed = {
        route.path
        for module in PAGES
        for route in module.router.routes
        if "GET" in route.methods and "{" not in route.path and route.path != "/live/events"
    }
    return [
        *sorted(fixed),
        "/messages?q=nobody@nowhere.test",
        f"/messages/{waiting}",
        f"/messages/{waiting}/bounce",
        f"/refused/{refused}",
        "/try?client=192.0.2.7&recipient=x@slow.test",
        "/configuration/access-rules",
        f"/configuration/access-rules/{rule}",
        f"/configuration/access-rules/{rule}/delete",
        "/configuration/local-domains/new",
        "/configuration/relay-rules/new",
        "/configuration/webhooks/new",
        "/configuration/settings/content-checks",
        f"/changes/{world.newest_revision(suite)}",
        "/changes/1/roll-back",
        "/none",
    ]


def _sent(suite: Suite, sender: str, recipient: str) -> int:
    client = world.smtp(suite)
    client.mail(sender)
    code, _ = client.rcpt(recipient)
    if code == 250:
        code, _ = client.data(b"Subject: A test\r\n\r\nText.\r\n")
    client.quit()
    return code


@pytest.fixture
def narrow(browser: Browser) -> Iterator[None]:
    size = browser.driver.get_window_size()
    browser.driver.set_window_size(390, 844)
    yield
    browser.driver.set_window_size(size["width"], size["height"])


@pytest.mark.timeout(240)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_page_has_a_serious_fault(browser: Browser, paths: list[str], faults: Any, scheme: str) -> None:
    media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    browser.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
    for path in paths:
        browser.open(path)
        assert [fault for fault in faults() if fault[1] in GRAVE] == [], path


@pytest.mark.timeout(240)
def test_no_page_is_wider_than_the_screen_of_a_telephone(browser: Browser, paths: list[str], narrow: None) -> None:
    for path in paths:
        browser.open(path)
        width, room = browser.driver.execute_script(
            "return [document.documentElement.scrollWidth, document.documentElement.clientWidth]"
        )
        assert width <= room, path
