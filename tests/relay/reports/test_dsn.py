"""Delivery status notifications are parsed by the standard library and by an independent parser of bounces."""

from __future__ import annotations

import base64
import email
import email.policy
import re
from collections.abc import Sequence
from dataclasses import replace
from email.message import EmailMessage, Message
from pathlib import Path

import pytest
from flufl.bounce import all_failures, scan_message

from libs.smtp.parameters import utf8_xtext
from services.relay.model.message import Action, ReportedRecipient
from services.relay.reports.dsn import FULL_LIMIT, Report, build, is_automatic

SAMPLES = Path(__file__).parents[4] / "shared" / "data" / "dsn" / "sisimai"
ORIGINAL = (
    b"Received: from client.test\r\n\tby gw.test; Thu, 1 Jan 2026 00:00:00 +0000\r\n"
    b"From: Anna <anna@sender.test>\r\nTo: u@one.test\r\nSubject: hello\r\nMessage-ID: <m1@sender.test>\r\n"
    b"\r\nsecret body\r\n"
)
FAILED = ReportedRecipient(
    address=b"u@one.test",
    action=Action.FAILED,
    status="5.1.1",
    code=550,
    text="5.1.1 <u@one.test>: no such user here",
    remote_host="mx.one.test",
    last_attempt_at=1_767_225_700_000_000,
)


def report(*recipients: ReportedRecipient, **fields: object) -> Report:
    whole = Report(
        hostname="gw.test",
        unique="A1.B2",
        now=1_767_225_800_000_000,
        to=b"anna@sender.test",
        recipients=recipients or (FAILED,),
        queue_id="B2",
        content=ORIGINAL,
        arrived_at=1_767_225_600_000_000,
        received_from=b"client.test",
    )
    return replace(whole, **fields)  # type: ignore[arg-type]


def read(of: Report) -> EmailMessage:
    built = build(of)
    assert b"\n" not in built.replace(b"\r\n", b"")
    assert b"\r" not in built.replace(b"\r\n", b"")
    assert max(map(len, built.split(b"\r\n"))) <= 998
    message = email.message_from_bytes(built, policy=email.policy.default)
    assert isinstance(message, EmailMessage)
    assert not message.defects
    return message


def parts(of: Report) -> list[EmailMessage]:
    found = list(read(of).iter_parts())
    assert len(found) == 3
    return found  # type: ignore[return-value]


def fields_of(of: Report) -> list[Message]:
    """Returns the groups of fields in the second part: first that of the message, then one for each recipient."""
    groups = parts(of)[1].get_payload()
    assert isinstance(groups, list)
    return groups  # type: ignore[return-value]


def test_a_report_has_three_parts_and_a_header() -> None:
    message = read(report())
    assert message.get_content_type() == "multipart/report"
    assert message.get_param("report-type") == "delivery-status"
    assert [part.get_content_type() for part in message.iter_parts()] == [
        "text/plain",
        "message/delivery-status",
        "text/rfc822-headers",
    ]
    assert message["From"] == "Mail Delivery System <mailer-daemon@gw.test>"
    assert message["To"] == "anna@sender.test"
    assert message["Auto-Submitted"] == "auto-replied"
    assert message["Message-ID"] == "<A1.B2@gw.test>"
    assert message["Date"] == "Thu, 01 Jan 2026 00:03:20 +0000"
    assert message["References"] == "<m1@sender.test>"
    assert message["In-Reply-To"] == "<m1@sender.test>"


def test_a_failed_recipient_has_every_field() -> None:
    orcpt = b"rfc822;u+2Bx@One.test"
    about, one = fields_of(report(replace(FAILED, orcpt=orcpt), envelope_id=b"env+2B1"))
    assert dict(about.items()) == {
        "Original-Envelope-Id": "env+1",
        "Reporting-MTA": "dns; gw.test",
        "Received-From-MTA": "dns; client.test",
        "X-Posthouse-Queue-Id": "B2",
        "Arrival-Date": "Thu, 01 Jan 2026 00:00:00 +0000",
    }
    assert dict(one.items()) == {
        "Original-Recipient": "rfc822; u+x@One.test",
        "Final-Recipient": "rfc822; u@one.test",
        "Action": "failed",
        "Status": "5.1.1",
        "Remote-MTA": "dns; mx.one.test",
        "Diagnostic-Code": "smtp; 550 5.1.1 <u@one.test>: no such user here",
        "Last-Attempt-Date": "Thu, 01 Jan 2026 00:01:40 +0000",
    }


def test_a_report_names_only_its_recipients() -> None:
    of = report(FAILED, replace(FAILED, address=b"v@two.test", status="5.2.2", code=552))
    about, first, second = fields_of(of)
    assert (first["Final-Recipient"], second["Final-Recipient"]) == ("rfc822; u@one.test", "rfc822; v@two.test")
    assert about["Reporting-MTA"]
    assert second["Status"] == "5.2.2"


def test_an_expired_recipient_is_reported_as_failed_with_status_4_4_7() -> None:
    _, one = fields_of(report(replace(FAILED, status="4.4.7", code=0, text="no route to host", remote_host="")))
    assert (one["Action"], one["Status"]) == ("failed", "4.4.7")
    assert one["Diagnostic-Code"] == "x-posthouse; no route to host"
    assert one["Remote-MTA"] is None


def test_a_notice_of_delay_has_the_time_of_expiry() -> None:
    delayed = replace(FAILED, action=Action.DELAYED, status="4.4.1", will_retry_until=1_767_657_600_000_000)
    of = report(delayed, ret="FULL")
    _, one = fields_of(of)
    assert one["Action"] == "delayed"
    assert one["Will-Retry-Until"] == "Tue, 06 Jan 2026 00:00:00 +0000"
    # Only a report of failure returns the content. A notice of delay returns the header fields (RFC 3461 section 4.3).
    assert parts(of)[2].get_content_type() == "text/rfc822-headers"


def test_long_replies_are_whole_and_folded() -> None:
    text = "5.7.1 " + " ".join(f"word{number}" for number in range(150)) + " " + "x" * 600
    _, one = fields_of(report(replace(FAILED, text=text)))
    assert " ".join(str(one["Diagnostic-Code"]).split()) == f"smtp; 550 {text}"


def test_only_the_header_is_returned_by_default() -> None:
    assert b"secret body" not in build(report())
    assert b"secret body" not in build(report(ret="HDRS"))
    returned = parts(report(ret="FULL"))[2]
    assert returned.get_content_type() == "message/rfc822"
    assert b"secret body" in build(report(ret="FULL"))


def test_only_the_header_of_a_large_original_is_returned() -> None:
    large = ORIGINAL + b"x" * 70 + (b"y" * 76 + b"\r\n") * (FULL_LIMIT // 78 + 1)
    built = build(report(ret="FULL", content=large))
    assert len(built) < 10_000


def test_a_header_with_5_kb_of_references_keeps_lines_short() -> None:
    references = b" ".join(b"<%d.%s@sender.test>" % (number, b"r" * 40) for number in range(90))
    original = ORIGINAL.replace(
        b"Subject:", b"References: " + references + b"\r\nX-Long: " + b"z" * 3000 + b"\r\nSubject:"
    )
    of = report(content=original)
    returned = parts(of)[2].get_payload(decode=True)
    assert isinstance(returned, bytes)
    assert returned.count(b"@sender.test>") >= 91
    assert b"Subject: hello" in returned


def test_a_message_id_that_can_not_stand_in_a_header_is_left_out() -> None:
    for bad in (
        b"",
        b"<<m1@sender.test>>",
        b"m1@sender.test",
        b"<" + b"m" * 990 + b"@sender.test>",
        b"<\xc3\xa9@x.test>",
    ):
        message = read(report(content=ORIGINAL.replace(b"<m1@sender.test>", bad)))
        assert message["References"] is None
        assert message["In-Reply-To"] is None


def test_the_boundary_is_in_no_part() -> None:
    of = report(content=ORIGINAL.replace(b"Subject: hello", b"Subject: --=_A1.B2\r\nX-Other: =_A1.B2_"))
    assert len(parts(of)) == 3


def test_text_of_peers_and_clients_cannot_add_a_line() -> None:
    evil = replace(
        FAILED, text="5.0.0 x\r\nAction: delivered\r\n\r\nFinal-Recipient: rfc822; z@z.test", orcpt=b"rfc822;a+0D+0Ab"
    )
    of = report(evil, envelope_id=b"e+0AX")
    about, one = fields_of(of)
    assert one["Action"] == "failed"
    assert one["Original-Recipient"] == "rfc822; a+0D+0Ab"
    assert about["Original-Envelope-Id"] == "e+0AX"


def test_a_utf8_recipient_reported_to_an_ascii_sender_is_all_ascii() -> None:
    built = build(report(replace(FAILED, address="jörg@one.test".encode())))
    assert built.isascii()
    assert b"Final-Recipient: utf-8; j\\x{F6}rg@one.test\r\n" in built
    assert b"message/delivery-status" in built


def test_a_utf8_recipient_reported_to_a_utf8_sender_uses_utf8() -> None:
    of = report(replace(FAILED, address="jörg@one.test".encode()), to="änne@sender.test".encode())
    built = build(of)
    assert "Final-Recipient: utf-8; jörg@one.test\r\n".encode() in built
    assert b"message/global-delivery-status" in built
    assert b"report-type=global-delivery-status" in built


def test_a_utf8_header_is_returned_in_base64() -> None:
    of = report(content=ORIGINAL.replace(b"hello", "grüße".encode()))
    assert build(of).isascii()
    returned = parts(of)[2]
    assert returned.get_content_type() == "message/global-headers"
    assert "Subject: grüße".encode() in _decoded(build(of))


def test_a_utf8_reply_does_not_make_the_report_8_bit() -> None:
    built = build(report(replace(FAILED, text="5.1.1 Empfänger unbekannt")))
    assert built.isascii()
    assert b"Empf\\xe4nger" in built


def test_the_length_of_lines_is_limited_in_octets() -> None:
    """C142: a report to a non-ASCII address quotes the server's text unchanged."""
    of = report(replace(FAILED, text="5.1.1 " + "ü" * 1900), to="änne@sender.test".encode())
    assert read(of).get_param("report-type") == "global-delivery-status"
    # The text appears in the part for people and in the part for programs.
    assert build(of).decode().count("ü") == 2 * 1900


def test_a_long_line_is_never_split_within_a_character() -> None:
    long = "Subject: " + "ß" * 1200
    built = build(report(content=f"{long}\r\n\r\nbody\r\n".encode()))
    assert _decoded(built).decode().count("ß") == 1200


def test_xtext_in_lower_case_is_read_too() -> None:
    about, one = fields_of(report(replace(FAILED, orcpt=b"rfc822;u+2bx@one.test"), envelope_id=b"a+3db"))
    assert one["Original-Recipient"] == "rfc822; u+x@one.test"
    assert about["Original-Envelope-Id"] == "a=b"


def test_a_message_with_nul_is_not_returned_completely() -> None:
    built = build(report(ret="FULL", content=ORIGINAL.replace(b"hello", b"he\0llo") + b"a\0b\r\n"))
    assert b"\0" not in built
    assert b"Subject: he?llo" in built


def test_addresses_are_written_as_utf8_xtext() -> None:
    assert utf8_xtext("a+b=c\\d@x") == "a\\x{2B}b\\x{3D}c\\x{5C}d@x"


@pytest.mark.parametrize("action", list(Action))
def test_an_independent_parser_reads_the_report(action: Action) -> None:
    one = replace(FAILED, action=action, status="5.1.1" if action is Action.FAILED else "2.0.0")
    message = email.message_from_bytes(build(report(one, replace(one, address=b"v@two.test"))))
    temporary, permanent = all_failures(message)
    if action is Action.FAILED:
        assert scan_message(message) == {b"u@one.test", b"v@two.test"}
        assert permanent == {b"u@one.test", b"v@two.test"}
    elif action is Action.DELAYED:
        assert temporary == {b"u@one.test", b"v@two.test"}
        assert permanent == set()
    else:
        assert permanent == set()


def test_the_fields_are_those_of_other_systems() -> None:
    """Our reports have every field that more than a third of the public samples have, except optional X- fields."""
    if not SAMPLES.exists():
        pytest.skip("the public samples are not installed")
    counts: dict[str, int] = {}
    samples = 0
    for path in sorted(SAMPLES.glob("*.eml")):
        groups = _status_groups(email.message_from_bytes(path.read_bytes()))
        if len(groups) < 2 or not groups[1]["Final-Recipient"]:
            continue
        samples += 1
        for name in {name.lower() for group in groups for name in group.keys()}:  # noqa: SIM118 - not a dict
            counts[name] = counts.get(name, 0) + 1
    assert samples > 100
    usual = {name for name, count in counts.items() if count * 3 > samples and not name.startswith("x-")}
    assert {"final-recipient", "action", "status", "diagnostic-code", "reporting-mta"} <= usual
    ours = {name.lower() for group in fields_of(report()) for name in group.keys()}  # noqa: SIM118
    assert usual <= ours | {"original-recipient"}


# The syntax of each field in RFC 3464.
_FORMS = {
    "reporting-mta": r"[\w-]+;\s*\S+",
    "received-from-mta": r"[\w-]+;\s*\S+",
    "arrival-date": r"\w{3}, +\d{1,2} \w{3} \d{4} \d\d:\d\d:\d\d ([+-]\d{4}|GMT)( \(.*\))?",
    "original-recipient": r"[\w-]+;\s*\S+",
    "final-recipient": r"[\w-]+;\s*\S+",
    "action": r"(failed|delayed|delivered|relayed|expanded)( \(.*\))?",
    "status": r"[245]\.\d{1,3}\.\d{1,3}( \(.*\))?",
    "remote-mta": r"[\w-]+;\s*\S+.*",
    "diagnostic-code": r"[\w-]+;\s*.+",
    "last-attempt-date": r"\w{3}, +\d{1,2} \w{3} \d{4} \d\d:\d\d:\d\d ([+-]\d{4}|GMT)( \(.*\))?",
}


def _well_formed(name: str, value: object) -> bool:
    return re.fullmatch(_FORMS[name.lower()], " ".join(str(value).split()), re.IGNORECASE) is not None


def test_each_field_has_the_form_that_other_systems_give_it() -> None:
    """The syntax is that of RFC 3464. Most public samples follow it, and our reports always do."""
    if not SAMPLES.exists():
        pytest.skip("the public samples are not installed")
    good: dict[str, list[bool]] = {}
    for path in sorted(SAMPLES.glob("*.eml")):
        for group in _status_groups(email.message_from_bytes(path.read_bytes())):
            for name, value in group.items():
                if name.lower() in _FORMS:
                    good.setdefault(name.lower(), []).append(_well_formed(name, value))
    assert good.keys() == _FORMS.keys()
    for name, found in good.items():
        assert sum(found) > 0.8 * len(found), (name, sum(found), len(found))
    ours = [*_every_field(report(replace(FAILED, orcpt=b"rfc822;u@one.test"), envelope_id=b"e1"))]
    assert {name.lower() for name, _ in ours} >= _FORMS.keys()
    assert [(name, value) for name, value in ours if name.lower() in _FORMS and not _well_formed(name, value)] == []


def _every_field(of: Report) -> list[tuple[str, object]]:
    return [field for group in fields_of(of) for field in group.items()]


def test_automatic_answers_are_recognised() -> None:
    assert not is_automatic(ORIGINAL)
    for value in (b"no", b"auto-generated", b"auto-generated; type=auto-replied"):
        assert not is_automatic(b"Auto-Submitted: " + value + b"\r\n" + ORIGINAL)
    for value in (
        b"auto-replied",
        b"AUTO-REPLIED; x=y",
        b"Auto-Replied (vacation)",
        b"auto-notified",
        b"(out (of) office) auto-replied",
        b"\r\n\tauto-replied;owner-email=x@y.test",
    ):
        assert is_automatic(b"Auto-Submitted: " + value + b"\r\n" + ORIGINAL)


def test_nested_comments_take_linear_time() -> None:
    """When each level of comments needed one pass, a header of the allowed size blocked relay for minutes."""
    deep = b"(" * 90_000 + b"x\\)" + b")" * 90_000
    assert is_automatic(b"Auto-Submitted: " + deep + b" auto-replied\r\n" + ORIGINAL)
    assert not is_automatic(b"Auto-Submitted: " + deep + b" no " + deep + b"\r\n" + ORIGINAL)
    assert is_automatic(b"Auto-Submitted: auto-replied (never closed" + deep + b"\r\n" + ORIGINAL)


def _status_groups(message: Message) -> Sequence[Message]:
    for part in message.walk():
        if part.get_content_type() == "message/delivery-status" and isinstance(part.get_payload(), list):
            return part.get_payload()  # type: ignore[return-value]
    return []


def _decoded(built: bytes) -> bytes:
    message = email.message_from_bytes(built)
    payload = message.get_payload()
    assert isinstance(payload, list)
    last = payload[2]
    assert isinstance(last, Message)
    inner = last.get_payload()
    if isinstance(inner, list):
        assert isinstance(inner[0], Message)
        inner = inner[0].get_payload()
    return base64.b64decode(str(inner))
