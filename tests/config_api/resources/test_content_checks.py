"""Spam and quarantine in `/settings/content-checks`: validation, warnings, and what policy and relay get."""

from __future__ import annotations

from typing import Any

import pytest
from posthouse.config.v1 import config_pb2 as pb

from tests.config_api.service import Service

PATH = "/v1/settings/content-checks"
MAILBOX = {"kind": "lmtp", "host": "192.0.2.9", "port": 24}


async def test_spam_is_off_and_quarantine_marks_mail_by_default(service: Service) -> None:
    shown = await service.get(PATH)
    assert shown["spam"] == {
        "mode": "off",
        "rspamd": "http://127.0.0.1:11333",
        "on_error": "accept",
        "timeout_s": 10,
        "check_outgoing": False,
    }
    assert shown["quarantine"] == "mark"
    relay, _ = await service.relay(lambda found: found.quarantine != 0)
    assert relay.quarantine == pb.QUARANTINE_ACTION_MARK


async def test_policy_gets_the_address_of_rspamd_and_relay_the_quarantine_setting(service: Service) -> None:
    spam = {
        "mode": "enforce",
        "rspamd": "HTTPS://Filter.Example:443/",
        "password": "hidden words",
        "on_error": "tempfail",
        "timeout_s": 3,
        "check_outgoing": True,
    }
    changed = await service.change(PATH, {"spam": spam, "quarantine": "hold"})
    assert changed["spam"] == {
        **{k: v for k, v in spam.items() if k != "password"},
        "rspamd": "https://filter.example:443",
    }
    policy, _ = await service.policy(lambda found: found.content_checks.spam.mode == pb.MODE_ENFORCE)
    told = policy.content_checks.spam
    assert (told.rspamd, told.password) == ("https://filter.example:443", "hidden words")
    assert told.on_error == pb.Spam.ON_ERROR_TEMPFAIL
    assert (told.timeout.ToSeconds(), told.check_outgoing) == (3, True)
    relay, _ = await service.relay(lambda found: found.quarantine == pb.QUARANTINE_ACTION_HOLD)
    assert b"hidden words" not in relay.SerializeToString()
    # The password is kept while the address of rspamd stays the same. It is never sent to another rspamd automatically.
    await service.change(PATH, {"spam": {"timeout_s": 4}})
    policy, _ = await service.policy(lambda found: found.content_checks.spam.timeout.ToSeconds() == 4)
    assert policy.content_checks.spam.password == "hidden words"
    other = "http://192.0.2.9:11333"
    headers = {"Content-Type": "application/merge-patch+json", "If-Match": "*"}
    answer = await service.api.patch(PATH, json={"spam": {"rspamd": other}}, headers=headers)
    assert [error["code"] for error in answer.json()["errors"]] == ["secret_needed"]
    await service.change(PATH, {"spam": {"rspamd": other, "password": None}})
    policy, _ = await service.policy(lambda found: "192.0.2.9" in found.content_checks.spam.rspamd)
    assert policy.content_checks.spam.password == ""


@pytest.mark.parametrize(
    "url",
    [
        "127.0.0.1:11333",
        "ftp://127.0.0.1:11333",
        "http://127.0.0.1",
        "http://127.0.0.1:0",
        "http://127.0.0.1:11333/checkv2",
        "http://user:password@127.0.0.1:11333",
        "http://127.0.0.1:11333?x=1",
        "http://[::1:11333",
        "http://a b:11333",
    ],
)
async def test_an_invalid_address_of_rspamd_is_refused(on_sqlite: Service, url: str) -> None:
    answer = await on_sqlite.api.patch(
        PATH, json={"spam": {"rspamd": url}}, headers={"Content-Type": "application/merge-patch+json", "If-Match": "*"}
    )
    assert answer.status_code == 422, answer.text


def _codes(changed: dict[str, Any]) -> set[tuple[str, str]]:
    return {(warning["pointer"], warning["code"]) for warning in changed["warnings"]}


async def test_unencrypted_mail_to_rspamd_gives_a_warning(on_sqlite: Service) -> None:
    found = ("/spam/rspamd", "rspamd_in_clear")
    for url, warned in (
        ("http://127.0.0.1:11333", False),
        ("http://[::1]:11333", False),
        ("https://filter.example:11334", False),
        ("http://filter.example:11333", True),
        ("http://192.0.2.9:11333", True),
    ):
        changed = await on_sqlite.change(PATH, {"spam": {"mode": "shadow", "rspamd": url}})
        assert (found in _codes(changed)) is warned, url
    assert found not in _codes(await on_sqlite.change(PATH, {"spam": {"mode": "off"}}))


async def test_unused_quarantine_mailboxes_give_a_warning(on_sqlite: Service) -> None:
    domain = await on_sqlite.make("local-domains", {"name": "ours.example", "mailbox": MAILBOX})
    assert ("/quarantine", "no_quarantine_mailbox") in _codes(await on_sqlite.change(PATH, {"quarantine": "mailbox"}))
    await on_sqlite.change(f"/v1/local-domains/{domain['id']}", {"quarantine_mailbox": MAILBOX})
    changed = await on_sqlite.change(PATH, {"quarantine": "hold"})
    assert ("/quarantine", "idle_quarantine_mailbox") in _codes(changed)
    assert not _codes(await on_sqlite.change(PATH, {"quarantine": "mailbox"}))
