from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from attrs import define as _attrs_define

from ..models.tls_level import TlsLevel, check_tls_level
from ..types import UNSET, Unset

T = TypeVar("T", bound="DomainTlsPolicyPatch")


@_attrs_define
class DomainTlsPolicyPatch:
    """A merge patch (RFC 7396) of DomainTlsPolicy: absent members do not change, and null sets the default.

    Attributes:
        domain (str | Unset): The domain of a recipient. .example.com stands for its subdomains, but not for itself.
        level (TlsLevel | Unset): The TLS that a connection needs. encrypt means that plaintext is never used. verify
            also demands a valid certificate.
    """

    domain: str | Unset = UNSET
    level: TlsLevel | Unset = UNSET

    def to_dict(self) -> dict[str, Any]:
        domain = self.domain

        level: str | Unset = UNSET
        if not isinstance(self.level, Unset):
            level = self.level

        field_dict: dict[str, Any] = {}

        field_dict.update({})
        if domain is not UNSET:
            field_dict["domain"] = domain
        if level is not UNSET:
            field_dict["level"] = level

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)
        domain = d.pop("domain", UNSET)

        _level = d.pop("level", UNSET)
        level: TlsLevel | Unset
        if isinstance(_level, Unset):
            level = UNSET
        else:
            level = check_tls_level(_level)

        domain_tls_policy_patch = cls(
            domain=domain,
            level=level,
        )

        return domain_tls_policy_patch
