from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from attrs import define as _attrs_define

from ..models.authentication_result import (
    AuthenticationResult,
    check_authentication_result,
)

T = TypeVar("T", bound="DkimFacts")


@_attrs_define
class DkimFacts:
    """The verification of a signature.

    Attributes:
        result (AuthenticationResult): The result of an authentication method (RFC 8601 section 2.7).
        domain (str): d=
    """

    result: AuthenticationResult
    domain: str

    def to_dict(self) -> dict[str, Any]:
        result: str = self.result

        domain = self.domain

        field_dict: dict[str, Any] = {}

        field_dict.update(
            {
                "result": result,
                "domain": domain,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)
        result = check_authentication_result(d.pop("result"))

        domain = d.pop("domain")

        dkim_facts = cls(
            result=result,
            domain=domain,
        )

        return dkim_facts
