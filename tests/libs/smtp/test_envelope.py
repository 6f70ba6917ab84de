"""Envelopes: duplicate recipients are merged, and the need for SMTPUTF8 is found from the content."""

from __future__ import annotations

from libs.smtp.address import NULL_PATH, Address
from libs.smtp.envelope import Body, Envelope, Notify, Recipient, Ret, distinct

ALICE = Address("alice", "a.example")
JURGEN = Address("jürgen", "a.example")


def test_c56_each_mailbox_occurs_once_with_the_parameters_of_its_first_rcpt() -> None:
    first = Recipient(ALICE, (Notify.SUCCESS,), b"rfc822;first")
    other = Recipient(Address("bob", "b.example"))
    upper = Recipient(Address("ALICE", "a.example"))
    assert distinct([first, other, Recipient(ALICE), other, upper]) == (first, other, upper)
    assert distinct([]) == ()


def test_c56_two_compositions_of_a_mailbox_are_one_recipient() -> None:
    assert len(distinct([Recipient(JURGEN), Recipient(Address("ju\u0308rgen", "a.example"))])) == 1


def test_c59_smtputf8_is_needed_by_local_parts_only() -> None:
    idn = Address("u", "xn--bcher-kva.example")
    assert not Envelope(NULL_PATH, (Recipient(idn),), smtputf8=True).needs_smtputf8
    assert Envelope(JURGEN, (Recipient(ALICE),)).needs_smtputf8
    assert Envelope(ALICE, (Recipient(ALICE), Recipient(JURGEN))).needs_smtputf8


def test_enumerations_have_the_keywords_of_the_rfcs_as_values() -> None:
    assert (Ret.HEADERS.value, Body.EIGHT_BIT_MIME.value, Notify.NEVER.value) == ("HDRS", "8BITMIME", "NEVER")
