"""Type-checked, never run: what a program that calls the API through the generated client looks like."""

from posthouse_client import AuthenticatedClient
from posthouse_client.api.general import get_general_settings, update_general_settings
from posthouse_client.api.local_domains import create_local_domain
from posthouse_client.models import (
    GeneralSettings,
    GeneralSettingsPatch,
    LocalDomain,
    LocalDomainRecord,
    MaildirMailbox,
    ProfilePatch,
)


def rename(client: AuthenticatedClient, hostname: str) -> None:
    current = get_general_settings.sync_detailed(client=client)
    if not isinstance(current.parsed, GeneralSettings):
        raise SystemExit(f"refused: {current.status_code}")
    patch = GeneralSettingsPatch(profile=ProfilePatch(hostname=hostname))
    update_general_settings.sync(client=client, body=patch, if_match=current.headers["etag"])


def add_domain(client: AuthenticatedClient, name: str, path: str) -> str:
    body = LocalDomain(name=name, mailbox=MaildirMailbox(kind="maildir", path=path))
    answer = create_local_domain.sync(client=client, body=body)
    if not isinstance(answer, LocalDomainRecord):
        raise SystemExit("refused")
    return answer.id
