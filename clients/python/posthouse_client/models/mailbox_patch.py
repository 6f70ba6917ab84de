from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar, cast

from attrs import define as _attrs_define

from ..models.mailbox_kind import MailboxKind, check_mailbox_kind
from ..types import UNSET, Unset

T = TypeVar("T", bound="MailboxPatch")


@_attrs_define
class MailboxPatch:
    """A merge patch (RFC 7396) of Mailbox: what is absent stays, null returns to the default.

    Attributes:
        kind (MailboxKind | None | Unset): Handed over by SMTP. Handed over by LMTP. Written to a directory.
        host (None | str | Unset): A host name or an IP address; looked up as A and AAAA, not as MX.
        port (int | None | Unset): TCP port.
        path (None | str | Unset): Absolute path of the directory that holds one Maildir a recipient.
    """

    kind: MailboxKind | None | Unset = UNSET
    host: None | str | Unset = UNSET
    port: int | None | Unset = UNSET
    path: None | str | Unset = UNSET

    def to_dict(self) -> dict[str, Any]:
        kind: None | str | Unset
        if isinstance(self.kind, Unset):
            kind = UNSET
        elif isinstance(self.kind, str):
            kind = self.kind
        else:
            kind = self.kind

        host: None | str | Unset
        if isinstance(self.host, Unset):
            host = UNSET
        else:
            host = self.host

        port: int | None | Unset
        if isinstance(self.port, Unset):
            port = UNSET
        else:
            port = self.port

        path: None | str | Unset
        if isinstance(self.path, Unset):
            path = UNSET
        else:
            path = self.path

        field_dict: dict[str, Any] = {}

        field_dict.update({})
        if kind is not UNSET:
            field_dict["kind"] = kind
        if host is not UNSET:
            field_dict["host"] = host
        if port is not UNSET:
            field_dict["port"] = port
        if path is not UNSET:
            field_dict["path"] = path

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)

        def _parse_kind(data: object) -> MailboxKind | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            try:
                if not isinstance(data, str):
                    raise TypeError()
                kind_type_0 = check_mailbox_kind(data)

                return kind_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(MailboxKind | None | Unset, data)

        kind = _parse_kind(d.pop("kind", UNSET))

        def _parse_host(data: object) -> None | str | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(None | str | Unset, data)

        host = _parse_host(d.pop("host", UNSET))

        def _parse_port(data: object) -> int | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(int | None | Unset, data)

        port = _parse_port(d.pop("port", UNSET))

        def _parse_path(data: object) -> None | str | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(None | str | Unset, data)

        path = _parse_path(d.pop("path", UNSET))

        mailbox_patch = cls(
            kind=kind,
            host=host,
            port=port,
            path=path,
        )

        return mailbox_patch
