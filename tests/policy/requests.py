"""Makes requests like those of ingress."""

from __future__ import annotations

import uuid
from typing import Any

from posthouse.policy.v1 import policy_pb2

from tests.policy.world import PASSWORD, STRANGER


def request(stage: str, session_id: str = "", *, revision: int = 7, **session: Any) -> policy_pb2.DecideRequest:
    """Makes a request. `session` has the fields in which the session differs from that of a stranger on port 25."""
    made = policy_pb2.DecideRequest(stage=policy_pb2.Stage.Value(f"STAGE_{stage.upper()}"))
    made.session.id = session_id or uuid.uuid4().hex
    made.session.client_address = session.pop("client", STRANGER)
    made.session.listener = session.pop("listener", policy_pb2.LISTENER_SMTP)
    made.session.helo_name = b"mail.sender.test"
    made.session.profile_revision = revision
    if session.pop("tls", False):
        made.session.tls.version = "TLSv1.3"
    for name, value in session.items():
        setattr(made.session, name, value)
    return made


def connect(session_id: str = "", client: str = STRANGER) -> policy_pb2.DecideRequest:
    return request("connect", session_id, client=client, revision=0)


def rcpt(recipient: str, sender: str = "joe@sender.test", **session: Any) -> policy_pb2.DecideRequest:
    made = request("rcpt", **session)
    made.transaction.sender = sender.encode()
    made.transaction.recipient = recipient.encode()
    return made


def auth(login: str, password: bytes = PASSWORD, identity: str = "", **session: Any) -> policy_pb2.DecideRequest:
    session.setdefault("tls", True)
    made = request("auth", **session)
    made.credentials.mechanism = "PLAIN"
    made.credentials.login = login.encode()
    made.credentials.password = password
    made.credentials.authorization_identity = identity.encode()
    return made


def replied(verdict: policy_pb2.Verdict) -> str:
    """Returns `accept`, `discard`, or the codes of the reply."""
    if verdict.action == policy_pb2.ACTION_REJECT:
        return f"{verdict.reply.code} {verdict.reply.enhanced_code}"
    return policy_pb2.Action.Name(verdict.action).removeprefix("ACTION_").lower()
