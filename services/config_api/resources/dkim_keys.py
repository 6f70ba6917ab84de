"""The collection `/v1/dkim-keys`. The service makes the keys, or clients import them. The public part is shown as a DNS
record.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Sequence
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, Field, SecretStr, model_validator

from libs.smtp.address import canonical_domain
from libs.smtp.dkim import ED25519_SHA256, Algorithm, algorithm_of
from services.config_api.resources.description import (
    Body,
    CheckContext,
    Collection,
    Created,
    Finding,
    Secret,
    UniqueKey,
)
from services.config_api.resources.dkim_private_keys import (
    make_private_key,
    pem_of,
    private_key_in,
    public_part,
)
from services.config_api.resources.fields import Domain, Model, fault
from services.config_api.resources.filters import boolean, exact


def _selector(text: str) -> str:
    try:
        return canonical_domain(text)
    except ValueError as error:
        raise fault("selector", str(error)) from None


def _private_key(secret: SecretStr) -> SecretStr:
    try:
        return SecretStr(pem_of(private_key_in(secret.get_secret_value())))
    except ValueError as error:
        raise fault("private_key", str(error)) from None


class DkimKey(Model):
    """A key that signs mail whose sender has this domain (RFC 6376, RFC 8463)."""

    domain: Domain
    selector: Annotated[
        str,
        Field(min_length=1, max_length=63, pattern=r"^[A-Za-z0-9][A-Za-z0-9.-]*$", examples=["2026a"]),
        AfterValidator(_selector),
    ] = Field(description="The name of the key below _domainkey of the domain.")
    algorithm: Algorithm = Field(
        default="rsa-sha256",
        description="The algorithm. RSA keys that the service makes have 2048 bits. If it is left out beside "
        "`private_key`, it follows from that key. It cannot be changed: make another key.",
    )
    private_key: Annotated[SecretStr, Field(max_length=20_000), AfterValidator(_private_key)] | None = Field(
        default=None,
        description="Write-only, encrypted at rest: an existing key, as PEM (PKCS #8 or PKCS #1) or, for Ed25519, as "
        "base64 of its 32 or 64 octets. If a POST leaves it out, a new key is made. It cannot be changed.",
        json_schema_extra={"writeOnly": True},
    )
    enabled: bool = Field(
        default=True, description="false means that the key is stored, but nothing is signed with it."
    )

    @model_validator(mode="before")
    @classmethod
    def _algorithm_of_the_key(cls, given: Any) -> Any:
        """Adds the algorithm of a private key when only the key is given."""
        if not isinstance(given, dict) or "algorithm" in given or not isinstance(given.get("private_key"), str):
            return given
        try:
            return {**given, "algorithm": algorithm_of(private_key_in(given["private_key"]))}
        except ValueError:
            # The validation of the member `private_key` will report this fault.
            return given

    @model_validator(mode="after")
    def _key_is_of_the_algorithm(self) -> Self:
        if self.private_key is not None:
            of_key = algorithm_of(private_key_in(self.private_key.get_secret_value()))
            if of_key != self.algorithm:
                raise fault("private_key", f"is a key for {of_key}", "private_key")
        return self


class DkimKeyShown(Model):
    """The read-only members of a DKIM key."""

    dns_name: str = Field(description="The DNS name of the record.", examples=["2026a._domainkey.example.com"])
    dns_record: str = Field(description="The TXT record to publish.", examples=["v=DKIM1; k=rsa; p=MIIB…"])


async def _create(model: BaseModel) -> Created:
    """Makes a private key, or uses the given one. The public part is stored beside the private key."""
    assert isinstance(model, DkimKey)  # noqa: S101 - the collection's model
    if model.private_key is None:
        key = await asyncio.to_thread(make_private_key, model.algorithm)
    else:
        key = private_key_in(model.private_key.get_secret_value())
    public = base64.b64encode(public_part(key)).decode("ascii")
    return Created(hidden={"private_key": pem_of(key), "public_key": public})


def _show(body: Body) -> Body:
    kind = "ed25519" if body["algorithm"] == ED25519_SHA256 else "rsa"
    return {
        "dns_name": f"{body['selector']}._domainkey.{body['domain']}",
        "dns_record": f"v=DKIM1; k={kind}; p={body['public_key']}",
    }


async def references(body: Body, check_context: CheckContext) -> Sequence[Finding]:
    """Warns when a domain loses its last enabled key, so that its mail is no longer signed."""
    others = await check_context.matching("dkim-keys", "domain", body["domain"])
    if not body["enabled"] or any(key["enabled"] for key in others):
        return ()
    return (Finding("", "last_key_of_domain", f"Mail of {body['domain']} is no longer signed."),)


DKIM_KEYS = Collection(
    kind="dkim-keys",
    noun="DkimKey",
    plural="DkimKeys",
    label="DKIM key",
    tag="delivery",
    model=DkimKey,
    secrets=(Secret(("private_key",), fixed=True),),
    hidden=("private_key", "public_key"),
    create=_create,
    references=references,
    shown=DkimKeyShown,
    show=_show,
    fixed=("domain", "selector", "algorithm"),
    unique=lambda body: [UniqueKey("dkim-keys/name", f"{body['selector']}._domainkey.{body['domain']}", "/selector")],
    filters={
        "domain": exact("domain", "The domain.", canonical_domain),
        "enabled": boolean("enabled"),
    },
)
