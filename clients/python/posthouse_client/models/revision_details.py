from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar, cast

from attrs import define as _attrs_define
from attrs import field as _attrs_field

if TYPE_CHECKING:
    from ..models.object_change import ObjectChange


T = TypeVar("T", bound="RevisionDetails")


@_attrs_define
class RevisionDetails:
    """One change of the configuration, with all the objects that it changed.

    Attributes:
        number (int): The number of the revision.
        created_at (datetime.datetime): When it was made.
        actor (str): The name of the API key.
        actor_id (None | str): The id of the API key. null means that the service itself did it.
        action (str): The operationId.
        summary (str): A summary in one line.
        changes (list[ObjectChange]): The objects that differ.
    """

    number: int
    created_at: datetime.datetime
    actor: str
    actor_id: None | str
    action: str
    summary: str
    changes: list[ObjectChange]
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        number = self.number

        created_at = self.created_at.isoformat()

        actor = self.actor

        actor_id: None | str
        actor_id = self.actor_id

        action = self.action

        summary = self.summary

        changes = []
        for changes_item_data in self.changes:
            changes_item = changes_item_data.to_dict()
            changes.append(changes_item)

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "number": number,
                "created_at": created_at,
                "actor": actor,
                "actor_id": actor_id,
                "action": action,
                "summary": summary,
                "changes": changes,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        from ..models.object_change import ObjectChange  # noqa: PLC0415

        d = dict(src_dict)
        number = d.pop("number")

        created_at = datetime.datetime.fromisoformat(d.pop("created_at"))

        actor = d.pop("actor")

        def _parse_actor_id(data: object) -> None | str:
            if data is None:
                return data
            return cast(None | str, data)

        actor_id = _parse_actor_id(d.pop("actor_id"))

        action = d.pop("action")

        summary = d.pop("summary")

        changes = []
        _changes = d.pop("changes")
        for changes_item_data in _changes:
            changes_item = ObjectChange.from_dict(changes_item_data)

            changes.append(changes_item)

        revision_details = cls(
            number=number,
            created_at=created_at,
            actor=actor,
            actor_id=actor_id,
            action=action,
            summary=summary,
            changes=changes,
        )

        revision_details.additional_properties = d
        return revision_details

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
