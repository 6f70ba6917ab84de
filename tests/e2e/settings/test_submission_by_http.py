"""The same message by SMTP submission and by POST /v1/messages has the same verdicts, and is delivered as the same
octets.
"""

from __future__ import annotations

import base64
import itertools
import re
import smtplib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest

from tests.e2e import world
from tests.e2e.settings.gateway import FAR, Gateway, within_one_minute

pytestmark = pytest.mark.e2e

_NAMES = itertools.count(1)
ALICE = world.ALICE
_QUEUE_ID = re.compile(r"accepted as \w+")


@dataclass(frozen=True, slots=True)
class Replies:
    """The replies to one try, as (code, text): the reply to each recipient, and the last reply before QUIT."""

    recipients: tuple[tuple[int, str], ...] = ()
    last: tuple[int, str] = (0, "")


@dataclass(frozen=True, slots=True)
class Mail:
    sender: str = ALICE
    recipients: Sequence[str] = (FAR,)
    content: bytes = field(default_factory=world.message)


@pytest.fixture(scope="module")
def key(_gateway: Gateway) -> str:
    """An API key of the role sender, which belongs to alice's account."""
    body = {"name": f"alice's {next(_NAMES)}", "role": "sender", "account": world.LOGIN}
    made: str = world.create(_gateway.suite, "/v1/api-keys", body)["key"]
    return made


@pytest.fixture
def http(_gateway: Gateway, key: str) -> Iterator[httpx.Client]:
    base = str(_gateway.suite.api.base_url)
    with httpx.Client(base_url=base, headers={"Authorization": f"Bearer {key}"}, timeout=60) as client:
        yield client


def by_smtp(gateway: Gateway, mail: Mail) -> Replies:
    suite = gateway.suite
    client = smtplib.SMTP(suite.host, suite.submission_port, timeout=60)
    recipients: list[tuple[int, str]] = []
    try:
        client.starttls(context=world.no_verify())
        client.ehlo("[127.0.0.1]")
        try:
            client.login(world.LOGIN, world.PASSWORD)
        except smtplib.SMTPAuthenticationError as error:
            return Replies((), _reply(error.smtp_code, error.smtp_error))
        last = _reply(*client.mail(mail.sender, [f"SIZE={len(mail.content)}"]))
        if last[0] != 250:
            return Replies((), last)
        for recipient in mail.recipients:
            last = _reply(*client.rcpt(recipient))
            recipients.append(last)
        if not any(code == 250 for code, _ in recipients):
            return Replies(tuple(recipients), last)
        try:
            last = _reply(*client.data(mail.content))
        except smtplib.SMTPDataError as error:
            last = _reply(error.smtp_code, error.smtp_error)
        return Replies(tuple(recipients), last)
    except smtplib.SMTPConnectError as error:
        return Replies((), _reply(error.smtp_code, error.smtp_error))
    finally:
        client.close()


def by_http(http: httpx.Client, mail: Mail, **envelope: Any) -> Replies:
    answer = http.post(
        "/v1/messages",
        json={
            "envelope": {"sender": mail.sender, "recipients": list(mail.recipients), **envelope},
            "raw": base64.b64encode(mail.content).decode(),
        },
    )
    assert answer.status_code in (202, 422, 503), answer.text
    body = answer.json()
    found = Replies(tuple(_shown(each["reply"]) for each in body["recipients"]), _shown(body["reply"]))
    assert (answer.status_code == 202) is (found.last[0] == 250 and bool(body.get("queue_id")))
    return found


def _reply(code: int, text: bytes | str) -> tuple[int, str]:
    return code, _QUEUE_ID.sub("accepted", text.decode() if isinstance(text, bytes) else text)


def _shown(reply: dict[str, Any]) -> tuple[int, str]:
    return _reply(reply["code"], " ".join(filter(None, (reply["enhanced_code"], reply["text"]))))


def same_both_ways(gateway: Gateway, http: httpx.Client, mail: Mail, expected: int) -> Replies:
    """Submits the message by SMTP and by HTTP, and compares the replies. One reply must have the code `expected`."""
    smtp, web = by_smtp(gateway, mail), by_http(http, mail)
    assert web == smtp
    codes = {code for code, _ in (*smtp.recipients, smtp.last)}
    assert expected in codes, smtp
    return smtp


def rule(gateway: Gateway, listed: str, criterion: str, value: str, **more: Any) -> None:
    fields = {"name": f"r{next(_NAMES)}", "list": listed, "criterion": criterion, "value": value, **more}
    if listed == "block":
        fields.setdefault("action", "reject")
    gateway.create("access-rules", **fields)


HOPS = b"Received: from a by b; Mon, 1 Jan 2024 00:00:00 +0000\r\n"
STRANGE = "mallory@elsewhere.test"


def test_a_message_without_faults_is_accepted(gateway: Gateway, http: httpx.Client) -> None:
    same_both_ways(gateway, http, Mail(), 250)


@pytest.mark.parametrize(
    ("criterion", "value"),
    [("sender", ALICE), ("domain", "ours.test"), ("recipient", FAR), ("ip", "127.0.0.1"), ("network", "127.0.0.0/8")],
)
def test_block_rules_refuse_the_message(gateway: Gateway, http: httpx.Client, criterion: str, value: str) -> None:
    rule(gateway, "block", criterion, value)
    same_both_ways(gateway, http, Mail(), 554)


@pytest.mark.parametrize(("criterion", "value"), [("sender", ALICE), ("recipient", FAR)])
def test_discard_rules_drop_the_message(gateway: Gateway, http: httpx.Client, criterion: str, value: str) -> None:
    rule(gateway, "block", criterion, value, action="discard")
    same_both_ways(gateway, http, Mail(), 250)


def test_a_block_rule_in_shadow_mode_refuses_nothing(gateway: Gateway, http: httpx.Client) -> None:
    rule(gateway, "block", "sender", ALICE, mode="shadow")
    same_both_ways(gateway, http, Mail(), 250)


def test_an_allow_rule_takes_precedence_over_a_block_rule(gateway: Gateway, http: httpx.Client) -> None:
    rule(gateway, "block", "sender", ALICE)
    rule(gateway, "allow", "recipient", FAR)
    same_both_ways(gateway, http, Mail(recipients=(FAR, "other@far.test")), 554)


def test_the_sender_must_match_the_login(gateway: Gateway, http: httpx.Client) -> None:
    same_both_ways(gateway, http, Mail(sender=STRANGE), 553)


def test_the_author_must_match_the_login(gateway: Gateway, http: httpx.Client) -> None:
    same_both_ways(gateway, http, Mail(content=world.message(sender=STRANGE)), 553)


def test_only_the_unknown_recipient_among_others_is_refused(gateway: Gateway, http: httpx.Client) -> None:
    replies = same_both_ways(gateway, http, Mail(recipients=("nobody@ours.test", FAR)), 550)
    assert [code for code, _ in replies.recipients] == [550, 250]


def test_a_message_without_a_known_recipient_is_refused(gateway: Gateway, http: httpx.Client) -> None:
    same_both_ways(gateway, http, Mail(recipients=("nobody@ours.test", "none@ours.test")), 550)


def test_too_many_recipients_refuse_the_message(gateway: Gateway, http: httpx.Client) -> None:
    gateway.patch("general", {"profile": {"max_recipients": 1}})
    same_both_ways(gateway, http, Mail(recipients=(FAR, "other@far.test")), 554)


def test_recipients_above_the_limit_are_deferred(gateway: Gateway, http: httpx.Client) -> None:
    gateway.patch("general", {"profile": {"max_recipients": 1, "recipients_over_limit": "defer_excess"}})
    same_both_ways(gateway, http, Mail(recipients=(FAR, "other@far.test")), 452)


def test_a_message_with_too_many_hops_is_refused(gateway: Gateway, http: httpx.Client) -> None:
    gateway.patch("general", {"profile": {"max_hops": 2}})
    same_both_ways(gateway, http, Mail(content=HOPS * 3 + world.message()), 554)


def test_a_sender_that_is_not_fully_qualified_is_refused(gateway: Gateway, http: httpx.Client) -> None:
    gateway.patch("general", {"smtp_auth": {"sender_must_match_login": False}})
    gateway.patch("sender-policy", {"reject_non_fqdn_sender": "enforce"})
    same_both_ways(gateway, http, Mail(sender="alice@ours"), 504)


def test_without_auth_no_mail_is_accepted_by_http(gateway: Gateway, http: httpx.Client) -> None:
    """SMTP then offers no AUTH, so the test checks only the answer of HTTP."""
    gateway.patch("general", {"smtp_auth": {"enabled": False}})
    assert by_http(http, Mail()).last[0] // 100 == 5


def test_a_disabled_account_may_not_submit_mail(gateway: Gateway, http: httpx.Client) -> None:
    (account,) = [each for each in gateway.read("accounts")["items"] if each["login"] == world.LOGIN]
    gateway.change("accounts", account["id"], {"enabled": False})
    same_both_ways(gateway, http, Mail(), 535)


def test_a_line_that_is_too_long_is_refused(gateway: Gateway, http: httpx.Client) -> None:
    same_both_ways(gateway, http, Mail(content=world.message() + b"x" * 20_000 + b"\r\n"), 550)


def test_messages_above_the_limit_per_minute_are_refused(gateway: Gateway, http: httpx.Client) -> None:
    gateway.patch("connection-policy", {"max_messages_per_minute": 1})
    gateway.patch("general", {"smtp_auth": {"skip_for_local_networks": False}})
    within_one_minute()
    by_http(http, Mail())
    same_both_ways(gateway, http, Mail(), 450)


def test_a_message_above_the_size_limit_is_refused(gateway: Gateway, http: httpx.Client) -> None:
    gateway.patch("general", {"profile": {"max_message_size_mb": 1}})
    content = world.message() + (b"x" * 70 + b"\r\n") * 16_000
    assert by_smtp(gateway, Mail(content=content)).last[0] == 552
    answer = http.post(
        "/v1/messages",
        params={"sender": ALICE, "recipient": FAR},
        content=content,
        headers={"Content-Type": "message/rfc822"},
    )
    assert (answer.status_code, answer.json()["type"]) == (413, "urn:posthouse:problem:too-large")


CONTENTS = {
    "dots": world.message(text=".\n..\n.dot\nend.\n"),
    "no last line end": world.message().rstrip(b"\r\n"),
    "8-bit": b"From: alice@ours.test\r\nSubject: =?utf-8?q?=C3=BC?=\r\n\r\nGr\xc3\xbc\xc3\x9fe \xff\r\n",
    "no header": b"\r\nonly text\r\n",
    "empty lines at the end": world.message() + b"\r\n\r\n\r\n",
    "long": world.message() + (b"0123456789" * 7 + b"\r\n") * 5_000,
}


@pytest.mark.parametrize("name", CONTENTS)
def test_the_next_hop_gets_the_same_octets_except_for_added_fields(
    gateway: Gateway, http: httpx.Client, name: str
) -> None:
    given = b"Date: Mon, 1 Jan 2024 00:00:00 +0000\r\nMessage-ID: <1@ours.test>\r\n"
    content = CONTENTS[name] if name == "no header" else given + CONTENTS[name]
    gateway.far.clear()
    by_smtp(gateway, Mail(content=content))
    (smtp,) = gateway.far.wait_for_messages(1)
    # Clients on Linux often write lines that end with LF.
    by_http(http, Mail(content=content.replace(b"\r\n", b"\n")))
    web = gateway.far.wait_for_messages(2)[1]
    assert _rest(web.header) == _rest(smtp.header)
    assert web.body == smtp.body
    assert (web.sender, web.accepted_recipients) == (smtp.sender, smtp.accepted_recipients)


_ADDED = re.compile(rb"^(Received|Authentication-Results): .*\r\n([ \t].*\r\n)*", re.MULTILINE)
_MADE = re.compile(rb"^(Date|Message-ID): .*$", re.MULTILINE)


def _rest(header: bytes) -> bytes:
    """Returns the header without its trace fields, and without the Date and the Message-ID that the gateway added."""
    rest = _ADDED.sub(b"", header)
    return rest if b"<1@ours.test>" in rest else _MADE.sub(b"", rest)
