from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any, TypeVar, cast

from attrs import define as _attrs_define
from attrs import field as _attrs_field

T = TypeVar("T", bound="MailCertificate")


@_attrs_define
class MailCertificate:
    """A TLS certificate that mail clients see, as ingress has loaded it.

    Attributes:
        file (str): The file on the machine of ingress.
        names (list[str]): The DNS names in the certificate.
        ends_at (datetime.datetime): When the certificate expires, or the first one of its chain.
        replicas (list[str]): The addresses of the replicas of ingress that use it.
    """

    file: str
    names: list[str]
    ends_at: datetime.datetime
    replicas: list[str]
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        file = self.file

        names = self.names

        ends_at = self.ends_at.isoformat()

        replicas = self.replicas

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "file": file,
                "names": names,
                "ends_at": ends_at,
                "replicas": replicas,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)
        file = d.pop("file")

        names = cast(list[str], d.pop("names"))

        ends_at = datetime.datetime.fromisoformat(d.pop("ends_at"))

        replicas = cast(list[str], d.pop("replicas"))

        mail_certificate = cls(
            file=file,
            names=names,
            ends_at=ends_at,
            replicas=replicas,
        )

        mail_certificate.additional_properties = d
        return mail_certificate

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
