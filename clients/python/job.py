"""One real job with `posthouse_client`: a domain with a Maildir, its accounts, and the gateway's hostname.

POSTHOUSE_URL=http://127.0.0.1:8080 POSTHOUSE_KEY=... python job.py example.com /srv/mail/example.com
"""

from __future__ import annotations

import json
import os
import sys

from posthouse_client import Posthouse, ProblemError
from posthouse_client.api.accounts import create_account, list_accounts
from posthouse_client.api.general import get_general_settings, update_general_settings
from posthouse_client.api.local_domains import create_local_domain
from posthouse_client.models import (
    Account,
    GeneralSettings,
    GeneralSettingsPatch,
    LocalDomain,
    MaildirMailbox,
    ProfilePatch,
)


def rename(posthouse: Posthouse, hostname: str) -> str:
    """Changes what nobody else has changed meanwhile: `change` reads, edits and writes until that is so."""

    def edit(_: GeneralSettings) -> GeneralSettingsPatch:
        return GeneralSettingsPatch(profile=ProfilePatch(hostname=hostname))

    changed = posthouse.change(get_general_settings.sync_detailed, update_general_settings.sync_detailed, edit)
    return changed.value.profile.hostname


def add_domain(posthouse: Posthouse, name: str, folder: str) -> str:
    """Makes the domain. `send` gives the request an Idempotency-Key, and may so repeat it."""
    domain = LocalDomain(name=name, mailbox=MaildirMailbox(kind="maildir", path=folder))
    return str(posthouse.send(create_local_domain.sync_detailed, body=domain).value.id)


def add_accounts(posthouse: Posthouse, domain: str) -> list[str]:
    """Makes three accounts; the addresses of all that there are then."""
    for name in ("alice", "bob", "carol"):
        address = f"{name}@{domain}"
        account = Account(login=address, password="correct horse battery staple", addresses=[address])  # noqa: S106
        written = posthouse.send(create_account.sync_detailed, body=account)
    posthouse.wait_until_in_force(written)
    accounts = posthouse.items(list_accounts.sync, limit=2)
    return sorted(address for account in accounts for address in account.addresses or ())


def main() -> None:
    domain, folder = sys.argv[1:]
    with Posthouse(os.environ["POSTHOUSE_URL"], os.environ["POSTHOUSE_KEY"]) as posthouse:
        hostname = rename(posthouse, f"gateway.{domain}")
        domain_id = add_domain(posthouse, domain, folder)
        addresses = add_accounts(posthouse, domain)
        try:
            add_domain(posthouse, domain, folder)
            refusal = ""
        except ProblemError as problem:
            refusal = problem.code
    report = {"hostname": hostname, "domain_id": domain_id, "addresses": addresses, "refusal": refusal}
    sys.stdout.write(json.dumps(report) + "\n")


if __name__ == "__main__":
    main()
