from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any, TypeVar, cast

from attrs import define as _attrs_define
from attrs import field as _attrs_field

T = TypeVar("T", bound="CheckResult")


@_attrs_define
class CheckResult:
    """The result of one check.

    Attributes:
        id (str): The constant name of the check: access_rules, block_lists, certificate, clock, disk, dkim_records,
            grpc_certificate, hostname, name_servers, open_files, relay_domains, relay_rules or reachable. Later releases
            may have more.
        level (str): The level of a result.
        text (str): What was found, in a sentence.
        remedy (None | str): What to do about it. null means that nothing must be done.
        service (str): A service of the suite.
        replicas (list[str]): The replicas of the service that found this, by their gRPC addresses.
        made_at (datetime.datetime | None): The time of the check. null when the replica cannot be reached.
    """

    id: str
    level: str
    text: str
    remedy: None | str
    service: str
    replicas: list[str]
    made_at: datetime.datetime | None
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        id = self.id

        level = self.level

        text = self.text

        remedy: None | str
        remedy = self.remedy

        service = self.service

        replicas = self.replicas

        made_at: None | str
        if isinstance(self.made_at, datetime.datetime):
            made_at = self.made_at.isoformat()
        else:
            made_at = self.made_at

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "id": id,
                "level": level,
                "text": text,
                "remedy": remedy,
                "service": service,
                "replicas": replicas,
                "made_at": made_at,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)
        id = d.pop("id")

        level = d.pop("level")

        text = d.pop("text")

        def _parse_remedy(data: object) -> None | str:
            if data is None:
                return data
            return cast(None | str, data)

        remedy = _parse_remedy(d.pop("remedy"))

        service = d.pop("service")

        replicas = cast(list[str], d.pop("replicas"))

        def _parse_made_at(data: object) -> datetime.datetime | None:
            if data is None:
                return data
            try:
                if not isinstance(data, str):
                    raise TypeError()
                made_at_type_0 = datetime.datetime.fromisoformat(data)

                return made_at_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(datetime.datetime | None, data)

        made_at = _parse_made_at(d.pop("made_at"))

        check_result = cls(
            id=id,
            level=level,
            text=text,
            remedy=remedy,
            service=service,
            replicas=replicas,
            made_at=made_at,
        )

        check_result.additional_properties = d
        return check_result

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
