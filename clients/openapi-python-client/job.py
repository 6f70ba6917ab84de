"""The job of ../README.md with the client that openapi-python-client makes without any template of ours.

POSTHOUSE_URL=http://127.0.0.1:8080 POSTHOUSE_KEY=... python job.py example.com /srv/mail/example.com
"""

from __future__ import annotations

import json
import os
import sys
import uuid

from posthouse_api_client import AuthenticatedClient
from posthouse_api_client.api.accounts import create_account, list_accounts
from posthouse_api_client.api.general import get_general_settings, update_general_settings
from posthouse_api_client.api.local_domains import create_local_domain
from posthouse_api_client.models import (
    Account,
    AccountPage,
    GeneralSettings,
    GeneralSettingsPatch,
    LocalDomain,
    MaildirMailbox,
    ProblemDetails,
    ProfilePatch,
)
from posthouse_api_client.types import UNSET, Unset


def rename(client: AuthenticatedClient, hostname: str) -> str:
    current = get_general_settings.sync_detailed(client=client)
    if not isinstance(current.parsed, GeneralSettings):
        raise SystemExit(f"refused: {current.status_code}")
    patch = GeneralSettingsPatch(profile=ProfilePatch(hostname=hostname))
    changed = update_general_settings.sync(client=client, body=patch, if_match=current.headers["etag"])
    if not isinstance(changed, GeneralSettings):
        raise SystemExit(f"refused: {changed}")
    return changed.profile.hostname


def add_domain(client: AuthenticatedClient, name: str, folder: str) -> LocalDomain | ProblemDetails:
    body = LocalDomain(name=name, mailbox=MaildirMailbox(kind="maildir", path=folder))
    # The same key again would give the same answer again, and make no second domain.
    answer = create_local_domain.sync(client=client, body=body, idempotency_key=str(uuid.uuid4()))
    if not isinstance(answer, LocalDomain | ProblemDetails):
        raise SystemExit(f"refused: {answer}")
    return answer


def add_account(client: AuthenticatedClient, address: str) -> None:
    body = Account(login=address, password="correct horse battery staple", addresses=[address])  # noqa: S106
    answer = create_account.sync(client=client, body=body, idempotency_key=str(uuid.uuid4()))
    if not isinstance(answer, Account):
        raise SystemExit(f"refused: {answer}")


def addresses(client: AuthenticatedClient) -> list[str]:
    """The addresses of all accounts, read in pages of two."""
    listed: list[str] = []
    cursor: str | Unset = UNSET
    while True:
        page = list_accounts.sync(client=client, limit=2, cursor=cursor)
        if not isinstance(page, AccountPage):
            raise SystemExit(f"refused: {page}")
        for account in page.items:
            listed += account.addresses or []
        if not page.next_cursor:
            return sorted(listed)
        cursor = page.next_cursor


def main() -> None:
    domain, folder = sys.argv[1:]
    with AuthenticatedClient(base_url=os.environ["POSTHOUSE_URL"], token=os.environ["POSTHOUSE_KEY"]) as client:
        hostname = rename(client, f"gateway.{domain}")
        made = add_domain(client, domain, folder)
        if not isinstance(made, LocalDomain):
            raise SystemExit(f"refused: {made.title}")
        for name in ("alice", "bob", "carol"):
            add_account(client, f"{name}@{domain}")
        again = add_domain(client, domain, folder)
        refusal = again.type_.rpartition(":")[2] if isinstance(again, ProblemDetails) else ""
        report = {
            "hostname": hostname,
            "domain_id": str(made.id),
            "addresses": addresses(client),
            "refusal": refusal,
        }
    sys.stdout.write(json.dumps(report) + "\n")


if __name__ == "__main__":
    main()
