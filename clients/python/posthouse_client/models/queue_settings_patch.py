from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar, cast

from attrs import define as _attrs_define

from ..types import UNSET, Unset

if TYPE_CHECKING:
    from ..models.retry_schedule_patch import RetrySchedulePatch


T = TypeVar("T", bound="QueueSettingsPatch")


@_attrs_define
class QueueSettingsPatch:
    """A merge patch (RFC 7396) of QueueSettings: absent members do not change, and null sets the default.

    Attributes:
        retry_schedule (None | RetrySchedulePatch | Unset): The times between attempts.
        expire_after_hours (float | None | Unset): After this number of hours a message is returned, but not before its
            first retry.
        delay_notice_after_hours (float | None | Unset): After this number of hours the sender gets a notice of delay,
            but not before the first retry. 0 means never.
        bounce_expire_hours (float | None | Unset): After this number of hours a report expires, but not before its
            first retry.
        max_concurrency_per_destination (int | None | Unset): The most connections to one destination at the same time.
        max_messages_per_connection (int | None | Unset): The number of messages after which a connection is closed.
        max_messages_per_minute_per_destination (int | None | Unset): The most messages to one destination in one minute
            of the clock. 0 means no limit.
        retention_days (float | None | Unset): The number of days for which finished messages can be found.
        keep_subjects (bool | None | Unset): Whether the subject of each new message is stored, so that messages can be
            searched by it. Everybody who may list messages can then read subjects.
    """

    retry_schedule: None | RetrySchedulePatch | Unset = UNSET
    expire_after_hours: float | None | Unset = UNSET
    delay_notice_after_hours: float | None | Unset = UNSET
    bounce_expire_hours: float | None | Unset = UNSET
    max_concurrency_per_destination: int | None | Unset = UNSET
    max_messages_per_connection: int | None | Unset = UNSET
    max_messages_per_minute_per_destination: int | None | Unset = UNSET
    retention_days: float | None | Unset = UNSET
    keep_subjects: bool | None | Unset = UNSET

    def to_dict(self) -> dict[str, Any]:
        from ..models.retry_schedule_patch import RetrySchedulePatch  # noqa: PLC0415

        retry_schedule: dict[str, Any] | None | Unset
        if isinstance(self.retry_schedule, Unset):
            retry_schedule = UNSET
        elif isinstance(self.retry_schedule, RetrySchedulePatch):
            retry_schedule = self.retry_schedule.to_dict()
        else:
            retry_schedule = self.retry_schedule

        expire_after_hours: float | None | Unset
        if isinstance(self.expire_after_hours, Unset):
            expire_after_hours = UNSET
        else:
            expire_after_hours = self.expire_after_hours

        delay_notice_after_hours: float | None | Unset
        if isinstance(self.delay_notice_after_hours, Unset):
            delay_notice_after_hours = UNSET
        else:
            delay_notice_after_hours = self.delay_notice_after_hours

        bounce_expire_hours: float | None | Unset
        if isinstance(self.bounce_expire_hours, Unset):
            bounce_expire_hours = UNSET
        else:
            bounce_expire_hours = self.bounce_expire_hours

        max_concurrency_per_destination: int | None | Unset
        if isinstance(self.max_concurrency_per_destination, Unset):
            max_concurrency_per_destination = UNSET
        else:
            max_concurrency_per_destination = self.max_concurrency_per_destination

        max_messages_per_connection: int | None | Unset
        if isinstance(self.max_messages_per_connection, Unset):
            max_messages_per_connection = UNSET
        else:
            max_messages_per_connection = self.max_messages_per_connection

        max_messages_per_minute_per_destination: int | None | Unset
        if isinstance(self.max_messages_per_minute_per_destination, Unset):
            max_messages_per_minute_per_destination = UNSET
        else:
            max_messages_per_minute_per_destination = self.max_messages_per_minute_per_destination

        retention_days: float | None | Unset
        if isinstance(self.retention_days, Unset):
            retention_days = UNSET
        else:
            retention_days = self.retention_days

        keep_subjects: bool | None | Unset
        if isinstance(self.keep_subjects, Unset):
            keep_subjects = UNSET
        else:
            keep_subjects = self.keep_subjects

        field_dict: dict[str, Any] = {}

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

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        from ..models.retry_schedule_patch import RetrySchedulePatch  # noqa: PLC0415

        d = dict(src_dict)

        def _parse_retry_schedule(data: object) -> None | RetrySchedulePatch | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            try:
                if not isinstance(data, dict):
                    raise TypeError()
                retry_schedule_type_0 = RetrySchedulePatch.from_dict(data)

                return retry_schedule_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(None | RetrySchedulePatch | Unset, data)

        retry_schedule = _parse_retry_schedule(d.pop("retry_schedule", UNSET))

        def _parse_expire_after_hours(data: object) -> float | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(float | None | Unset, data)

        expire_after_hours = _parse_expire_after_hours(d.pop("expire_after_hours", UNSET))

        def _parse_delay_notice_after_hours(data: object) -> float | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(float | None | Unset, data)

        delay_notice_after_hours = _parse_delay_notice_after_hours(d.pop("delay_notice_after_hours", UNSET))

        def _parse_bounce_expire_hours(data: object) -> float | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(float | None | Unset, data)

        bounce_expire_hours = _parse_bounce_expire_hours(d.pop("bounce_expire_hours", UNSET))

        def _parse_max_concurrency_per_destination(data: object) -> int | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(int | None | Unset, data)

        max_concurrency_per_destination = _parse_max_concurrency_per_destination(
            d.pop("max_concurrency_per_destination", UNSET)
        )

        def _parse_max_messages_per_connection(data: object) -> int | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(int | None | Unset, data)

        max_messages_per_connection = _parse_max_messages_per_connection(d.pop("max_messages_per_connection", UNSET))

        def _parse_max_messages_per_minute_per_destination(data: object) -> int | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(int | None | Unset, data)

        max_messages_per_minute_per_destination = _parse_max_messages_per_minute_per_destination(
            d.pop("max_messages_per_minute_per_destination", UNSET)
        )

        def _parse_retention_days(data: object) -> float | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(float | None | Unset, data)

        retention_days = _parse_retention_days(d.pop("retention_days", UNSET))

        def _parse_keep_subjects(data: object) -> bool | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(bool | None | Unset, data)

        keep_subjects = _parse_keep_subjects(d.pop("keep_subjects", UNSET))

        queue_settings_patch = cls(
            retry_schedule=retry_schedule,
            expire_after_hours=expire_after_hours,
            delay_notice_after_hours=delay_notice_after_hours,
            bounce_expire_hours=bounce_expire_hours,
            max_concurrency_per_destination=max_concurrency_per_destination,
            max_messages_per_connection=max_messages_per_connection,
            max_messages_per_minute_per_destination=max_messages_per_minute_per_destination,
            retention_days=retention_days,
            keep_subjects=keep_subjects,
        )

        return queue_settings_patch
