from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar, cast
from uuid import UUID

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..models.api_key_role import ApiKeyRole, check_api_key_role
from ..types import UNSET, Unset

if TYPE_CHECKING:
    from ..models.configuration_warning import ConfigurationWarning


T = TypeVar("T", bound="ApiKey")


@_attrs_define
class ApiKey:
    """A caller of this API. The key itself is shown once, in the answer to its creation.

    Attributes:
        name (str): The name for people. It is unique in its list, without regard to case.
        role (ApiKeyRole): The role of an API key.
        previous_key_ends_at (datetime.datetime | None | Unset): The time until which the previous key also works after
            a rotation. null means that it does not work.
        prefix (str | Unset): The first characters of the key, by which it can be recognised.
        last_used_at (datetime.datetime | None | Unset): The time of its last use, to the minute. null means that it was
            never used.
        key (str | Unset): The key itself, only in the answers of createApiKey and rotateApiKey. It is never shown
            again.
        account (None | str | Unset): For the role sender: the login of the account to which the key belongs. null with
            every other role.
        expires_at (datetime.datetime | None | Unset): When the key expires. null means never.
        warnings (list[ConfigurationWarning] | Unset): Warnings about the values that were just written. They are not
            stored, and GET does not show them.
        id (UUID | Unset): Made by the service. The ids sort in the order of creation.
        created_at (datetime.datetime | Unset): When it was made.
        updated_at (datetime.datetime | Unset): When it was last written.
    """

    name: str
    role: ApiKeyRole
    previous_key_ends_at: datetime.datetime | None | Unset = UNSET
    prefix: str | Unset = UNSET
    last_used_at: datetime.datetime | None | Unset = UNSET
    key: str | Unset = UNSET
    account: None | str | Unset = UNSET
    expires_at: datetime.datetime | None | Unset = UNSET
    warnings: list[ConfigurationWarning] | Unset = UNSET
    id: UUID | Unset = UNSET
    created_at: datetime.datetime | Unset = UNSET
    updated_at: datetime.datetime | Unset = UNSET
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        name = self.name

        role: str = self.role

        previous_key_ends_at: None | str | Unset
        if isinstance(self.previous_key_ends_at, Unset):
            previous_key_ends_at = UNSET
        elif isinstance(self.previous_key_ends_at, datetime.datetime):
            previous_key_ends_at = self.previous_key_ends_at.isoformat()
        else:
            previous_key_ends_at = self.previous_key_ends_at

        prefix = self.prefix

        last_used_at: None | str | Unset
        if isinstance(self.last_used_at, Unset):
            last_used_at = UNSET
        elif isinstance(self.last_used_at, datetime.datetime):
            last_used_at = self.last_used_at.isoformat()
        else:
            last_used_at = self.last_used_at

        key = self.key

        account: None | str | Unset
        if isinstance(self.account, Unset):
            account = UNSET
        else:
            account = self.account

        expires_at: None | str | Unset
        if isinstance(self.expires_at, Unset):
            expires_at = UNSET
        elif isinstance(self.expires_at, datetime.datetime):
            expires_at = self.expires_at.isoformat()
        else:
            expires_at = self.expires_at

        warnings: list[dict[str, Any]] | Unset = UNSET
        if not isinstance(self.warnings, Unset):
            warnings = []
            for warnings_item_data in self.warnings:
                warnings_item = warnings_item_data.to_dict()
                warnings.append(warnings_item)

        id: str | Unset = UNSET
        if not isinstance(self.id, Unset):
            id = str(self.id)

        created_at: str | Unset = UNSET
        if not isinstance(self.created_at, Unset):
            created_at = self.created_at.isoformat()

        updated_at: str | Unset = UNSET
        if not isinstance(self.updated_at, Unset):
            updated_at = self.updated_at.isoformat()

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "name": name,
                "role": role,
            }
        )
        if previous_key_ends_at is not UNSET:
            field_dict["previous_key_ends_at"] = previous_key_ends_at
        if prefix is not UNSET:
            field_dict["prefix"] = prefix
        if last_used_at is not UNSET:
            field_dict["last_used_at"] = last_used_at
        if key is not UNSET:
            field_dict["key"] = key
        if account is not UNSET:
            field_dict["account"] = account
        if expires_at is not UNSET:
            field_dict["expires_at"] = expires_at
        if warnings is not UNSET:
            field_dict["warnings"] = warnings
        if id is not UNSET:
            field_dict["id"] = id
        if created_at is not UNSET:
            field_dict["created_at"] = created_at
        if updated_at is not UNSET:
            field_dict["updated_at"] = updated_at

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        from ..models.configuration_warning import ConfigurationWarning  # noqa: PLC0415

        d = dict(src_dict)
        name = d.pop("name")

        role = check_api_key_role(d.pop("role"))

        def _parse_previous_key_ends_at(data: object) -> datetime.datetime | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            try:
                if not isinstance(data, str):
                    raise TypeError()
                previous_key_ends_at_type_0 = datetime.datetime.fromisoformat(data)

                return previous_key_ends_at_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(datetime.datetime | None | Unset, data)

        previous_key_ends_at = _parse_previous_key_ends_at(d.pop("previous_key_ends_at", UNSET))

        prefix = d.pop("prefix", UNSET)

        def _parse_last_used_at(data: object) -> datetime.datetime | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            try:
                if not isinstance(data, str):
                    raise TypeError()
                last_used_at_type_0 = datetime.datetime.fromisoformat(data)

                return last_used_at_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(datetime.datetime | None | Unset, data)

        last_used_at = _parse_last_used_at(d.pop("last_used_at", UNSET))

        key = d.pop("key", UNSET)

        def _parse_account(data: object) -> None | str | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(None | str | Unset, data)

        account = _parse_account(d.pop("account", UNSET))

        def _parse_expires_at(data: object) -> datetime.datetime | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            try:
                if not isinstance(data, str):
                    raise TypeError()
                expires_at_type_0 = datetime.datetime.fromisoformat(data)

                return expires_at_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(datetime.datetime | None | Unset, data)

        expires_at = _parse_expires_at(d.pop("expires_at", UNSET))

        _warnings = d.pop("warnings", UNSET)
        warnings: list[ConfigurationWarning] | Unset = UNSET
        if _warnings is not UNSET:
            warnings = []
            for warnings_item_data in _warnings:
                warnings_item = ConfigurationWarning.from_dict(warnings_item_data)

                warnings.append(warnings_item)

        _id = d.pop("id", UNSET)
        id: UUID | Unset
        if isinstance(_id, Unset):
            id = UNSET
        else:
            id = UUID(_id)

        _created_at = d.pop("created_at", UNSET)
        created_at: datetime.datetime | Unset
        if isinstance(_created_at, Unset):
            created_at = UNSET
        else:
            created_at = datetime.datetime.fromisoformat(_created_at)

        _updated_at = d.pop("updated_at", UNSET)
        updated_at: datetime.datetime | Unset
        if isinstance(_updated_at, Unset):
            updated_at = UNSET
        else:
            updated_at = datetime.datetime.fromisoformat(_updated_at)

        api_key = cls(
            name=name,
            role=role,
            previous_key_ends_at=previous_key_ends_at,
            prefix=prefix,
            last_used_at=last_used_at,
            key=key,
            account=account,
            expires_at=expires_at,
            warnings=warnings,
            id=id,
            created_at=created_at,
            updated_at=updated_at,
        )

        api_key.additional_properties = d
        return api_key

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
