from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar, cast

from attrs import define as _attrs_define

from ..types import UNSET, Unset

if TYPE_CHECKING:
    from ..models.fallback_host import FallbackHost
    from ..models.relay_host_auth_patch import RelayHostAuthPatch


T = TypeVar("T", bound="RelayHostPatch")


@_attrs_define
class RelayHostPatch:
    """A merge patch (RFC 7396) of RelayHost: absent members do not change, and null sets the default.

    Attributes:
        host (str | Unset): A host name or an IP address. Its A and AAAA records are used, and not its MX records.
        port (int | None | Unset): TCP port.
        always_tls (bool | None | Unset): true means that plaintext is never used. false means STARTTLS if the server
            offers it.
        implicit_tls (bool | None | Unset): TLS from the first octet. Until it is set, it follows from the port: true on
            465.
        verify_certificate (bool | None | Unset): The certificate must be valid for the host. Until it is set, it is
            true with always_tls or implicit_tls. It cannot be true with neither, because an attacker on the network could
            remove STARTTLS.
        auth (None | RelayHostAuthPatch | Unset): The login. null means none.
        fallback_hosts (list[FallbackHost] | None | Unset): The servers are tried in this order, in the same attempt,
            when no connection to the earlier host can be made, or when it temporarily refuses the session. TLS and login
            are those of the first host.
    """

    host: str | Unset = UNSET
    port: int | None | Unset = UNSET
    always_tls: bool | None | Unset = UNSET
    implicit_tls: bool | None | Unset = UNSET
    verify_certificate: bool | None | Unset = UNSET
    auth: None | RelayHostAuthPatch | Unset = UNSET
    fallback_hosts: list[FallbackHost] | None | Unset = UNSET

    def to_dict(self) -> dict[str, Any]:
        from ..models.relay_host_auth_patch import RelayHostAuthPatch  # noqa: PLC0415

        host = self.host

        port: int | None | Unset
        if isinstance(self.port, Unset):
            port = UNSET
        else:
            port = self.port

        always_tls: bool | None | Unset
        if isinstance(self.always_tls, Unset):
            always_tls = UNSET
        else:
            always_tls = self.always_tls

        implicit_tls: bool | None | Unset
        if isinstance(self.implicit_tls, Unset):
            implicit_tls = UNSET
        else:
            implicit_tls = self.implicit_tls

        verify_certificate: bool | None | Unset
        if isinstance(self.verify_certificate, Unset):
            verify_certificate = UNSET
        else:
            verify_certificate = self.verify_certificate

        auth: dict[str, Any] | None | Unset
        if isinstance(self.auth, Unset):
            auth = UNSET
        elif isinstance(self.auth, RelayHostAuthPatch):
            auth = self.auth.to_dict()
        else:
            auth = self.auth

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
        if host is not UNSET:
            field_dict["host"] = host
        if port is not UNSET:
            field_dict["port"] = port
        if always_tls is not UNSET:
            field_dict["always_tls"] = always_tls
        if implicit_tls is not UNSET:
            field_dict["implicit_tls"] = implicit_tls
        if verify_certificate is not UNSET:
            field_dict["verify_certificate"] = verify_certificate
        if auth is not UNSET:
            field_dict["auth"] = auth
        if fallback_hosts is not UNSET:
            field_dict["fallback_hosts"] = fallback_hosts

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        from ..models.fallback_host import FallbackHost  # noqa: PLC0415
        from ..models.relay_host_auth_patch import RelayHostAuthPatch  # noqa: PLC0415

        d = dict(src_dict)
        host = d.pop("host", UNSET)

        def _parse_port(data: object) -> int | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(int | None | Unset, data)

        port = _parse_port(d.pop("port", UNSET))

        def _parse_always_tls(data: object) -> bool | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(bool | None | Unset, data)

        always_tls = _parse_always_tls(d.pop("always_tls", UNSET))

        def _parse_implicit_tls(data: object) -> bool | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(bool | None | Unset, data)

        implicit_tls = _parse_implicit_tls(d.pop("implicit_tls", UNSET))

        def _parse_verify_certificate(data: object) -> bool | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(bool | None | Unset, data)

        verify_certificate = _parse_verify_certificate(d.pop("verify_certificate", UNSET))

        def _parse_auth(data: object) -> None | RelayHostAuthPatch | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            try:
                if not isinstance(data, dict):
                    raise TypeError()
                auth_type_0 = RelayHostAuthPatch.from_dict(data)

                return auth_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(None | RelayHostAuthPatch | Unset, data)

        auth = _parse_auth(d.pop("auth", UNSET))

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

        relay_host_patch = cls(
            host=host,
            port=port,
            always_tls=always_tls,
            implicit_tls=implicit_tls,
            verify_certificate=verify_certificate,
            auth=auth,
            fallback_hosts=fallback_hosts,
        )

        return relay_host_patch
