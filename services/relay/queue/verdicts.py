"""The verdicts of a message's session in the form in which its row stores them: JSON, which filters search for the ids
of reasons and rules.

`[{"at", "stage", "action", "code", "enhanced_code", "reason_id", "rule_id", "shadow": [{"shadow_reason_id",
"shadow_rule_id"}]}]`, where empty members are left out.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from services.relay.model.message import SessionVerdict


def as_json(verdicts: Sequence[SessionVerdict]) -> str:
    """Returns the verdicts in the form in which they are stored."""
    return json.dumps([_fields(verdict) for verdict in verdicts])


def parse(stored: str | None) -> list[SessionVerdict]:
    """Reads stored verdicts. Raises ValueError, TypeError or LookupError for a text that `as_json` did not make."""
    return [
        SessionVerdict(
            at=int(fields["at"]),
            stage=str(fields["stage"]),
            action=str(fields["action"]),
            code=int(fields.get("code", 0)),
            enhanced_code=str(fields.get("enhanced_code", "")),
            reason_id=str(fields.get("reason_id", "")),
            rule_id=str(fields.get("rule_id", "")),
            shadow=tuple(
                (str(outcome["shadow_reason_id"]), str(outcome.get("shadow_rule_id", "")))
                for outcome in fields.get("shadow", ())
            ),
        )
        for fields in json.loads(stored or "[]")
    ]


def member(name: str, value: str) -> str:
    """Returns the text of one member in the JSON of a stored verdict or refusal, for which a search looks."""
    return f'"{name}": {json.dumps(value)}'


def _fields(verdict: SessionVerdict) -> dict[str, Any]:
    fields: dict[str, Any] = {"at": verdict.at, "stage": verdict.stage, "action": verdict.action}
    if verdict.code:
        fields |= {"code": verdict.code, "enhanced_code": verdict.enhanced_code}
    if verdict.reason_id:
        fields["reason_id"] = verdict.reason_id
    if verdict.rule_id:
        fields["rule_id"] = verdict.rule_id
    if verdict.shadow:
        fields["shadow"] = [{"shadow_reason_id": reason, "shadow_rule_id": rule} for reason, rule in verdict.shadow]
    return fields
