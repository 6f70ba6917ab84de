from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar, cast

from attrs import define as _attrs_define
from attrs import field as _attrs_field

if TYPE_CHECKING:
    from ..models.attempt import Attempt
    from ..models.session_verdict import SessionVerdict


T = TypeVar("T", bound="TimelineEvent")


@_attrs_define
class TimelineEvent:
    """An event in the timeline of a message.

    Attributes:
        occurred_at (datetime.datetime | None): When it happened.
        event (str): What happened: stored, refused, expanded, discarded, delivered, deferred, bounced, expired, or an
            action of an operator.
        recipient (None | str): The recipient of the event. null means all recipients.
        detail (None | str): Details of the event.
        actor (None | str): For actions of operators: the name of the API key.
        verdict (None | SessionVerdict): The verdict of policy. null for other events.
        attempt (Attempt | None): The attempt that caused the event. null when none did.
    """

    occurred_at: datetime.datetime | None
    event: str
    recipient: None | str
    detail: None | str
    actor: None | str
    verdict: None | SessionVerdict
    attempt: Attempt | None
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        from ..models.attempt import Attempt  # noqa: PLC0415
        from ..models.session_verdict import SessionVerdict  # noqa: PLC0415

        occurred_at: None | str
        if isinstance(self.occurred_at, datetime.datetime):
            occurred_at = self.occurred_at.isoformat()
        else:
            occurred_at = self.occurred_at

        event = self.event

        recipient: None | str
        recipient = self.recipient

        detail: None | str
        detail = self.detail

        actor: None | str
        actor = self.actor

        verdict: dict[str, Any] | None
        if isinstance(self.verdict, SessionVerdict):
            verdict = self.verdict.to_dict()
        else:
            verdict = self.verdict

        attempt: dict[str, Any] | None
        if isinstance(self.attempt, Attempt):
            attempt = self.attempt.to_dict()
        else:
            attempt = self.attempt

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "occurred_at": occurred_at,
                "event": event,
                "recipient": recipient,
                "detail": detail,
                "actor": actor,
                "verdict": verdict,
                "attempt": attempt,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        from ..models.attempt import Attempt  # noqa: PLC0415
        from ..models.session_verdict import SessionVerdict  # noqa: PLC0415

        d = dict(src_dict)

        def _parse_occurred_at(data: object) -> datetime.datetime | None:
            if data is None:
                return data
            try:
                if not isinstance(data, str):
                    raise TypeError()
                occurred_at_type_0 = datetime.datetime.fromisoformat(data)

                return occurred_at_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(datetime.datetime | None, data)

        occurred_at = _parse_occurred_at(d.pop("occurred_at"))

        event = d.pop("event")

        def _parse_recipient(data: object) -> None | str:
            if data is None:
                return data
            return cast(None | str, data)

        recipient = _parse_recipient(d.pop("recipient"))

        def _parse_detail(data: object) -> None | str:
            if data is None:
                return data
            return cast(None | str, data)

        detail = _parse_detail(d.pop("detail"))

        def _parse_actor(data: object) -> None | str:
            if data is None:
                return data
            return cast(None | str, data)

        actor = _parse_actor(d.pop("actor"))

        def _parse_verdict(data: object) -> None | SessionVerdict:
            if data is None:
                return data
            try:
                if not isinstance(data, dict):
                    raise TypeError()
                verdict_type_0 = SessionVerdict.from_dict(data)

                return verdict_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(None | SessionVerdict, data)

        verdict = _parse_verdict(d.pop("verdict"))

        def _parse_attempt(data: object) -> Attempt | None:
            if data is None:
                return data
            try:
                if not isinstance(data, dict):
                    raise TypeError()
                attempt_type_0 = Attempt.from_dict(data)

                return attempt_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(Attempt | None, data)

        attempt = _parse_attempt(d.pop("attempt"))

        timeline_event = cls(
            occurred_at=occurred_at,
            event=event,
            recipient=recipient,
            detail=detail,
            actor=actor,
            verdict=verdict,
            attempt=attempt,
        )

        timeline_event.additional_properties = d
        return timeline_event

    @property
    def additional_keys(self) -> list[str]:
        return list(self.additional_properties.keys())

    def __getitem__(self, key: str) -> Any:
        return self.additional_properties[key]

    def __setitem__(self, key: str, value: Any) -> None:
        self.additional_properties[key] = value

    def __delitem__(self, key: str) -> None:
        del self.additional_properties[key]

    def __contains__(self, key: str) -> bool:
        return key in self.additional_properties
