"""Servers that take the mail of a domain of ours by SMTP or LMTP."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from services.config_api.resources.fallback_hosts import NO_FALLBACK, FallbackHosts
from services.config_api.resources.fields import Host, Model, Port

TlsLevel = Annotated[
    Literal["none", "may", "encrypt", "verify"],
    Field(
        description="none: never; may: STARTTLS when it is offered; encrypt: never plaintext; verify: never plaintext, "
        "and the certificate must be valid for the host."
    ),
]


class Mailbox(Model):
    """Where the mail of a domain goes."""


class MailboxServer(Mailbox):
    """A server that takes the mail of a domain."""


class SmtpMailbox(MailboxServer):
    """Handed over by SMTP."""

    kind: Literal["smtp"] = Field(description="Handed over by SMTP.")
    host: Host
    port: Port = Field(default=25, description="TCP port.")
    tls: TlsLevel = "may"
    fallback_hosts: FallbackHosts = NO_FALLBACK


class LmtpMailbox(MailboxServer):
    """Handed over by LMTP."""

    kind: Literal["lmtp"] = Field(description="Handed over by LMTP.")
    host: Host
    port: Port = Field(default=24, description="TCP port.")
    tls: TlsLevel = "may"
    fallback_hosts: FallbackHosts = NO_FALLBACK


AnyMailboxServer = Annotated[SmtpMailbox | LmtpMailbox, Field(discriminator="kind")]
