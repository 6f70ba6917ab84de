"""Load from clients that retry like mail servers, SIGKILLs during the load, and a comparison of what arrived with what
was sent.

A client sends a message again until it is accepted. Each such try has its own envelope sender, so it can be told from
the other tries at the next hop, in the history, and as the recipient of a report.
"""

from __future__ import annotations

import random
import re
import smtplib
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Self

from posthouse.relay.v1 import relay_pb2 as pb
from posthouse.relay.v1 import relay_pb2_grpc

from tests.peers.smtp_sink import SmtpSink
from tests.peers.suite import Suite

# The next hop refuses this recipient permanently.
REFUSED = "no@far.test"
_CLIENTS = 6
_PAUSE_SECONDS = 0.05
_SESSION_MESSAGES = 20


def recipients_of(number: int) -> list[str]:
    """Returns the recipients of a message. A fifth of the messages are refused, and a tenth have two recipients."""
    if number % 5 == 0:
        return [REFUSED]
    return [f"u{number % 7}@far.test"] + (["v@further.test"] if number % 10 == 1 else [])


def sender_of(number: int, attempt: int) -> str:
    return f"n{number}.t{attempt}@sender.test"


@dataclass(slots=True)
class Fates:
    """The outcomes of tries as the clients see them, by envelope sender."""

    # Tries that were answered with 250, with the queue id in the answer.
    accepted: dict[str, str] = field(default_factory=dict)
    # Tries that were answered with another code, or whose content was not sent completely.
    refused: set[str] = field(default_factory=set)
    # Tries whose connection ended between the final dot and the answer.
    unknown: set[str] = field(default_factory=set)
    numbers: dict[str, int] = field(default_factory=dict)


class Load:
    """Sends `total` messages from several clients in parallel. Each message is sent again until it is accepted."""

    def __init__(self, suite: Suite, total: int) -> None:
        self._suite = suite
        self._total = total
        self._waiting = iter(range(total))
        self._changed = threading.Condition()
        self._stopping = threading.Event()
        self._faults: list[BaseException] = []
        self.fates = Fates()
        self._threads = [threading.Thread(target=self._run, name=f"client-{n}", daemon=True) for n in range(_CLIENTS)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join(60)

    def wait_for(self, accepted: int, seconds: float = 120) -> None:
        """Blocks until this number of messages was accepted."""
        with self._changed:
            reached = self._changed.wait_for(lambda: len(self.fates.accepted) >= accepted or self._faults, seconds)
        if self._faults:
            raise self._faults[0]
        assert reached, (
            f"{len(self.fates.accepted)} of {self._total} messages were accepted; the test waits for {accepted}"
        )

    def pause(self, seconds: float) -> None:
        """Waits this number of seconds while the clients go on."""
        self._stopping.wait(seconds)

    def _next(self) -> int | None:
        with self._changed:
            return next(self._waiting, None)

    def _run(self) -> None:
        try:
            number, attempt = self._next(), 0
            while number is not None and not self._stopping.is_set():
                attempt, number = self._session(number, attempt)
        except BaseException as fault:  # noqa: BLE001 - raised by `wait_for`
            with self._changed:
                self._faults.append(fault)
                self._changed.notify_all()

    def _session(self, number: int, attempt: int) -> tuple[int, int | None]:
        """Sends some messages over one connection.

        Returns the number of the next try, and the number of the message to send next, or None when no message is left.
        """
        following: int | None = number
        try:
            with smtplib.SMTP(self._suite.host, self._suite.smtp_port, "client.test", timeout=90) as client:
                client.ehlo()
                for _ in range(_SESSION_MESSAGES):
                    if following is None:
                        break
                    if not self._try(client, following, attempt):
                        attempt += 1
                        client.rset()
                        self.pause(_PAUSE_SECONDS)
                        continue
                    following, attempt = self._next(), 0
        except (smtplib.SMTPException, OSError):
            # The result of the failed try is recorded already. The next try has another number, so no two tries have
            # the same sender.
            attempt += 1
            self.pause(_PAUSE_SECONDS)
        return attempt, following

    def _try(self, client: smtplib.SMTP, number: int, attempt: int) -> bool:
        sender = sender_of(number, attempt)
        fates = self.fates
        with self._changed:
            fates.numbers[sender] = number
            fates.refused.add(sender)
        if client.mail(sender)[0] != 250:
            return False
        if any(client.rcpt(recipient)[0] != 250 for recipient in recipients_of(number)):
            return False
        if client.docmd("DATA")[0] != 354:
            return False
        with self._changed:
            fates.refused.remove(sender)
            fates.unknown.add(sender)
        client.send(b"From: <%b>\r\nSubject: number %d\r\n\r\nbody\r\n.\r\n" % (sender.encode(), number))
        code, text = client.getreply()
        with self._changed:
            if code == -1:
                raise smtplib.SMTPServerDisconnected
            fates.unknown.remove(sender)
            if code != 250:
                fates.refused.add(sender)
                return False
            fates.accepted[sender] = text.split()[-1].decode()
            self._changed.notify_all()
        return True


def kill_at_random(
    load: Load,
    total: int,
    victims: Sequence[str],
    times: int,
    chance: random.Random,
    kill: Callable[[str], None],
    start: Callable[[str], None],
) -> Counter[str]:
    """Kills services with SIGKILL after random numbers of accepted messages, each victim at least once.

    Returns how often each victim was killed.
    """
    thresholds = sorted(chance.sample(range(1, total * 9 // 10), times))
    order = [*victims, *chance.choices(victims, k=times - len(victims))]
    chance.shuffle(order)
    for threshold, victim in zip(thresholds, order, strict=True):
        load.wait_for(threshold)
        kill(victim)
        load.pause(chance.uniform(0, 0.5))
        start(victim)
    load.wait_for(total)
    return Counter(order)


def history(suite: Suite) -> dict[str, pb.Message]:
    """Returns every finished message by its queue id. Checks that none is listed twice and none is in the queue too."""
    found: dict[str, pb.Message] = {}
    with suite.channel("relay") as channel:
        stub = relay_pb2_grpc.RelayStub(channel)
        token = ""
        while True:
            page = stub.ListHistory(pb.ListHistoryRequest(page_size=1000, page_token=token))
            for message in page.messages:
                assert message.queue_id not in found
                found[message.queue_id] = message
            token = page.next_page_token
            if not token:
                break
        assert not stub.ListMessages(pb.ListMessagesRequest(page_size=1)).messages
    return found


@dataclass(slots=True)
class Comparison:
    """The figures of one run."""

    accepted: int = 0
    refused: int = 0
    unknown: int = 0
    unknown_stored: int = 0
    delivered: int = 0
    reports: int = 0
    marked: int = 0
    twice: int = 0


def compare(fates: Fates, found: dict[str, pb.Message], far: SmtpSink) -> Comparison:
    """Checks that every accepted message arrived, that nothing else did, and that every duplicate is marked."""
    arrived = Counter(
        (transaction.sender.decode(), address.decode())
        for transaction in far.messages
        for address in transaction.accepted_recipients
    )
    # A report is sent to the sender of the message that it is about, and contains its queue id.
    reports = Counter(
        match[1].decode()
        for transaction in far.messages
        if not transaction.sender and (match := re.search(rb"X-Posthouse-Queue-Id: (\w+)\r\n", transaction.content))
    )
    # The history also contains refused messages, which have no submission.
    mail = [message for message in found.values() if message.submission_id]
    by_sender = {message.sender.decode(): message for message in mail if message.sender.endswith(b"@sender.test")}
    assert len(by_sender) == len(mail), "there is exactly one message for each try"
    figures = Comparison(len(fates.accepted), len(fates.refused), len(fates.unknown))
    for sender, queue_id in fates.accepted.items():
        assert by_sender[sender].queue_id == queue_id, sender
    assert not fates.refused & by_sender.keys(), "no message is stored whose client was told that it is refused"
    figures.unknown_stored = len(fates.unknown & by_sender.keys())
    made = [message for message in found.values() if not message.submission_id and not message.code]
    report_of = {message.deliveries[0].recipient.decode(): message for message in made}
    assert len(report_of) == len(made), "there is exactly one report for each failed message"
    for sender, message in by_sender.items():
        assert sorted(each.recipient.decode() for each in message.deliveries) == sorted(
            recipients_of(fates.numbers[sender])
        )
        for delivery in message.deliveries:
            recipient = delivery.recipient.decode()
            figures.marked += delivery.possible_duplicate
            if recipient == REFUSED:
                assert delivery.state == pb.DELIVERY_STATE_BOUNCED
                report = report_of[sender].deliveries[0]
                assert report.state == pb.DELIVERY_STATE_DELIVERED
                figures.reports += 1
                figures.marked += report.possible_duplicate
                figures.twice += _arrivals(reports[message.queue_id], marked=report.possible_duplicate)
            else:
                assert delivery.state == pb.DELIVERY_STATE_DELIVERED
                figures.delivered += 1
                count = arrived[sender, recipient]
                figures.twice += _arrivals(count, marked=delivery.possible_duplicate)
    assert {sender for sender, _ in arrived if sender} <= by_sender.keys()
    assert len(made) == figures.reports
    return figures


def _arrivals(count: int, *, marked: bool) -> int:
    """Checks that a message has arrived and that duplicates are marked. Returns the number of duplicates."""
    assert count >= 1, "the message was lost"
    assert count == 1 or marked, "the message arrived twice and is not marked as a possible duplicate"
    return count - 1
