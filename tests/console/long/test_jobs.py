"""An operator's tasks in Debian's Chromium, on a running suite."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.console.browser import Browser
from tests.e2e import world
from tests.peers.ports import free_port
from tests.peers.process import until
from tests.peers.suite import Suite

SUBJECT = "<b onmouseover=alert(1)>Hello</b>"
MANY = 500


def send(suite: Suite, recipient: str, message_id: str = "", sender: str = "bob@far.test") -> int:
    """Sends a message, and returns the code of the last reply: the reply to RCPT, or to the content."""
    client = world.smtp(suite)
    client.mail(sender)
    code, _ = client.rcpt(recipient)
    if code == 250:
        header = f"From: {sender}\r\nTo: {recipient}\r\nSubject: {SUBJECT}\r\n"
        code, _ = client.data(
            f"{header}Message-ID: <{message_id}>\r\n\r\nText.\r\n" if message_id else f"{header}\r\n."
        )
    client.quit()
    return code


@pytest.fixture(autouse=True)
def no_complaints(browser: Browser) -> Iterator[None]:
    """Checks that the content security policy refused nothing and that no file was missing."""
    browser.complaints()
    yield
    assert browser.complaints() == []


def test_a_message_is_found_by_its_message_id(suite: Suite, browser: Browser) -> None:
    assert send(suite, "x@slow.test", "one@far.test") == 250
    browser.open("/messages")
    browser.type("q", "<one@far.test>")
    browser.press("Find")
    assert "The Message-ID is <one@far.test>" in browser.text
    browser.follow("/messages/6")
    browser.wait_for("Timeline")
    assert "one@far.test" in browser.text
    assert "x@slow.test" in browser.text
    assert "Header" in browser.text


def test_a_refusal_is_explained_and_allowed(suite: Suite, browser: Browser) -> None:
    rule = {"name": SUBJECT, "list": "block", "criterion": "sender", "value": "eve@far.test"}
    world.create(suite, "/v1/access-rules", rule)
    until(lambda: send(suite, world.ALICE, sender="eve@far.test") == 554, "the rule refuses the sender")
    browser.open("/refused")
    browser.press("Explain")
    assert "blocked sender" in browser.text
    assert "It is refused: 554" in browser.text
    browser.press("Allow sender eve@far.test …")
    assert "It is not made yet." in browser.text
    assert "blocked sender decided skipped" in browser.text
    assert "It is refused: 554" in browser.text
    assert "It is accepted" in browser.text
    assert send(suite, world.ALICE, sender="eve@far.test") == 554
    browser.press("Make this rule")
    browser.wait_for("The rule allows sender eve@far.test")
    until(lambda: send(suite, world.ALICE, sender="eve@far.test") == 250, "mail of the sender is accepted")
    browser.open(browser.path)
    assert "It is accepted" in browser.text
    browser.press("Delete this rule")
    assert "The allow rule is deleted." in browser.text


@pytest.fixture
def suspended(suite: Suite, browser: Browser) -> None:
    """Suspends the destination slow.test on the page of the queue, so that no delivery to slow.test is tried."""
    assert send(suite, "first@slow.test") == 250

    def destination() -> dict[str, object]:
        found = suite.api.get("/v1/queue/destinations").json()["items"]
        return found[0] if found else {}

    until(lambda: bool(destination()), "the destination is in the list")
    if not destination()["suspended"]:
        browser.open("/queue")
        browser.press("Suspend")
        assert "is suspended: its mail waits." in browser.text
    assert destination()["suspended"]


def test_many_messages_are_held_and_released(suite: Suite, browser: Browser, suspended: None) -> None:
    with world.smtp(suite) as client:
        for _ in range(MANY):
            assert client.sendmail("bob@far.test", ["many@slow.test"], f"Subject: {SUBJECT}\r\n\r\nText.\r\n") == {}
    browser.open("/queue")
    assert "slow.test" in browser.text
    for action, state, done in (("Hold", "active", "are held"), ("Release", "held", "are released")):
        browser.choose("action", action)
        browser.choose("state", state)
        browser.type("recipient", "many@slow.test")
        browser.press("Show what would happen")
        assert f"{MANY} deliveries are selected." in browser.text
        browser.press(f"{action}: {MANY} deliveries")
        assert f"{MANY} of {MANY} deliveries {done}." in browser.text
        assert "so far" not in browser.text, "the steps before the end are not shown"
        browser.press("Back to the queue")


def test_one_message_is_held_after_its_effect_was_shown(suite: Suite, browser: Browser, suspended: None) -> None:
    assert send(suite, "held@slow.test", "held@far.test") == 250
    browser.open("/messages?q=to:held@slow.test")
    browser.follow("/messages/6")
    browser.press("Hold …")
    assert "No recipient is tried until the message is released." in browser.text
    browser.press("Hold")
    assert "The message is held." in browser.text
    browser.press("Release …")
    browser.press("Release")
    assert "The message is released." in browser.text


def test_one_message_is_redirected_after_its_new_target_was_shown(
    suite: Suite, browser: Browser, suspended: None
) -> None:
    assert send(suite, "astray@slow.test", "astray@far.test") == 250
    browser.open("/messages?q=to:astray@slow.test")
    browser.follow("/messages/6")
    browser.press("Redirect …")
    browser.type("new_recipient", "nobody@ours.test")
    browser.press("Show what would happen")
    assert "nobody has this address" in browser.text
    browser.type("new_recipient", world.ALICE)
    browser.press("Show what would happen")
    assert f"{world.ALICE}: mailbox, to mailbox:ours.test" in browser.text
    assert "1 of 1 deliveries are redirected." in browser.text
    browser.press("Redirect: 1 deliveries")
    assert "The message is redirected." in browser.text
    assert f"to {world.ALICE}" in browser.text
    message = suite.api.get("/v1/messages", params={"message_id": "astray@far.test"}).json()["items"][0]
    assert [each["recipient"] for each in message["deliveries"]] == ["astray@slow.test", world.ALICE]


def test_many_messages_are_redirected_to_another_server(suite: Suite, browser: Browser, suspended: None) -> None:
    for _ in range(3):
        assert send(suite, "crowd@slow.test") == 250
    browser.open("/queue")
    browser.type("recipient", "crowd@slow.test")
    browser.press("Redirect them …")
    browser.choose("target", "to another server")
    browser.type("host", "127.0.0.1")
    browser.type("port", str(free_port()))
    browser.press("Show what would happen")
    assert "3 of 3 deliveries are redirected." in browser.text
    browser.press("Redirect: 3 deliveries")
    assert "3 of 3 deliveries are redirected" in browser.text


def test_mail_is_followed_live(suite: Suite, browser: Browser) -> None:
    browser.open("/live")
    browser.wait_for("Events are shown as they happen.")
    assert send(suite, "nobody@ours.test") == 550
    browser.wait_for("nobody@ours.test")
    browser.wait_for("No such user here")


def test_a_test_shows_what_would_happen_to_mail(browser: Browser) -> None:
    browser.open("/try")
    browser.type("client", "192.0.2.7")
    browser.type("sender", "bob@far.test")
    browser.type("recipient", "stranger@elsewhere.test")
    browser.press("Try it")
    assert "It is refused: 554" in browser.text
    assert "Where it goes" in browser.text
    browser.press("Test it")
    assert "fails" in browser.text
