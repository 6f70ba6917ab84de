"""What happens to the recipients of an envelope, and what RFC 3461 requires when an alias replaces one."""

from __future__ import annotations

import itertools

import pytest

from libs.smtp.parameters import decode_original_recipient
from services.relay.configuration.model import Alias, Configuration
from services.relay.model.message import NewDelivery
from services.relay.model.states import State
from services.relay.routing.recipients import SubmittedRecipient, address


def expanded(alias: bytes, orcpt: bytes = b"") -> NewDelivery:
    """Returns the delivery to the only target of an alias."""
    with_alias = Configuration(1, "gw.test", aliases={alias: Alias("a1", alias, (b"x@far.test",))})
    wanted = (SubmittedRecipient(alias, orcpt=orcpt),)
    found = address(with_alias, itertools.count(1).__next__, b"a@sender.test", wanted, quarantine=False).deliveries
    assert [each.state for each in found] == [State.EXPANDED, State.QUEUED]
    return found[1]


@pytest.mark.parametrize(
    ("written", "kind"),
    [
        ("info@ours.test", "rfc822"),
        ('"a+b= c"@ours.test', "rfc822"),
        ("j\u00fcrgen+x@ours.test", "utf-8"),
        ("\U0001f4ee=@ours.test", "utf-8"),
    ],
)
def test_orcpt_has_the_address_that_the_sender_wrote(written: str, kind: str) -> None:
    """Relay adds an ORCPT when the sender gave none (RFC 3461 section 5.2.7.1, RFC 6533 section 3)."""
    given = expanded(written.encode()).orcpt
    assert given.isascii()
    assert decode_original_recipient(given) == (kind, written)


def test_the_orcpt_of_the_sender_does_not_change() -> None:
    assert expanded(b"info@ours.test", b"rfc822;first@else.test").orcpt == b"rfc822;first@else.test"


def test_no_orcpt_is_made_that_is_longer_than_the_limit() -> None:
    assert expanded(b"+" * 200 + b"@ours.test").orcpt == b""
    assert expanded(b"u" * 480 + b"@ours.test").orcpt == b"rfc822;" + b"u" * 480 + b"@ours.test"
