"""The collection `/v1/webhooks`: the URLs that get events, and the secrets that sign them (standardwebhooks.com)."""

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
# standardwebhooks.com demands 24 to 64 octets.
_SHORTEST_SECRET, _LONGEST_SECRET = 24, 64
_MADE_OCTETS = 32
# The members for the previous secret, which still signs until the overlap of a rotation ends.
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
    """Returns the URL. A label of its host that begins with xn-- must be a valid A-label. Raises ValueError."""
    parts = parse_url(text)
    if literal_of(parts) is None:
        domain_name(parts.hostname or "")
    return parts.geturl()


def _once(events: list[EventName]) -> list[EventName]:
    if len(set(events)) != len(events):
        raise fault("duplicate", "names an event twice")
    return events


class Webhook(Model):
    """Sends events about messages to a URL, signed as standardwebhooks.com describes."""

    url: Annotated[
        str,
        Field(max_length=2000, examples=["https://hooks.example.com/mail"]),
        AfterValidator(checked("url", _url)),
    ] = Field(description="The URL that gets events by POST: https, at a public address.")
    events: Annotated[list[EventName], Field(min_length=1, max_length=7), AfterValidator(_once)] = Field(
        description="The types of events that are sent.", examples=[["delivered", "bounced"]]
    )
    secret: Annotated[SecretStr, Field(max_length=100), AfterValidator(_checked_secret)] | None = Field(
        default=None,
        description="The secret that signs: whsec_ and base64. If it is left out, it is made, and shown once.",
    )
    enabled: bool = Field(
        default=True,
        description="false means that nothing is sent. Events of this time are sent when it is true again, as far "
        "back as the history reaches.",
    )


class WebhookShown(Model):
    """The read-only members of a webhook."""

    previous_secret_ends_at: Instant | None = Field(
        default=None,
        description="The time until which the previous secret also signs after a rotation. null means "
        "that it does not sign.",
    )


def make_secret() -> str:
    return SECRET_PREFIX + base64.b64encode(random.token_bytes(_MADE_OCTETS)).decode("ascii")


def rotated(body: Body, sealed_secret: str, overlap_minutes: int) -> Body:
    """Returns the stored body with a new secret. If there is an overlap, the previous secret is kept, and signs until
    its end.
    """
    kept = {name: value for name, value in body.items() if name not in PREVIOUS_SECRET}
    if overlap_minutes:
        ends_at = datetime.now(UTC) + timedelta(minutes=overlap_minutes)
        kept |= {
            "previous_secret": body["secret"],
            "previous_secret_ends_at": ends_at.isoformat(timespec="seconds").replace("+00:00", "Z"),
        }
    return kept | {"secret": sealed_secret}


def sealed_secrets(body: Body) -> list[str]:
    """Returns the secrets that sign at present, in encrypted form, the newest first."""
    found = [body["secret"]]
    ends_at = body.get("previous_secret_ends_at")
    if ends_at is not None and datetime.fromisoformat(ends_at) > datetime.now(UTC):
        found.append(body["previous_secret"])
    return found


async def _create(_: BaseModel) -> Created:
    secret = make_secret()
    return Created(hidden={"secret": secret}, shown_once={"secret": secret})


async def _refuse(body: Body, check_context: CheckContext) -> Sequence[Finding]:
    """Raises Problem 422 for a URL to which webhooks may not be sent. If its host is a name, the addresses are checked
    at each delivery instead.
    """
    parts, networks = parse_url(body["url"]), check_context.webhook_networks
    literal = literal_of(parts)
    if literal is not None and not is_allowed(literal, networks):
        raise invalid_field("/url", "private_address", "Webhooks can be sent only to public addresses.")
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
