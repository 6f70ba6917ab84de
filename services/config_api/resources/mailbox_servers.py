"""Servers that accept the mail of our own domains by SMTP or LMTP."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from services.config_api.resources.fallback_hosts import NO_FALLBACK, FallbackHosts
from services.config_api.resources.fields import Host, Model, Port

TlsLevel = Annotated[
    Literal["none", "may", "encrypt", "verify"],
    Field(
        description="none: TLS is never used. may: STARTTLS is used if the server offers it. encrypt: plaintext is "
        "never used. verify: as encrypt, and the certificate must be valid for the host."
    ),
]


class Mailbox(Model):
    """A mailbox, to which the mail of a domain goes."""


class MailboxServer(Mailbox):
    """A server that accepts the mail of a domain."""


class SmtpMailbox(MailboxServer):
    """A mailbox server that is used by SMTP."""

    kind: Literal["smtp"] = Field(description="The mail is sent by SMTP.")
    host: Host
    port: Port = Field(default=25, description="TCP port.")
    tls: TlsLevel = "may"
    fallback_hosts: FallbackHosts = NO_FALLBACK


class LmtpMailbox(MailboxServer):
    """A mailbox server that is used by LMTP."""

    kind: Literal["lmtp"] = Field(description="The mail is sent by LMTP.")
    host: Host
    port: Port = Field(default=24, description="TCP port.")
    tls: TlsLevel = "may"
    fallback_hosts: FallbackHosts = NO_FALLBACK


AnyMailboxServer = Annotated[SmtpMailbox | LmtpMailbox, Field(discriminator="kind")]
