from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar, cast

from attrs import define as _attrs_define

from ..models.mode import Mode, check_mode
from ..types import UNSET, Unset

T = TypeVar("T", bound="ConnectionPolicySettingsPatch")


@_attrs_define
class ConnectionPolicySettingsPatch:
    """A merge patch (RFC 7396) of ConnectionPolicySettings: absent members do not change, and null sets the default.

    Attributes:
        reject_unknown_client_hostname (Mode | None | Unset): A client without a PTR name that resolves to its address
            gets 450 4.7.25.
        max_concurrent_connections (int | None | Unset): The most connections of one client at the same time. 0 means no
            limit.
        max_messages_per_minute (int | None | Unset): The most MAIL commands of one client in one minute of the clock. 0
            means no limit.
        max_connections_per_minute (int | None | Unset): The most connections of one client in one minute of the clock.
            0 means no limit.
    """

    reject_unknown_client_hostname: Mode | None | Unset = UNSET
    max_concurrent_connections: int | None | Unset = UNSET
    max_messages_per_minute: int | None | Unset = UNSET
    max_connections_per_minute: int | None | Unset = UNSET

    def to_dict(self) -> dict[str, Any]:
        reject_unknown_client_hostname: None | str | Unset
        if isinstance(self.reject_unknown_client_hostname, Unset):
            reject_unknown_client_hostname = UNSET
        elif isinstance(self.reject_unknown_client_hostname, str):
            reject_unknown_client_hostname = self.reject_unknown_client_hostname
        else:
            reject_unknown_client_hostname = self.reject_unknown_client_hostname

        max_concurrent_connections: int | None | Unset
        if isinstance(self.max_concurrent_connections, Unset):
            max_concurrent_connections = UNSET
        else:
            max_concurrent_connections = self.max_concurrent_connections

        max_messages_per_minute: int | None | Unset
        if isinstance(self.max_messages_per_minute, Unset):
            max_messages_per_minute = UNSET
        else:
            max_messages_per_minute = self.max_messages_per_minute

        max_connections_per_minute: int | None | Unset
        if isinstance(self.max_connections_per_minute, Unset):
            max_connections_per_minute = UNSET
        else:
            max_connections_per_minute = self.max_connections_per_minute

        field_dict: dict[str, Any] = {}

        field_dict.update({})
        if reject_unknown_client_hostname is not UNSET:
            field_dict["reject_unknown_client_hostname"] = reject_unknown_client_hostname
        if max_concurrent_connections is not UNSET:
            field_dict["max_concurrent_connections"] = max_concurrent_connections
        if max_messages_per_minute is not UNSET:
            field_dict["max_messages_per_minute"] = max_messages_per_minute
        if max_connections_per_minute is not UNSET:
            field_dict["max_connections_per_minute"] = max_connections_per_minute

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)

        def _parse_reject_unknown_client_hostname(data: object) -> Mode | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            try:
                if not isinstance(data, str):
                    raise TypeError()
                reject_unknown_client_hostname_type_0 = check_mode(data)

                return reject_unknown_client_hostname_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(Mode | None | Unset, data)

        reject_unknown_client_hostname = _parse_reject_unknown_client_hostname(
            d.pop("reject_unknown_client_hostname", UNSET)
        )

        def _parse_max_concurrent_connections(data: object) -> int | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(int | None | Unset, data)

        max_concurrent_connections = _parse_max_concurrent_connections(d.pop("max_concurrent_connections", UNSET))

        def _parse_max_messages_per_minute(data: object) -> int | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(int | None | Unset, data)

        max_messages_per_minute = _parse_max_messages_per_minute(d.pop("max_messages_per_minute", UNSET))

        def _parse_max_connections_per_minute(data: object) -> int | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(int | None | Unset, data)

        max_connections_per_minute = _parse_max_connections_per_minute(d.pop("max_connections_per_minute", UNSET))

        connection_policy_settings_patch = cls(
            reject_unknown_client_hostname=reject_unknown_client_hostname,
            max_concurrent_connections=max_concurrent_connections,
            max_messages_per_minute=max_messages_per_minute,
            max_connections_per_minute=max_connections_per_minute,
        )

        return connection_policy_settings_patch
