"""What an account is: a login, its password and its addresses."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

from services.config_api.fields import Address, Model, Password, composed, unique

Login = Annotated[
    str,
    Field(
        min_length=1,
        max_length=255,
        pattern=r"^[^\u0000-\u0020\u007f-\u00a0\u2028\u2029]+$",
        examples=["alice", "alice@example.com"],
        description="What the client logs in with; unique without regard to case. Kept in NFC.",
    ),
    composed(255),
]


class Account(Model):
    """Somebody who may log in, and whose addresses get mail here."""

    login: Login
    password: Password | None = Field(
        default=None,
        description="Write-only, without control characters, kept as argon2id. Left out of a PUT or PATCH it is "
        "kept; null or never given: "
        "nobody can log in.",
        json_schema_extra={"writeOnly": True},
    )
    addresses: Annotated[list[Address], Field(max_length=1000), AfterValidator(unique)] = Field(
        default=[], description="Addresses whose mail is this account's; each belongs to one account or alias."
    )
    enabled: bool = Field(default=True, description="false: as if it were not there.")
