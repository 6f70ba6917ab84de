"""The collection `/v1/access-rules`."""

from __future__ import annotations

import functools

from pydantic import Field

from services.config_api.access_rules.schemas import AccessRule, canonical_value
from services.config_api.fields import Instant, Model
from services.config_api.filters import exact, lenient, name_key
from services.config_api.resources import Body, Collection, Filter, UniqueKey


class AccessRuleShown(Model):
    """What is read-only in an access rule."""

    hits: int = Field(ge=0, description="Sessions and messages that it matched.")
    last_hit_at: Instant | None = Field(default=None, description="Its last match; null: none yet.")


def _key(body: Body) -> str:
    """What the rule says; (list, criterion, value) is only there once."""
    return f"{body['list']} {body['criterion']} {body['value']}"


# A text of one criterion is none of another's: only an address has an @, only a network a slash.
_FORM = lenient(*(functools.partial(canonical_value, criterion) for criterion in ("ip", "sender", "domain", "network")))

ACCESS_RULES = Collection(
    kind="access-rules",
    noun="AccessRule",
    plural="AccessRules",
    label="access rule",
    tag="security",
    model=AccessRule,
    shown=AccessRuleShown,
    unique=lambda body: [UniqueKey("access-rules/value", _key(body), "/value")],
    filters={
        "name": exact("name", "The rule's name, without regard to case.", name_key),
        "list": exact("list", "block or allow.", choices=("block", "allow")),
        "criterion": exact(
            "criterion", "What is compared.", choices=("sender", "recipient", "ip", "network", "domain")
        ),
        "value": Filter("The value, in any form that a rule may be given it in.", lambda body: [body["value"]], _FORM),
        "mode": exact("mode", "off, shadow or enforce.", choices=("off", "shadow", "enforce")),
    },
)
