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

T = TypeVar("T", bound="LmtpMailbox")


@_attrs_define
class LmtpMailbox:
    """Handed over by LMTP.

    Attributes:
        kind (Literal['lmtp']): Handed over by LMTP.
        host (str): A host name or an IP address; looked up as A and AAAA, not as MX.
        port (int | Unset): TCP port. Default: 24.
    """

    kind: Literal["lmtp"]
    host: str
    port: int | Unset = 24
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
        kind = cast(Literal["lmtp"], d.pop("kind"))
        if kind != "lmtp":
            raise ValueError(f"kind must match const 'lmtp', got '{kind}'")

        host = d.pop("host")

        port = d.pop("port", UNSET)

        lmtp_mailbox = cls(
            kind=kind,
            host=host,
            port=port,
        )

        lmtp_mailbox.additional_properties = d
        return lmtp_mailbox

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
