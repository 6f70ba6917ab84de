from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any, TypeVar, cast

from attrs import define as _attrs_define
from attrs import field as _attrs_field

T = TypeVar("T", bound="WebhookDelivery")


@_attrs_define
class WebhookDelivery:
    """An event that was sent to a webhook, with its last attempt.

    Attributes:
        event_id (str): The id of the event, which is also in webhook-id.
        type_ (str): The type of the event, or test.
        queue_id (None | str): The queue id of the message. null for a test.
        state (str): Whether an event was accepted.
        attempts (int): The number of attempts so far.
        last_attempt_at (datetime.datetime): When the last attempt began.
        http_status (int | None): The status of the answer. null when there was none.
        error (None | str): The reason of the failure.
        milliseconds (int): The duration of the last attempt.
    """

    event_id: str
    type_: str
    queue_id: None | str
    state: str
    attempts: int
    last_attempt_at: datetime.datetime
    http_status: int | None
    error: None | str
    milliseconds: int
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        event_id = self.event_id

        type_ = self.type_

        queue_id: None | str
        queue_id = self.queue_id

        state = self.state

        attempts = self.attempts

        last_attempt_at = self.last_attempt_at.isoformat()

        http_status: int | None
        http_status = self.http_status

        error: None | str
        error = self.error

        milliseconds = self.milliseconds

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "event_id": event_id,
                "type": type_,
                "queue_id": queue_id,
                "state": state,
                "attempts": attempts,
                "last_attempt_at": last_attempt_at,
                "http_status": http_status,
                "error": error,
                "milliseconds": milliseconds,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)
        event_id = d.pop("event_id")

        type_ = d.pop("type")

        def _parse_queue_id(data: object) -> None | str:
            if data is None:
                return data
            return cast(None | str, data)

        queue_id = _parse_queue_id(d.pop("queue_id"))

        state = d.pop("state")

        attempts = d.pop("attempts")

        last_attempt_at = datetime.datetime.fromisoformat(d.pop("last_attempt_at"))

        def _parse_http_status(data: object) -> int | None:
            if data is None:
                return data
            return cast(int | None, data)

        http_status = _parse_http_status(d.pop("http_status"))

        def _parse_error(data: object) -> None | str:
            if data is None:
                return data
            return cast(None | str, data)

        error = _parse_error(d.pop("error"))

        milliseconds = d.pop("milliseconds")

        webhook_delivery = cls(
            event_id=event_id,
            type_=type_,
            queue_id=queue_id,
            state=state,
            attempts=attempts,
            last_attempt_at=last_attempt_at,
            http_status=http_status,
            error=error,
            milliseconds=milliseconds,
        )

        webhook_delivery.additional_properties = d
        return webhook_delivery

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
