from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..types import UNSET, Unset

if TYPE_CHECKING:
    from ..models.configuration_warning import ConfigurationWarning
    from ..models.retry_schedule import RetrySchedule


T = TypeVar("T", bound="QueueSettings")


@_attrs_define
class QueueSettings:
    """When delivery is tried again, when a message expires, and how much is sent at the same time.

    Attributes:
        retry_schedule (RetrySchedule | Unset): The times between attempts, before they are spread at random.
        expire_after_hours (float | Unset): After this number of hours a message is returned, but not before its first
            retry. Default: 120.0.
        delay_notice_after_hours (float | Unset): After this number of hours the sender gets a notice of delay, but not
            before the first retry. 0 means never. Default: 4.0.
        bounce_expire_hours (float | Unset): After this number of hours a report expires, but not before its first
            retry. Default: 24.0.
        max_concurrency_per_destination (int | Unset): The most connections to one destination at the same time.
            Default: 20.
        max_messages_per_connection (int | Unset): The number of messages after which a connection is closed. Default:
            100.
        max_messages_per_minute_per_destination (int | Unset): The most messages to one destination in one minute of the
            clock. 0 means no limit. Default: 0.
        retention_days (float | Unset): The number of days for which finished messages can be found. Default: 7.0.
        keep_subjects (bool | Unset): Whether the subject of each new message is stored, so that messages can be
            searched by it. Everybody who may list messages can then read subjects. Default: False.
        warnings (list[ConfigurationWarning] | Unset): Warnings about the values that were just written. They are not
            stored, and GET does not show them.
    """

    retry_schedule: RetrySchedule | Unset = UNSET
    expire_after_hours: float | Unset = 120.0
    delay_notice_after_hours: float | Unset = 4.0
    bounce_expire_hours: float | Unset = 24.0
    max_concurrency_per_destination: int | Unset = 20
    max_messages_per_connection: int | Unset = 100
    max_messages_per_minute_per_destination: int | Unset = 0
    retention_days: float | Unset = 7.0
    keep_subjects: bool | Unset = False
    warnings: list[ConfigurationWarning] | Unset = UNSET
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        retry_schedule: dict[str, Any] | Unset = UNSET
        if not isinstance(self.retry_schedule, Unset):
            retry_schedule = self.retry_schedule.to_dict()

        expire_after_hours = self.expire_after_hours

        delay_notice_after_hours = self.delay_notice_after_hours

        bounce_expire_hours = self.bounce_expire_hours

        max_concurrency_per_destination = self.max_concurrency_per_destination

        max_messages_per_connection = self.max_messages_per_connection

        max_messages_per_minute_per_destination = self.max_messages_per_minute_per_destination

        retention_days = self.retention_days

        keep_subjects = self.keep_subjects

        warnings: list[dict[str, Any]] | Unset = UNSET
        if not isinstance(self.warnings, Unset):
            warnings = []
            for warnings_item_data in self.warnings:
                warnings_item = warnings_item_data.to_dict()
                warnings.append(warnings_item)

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update({})
        if retry_schedule is not UNSET:
            field_dict["retry_schedule"] = retry_schedule
        if expire_after_hours is not UNSET:
            field_dict["expire_after_hours"] = expire_after_hours
        if delay_notice_after_hours is not UNSET:
            field_dict["delay_notice_after_hours"] = delay_notice_after_hours
        if bounce_expire_hours is not UNSET:
            field_dict["bounce_expire_hours"] = bounce_expire_hours
        if max_concurrency_per_destination is not UNSET:
            field_dict["max_concurrency_per_destination"] = max_concurrency_per_destination
        if max_messages_per_connection is not UNSET:
            field_dict["max_messages_per_connection"] = max_messages_per_connection
        if max_messages_per_minute_per_destination is not UNSET:
            field_dict["max_messages_per_minute_per_destination"] = max_messages_per_minute_per_destination
        if retention_days is not UNSET:
            field_dict["retention_days"] = retention_days
        if keep_subjects is not UNSET:
            field_dict["keep_subjects"] = keep_subjects
        if warnings is not UNSET:
            field_dict["warnings"] = warnings

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        from ..models.configuration_warning import ConfigurationWarning  # noqa: PLC0415
        from ..models.retry_schedule import RetrySchedule  # noqa: PLC0415

        d = dict(src_dict)
        _retry_schedule = d.pop("retry_schedule", UNSET)
        retry_schedule: RetrySchedule | Unset
        if isinstance(_retry_schedule, Unset):
            retry_schedule = UNSET
        else:
            retry_schedule = RetrySchedule.from_dict(_retry_schedule)

        expire_after_hours = d.pop("expire_after_hours", UNSET)

        delay_notice_after_hours = d.pop("delay_notice_after_hours", UNSET)

        bounce_expire_hours = d.pop("bounce_expire_hours", UNSET)

        max_concurrency_per_destination = d.pop("max_concurrency_per_destination", UNSET)

        max_messages_per_connection = d.pop("max_messages_per_connection", UNSET)

        max_messages_per_minute_per_destination = d.pop("max_messages_per_minute_per_destination", UNSET)

        retention_days = d.pop("retention_days", UNSET)

        keep_subjects = d.pop("keep_subjects", UNSET)

        _warnings = d.pop("warnings", UNSET)
        warnings: list[ConfigurationWarning] | Unset = UNSET
        if _warnings is not UNSET:
            warnings = []
            for warnings_item_data in _warnings:
                warnings_item = ConfigurationWarning.from_dict(warnings_item_data)

                warnings.append(warnings_item)

        queue_settings = cls(
            retry_schedule=retry_schedule,
            expire_after_hours=expire_after_hours,
            delay_notice_after_hours=delay_notice_after_hours,
            bounce_expire_hours=bounce_expire_hours,
            max_concurrency_per_destination=max_concurrency_per_destination,
            max_messages_per_connection=max_messages_per_connection,
            max_messages_per_minute_per_destination=max_messages_per_minute_per_destination,
            retention_days=retention_days,
            keep_subjects=keep_subjects,
            warnings=warnings,
        )

        queue_settings.additional_properties = d
        return queue_settings

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
