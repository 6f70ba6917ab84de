from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar, cast

from attrs import define as _attrs_define
from attrs import field as _attrs_field

T = TypeVar("T", bound="ServiceReplica")


@_attrs_define
class ServiceReplica:
    """One replica of a service, as config_api sees it.

    Attributes:
        service (str): A service of the suite.
        address (str): The address of its gRPC.
        transport (str): The kind of connection from config_api to it.
        state (str): The state that it reports.
        version (None | str): The release of the replica. null when it did not report one.
        revision (int | None): The revision of the configuration that is in force at the replica. null when there is
            none, or when it did not report one. ingress has no configuration.
    """

    service: str
    address: str
    transport: str
    state: str
    version: None | str
    revision: int | None
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        service = self.service

        address = self.address

        transport = self.transport

        state = self.state

        version: None | str
        version = self.version

        revision: int | None
        revision = self.revision

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "service": service,
                "address": address,
                "transport": transport,
                "state": state,
                "version": version,
                "revision": revision,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)
        service = d.pop("service")

        address = d.pop("address")

        transport = d.pop("transport")

        state = d.pop("state")

        def _parse_version(data: object) -> None | str:
            if data is None:
                return data
            return cast(None | str, data)

        version = _parse_version(d.pop("version"))

        def _parse_revision(data: object) -> int | None:
            if data is None:
                return data
            return cast(int | None, data)

        revision = _parse_revision(d.pop("revision"))

        service_replica = cls(
            service=service,
            address=address,
            transport=transport,
            state=state,
            version=version,
            revision=revision,
        )

        service_replica.additional_properties = d
        return service_replica

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
