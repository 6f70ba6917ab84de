from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar, cast

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..types import UNSET, Unset

if TYPE_CHECKING:
    from ..models.fallback_host import FallbackHost
    from ..models.relay_host_auth import RelayHostAuth


T = TypeVar("T", bound="RelayHost")


@_attrs_define
class RelayHost:
    """A server that accepts mail for other domains.

    Attributes:
        host (str): A host name or an IP address. Its A and AAAA records are used, and not its MX records.
        port (int | Unset): TCP port. Default: 25.
        always_tls (bool | Unset): true means that plaintext is never used. false means STARTTLS if the server offers
            it. Default: False.
        implicit_tls (bool | Unset): TLS from the first octet. Until it is set, it follows from the port: true on 465.
        verify_certificate (bool | Unset): The certificate must be valid for the host. Until it is set, it is true with
            always_tls or implicit_tls. It cannot be true with neither, because an attacker on the network could remove
            STARTTLS.
        auth (None | RelayHostAuth | Unset): The login. null means none.
        fallback_hosts (list[FallbackHost] | Unset): The servers are tried in this order, in the same attempt, when no
            connection to the earlier host can be made, or when it temporarily refuses the session. TLS and login are those
            of the first host.
    """

    host: str
    port: int | Unset = 25
    always_tls: bool | Unset = False
    implicit_tls: bool | Unset = UNSET
    verify_certificate: bool | Unset = UNSET
    auth: None | RelayHostAuth | Unset = UNSET
    fallback_hosts: list[FallbackHost] | Unset = UNSET
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        from ..models.relay_host_auth import RelayHostAuth  # noqa: PLC0415

        host = self.host

        port = self.port

        always_tls = self.always_tls

        implicit_tls = self.implicit_tls

        verify_certificate = self.verify_certificate

        auth: dict[str, Any] | None | Unset
        if isinstance(self.auth, Unset):
            auth = UNSET
        elif isinstance(self.auth, RelayHostAuth):
            auth = self.auth.to_dict()
        else:
            auth = self.auth

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
                "host": host,
            }
        )
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
        from ..models.relay_host_auth import RelayHostAuth  # noqa: PLC0415

        d = dict(src_dict)
        host = d.pop("host")

        port = d.pop("port", UNSET)

        always_tls = d.pop("always_tls", UNSET)

        implicit_tls = d.pop("implicit_tls", UNSET)

        verify_certificate = d.pop("verify_certificate", UNSET)

        def _parse_auth(data: object) -> None | RelayHostAuth | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            try:
                if not isinstance(data, dict):
                    raise TypeError()
                auth_type_0 = RelayHostAuth.from_dict(data)

                return auth_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(None | RelayHostAuth | Unset, data)

        auth = _parse_auth(d.pop("auth", UNSET))

        _fallback_hosts = d.pop("fallback_hosts", UNSET)
        fallback_hosts: list[FallbackHost] | Unset = UNSET
        if _fallback_hosts is not UNSET:
            fallback_hosts = []
            for fallback_hosts_item_data in _fallback_hosts:
                fallback_hosts_item = FallbackHost.from_dict(fallback_hosts_item_data)

                fallback_hosts.append(fallback_hosts_item)

        relay_host = cls(
            host=host,
            port=port,
            always_tls=always_tls,
            implicit_tls=implicit_tls,
            verify_certificate=verify_certificate,
            auth=auth,
            fallback_hosts=fallback_hosts,
        )

        relay_host.additional_properties = d
        return relay_host

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
