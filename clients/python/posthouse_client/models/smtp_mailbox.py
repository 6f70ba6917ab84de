from __future__ import annotations

from collections.abc import Mapping
from typing import (
    Any,
    Literal,
    TypeVar,
    cast,
)

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..types import UNSET, Unset

T = TypeVar("T", bound="SmtpMailbox")


@_attrs_define
class SmtpMailbox:
    """Handed over by SMTP.

    Attributes:
        kind (Literal['smtp']): Handed over by SMTP.
        host (str): A host name or an IP address; looked up as A and AAAA, not as MX.
        port (int | Unset): TCP port. Default: 25.
    """

    kind: Literal["smtp"]
    host: str
    port: int | Unset = 25
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        kind = self.kind

        host = self.host

        port = self.port

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "kind": kind,
                "host": host,
            }
        )
        if port is not UNSET:
            field_dict["port"] = port

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)
        kind = cast(Literal["smtp"], d.pop("kind"))
        if kind != "smtp":
            raise ValueError(f"kind must match const 'smtp', got '{kind}'")

        host = d.pop("host")

        port = d.pop("port", UNSET)

        smtp_mailbox = cls(
            kind=kind,
            host=host,
            port=port,
        )

        smtp_mailbox.additional_properties = d
        return smtp_mailbox

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
