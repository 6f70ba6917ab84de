from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from attrs import define as _attrs_define
from attrs import field as _attrs_field

T = TypeVar("T", bound="ActionProgress")


@_attrs_define
class ActionProgress:
    """The changes of an action. With dry_run, the changes that it would make.

    Attributes:
        matched (int): The number of deliveries that match.
        acted (int): The number of deliveries that were changed.
        skipped (int): The number of deliveries that are being tried now, or are in a state that does not allow the
            action.
        done (bool): false means that more progress follows.
    """

    matched: int
    acted: int
    skipped: int
    done: bool
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        matched = self.matched

        acted = self.acted

        skipped = self.skipped

        done = self.done

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "matched": matched,
                "acted": acted,
                "skipped": skipped,
                "done": done,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)
        matched = d.pop("matched")

        acted = d.pop("acted")

        skipped = d.pop("skipped")

        done = d.pop("done")

        action_progress = cls(
            matched=matched,
            acted=acted,
            skipped=skipped,
            done=done,
        )

        action_progress.additional_properties = d
        return action_progress

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
