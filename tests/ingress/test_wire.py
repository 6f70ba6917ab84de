"""Each request contains the present state of the session, although ingress keeps most of the state in encoded form."""

from __future__ import annotations

import dataclasses

from posthouse.policy.v1 import policy_pb2 as pb

from libs.smtp.parameters import NO_MAIL_PARAMETERS
from services.ingress.clients import wire
from services.ingress.session import Listener, Peer, Recipient, SessionFacts, Stage, Tls, Transaction, Violation
from services.ingress.verdict import Action
from tests.fakes.policy import accept, profile


def _session() -> SessionFacts:
    return SessionFacts("5" * 32, Peer("192.0.2.7", 40000, "192.0.2.1", 25), Listener.SMTP, 1_700_000_000_123_456_789)


def test_each_changed_fact_is_sent_to_policy() -> None:
    session = _session()
    given = wire.verdict(accept(profile=profile(revision=7))).profile
    changes: list[tuple[str, object]] = [
        ("profile", given),
        ("helo_sent", b"client.example"),
        ("esmtp", True),
        ("junk_commands", 3),
        ("junk_commands_uncharged", 2),
        ("violation", Violation.AFTER_DATA),
        ("tls", Tls("TLSv1.3", "TLS_AES_256_GCM_SHA384", "mx.example.com")),
        ("account", "alice"),
        ("junk_commands", 0),
        ("helo_sent", b""),
        ("esmtp", False),
        ("account", ""),
    ]
    told = wire.request(Stage.CONNECT, session).session
    for name, value in changes:
        setattr(session, name, value)
        before, told = told, wire.request(Stage.RCPT, session).session
        assert told != before, name
        # The encoding equals that of a session that always had these values.
        assert told == wire.request(Stage.RCPT, dataclasses.replace(session, told=None)).session
        assert told == wire.request(Stage.RCPT, session).session
    assert (told.id, told.client_address, told.client_port) == ("5" * 32, "192.0.2.7", 40000)
    assert (told.local_address, told.local_port, told.listener) == ("192.0.2.1", 25, pb.LISTENER_SMTP)
    assert (told.connected_at.seconds, told.connected_at.nanos) == (1_700_000_000, 123_456_789)
    assert (told.profile_revision, told.pipelining_violation, told.tls.version) == (7, 3, "TLSv1.3")


def test_a_request_contains_nothing_of_the_previous_one() -> None:
    session = _session()
    transaction = Transaction(b"a@example.org", NO_MAIL_PARAMETERS)
    transaction.recipients["b"] = Recipient(b"b@example.com")
    first = wire.request(Stage.RCPT, session, transaction, recipient=b"c@example.com")
    # At RCPT policy needs only the number of the other recipients. With their names, the octets would grow
    # quadratically.
    assert (first.transaction.recipient_count, len(first.transaction.recipients)) == (1, 0)
    last = wire.request(Stage.END_OF_DATA, session, transaction).transaction
    assert (last.recipient_count, list(last.recipients)) == (0, [b"b@example.com"])
    first.session.helo_name = b"changed by whoever holds it"
    second = wire.request(Stage.MAIL, session, Transaction(b"", NO_MAIL_PARAMETERS))
    assert second.HasField("transaction")
    assert second.transaction == pb.Transaction()
    assert second.session.helo_name == b""
    assert not wire.request(Stage.JUNK_COMMAND, session).HasField("transaction")


def test_equal_verdicts_share_one_object() -> None:
    plain = [wire.verdict(accept(request_id=number)) for number in (1, 2)]
    assert plain[0] is plain[1]
    assert wire.verdict(accept(request_id=3, account="alice")).account == "alice"
    assert wire.verdict(pb.Verdict(request_id=1, action=pb.ACTION_DISCARD, rule_id="r")).action is Action.DISCARD
    assert wire.verdict(accept(request_id=4, profile=profile(revision=2))).profile is not None
