from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar, cast

from attrs import define as _attrs_define

from ..models.mailbox_server_kind import MailboxServerKind, check_mailbox_server_kind
from ..models.tls_level import TlsLevel, check_tls_level
from ..types import UNSET, Unset

if TYPE_CHECKING:
    from ..models.fallback_host import FallbackHost


T = TypeVar("T", bound="MailboxServerPatch")


@_attrs_define
class MailboxServerPatch:
    """A merge patch (RFC 7396) of MailboxServer: absent members do not change, and null sets the default.

    Attributes:
        kind (MailboxServerKind | None | Unset): The mail is sent by SMTP. The mail is sent by LMTP.
        host (None | str | Unset): A host name or an IP address. Its A and AAAA records are used, and not its MX
            records.
        port (int | None | Unset): TCP port.
        tls (None | TlsLevel | Unset): none: TLS is never used. may: STARTTLS is used if the server offers it. encrypt:
            plaintext is never used. verify: as encrypt, and the certificate must be valid for the host.
        fallback_hosts (list[FallbackHost] | None | Unset): The servers are tried in this order, in the same attempt,
            when no connection to the earlier host can be made, or when it temporarily refuses the session. TLS and login
            are those of the first host.
    """

    kind: MailboxServerKind | None | Unset = UNSET
    host: None | str | Unset = UNSET
    port: int | None | Unset = UNSET
    tls: None | TlsLevel | Unset = UNSET
    fallback_hosts: list[FallbackHost] | None | Unset = UNSET

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

        tls: None | str | Unset
        if isinstance(self.tls, Unset):
            tls = UNSET
        elif isinstance(self.tls, str):
            tls = self.tls
        else:
            tls = self.tls

        fallback_hosts: list[dict[str, Any]] | None | Unset
        if isinstance(self.fallback_hosts, Unset):
            fallback_hosts = UNSET
        elif isinstance(self.fallback_hosts, list):
            fallback_hosts = []
            for fallback_hosts_type_0_item_data in self.fallback_hosts:
                fallback_hosts_type_0_item = fallback_hosts_type_0_item_data.to_dict()
                fallback_hosts.append(fallback_hosts_type_0_item)

        else:
            fallback_hosts = self.fallback_hosts

        field_dict: dict[str, Any] = {}

        field_dict.update({})
        if kind is not UNSET:
            field_dict["kind"] = kind
        if host is not UNSET:
            field_dict["host"] = host
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

        def _parse_kind(data: object) -> MailboxServerKind | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            try:
                if not isinstance(data, str):
                    raise TypeError()
                kind_type_0 = check_mailbox_server_kind(data)

                return kind_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(MailboxServerKind | None | Unset, data)

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

        def _parse_tls(data: object) -> None | TlsLevel | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            try:
                if not isinstance(data, str):
                    raise TypeError()
                tls_type_0 = check_tls_level(data)

                return tls_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(None | TlsLevel | Unset, data)

        tls = _parse_tls(d.pop("tls", UNSET))

        def _parse_fallback_hosts(data: object) -> list[FallbackHost] | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            try:
                if not isinstance(data, list):
                    raise TypeError()
                fallback_hosts_type_0 = []
                _fallback_hosts_type_0 = data
                for fallback_hosts_type_0_item_data in _fallback_hosts_type_0:
                    fallback_hosts_type_0_item = FallbackHost.from_dict(fallback_hosts_type_0_item_data)

                    fallback_hosts_type_0.append(fallback_hosts_type_0_item)

                return fallback_hosts_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(list[FallbackHost] | None | Unset, data)

        fallback_hosts = _parse_fallback_hosts(d.pop("fallback_hosts", UNSET))

        mailbox_server_patch = cls(
            kind=kind,
            host=host,
            port=port,
            tls=tls,
            fallback_hosts=fallback_hosts,
        )

        return mailbox_server_patch
