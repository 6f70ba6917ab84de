from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from attrs import define as _attrs_define
from attrs import field as _attrs_field

if TYPE_CHECKING:
    from ..models.mail_certificate import MailCertificate
    from ..models.service_replica import ServiceReplica
    from ..models.status_warning import StatusWarning


T = TypeVar("T", bound="Status")


@_attrs_define
class Status:
    """The services, their replicas, the certificates that mail clients see, and warnings.

    Attributes:
        services (list[ServiceReplica]): Every config_api that shares the database, with the one that answers first; and
            every replica of the other services that it calls.
        certificates (list[MailCertificate]): The certificates that mail clients see. The first to expire comes first.
        warnings (list[StatusWarning]): The warnings.
    """

    services: list[ServiceReplica]
    certificates: list[MailCertificate]
    warnings: list[StatusWarning]
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        services = []
        for services_item_data in self.services:
            services_item = services_item_data.to_dict()
            services.append(services_item)

        certificates = []
        for certificates_item_data in self.certificates:
            certificates_item = certificates_item_data.to_dict()
            certificates.append(certificates_item)

        warnings = []
        for warnings_item_data in self.warnings:
            warnings_item = warnings_item_data.to_dict()
            warnings.append(warnings_item)

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "services": services,
                "certificates": certificates,
                "warnings": warnings,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        from ..models.mail_certificate import MailCertificate  # noqa: PLC0415
        from ..models.service_replica import ServiceReplica  # noqa: PLC0415
        from ..models.status_warning import StatusWarning  # noqa: PLC0415

        d = dict(src_dict)
        services = []
        _services = d.pop("services")
        for services_item_data in _services:
            services_item = ServiceReplica.from_dict(services_item_data)

            services.append(services_item)

        certificates = []
        _certificates = d.pop("certificates")
        for certificates_item_data in _certificates:
            certificates_item = MailCertificate.from_dict(certificates_item_data)

            certificates.append(certificates_item)

        warnings = []
        _warnings = d.pop("warnings")
        for warnings_item_data in _warnings:
            warnings_item = StatusWarning.from_dict(warnings_item_data)

            warnings.append(warnings_item)

        status = cls(
            services=services,
            certificates=certificates,
            warnings=warnings,
        )

        status.additional_properties = d
        return status

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
