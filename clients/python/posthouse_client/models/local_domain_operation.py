from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from attrs import define as _attrs_define

from ..models.batch_action import BatchAction, check_batch_action
from ..types import UNSET, Unset

if TYPE_CHECKING:
    from ..models.local_domain import LocalDomain


T = TypeVar("T", bound="LocalDomainOperation")


@_attrs_define
class LocalDomainOperation:
    """One operation of a batch: a local domain.

    Attributes:
        action (BatchAction): The action of an operation in a batch.
        id (str | Unset): The id of the object to replace or delete. create has no id.
        if_match (str | Unset): The ETag of the last GET of the object. * matches any version. replace and delete need
            it.
        object_ (LocalDomain | Unset): A domain whose mail is delivered to a server or a directory.
    """

    action: BatchAction
    id: str | Unset = UNSET
    if_match: str | Unset = UNSET
    object_: LocalDomain | Unset = UNSET

    def to_dict(self) -> dict[str, Any]:
        action: str = self.action

        id = self.id

        if_match = self.if_match

        object_: dict[str, Any] | Unset = UNSET
        if not isinstance(self.object_, Unset):
            object_ = self.object_.to_dict()

        field_dict: dict[str, Any] = {}

        field_dict.update(
            {
                "action": action,
            }
        )
        if id is not UNSET:
            field_dict["id"] = id
        if if_match is not UNSET:
            field_dict["if_match"] = if_match
        if object_ is not UNSET:
            field_dict["object"] = object_

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        from ..models.local_domain import LocalDomain  # noqa: PLC0415

        d = dict(src_dict)
        action = check_batch_action(d.pop("action"))

        id = d.pop("id", UNSET)

        if_match = d.pop("if_match", UNSET)

        _object_ = d.pop("object", UNSET)
        object_: LocalDomain | Unset
        if isinstance(_object_, Unset):
            object_ = UNSET
        else:
            object_ = LocalDomain.from_dict(_object_)

        local_domain_operation = cls(
            action=action,
            id=id,
            if_match=if_match,
            object_=object_,
        )

        return local_domain_operation
