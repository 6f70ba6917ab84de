"""How outcomes change deliveries, and which reports follow."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace

from services.relay.configuration.model import Alias, Configuration, QueueSettings
from services.relay.model.attempt import Outcome, Result
from services.relay.model.message import Action, QueuedDelivery, QueuedMessage, ReportedRecipient, Settled
from services.relay.model.retry_schedule import UNCOUNTED_LIMIT
from services.relay.model.states import Kind, State
from services.relay.reports.reporting import reports
from services.relay.scheduler.settlement import AttemptFacts, LastAttempt, Settlements, settle

SECOND = 1_000_000
HOUR = 3600 * SECOND
MESSAGE = QueuedMessage(7, Kind.MAIL, b"a@sender.test", 20, 0, b"Subject: x\r\n\r\nbody\r\n")
DELIVERY = QueuedDelivery(9, b"u@one.test", lease_owner=1)
GOOD = Outcome(9, Result.DELIVERED, 250, "2.0.0", "2.0.0 Ok", "mx.test", "192.0.2.1", 25)
LATER = Outcome(9, Result.DEFERRED, 451, "4.3.0", "4.3.0 later", "mx.test", "192.0.2.1", 25)
NEVER = Outcome(9, Result.FAILED, 550, "5.1.1", "5.1.1 no", "mx.test", "192.0.2.1", 25)


def attempt_facts(now: int = HOUR, **fields: object) -> AttemptFacts:
    whole = AttemptFacts(QueueSettings(), "domain:one.test", False, now - SECOND, now, True, "w1", lambda: 0.0)
    return replace(whole, **fields)  # type: ignore[arg-type]


def one(
    outcome: Outcome,
    delivery: QueuedDelivery = DELIVERY,
    message: QueuedMessage = MESSAGE,
    at: AttemptFacts | None = None,
) -> tuple[Settled, Settlements]:
    done = settle(at or attempt_facts(), message, [delivery], [outcome])
    assert len(done.settled) == 1
    return done.settled[0], done


def test_a_delivered_recipient_is_finished() -> None:
    settled, done = one(GOOD)
    assert (settled.state, settled.due_at, settled.attempts, settled.reply) == (
        State.DELIVERED,
        None,
        1,
        "250 2.0.0 Ok",
    )
    assert done.reported == []
    assert json.loads(settled.attempt or "") == {
        "started_at": HOUR - SECOND,
        "ended_at": HOUR,
        "result": "delivered",
        "code": 250,
        "enhanced_code": "2.0.0",
        "text": "2.0.0 Ok",
        "worker": "w1",
        "host": "mx.test",
        "address": "192.0.2.1",
        "port": 25,
    }


def test_a_deferral_follows_the_schedule() -> None:
    settled, done = one(LATER, replace(DELIVERY, attempts=2))
    assert (settled.state, settled.attempts, settled.due_at) == (State.QUEUED, 3, HOUR + 675 * SECOND)
    assert done.error == "451 4.3.0 later"
    assert done.reported == []


def test_the_last_attempt_comes_at_the_expiry_and_ends_the_delivery() -> None:
    settled, _ = one(LATER, at=attempt_facts(120 * HOUR - SECOND))
    assert settled.due_at == 120 * HOUR
    settled, done = one(LATER, at=attempt_facts(120 * HOUR))
    assert settled.state is State.BOUNCED
    (reported,) = done.reported
    assert (reported.action, reported.status, reported.text) == (Action.FAILED, "4.4.7", "4.3.0 later")


def test_nothing_expires_while_the_clock_is_in_doubt() -> None:
    settled, done = one(LATER, at=attempt_facts(500 * HOUR, may_expire=False))
    assert settled.state is State.QUEUED
    assert settled.due_at == 500 * HOUR + 300 * SECOND
    assert done.reported == []


def test_null_sender_mail_expires_earlier_and_the_present_settings_apply() -> None:
    bounce = replace(MESSAGE, sender=b"")
    assert one(LATER, message=bounce, at=attempt_facts(24 * HOUR))[0].state is State.BOUNCED
    shorter = attempt_facts(2 * HOUR, settings=QueueSettings(expire_after=3600))
    assert one(LATER, at=shorter)[0].state is State.BOUNCED


def test_tries_that_do_not_count_are_repeated_a_limited_number_of_times() -> None:
    uncounted = replace(LATER, counts=False)
    delivery = replace(DELIVERY, attempts=4)
    for number in range(UNCOUNTED_LIMIT):
        settled, _ = one(uncounted, replace(delivery, uncounted=number))
        assert (settled.attempts, settled.due_at) == (4, HOUR)
        assert json.loads(settled.attempt or "")["uncounted"] == number + 1
    settled, _ = one(uncounted, replace(delivery, uncounted=UNCOUNTED_LIMIT))
    assert settled.attempts == 5
    assert (settled.due_at or 0) > HOUR


def test_a_possible_duplicate_stays_marked() -> None:
    assert one(replace(LATER, possible_duplicate=True))[0].possible_duplicate
    assert one(GOOD, replace(DELIVERY, possible_duplicate=True))[0].possible_duplicate
    assert not one(GOOD)[0].possible_duplicate


def test_notify_decides_which_reports_are_sent() -> None:
    def heard(outcome: Outcome, *notify: str, is_mailbox: bool = False) -> list[Action]:
        at = attempt_facts(is_mailbox=is_mailbox)
        return [each.action for each in one(outcome, replace(DELIVERY, notify=notify), at=at)[1].reported]

    assert heard(NEVER) == [Action.FAILED]
    assert heard(NEVER, "FAILURE", "DELAY") == [Action.FAILED]
    assert heard(NEVER, "NEVER") == []
    assert heard(NEVER, "SUCCESS") == []
    assert heard(GOOD, "SUCCESS") == [Action.RELAYED]
    assert heard(GOOD, "SUCCESS", is_mailbox=True) == [Action.DELIVERED]
    assert heard(replace(GOOD, dsn_passed_on=True), "SUCCESS") == []
    assert heard(GOOD, "FAILURE") == []


def test_a_refused_login_suspends_the_destination_and_bounces_nothing() -> None:
    settled, done = one(replace(LATER, code=535, suspend_destination="relay:smart.test:25"))
    assert settled.state is State.QUEUED
    assert done.suspend == {"relay:smart.test:25"}


def test_our_own_failures_are_not_reported_as_replies_of_a_server() -> None:
    own = replace(NEVER, code=553, host="", text="the address needs SMTPUTF8")
    assert one(own)[1].reported[0].code == 0
    of_this_host = replace(NEVER, code=553, text="the address needs SMTPUTF8", own=True)
    told = one(of_this_host)[1].reported[0]
    assert (told.code, told.remote_host, told.text) == (0, "mx.test", "the address needs SMTPUTF8")


def test_a_failure_without_a_permanent_code_gets_5_0_0() -> None:
    assert one(replace(NEVER, enhanced_code=""))[1].reported[0].status == "5.0.0"


def test_a_stored_last_attempt_can_be_read() -> None:
    settled, _ = one(LATER)
    assert LastAttempt.parse(settled.attempt) == LastAttempt(451, "4.3.0", "4.3.0 later", "mx.test", HOUR)
    own, _ = one(replace(LATER, own=True))
    assert LastAttempt.parse(own.attempt) == LastAttempt(451, "4.3.0", "4.3.0 later", "mx.test", HOUR, own=True)
    for broken in (None, "", "{", "[]", '{"code": "x"}'):
        assert LastAttempt.parse(broken) == LastAttempt()


# Reports

CONFIGURATION = Configuration(1, "gw.test")
FAILURE = ReportedRecipient(b"u@one.test", Action.FAILED, "5.1.1", code=550, text="no", remote_host="mx.test")


def numbers() -> itertools.count[int]:
    return itertools.count(100)


def test_each_kind_of_report_goes_once_to_the_sender_from_the_null_sender() -> None:
    next_id = numbers().__next__
    relayed = replace(FAILURE, address=b"v@one.test", action=Action.RELAYED, status="2.0.0")
    first, second = reports(CONFIGURATION, next_id, MESSAGE, [FAILURE, relayed, FAILURE], HOUR)
    for each in (first, second):
        assert (each.sender, each.kind, each.submission_id) == (b"", Kind.REPORT, None)
        assert [(delivery.recipient, delivery.notify, delivery.destination) for delivery in each.deliveries] == [
            (b"a@sender.test", ("NEVER",), "domain:sender.test")
        ]
    assert b"Action: failed" in first.content
    assert b"Action: relayed" in second.content


def test_the_report_follows_an_alias_of_the_sender() -> None:
    aliases = {b"a@sender.test": Alias("x", b"a@sender.test", (b"b@far.test",))}
    (report,) = reports(replace(CONFIGURATION, aliases=aliases), numbers().__next__, MESSAGE, [FAILURE], HOUR)
    assert [each.recipient for each in report.waiting] == [b"b@far.test"]


def test_null_sender_mail_is_reported_to_the_postmasters_once_and_to_nobody_else() -> None:
    null = replace(MESSAGE, sender=b"")
    (held,) = reports(CONFIGURATION, numbers().__next__, null, [FAILURE], HOUR)
    assert [(each.recipient, each.destination) for each in held.waiting] == [(b"postmaster", "hold")]
    with_postmasters = replace(CONFIGURATION, external_postmasters=(b"p@far.test", b"q@far.test"))
    (report,) = reports(with_postmasters, numbers().__next__, null, [FAILURE], HOUR)
    assert report.kind is Kind.DOUBLE_BOUNCE
    assert report.sender == b""
    assert [each.recipient for each in report.waiting] == [b"p@far.test", b"q@far.test"]
    delayed = replace(FAILURE, action=Action.DELAYED, status="4.0.0")
    assert reports(with_postmasters, numbers().__next__, null, [delayed], HOUR) == ()
    about = QueuedMessage(8, Kind.DOUBLE_BOUNCE, b"", 5, 0, report.content)
    assert reports(with_postmasters, numbers().__next__, about, [FAILURE], HOUR) == ()


def test_a_report_to_an_alias_that_leads_nowhere_reaches_the_postmasters() -> None:
    """C141: a report to such an alias ends before any attempt, so without the postmasters nobody would get it."""
    aliases = {b"a@sender.test": Alias("x", b"a@sender.test", (b"a@sender.test",))}
    configuration = replace(CONFIGURATION, aliases=aliases, external_postmasters=(b"p@far.test",))
    report, notice = reports(configuration, numbers().__next__, MESSAGE, [FAILURE], HOUR)
    assert (report.waiting, report.deliveries[0].state) == ((), State.BOUNCED)
    assert notice.kind is Kind.DOUBLE_BOUNCE
    assert [each.recipient for each in notice.waiting] == [b"p@far.test"]
    assert b"Final-Recipient: rfc822; a@sender.test" in notice.content
    # When the postmasters' own address is an alias that leads nowhere, no further report is made.
    circle = replace(configuration, external_postmasters=(b"a@sender.test",))
    assert [each.waiting for each in reports(circle, numbers().__next__, MESSAGE, [FAILURE], HOUR)] == [(), ()]


def test_no_report_of_failure_answers_an_automatic_answer() -> None:
    automatic = MESSAGE.with_content(b"Auto-Submitted: auto-replied\r\n" + (MESSAGE.content or b""))
    assert reports(CONFIGURATION, numbers().__next__, automatic, [FAILURE], HOUR) == ()
    relayed = replace(FAILURE, action=Action.RELAYED, status="2.0.0")
    assert len(reports(CONFIGURATION, numbers().__next__, automatic, [relayed], HOUR)) == 1


def test_any_reply_of_a_server_can_be_stored_as_json() -> None:
    said = 'quoted "so", \\ back, tab\t, \x7f, \u00fc, \u2028, \U0001f600, a half \udce9'
    outcome = replace(LATER, text=said, tls="TLSv1.3", tls_policy="dane", possible_duplicate=True, counts=False)
    settled, _ = one(outcome, at=attempt_facts(worker='a"b'))
    kept = json.loads(settled.attempt or "")
    assert (kept["text"], kept["worker"], kept["tls"], kept["tls_policy"]) == (said, 'a"b', "TLSv1.3", "dane")
    assert (kept["result"], kept["possible_duplicate"], kept["uncounted"]) == ("deferred", True, 1)
    assert (settled.attempt or "").isascii()
