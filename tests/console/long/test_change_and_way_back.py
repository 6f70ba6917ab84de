"""A setting is changed in Debian's Chromium and rolled back, on a running suite."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.console.browser import Browser
from tests.peers.process import until
from tests.peers.suite import Suite


@pytest.fixture(autouse=True)
def no_complaints(browser: Browser) -> Iterator[None]:
    """Checks that the content security policy refused nothing.

    The browser also warns of a form's status 422, which is expected.
    """
    browser.complaints()
    yield
    assert [line for line in browser.complaints() if "favicon" not in line and "status of 422" not in line] == []


def get(suite: Suite, path: str) -> Any:
    answer = suite.api.get(path)
    assert answer.status_code == 200, answer.text
    return answer.json()


def retention_days(suite: Suite) -> float:
    return float(get(suite, "/v1/settings/queue")["retention_days"])


def test_a_setting_is_changed_and_rolled_back(suite: Suite, browser: Browser) -> None:
    browser.open("/configuration")
    browser.press("Queue settings")
    browser.type("/retention_days", "many")
    browser.press("Save")
    browser.wait_for("This is not a number.")
    browser.type("/retention_days", "30")
    browser.press("Save")
    browser.wait_for("Queue settings was saved. It is in force.")
    assert retention_days(suite) == 30
    browser.press("Changes")
    browser.wait_for("replaceQueueSettings settings/queue")
    newest = get(suite, "/v1/revisions")["items"][0]["number"]
    browser.open(f"/changes/{newest}")
    browser.press("Undo this and all later changes …")
    browser.wait_for("1 object would change")
    assert retention_days(suite) == 30
    browser.press("Roll back")
    browser.wait_for("It is in force.")
    assert retention_days(suite) == 7


def test_only_the_chosen_variant_is_shown(suite: Suite, browser: Browser) -> None:
    """The page needs no script for this, because a style sheet hides the other variants."""
    browser.open("/configuration/local-domains/new")
    assert "The absolute path of the directory" not in browser.text
    browser.tick("/mailbox", "maildir")
    assert "The absolute path of the directory" in browser.text
    browser.type("/name", "chosen.test")
    browser.type("/mailbox:maildir/path", "relative")
    browser.press("Make it")
    browser.wait_for("Local domains")
    assert "The absolute path of the directory" in browser.text
    browser.tick("/mailbox", "lmtp")
    browser.type("/mailbox:lmtp/host", "127.0.0.1")
    browser.press("Make it")
    until(lambda: get(suite, "/v1/local-domains?name=chosen.test")["items"] != [], "the domain exists")
