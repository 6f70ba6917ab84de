"""The collection `/v1/dkim-keys`: keys are made here, their public part is shown as the DNS record to publish."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Sequence
from typing import Annotated, Literal

from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from pydantic import AfterValidator, Field

from libs.smtp.address import canonical_domain
from services.config_api.resources.description import (
    Body,
    CheckContext,
    Collection,
    Created,
    Finding,
    Secret,
    UniqueKey,
)
from services.config_api.resources.fields import Domain, Model, fault
from services.config_api.resources.filters import boolean, exact


def _selector(text: str) -> str:
    try:
        return canonical_domain(text)
    except ValueError as error:
        raise fault("selector", str(error)) from None


class DkimKey(Model):
    """Signs mail whose sender's domain is this one (RFC 6376, RFC 8463)."""

    domain: Domain
    selector: Annotated[
        str,
        Field(min_length=1, max_length=63, pattern=r"^[A-Za-z0-9][A-Za-z0-9.-]*$", examples=["2026a"]),
        AfterValidator(_selector),
    ] = Field(description="Name of the key under _domainkey of the domain.")
    algorithm: Literal["rsa-sha256", "ed25519-sha256"] = Field(
        default="rsa-sha256", description="RSA keys have 2048 bits. It can't be changed: make another key."
    )
    enabled: bool = Field(default=True, description="false: kept, but nothing is signed with it.")


_RSA_BITS = 2048


class DkimKeyShown(Model):
    """What is read-only in a DKIM key."""

    dns_name: str = Field(description="Where the record goes.", examples=["2026a._domainkey.example.com"])
    dns_record: str = Field(description="The TXT record to publish.", examples=["v=DKIM1; k=rsa; p=MIIB…"])


async def _create(body: Body) -> Created:
    private, public = await asyncio.to_thread(_key_pair, body["algorithm"])
    return Created(hidden={"private_key": private, "public_key": public})


def _key_pair(algorithm: str) -> tuple[str, str]:
    """(PEM of PKCS #8, what follows p= in the record: RFC 6376 3.6.1, RFC 8463 4)."""
    key: rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey
    if algorithm == "ed25519-sha256":
        key = ed25519.Ed25519PrivateKey.generate()
        public = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    else:
        key = rsa.generate_private_key(public_exponent=65537, key_size=_RSA_BITS)
        public = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return private.decode("ascii"), base64.b64encode(public).decode("ascii")


def _show(body: Body) -> Body:
    kind = "ed25519" if body["algorithm"] == "ed25519-sha256" else "rsa"
    return {
        "dns_name": f"{body['selector']}._domainkey.{body['domain']}",
        "dns_record": f"v=DKIM1; k={kind}; p={body['public_key']}",
    }


async def references(body: Body, check_context: CheckContext) -> Sequence[Finding]:
    """The domain whose mail is no longer signed."""
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
    secrets=(Secret(("private_key",)),),
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
