from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from attrs import define as _attrs_define
from attrs import field as _attrs_field

if TYPE_CHECKING:
    from ..models.route import Route


T = TypeVar("T", bound="RouteExplanation")


@_attrs_define
class RouteExplanation:
    """One route for each recipient after the expansion of aliases.

    Attributes:
        routes (list[Route]): The routes of the recipients after the expansion of aliases.
        snapshot_revision (int): The revision of the configuration that was used.
    """

    routes: list[Route]
    snapshot_revision: int
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        routes = []
        for routes_item_data in self.routes:
            routes_item = routes_item_data.to_dict()
            routes.append(routes_item)

        snapshot_revision = self.snapshot_revision

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "routes": routes,
                "snapshot_revision": snapshot_revision,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        from ..models.route import Route  # noqa: PLC0415

        d = dict(src_dict)
        routes = []
        _routes = d.pop("routes")
        for routes_item_data in _routes:
            routes_item = Route.from_dict(routes_item_data)

            routes.append(routes_item)

        snapshot_revision = d.pop("snapshot_revision")

        route_explanation = cls(
            routes=routes,
            snapshot_revision=snapshot_revision,
        )

        route_explanation.additional_properties = d
        return route_explanation

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
