"""The mail of `posthouse demo --keep`: messages with different results, again and again."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from email.message import EmailMessage

from services.suite.demo_peers import Zone
from services.suite.demo_world import ALICE

BOB = "bob@ours.example"
# Nobody has such an address. Each message to such an address uses another number.
HARVESTED = "guess{number}@ours.example"
# Mail to this domain waits, because its destination is suspended. Mail to the board is also held.
SUSPENDED_DOMAIN = "away.example"
BOARD = f"board@{SUSPENDED_DOMAIN}"
BLOCK_LIST = "blocked.example"
# Addresses on loopback: of two mail servers, and of a host where nothing listens.
SLOW_HOST, GONE_HOST, DOWN_HOST = "127.0.0.10", "127.0.0.11", "127.0.0.14"
ZONE: Zone = {
    ("slow.example", "MX"): ("10 mx.slow.example.",),
    ("mx.slow.example", "A"): (SLOW_HOST,),
    ("gone.example", "MX"): ("10 mx.gone.example.",),
    ("mx.gone.example", "A"): (GONE_HOST,),
    (SUSPENDED_DOMAIN, "MX"): (f"10 mx.{SUSPENDED_DOMAIN}.",),
    (f"mx.{SUSPENDED_DOMAIN}", "A"): (GONE_HOST,),
    # Nothing listens at this address.
    ("down.example", "MX"): ("10 mx.down.example.",),
    ("mx.down.example", "A"): (DOWN_HOST,),
    (f"66.100.51.198.{BLOCK_LIST}", "A"): ("127.0.0.2",),
}


@dataclass(frozen=True, slots=True)
class Sending:
    """One message. `client` is the address of the client. With `logged_in`, alice sends it on the submission port."""

    client: str
    sender: str
    recipient: str
    subject: str
    helo: str = "client.example"
    logged_in: bool = False

    def message(self) -> EmailMessage:
        """Returns the header and the content of the message."""
        message = EmailMessage()
        message["From"], message["To"], message["Subject"] = self.sender, self.recipient, self.subject
        message.set_content("This message belongs to a demonstration of Posthouse.\n")
        return message


def _incoming(client: str, sender: str, recipient: str, subject: str, helo: str = "mx.far.example") -> Sending:
    return Sending(client, sender, recipient, subject, helo)


def _outgoing(recipient: str, subject: str) -> Sending:
    return Sending("192.0.2.20", ALICE, recipient, subject, "laptop.ours.example", logged_in=True)


ROUND = (
    _incoming("203.0.113.10", "erin@far.example", ALICE, "Minutes of the meeting"),
    _outgoing("dave@far.example", "Your order {number}"),
    _incoming("203.0.113.21", "news@letters.example", ALICE, "News of the week"),
    _incoming("198.51.100.7", "someone@far.example", "nobody@ours.example", "Are you there?"),
    _outgoing("frank@slow.example", "Offer {number}"),
    _incoming("203.0.113.40", "prizes@winner.example", BOB, "You have won"),
    _outgoing("accounts@away.example", "Invoice {number}"),
    _incoming("203.0.113.10", "erin@far.example", "sales@ours.example", "A question about prices"),
    _outgoing("carol@partner.example", "Delivery note {number}"),
    _incoming("198.51.100.66", "offers@bargains.example", ALICE, "Cheap watches"),
    _outgoing("former@gone.example", "Happy birthday"),
    _incoming("203.0.113.55", "root@webserver", BOB, "Report of the night", "webserver.example"),
    _outgoing(BOARD, "Figures of the quarter"),
    _incoming("198.51.100.23", "open@relay.example", "victim@far.example", "Test"),
    _incoming("203.0.113.62", "grace@far.example", BOB, "Photographs", "GRACE-PC"),
    _outgoing("orders@down.example", "Order {number}"),
    _incoming("192.0.2.99", "harvest@far.example", HARVESTED, "Hello"),
    _outgoing("heidi@far.example", "Re: Minutes of the meeting"),
    _incoming("203.0.113.21", "ivan@far.example", BOB, "Lunch?"),
)


def stream() -> Iterator[Sending]:
    """Yields the messages without end."""
    for number, sending in enumerate(itertools.cycle(ROUND), 1):
        yield Sending(
            sending.client,
            sending.sender,
            sending.recipient.format(number=number),
            sending.subject.format(number=number),
            sending.helo,
            sending.logged_in,
        )
