from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar, cast

from attrs import define as _attrs_define

from ..models.dkim_algorithm import DkimAlgorithm, check_dkim_algorithm
from ..types import UNSET, Unset

T = TypeVar("T", bound="DkimKeyPatch")


@_attrs_define
class DkimKeyPatch:
    """A merge patch (RFC 7396) of DkimKey: absent members do not change, and null sets the default.

    Attributes:
        domain (str | Unset): A mail domain in any script. It is stored and shown as A-labels in lower case, without a
            final dot.
        selector (str | Unset): The name of the key below _domainkey of the domain.
        algorithm (DkimAlgorithm | None | Unset): The algorithm. RSA keys that the service makes have 2048 bits. If it
            is left out beside `private_key`, it follows from that key. It cannot be changed: make another key.
        private_key (None | str | Unset): Write-only, encrypted at rest: an existing key, as PEM (PKCS #8 or PKCS #1)
            or, for Ed25519, as base64 of its 32 or 64 octets. If a POST leaves it out, a new key is made. It cannot be
            changed.
        enabled (bool | None | Unset): false means that the key is stored, but nothing is signed with it.
    """

    domain: str | Unset = UNSET
    selector: str | Unset = UNSET
    algorithm: DkimAlgorithm | None | Unset = UNSET
    private_key: None | str | Unset = UNSET
    enabled: bool | None | Unset = UNSET

    def to_dict(self) -> dict[str, Any]:
        domain = self.domain

        selector = self.selector

        algorithm: None | str | Unset
        if isinstance(self.algorithm, Unset):
            algorithm = UNSET
        elif isinstance(self.algorithm, str):
            algorithm = self.algorithm
        else:
            algorithm = self.algorithm

        private_key: None | str | Unset
        if isinstance(self.private_key, Unset):
            private_key = UNSET
        else:
            private_key = self.private_key

        enabled: bool | None | Unset
        if isinstance(self.enabled, Unset):
            enabled = UNSET
        else:
            enabled = self.enabled

        field_dict: dict[str, Any] = {}

        field_dict.update({})
        if domain is not UNSET:
            field_dict["domain"] = domain
        if selector is not UNSET:
            field_dict["selector"] = selector
        if algorithm is not UNSET:
            field_dict["algorithm"] = algorithm
        if private_key is not UNSET:
            field_dict["private_key"] = private_key
        if enabled is not UNSET:
            field_dict["enabled"] = enabled

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)
        domain = d.pop("domain", UNSET)

        selector = d.pop("selector", UNSET)

        def _parse_algorithm(data: object) -> DkimAlgorithm | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            try:
                if not isinstance(data, str):
                    raise TypeError()
                algorithm_type_0 = check_dkim_algorithm(data)

                return algorithm_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(DkimAlgorithm | None | Unset, data)

        algorithm = _parse_algorithm(d.pop("algorithm", UNSET))

        def _parse_private_key(data: object) -> None | str | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(None | str | Unset, data)

        private_key = _parse_private_key(d.pop("private_key", UNSET))

        def _parse_enabled(data: object) -> bool | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(bool | None | Unset, data)

        enabled = _parse_enabled(d.pop("enabled", UNSET))

        dkim_key_patch = cls(
            domain=domain,
            selector=selector,
            algorithm=algorithm,
            private_key=private_key,
            enabled=enabled,
        )

        return dkim_key_patch
