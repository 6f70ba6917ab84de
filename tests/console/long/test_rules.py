"""The page of rules shows what a rule in shadow mode would have refused, on a running suite."""

from __future__ import annotations

from tests.console.visitor import Visitor
from tests.e2e import world
from tests.peers.process import until
from tests.peers.suite import Suite

NAME = "<b>not yet</b>"


def test_a_rule_in_shadow_mode_shows_what_it_would_have_refused(suite: Suite, visitor: Visitor) -> None:
    rule = {"name": NAME, "list": "block", "criterion": "sender", "value": "eve@far.test", "mode": "shadow"}
    made = world.create(suite, "/v1/access-rules", rule)
    world.until_in_force(suite)
    assert "0 of 0 messages" in visitor.page("/rules").text
    for sender in ("eve@far.test", "bob@far.test"):
        client = world.smtp(suite)
        client.sendmail(sender, [world.ALICE], f"From: {sender}\r\nTo: {world.ALICE}\r\n\r\nText.\r\n")
        client.quit()
    until(lambda: "1 of 2 messages" in visitor.page("/rules").text, "the page shows both messages")
    page = visitor.page("/rules")
    assert f"{NAME}: block sender eve@far.test" in page.text
    assert f"/configuration/access-rules/{made['id']}" in page.links
    these = next(link for link in page.links if link.startswith("/messages?q=shadow"))
    assert "eve@far.test" in visitor.page(these).text
    assert "bob@far.test" not in visitor.page(these).text
