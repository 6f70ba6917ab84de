"""Functions that tests of the complete suite share: they configure it through the API, send mail, and read its fate."""

from __future__ import annotations

import smtplib
import ssl
import uuid
from collections.abc import Sequence
from email.message import EmailMessage
from typing import Any

from tests.peers.process import until
from tests.peers.suite import Suite

LOGIN = "alice"
PASSWORD = "correct horse battery"
ALICE = "alice@ours.test"


def create(suite: Suite, path: str, body: dict[str, Any]) -> dict[str, Any]:
    """Creates an object with POST and returns the object from the API's answer."""
    answer = suite.api.post(path, json=body)
    assert answer.status_code == 201, answer.text
    created: dict[str, Any] = answer.json()
    return created


def change(suite: Suite, path: str, patch: dict[str, Any]) -> dict[str, Any]:
    """Applies a merge patch to the present state."""
    etag = suite.api.get(path).headers["ETag"]
    headers = {"If-Match": etag, "Content-Type": "application/merge-patch+json"}
    answer = suite.api.patch(path, json=patch, headers=headers)
    assert answer.status_code == 200, answer.text
    changed: dict[str, Any] = answer.json()
    return changed


def newest_revision(suite: Suite) -> int:
    answer = suite.api.get("/v1/revisions", params={"limit": 1})
    assert answer.status_code == 200, answer.text
    return int(answer.json()["items"][0]["number"])


def until_policy_has(suite: Suite, revision: int) -> None:
    """Returns when policy uses this revision or a later one. The change of the revision must concern policy."""
    asked = {"kind": "hypothetical", "facts": {"stage": "connect", "client_address": "127.0.0.2"}}
    _until_explained_by(suite, revision, "/v1/explain/session", asked)


def until_relay_has(suite: Suite, revision: int) -> None:
    """Returns when relay uses this revision or a later one. The change of the revision must concern relay."""
    _until_explained_by(suite, revision, "/v1/explain/route", {"recipient": ALICE})


def _until_explained_by(suite: Suite, revision: int, path: str, asked: dict[str, Any]) -> None:
    def explained() -> bool:
        answer = suite.api.post(path, json=asked)
        return answer.status_code == 200 and answer.json()["snapshot_revision"] >= revision

    until(explained, f"{path} answers with revision {revision}")


def until_in_force(suite: Suite) -> None:
    """Returns when all changes so far are in force. To find this out, it makes one more change for policy and relay."""
    change(suite, "/v1/settings/general", {"profile": {"banner": f"ESMTP {uuid.uuid4().hex}"}})
    revision = newest_revision(suite)
    until_policy_has(suite, revision)
    until_relay_has(suite, revision)


def local_domain(suite: Suite, name: str = "ours.test") -> None:
    """Creates a local domain whose mail goes to maildirs below `<data>/mail`."""
    create(
        suite, "/v1/local-domains", {"name": name, "mailbox": {"kind": "maildir", "path": str(suite.folder / "mail")}}
    )


def account(suite: Suite, login: str = LOGIN, address: str = ALICE) -> None:
    create(suite, "/v1/accounts", {"login": login, "password": PASSWORD, "addresses": [address]})


def remove(suite: Suite, path: str) -> None:
    etag = suite.api.get(path).headers["ETag"]
    assert suite.api.delete(path, headers={"If-Match": etag}).status_code == 204


def trust_loopback(suite: Suite) -> dict[str, Any]:
    return create(suite, "/v1/trusted-networks", {"name": "loopback", "networks": ["127.0.0.0/8", "::1/128"]})


def relay_everything_to(suite: Suite, port: int) -> None:
    change(suite, "/v1/settings/delivery", {"mode": "relay_host", "relay_host": {"host": "127.0.0.1", "port": port}})


def message(sender: str = ALICE, recipients: Sequence[str] = ("bob@far.test",), text: str = "Hello.") -> bytes:
    mail = EmailMessage()
    mail["From"], mail["To"], mail["Subject"] = sender, ", ".join(recipients), "A test"
    mail.set_content(text)
    return mail.as_bytes().replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")


def no_verify() -> ssl.SSLContext:
    """Returns a TLS context without verification, because the suite's first certificate is self-signed."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def submission(suite: Suite) -> smtplib.SMTP:
    """Returns a client on the submission port that has done STARTTLS and logged in as alice."""
    client = smtplib.SMTP(suite.host, suite.submission_port, timeout=60)
    client.starttls(context=no_verify())
    client.login(LOGIN, PASSWORD)
    return client


def smtp(suite: Suite) -> smtplib.SMTP:
    """Returns a client on the SMTP port that has sent EHLO."""
    client = smtplib.SMTP(suite.host, suite.smtp_port, timeout=60)
    client.ehlo("client.test")
    return client


def reply_to_rcpt(suite: Suite, recipient: str, sender: str = "someone@far.test") -> tuple[int, str]:
    """Returns the code and the enhanced code that a new session gets for one recipient."""
    with smtp(suite) as client:
        client.mail(sender)
        code, text = client.rcpt(recipient)
    return code, text.split(b" ", 1)[0].decode()


def history(suite: Suite) -> list[dict[str, Any]]:
    """Returns the finished messages, newest first."""
    answer = suite.api.get("/v1/messages", params={"limit": 500})
    assert answer.status_code == 200, answer.text
    items: list[dict[str, Any]] = answer.json()["items"]
    return items


def queued(suite: Suite) -> list[dict[str, Any]]:
    answer = suite.api.get("/v1/queue/messages", params={"limit": 500})
    assert answer.status_code == 200, answer.text
    items: list[dict[str, Any]] = answer.json()["items"]
    return items


def until_queue_is_empty(suite: Suite, seconds: float = 60) -> None:
    until(lambda: not queued(suite), "the queue is empty", seconds)
