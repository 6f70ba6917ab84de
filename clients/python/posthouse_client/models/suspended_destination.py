from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar, cast

from attrs import define as _attrs_define
from attrs import field as _attrs_field

if TYPE_CHECKING:
    from ..models.configuration_warning import ConfigurationWarning


T = TypeVar("T", bound="SuspendedDestination")


@_attrs_define
class SuspendedDestination:
    """A destination that was just suspended.

    Attributes:
        name (str): Its name.
        queued (int): The number of all deliveries.
        active (int): The number of deliveries that are due now or being tried.
        deferred (int): The number of deliveries that wait for their next attempt.
        held (int): The number of deliveries that are held.
        oldest_at (datetime.datetime | None): When the oldest message was received.
        last_error (None | str): The newest failure, in one line.
        last_error_at (datetime.datetime | None): When the newest failure happened.
        suspended (bool): Whether it is suspended.
        suspended_until (datetime.datetime | None): When the suspension ends. null means that it ends when somebody
            resumes the destination.
        suspended_by (None | str): Who suspended it.
        next_due_at (datetime.datetime | None): When the next attempt is due.
        warnings (list[ConfigurationWarning]): Warnings about the name of the destination.
    """

    name: str
    queued: int
    active: int
    deferred: int
    held: int
    oldest_at: datetime.datetime | None
    last_error: None | str
    last_error_at: datetime.datetime | None
    suspended: bool
    suspended_until: datetime.datetime | None
    suspended_by: None | str
    next_due_at: datetime.datetime | None
    warnings: list[ConfigurationWarning]
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        name = self.name

        queued = self.queued

        active = self.active

        deferred = self.deferred

        held = self.held

        oldest_at: None | str
        if isinstance(self.oldest_at, datetime.datetime):
            oldest_at = self.oldest_at.isoformat()
        else:
            oldest_at = self.oldest_at

        last_error: None | str
        last_error = self.last_error

        last_error_at: None | str
        if isinstance(self.last_error_at, datetime.datetime):
            last_error_at = self.last_error_at.isoformat()
        else:
            last_error_at = self.last_error_at

        suspended = self.suspended

        suspended_until: None | str
        if isinstance(self.suspended_until, datetime.datetime):
            suspended_until = self.suspended_until.isoformat()
        else:
            suspended_until = self.suspended_until

        suspended_by: None | str
        suspended_by = self.suspended_by

        next_due_at: None | str
        if isinstance(self.next_due_at, datetime.datetime):
            next_due_at = self.next_due_at.isoformat()
        else:
            next_due_at = self.next_due_at

        warnings = []
        for warnings_item_data in self.warnings:
            warnings_item = warnings_item_data.to_dict()
            warnings.append(warnings_item)

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "name": name,
                "queued": queued,
                "active": active,
                "deferred": deferred,
                "held": held,
                "oldest_at": oldest_at,
                "last_error": last_error,
                "last_error_at": last_error_at,
                "suspended": suspended,
                "suspended_until": suspended_until,
                "suspended_by": suspended_by,
                "next_due_at": next_due_at,
                "warnings": warnings,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        from ..models.configuration_warning import ConfigurationWarning  # noqa: PLC0415

        d = dict(src_dict)
        name = d.pop("name")

        queued = d.pop("queued")

        active = d.pop("active")

        deferred = d.pop("deferred")

        held = d.pop("held")

        def _parse_oldest_at(data: object) -> datetime.datetime | None:
            if data is None:
                return data
            try:
                if not isinstance(data, str):
                    raise TypeError()
                oldest_at_type_0 = datetime.datetime.fromisoformat(data)

                return oldest_at_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(datetime.datetime | None, data)

        oldest_at = _parse_oldest_at(d.pop("oldest_at"))

        def _parse_last_error(data: object) -> None | str:
            if data is None:
                return data
            return cast(None | str, data)

        last_error = _parse_last_error(d.pop("last_error"))

        def _parse_last_error_at(data: object) -> datetime.datetime | None:
            if data is None:
                return data
            try:
                if not isinstance(data, str):
                    raise TypeError()
                last_error_at_type_0 = datetime.datetime.fromisoformat(data)

                return last_error_at_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(datetime.datetime | None, data)

        last_error_at = _parse_last_error_at(d.pop("last_error_at"))

        suspended = d.pop("suspended")

        def _parse_suspended_until(data: object) -> datetime.datetime | None:
            if data is None:
                return data
            try:
                if not isinstance(data, str):
                    raise TypeError()
                suspended_until_type_0 = datetime.datetime.fromisoformat(data)

                return suspended_until_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(datetime.datetime | None, data)

        suspended_until = _parse_suspended_until(d.pop("suspended_until"))

        def _parse_suspended_by(data: object) -> None | str:
            if data is None:
                return data
            return cast(None | str, data)

        suspended_by = _parse_suspended_by(d.pop("suspended_by"))

        def _parse_next_due_at(data: object) -> datetime.datetime | None:
            if data is None:
                return data
            try:
                if not isinstance(data, str):
                    raise TypeError()
                next_due_at_type_0 = datetime.datetime.fromisoformat(data)

                return next_due_at_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(datetime.datetime | None, data)

        next_due_at = _parse_next_due_at(d.pop("next_due_at"))

        warnings = []
        _warnings = d.pop("warnings")
        for warnings_item_data in _warnings:
            warnings_item = ConfigurationWarning.from_dict(warnings_item_data)

            warnings.append(warnings_item)

        suspended_destination = cls(
            name=name,
            queued=queued,
            active=active,
            deferred=deferred,
            held=held,
            oldest_at=oldest_at,
            last_error=last_error,
            last_error_at=last_error_at,
            suspended=suspended,
            suspended_until=suspended_until,
            suspended_by=suspended_by,
            next_due_at=next_due_at,
            warnings=warnings,
        )

        suspended_destination.additional_properties = d
        return suspended_destination

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
