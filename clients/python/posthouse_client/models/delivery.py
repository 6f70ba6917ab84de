from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar, cast

from attrs import define as _attrs_define
from attrs import field as _attrs_field

if TYPE_CHECKING:
    from ..models.attempt import Attempt


T = TypeVar("T", bound="Delivery")


@_attrs_define
class Delivery:
    """One recipient of a message.

    Attributes:
        id (str): Its id.
        recipient (str): The address of the recipient.
        original_recipient (None | str): The recipient as submitted, if an alias or a redirect replaced it.
        state (str): The state of a delivery. unknown means that a newer relay has a state that this release of
            config_api does not know.
        destination (str): The destination: domain:NAME, relay:HOST:PORT or mailbox:NAME.
        next_hop (None | str): host:port of the server to which it was redirected. null means that the configuration
            decides.
        attempts (int): Number of attempts so far.
        due_at (datetime.datetime | None): When the next attempt is due.
        expires_at (datetime.datetime | None): When the delivery expires. null means that it is finished.
        finished_at (datetime.datetime | None): When it was finished. null means that it is not finished.
        last_attempt (Attempt | None): The newest attempt. null means that there was none.
        history (list[Attempt]): All attempts, oldest first.
        possible_duplicate (bool): Whether the recipient may have got the message twice.
    """

    id: str
    recipient: str
    original_recipient: None | str
    state: str
    destination: str
    next_hop: None | str
    attempts: int
    due_at: datetime.datetime | None
    expires_at: datetime.datetime | None
    finished_at: datetime.datetime | None
    last_attempt: Attempt | None
    history: list[Attempt]
    possible_duplicate: bool
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        from ..models.attempt import Attempt  # noqa: PLC0415

        id = self.id

        recipient = self.recipient

        original_recipient: None | str
        original_recipient = self.original_recipient

        state = self.state

        destination = self.destination

        next_hop: None | str
        next_hop = self.next_hop

        attempts = self.attempts

        due_at: None | str
        if isinstance(self.due_at, datetime.datetime):
            due_at = self.due_at.isoformat()
        else:
            due_at = self.due_at

        expires_at: None | str
        if isinstance(self.expires_at, datetime.datetime):
            expires_at = self.expires_at.isoformat()
        else:
            expires_at = self.expires_at

        finished_at: None | str
        if isinstance(self.finished_at, datetime.datetime):
            finished_at = self.finished_at.isoformat()
        else:
            finished_at = self.finished_at

        last_attempt: dict[str, Any] | None
        if isinstance(self.last_attempt, Attempt):
            last_attempt = self.last_attempt.to_dict()
        else:
            last_attempt = self.last_attempt

        history = []
        for history_item_data in self.history:
            history_item = history_item_data.to_dict()
            history.append(history_item)

        possible_duplicate = self.possible_duplicate

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "id": id,
                "recipient": recipient,
                "original_recipient": original_recipient,
                "state": state,
                "destination": destination,
                "next_hop": next_hop,
                "attempts": attempts,
                "due_at": due_at,
                "expires_at": expires_at,
                "finished_at": finished_at,
                "last_attempt": last_attempt,
                "history": history,
                "possible_duplicate": possible_duplicate,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        from ..models.attempt import Attempt  # noqa: PLC0415

        d = dict(src_dict)
        id = d.pop("id")

        recipient = d.pop("recipient")

        def _parse_original_recipient(data: object) -> None | str:
            if data is None:
                return data
            return cast(None | str, data)

        original_recipient = _parse_original_recipient(d.pop("original_recipient"))

        state = d.pop("state")

        destination = d.pop("destination")

        def _parse_next_hop(data: object) -> None | str:
            if data is None:
                return data
            return cast(None | str, data)

        next_hop = _parse_next_hop(d.pop("next_hop"))

        attempts = d.pop("attempts")

        def _parse_due_at(data: object) -> datetime.datetime | None:
            if data is None:
                return data
            try:
                if not isinstance(data, str):
                    raise TypeError()
                due_at_type_0 = datetime.datetime.fromisoformat(data)

                return due_at_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(datetime.datetime | None, data)

        due_at = _parse_due_at(d.pop("due_at"))

        def _parse_expires_at(data: object) -> datetime.datetime | None:
            if data is None:
                return data
            try:
                if not isinstance(data, str):
                    raise TypeError()
                expires_at_type_0 = datetime.datetime.fromisoformat(data)

                return expires_at_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(datetime.datetime | None, data)

        expires_at = _parse_expires_at(d.pop("expires_at"))

        def _parse_finished_at(data: object) -> datetime.datetime | None:
            if data is None:
                return data
            try:
                if not isinstance(data, str):
                    raise TypeError()
                finished_at_type_0 = datetime.datetime.fromisoformat(data)

                return finished_at_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(datetime.datetime | None, data)

        finished_at = _parse_finished_at(d.pop("finished_at"))

        def _parse_last_attempt(data: object) -> Attempt | None:
            if data is None:
                return data
            try:
                if not isinstance(data, dict):
                    raise TypeError()
                last_attempt_type_0 = Attempt.from_dict(data)

                return last_attempt_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(Attempt | None, data)

        last_attempt = _parse_last_attempt(d.pop("last_attempt"))

        history = []
        _history = d.pop("history")
        for history_item_data in _history:
            history_item = Attempt.from_dict(history_item_data)

            history.append(history_item)

        possible_duplicate = d.pop("possible_duplicate")

        delivery = cls(
            id=id,
            recipient=recipient,
            original_recipient=original_recipient,
            state=state,
            destination=destination,
            next_hop=next_hop,
            attempts=attempts,
            due_at=due_at,
            expires_at=expires_at,
            finished_at=finished_at,
            last_attempt=last_attempt,
            history=history,
            possible_duplicate=possible_duplicate,
        )

        delivery.additional_properties = d
        return delivery

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
