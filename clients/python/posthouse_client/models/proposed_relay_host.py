from __future__ import annotations

from collections.abc import Mapping
from typing import (
    TYPE_CHECKING,
    Any,
    Literal,
    TypeVar,
    cast,
)

from attrs import define as _attrs_define

if TYPE_CHECKING:
    from ..models.relay_host import RelayHost


T = TypeVar("T", bound="ProposedRelayHost")


@_attrs_define
class ProposedRelayHost:
    """A relay host that is not configured yet.

    Attributes:
        kind (Literal['proposed']): The relay host is not configured yet.
        relay_host (RelayHost): A server that accepts mail for other domains.
    """

    kind: Literal["proposed"]
    relay_host: RelayHost

    def to_dict(self) -> dict[str, Any]:
        kind = self.kind

        relay_host = self.relay_host.to_dict()

        field_dict: dict[str, Any] = {}

        field_dict.update(
            {
                "kind": kind,
                "relay_host": relay_host,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        from ..models.relay_host import RelayHost  # noqa: PLC0415

        d = dict(src_dict)
        kind = cast(Literal["proposed"], d.pop("kind"))
        if kind != "proposed":
            raise ValueError(f"kind must match const 'proposed', got '{kind}'")

        relay_host = RelayHost.from_dict(d.pop("relay_host"))

        proposed_relay_host = cls(
            kind=kind,
            relay_host=relay_host,
        )

        return proposed_relay_host
