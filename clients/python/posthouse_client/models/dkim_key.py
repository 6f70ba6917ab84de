from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar, cast
from uuid import UUID

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..models.dkim_algorithm import DkimAlgorithm, check_dkim_algorithm
from ..types import UNSET, Unset

if TYPE_CHECKING:
    from ..models.configuration_warning import ConfigurationWarning


T = TypeVar("T", bound="DkimKey")


@_attrs_define
class DkimKey:
    """A key that signs mail whose sender has this domain (RFC 6376, RFC 8463).

    Attributes:
        domain (str): A mail domain in any script. It is stored and shown as A-labels in lower case, without a final
            dot.
        selector (str): The name of the key below _domainkey of the domain.
        dns_name (str | Unset): The DNS name of the record.
        dns_record (str | Unset): The TXT record to publish.
        algorithm (DkimAlgorithm | Unset): A signature algorithm of DKIM.
        private_key (None | str | Unset): Write-only, encrypted at rest: an existing key, as PEM (PKCS #8 or PKCS #1)
            or, for Ed25519, as base64 of its 32 or 64 octets. If a POST leaves it out, a new key is made. It cannot be
            changed.
        enabled (bool | Unset): false means that the key is stored, but nothing is signed with it. Default: True.
        warnings (list[ConfigurationWarning] | Unset): Warnings about the values that were just written. They are not
            stored, and GET does not show them.
        id (UUID | Unset): Made by the service. The ids sort in the order of creation.
        created_at (datetime.datetime | Unset): When it was made.
        updated_at (datetime.datetime | Unset): When it was last written.
    """

    domain: str
    selector: str
    dns_name: str | Unset = UNSET
    dns_record: str | Unset = UNSET
    algorithm: DkimAlgorithm | Unset = UNSET
    private_key: None | str | Unset = UNSET
    enabled: bool | Unset = True
    warnings: list[ConfigurationWarning] | Unset = UNSET
    id: UUID | Unset = UNSET
    created_at: datetime.datetime | Unset = UNSET
    updated_at: datetime.datetime | Unset = UNSET
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        domain = self.domain

        selector = self.selector

        dns_name = self.dns_name

        dns_record = self.dns_record

        algorithm: str | Unset = UNSET
        if not isinstance(self.algorithm, Unset):
            algorithm = self.algorithm

        private_key: None | str | Unset
        if isinstance(self.private_key, Unset):
            private_key = UNSET
        else:
            private_key = self.private_key

        enabled = self.enabled

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
                "domain": domain,
                "selector": selector,
            }
        )
        if dns_name is not UNSET:
            field_dict["dns_name"] = dns_name
        if dns_record is not UNSET:
            field_dict["dns_record"] = dns_record
        if algorithm is not UNSET:
            field_dict["algorithm"] = algorithm
        if private_key is not UNSET:
            field_dict["private_key"] = private_key
        if enabled is not UNSET:
            field_dict["enabled"] = enabled
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
        domain = d.pop("domain")

        selector = d.pop("selector")

        dns_name = d.pop("dns_name", UNSET)

        dns_record = d.pop("dns_record", UNSET)

        _algorithm = d.pop("algorithm", UNSET)
        algorithm: DkimAlgorithm | Unset
        if isinstance(_algorithm, Unset):
            algorithm = UNSET
        else:
            algorithm = check_dkim_algorithm(_algorithm)

        def _parse_private_key(data: object) -> None | str | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(None | str | Unset, data)

        private_key = _parse_private_key(d.pop("private_key", UNSET))

        enabled = d.pop("enabled", UNSET)

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

        dkim_key = cls(
            domain=domain,
            selector=selector,
            dns_name=dns_name,
            dns_record=dns_record,
            algorithm=algorithm,
            private_key=private_key,
            enabled=enabled,
            warnings=warnings,
            id=id,
            created_at=created_at,
            updated_at=updated_at,
        )

        dkim_key.additional_properties = d
        return dkim_key

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
