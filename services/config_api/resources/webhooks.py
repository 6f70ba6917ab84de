"""The collection `/v1/webhooks`: where events are sent, and the secret that signs them (standardwebhooks.com)."""

from __future__ import annotations

import base64
import binascii
import secrets as random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal, get_args

from pydantic import AfterValidator, BaseModel, Field, SecretStr

from services.config_api.problems import invalid_field
from services.config_api.resources.description import Body, CheckContext, Collection, Created, Finding, Secret
from services.config_api.resources.fields import Instant, Model, checked, domain_name, fault
from services.config_api.resources.filters import boolean
from services.config_api.resources.webhook_addresses import is_allowed, is_listed, literal_of, parse_url

EventName = Literal["delivered", "deferred", "bounced", "expired", "held", "refused", "client_blocked"]
EVENT_NAMES: tuple[str, ...] = get_args(EventName)
SECRET_PREFIX = "whsec_"  # noqa: S105 - no secret
# As standardwebhooks.com has it: 24 to 64 octets.
_SHORTEST_SECRET, _LONGEST_SECRET = 24, 64
_MADE_OCTETS = 32
# The members for the secret before the last rotation, while it still signs.
PREVIOUS_SECRET = ("previous_secret", "previous_secret_ends_at")


def _checked_secret(secret: SecretStr) -> SecretStr:
    text = secret.get_secret_value()
    try:
        octets = base64.b64decode(text.removeprefix(SECRET_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        octets = b""
    if not text.startswith(SECRET_PREFIX) or not _SHORTEST_SECRET <= len(octets) <= _LONGEST_SECRET:
        raise fault(
            "webhook_secret",
            f"must be {SECRET_PREFIX} and the base64 of {_SHORTEST_SECRET} to {_LONGEST_SECRET} random octets",
        )
    return secret


def _url(text: str) -> str:
    """The URL. A host's label that says it is an A-label must be one. Raises ValueError."""
    parts = parse_url(text)
    if literal_of(parts) is None:
        domain_name(parts.hostname or "")
    return parts.geturl()


def _once(events: list[EventName]) -> list[EventName]:
    if len(set(events)) != len(events):
        raise fault("duplicate", "names an event twice")
    return events


class Webhook(Model):
    """Sends what becomes of messages to a URL, signed as standardwebhooks.com says."""

    url: Annotated[
        str,
        Field(max_length=2000, examples=["https://hooks.example.com/mail"]),
        AfterValidator(checked("url", _url)),
    ] = Field(description="Where events are sent by POST: https, at a public address.")
    events: Annotated[list[EventName], Field(min_length=1, max_length=7), AfterValidator(_once)] = Field(
        description="What is sent.", examples=[["delivered", "bounced"]]
    )
    secret: Annotated[SecretStr, Field(max_length=100), AfterValidator(_checked_secret)] | None = Field(
        default=None,
        description="The secret that signs: whsec_ and base64. Made where it is left out, and then shown once.",
    )
    enabled: bool = Field(
        default=True,
        description="false: nothing is sent. What happens meanwhile is sent when it is true again, as far as the "
        "history goes back.",
    )


class WebhookShown(Model):
    """What is read-only in a webhook."""

    previous_secret_ends_at: Instant | None = Field(
        default=None, description="Until when the secret of before the last rotation signs too; null: it does not."
    )


def make_secret() -> str:
    return SECRET_PREFIX + base64.b64encode(random.token_bytes(_MADE_OCTETS)).decode("ascii")


def rotated(body: Body, sealed_secret: str, overlap_minutes: int) -> Body:
    """The stored body with a new secret, beside the one of before for a while."""
    kept = {name: value for name, value in body.items() if name not in PREVIOUS_SECRET}
    if overlap_minutes:
        ends_at = datetime.now(UTC) + timedelta(minutes=overlap_minutes)
        kept |= {
            "previous_secret": body["secret"],
            "previous_secret_ends_at": ends_at.isoformat(timespec="seconds").replace("+00:00", "Z"),
        }
    return kept | {"secret": sealed_secret}


def sealed_secrets(body: Body) -> list[str]:
    """The secrets that sign now, newest first, sealed."""
    found = [body["secret"]]
    ends_at = body.get("previous_secret_ends_at")
    if ends_at is not None and datetime.fromisoformat(ends_at) > datetime.now(UTC):
        found.append(body["previous_secret"])
    return found


async def _create(_: BaseModel) -> Created:
    secret = make_secret()
    return Created(hidden={"secret": secret}, shown_once={"secret": secret})


async def _refuse(body: Body, check_context: CheckContext) -> Sequence[Finding]:
    """Names are looked up at each delivery; addresses are judged here too."""
    parts, networks = parse_url(body["url"]), check_context.webhook_networks
    literal = literal_of(parts)
    if literal is not None and not is_allowed(literal, networks):
        raise invalid_field("/url", "private_address", "Webhooks lead to public addresses alone.")
    is_plain = parts.scheme == "http"
    if is_plain and not (networks if literal is None else is_listed(literal, networks)):
        raise invalid_field("/url", "https_needed", "Webhooks need https.")
    return ()


def _show(body: Body) -> Body:
    return {"previous_secret_ends_at": body.get("previous_secret_ends_at") if len(sealed_secrets(body)) > 1 else None}


WEBHOOKS = Collection(
    kind="webhooks",
    noun="Webhook",
    plural="Webhooks",
    label="webhook",
    tag="events",
    model=Webhook,
    secrets=(Secret(("secret",), required=True), Secret(("previous_secret",))),
    hidden=PREVIOUS_SECRET,
    create=_create,
    refuse=_refuse,
    shown=WebhookShown,
    show=_show,
    filters={"enabled": boolean("enabled")},
    portable=False,
)
