"""What a local domain is: where its mail is handed over."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from services.config_api.fields import Domain, Host, Model, Port, fault


def _absolute(path: str) -> str:
    if ".." in path.split("/"):
        raise fault("path", "must not contain ..")
    return path.rstrip("/") or "/"


class SmtpMailbox(Model):
    """Handed over by SMTP."""

    kind: Literal["smtp"] = Field(description="Handed over by SMTP.")
    host: Host
    port: Port = Field(default=25, description="TCP port.")


class LmtpMailbox(Model):
    """Handed over by LMTP."""

    kind: Literal["lmtp"] = Field(description="Handed over by LMTP.")
    host: Host
    port: Port = Field(default=24, description="TCP port.")


class MaildirMailbox(Model):
    """Written to a directory of relay's machine."""

    kind: Literal["maildir"] = Field(description="Written to a directory.")
    path: Annotated[
        str,
        Field(
            max_length=1000,
            pattern=r"^/[^\u0000-\u001f\u007f-\u009f\u2028\u2029]*$",
            description="Absolute path of the directory that holds one Maildir a recipient.",
            examples=["/var/mail/example.com"],
        ),
        AfterValidator(_absolute),
    ]


Mailbox = Annotated[SmtpMailbox | LmtpMailbox | MaildirMailbox, Field(discriminator="kind")]


class LocalDomain(Model):
    """The domain's mail is handed to that server or directory."""

    name: Domain
    mailbox: Mailbox | None = Field(default=None, description="Where its mail goes; null: it is held.")
    quarantine_mailbox: Mailbox | None = Field(
        default=None, description="Where mail marked for quarantine goes; null: to mailbox, marked."
    )
