from __future__ import annotations

from collections.abc import Mapping
from typing import (
    TYPE_CHECKING,
    Any,
    Literal,
    TypeVar,
    cast,
)

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..models.tls_level import TlsLevel, check_tls_level
from ..types import UNSET, Unset

if TYPE_CHECKING:
    from ..models.fallback_host import FallbackHost


T = TypeVar("T", bound="SmtpMailbox")


@_attrs_define
class SmtpMailbox:
    """A mailbox server that is used by SMTP.

    Attributes:
        kind (Literal['smtp']): The mail is sent by SMTP.
        host (str): A host name or an IP address. Its A and AAAA records are used, and not its MX records.
        port (int | Unset): TCP port. Default: 25.
        tls (TlsLevel | Unset): The TLS that a connection needs. encrypt means that plaintext is never used. verify also
            demands a valid certificate.
        fallback_hosts (list[FallbackHost] | Unset): The servers are tried in this order, in the same attempt, when no
            connection to the earlier host can be made, or when it temporarily refuses the session. TLS and login are those
            of the first host.
    """

    kind: Literal["smtp"]
    host: str
    port: int | Unset = 25
    tls: TlsLevel | Unset = UNSET
    fallback_hosts: list[FallbackHost] | Unset = UNSET
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        kind = self.kind

        host = self.host

        port = self.port

        tls: str | Unset = UNSET
        if not isinstance(self.tls, Unset):
            tls = self.tls

        fallback_hosts: list[dict[str, Any]] | Unset = UNSET
        if not isinstance(self.fallback_hosts, Unset):
            fallback_hosts = []
            for fallback_hosts_item_data in self.fallback_hosts:
                fallback_hosts_item = fallback_hosts_item_data.to_dict()
                fallback_hosts.append(fallback_hosts_item)

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
        if tls is not UNSET:
            field_dict["tls"] = tls
        if fallback_hosts is not UNSET:
            field_dict["fallback_hosts"] = fallback_hosts

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        from ..models.fallback_host import FallbackHost  # noqa: PLC0415

        d = dict(src_dict)
        kind = cast(Literal["smtp"], d.pop("kind"))
        if kind != "smtp":
            raise ValueError(f"kind must match const 'smtp', got '{kind}'")

        host = d.pop("host")

        port = d.pop("port", UNSET)

        _tls = d.pop("tls", UNSET)
        tls: TlsLevel | Unset
        if isinstance(_tls, Unset):
            tls = UNSET
        else:
            tls = check_tls_level(_tls)

        _fallback_hosts = d.pop("fallback_hosts", UNSET)
        fallback_hosts: list[FallbackHost] | Unset = UNSET
        if _fallback_hosts is not UNSET:
            fallback_hosts = []
            for fallback_hosts_item_data in _fallback_hosts:
                fallback_hosts_item = FallbackHost.from_dict(fallback_hosts_item_data)

                fallback_hosts.append(fallback_hosts_item)

        smtp_mailbox = cls(
            kind=kind,
            host=host,
            port=port,
            tls=tls,
            fallback_hosts=fallback_hosts,
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
