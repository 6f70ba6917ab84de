from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar, cast

from attrs import define as _attrs_define

from ..models.content_facts_virus import ContentFactsVirus, check_content_facts_virus
from ..types import UNSET, Unset

if TYPE_CHECKING:
    from ..models.dkim_facts import DkimFacts
    from ..models.spam_facts import SpamFacts


T = TypeVar("T", bound="ContentFacts")


@_attrs_define
class ContentFacts:
    """The facts about the content.

    Attributes:
        size (int | Unset): Octets. Default: 1000.
        hops (int | Unset): Received fields. Default: 0.
        from_addresses (list[str] | Unset): The mailboxes of the From field.
        dkim (list[DkimFacts] | None | Unset): null means that it was not verified.
        virus (ContentFactsVirus | None | Unset): null means that it was not scanned.
        spam (None | SpamFacts | Unset): null means that rspamd was not asked.
    """

    size: int | Unset = 1000
    hops: int | Unset = 0
    from_addresses: list[str] | Unset = UNSET
    dkim: list[DkimFacts] | None | Unset = UNSET
    virus: ContentFactsVirus | None | Unset = UNSET
    spam: None | SpamFacts | Unset = UNSET

    def to_dict(self) -> dict[str, Any]:
        from ..models.spam_facts import SpamFacts  # noqa: PLC0415

        size = self.size

        hops = self.hops

        from_addresses: list[str] | Unset = UNSET
        if not isinstance(self.from_addresses, Unset):
            from_addresses = self.from_addresses

        dkim: list[dict[str, Any]] | None | Unset
        if isinstance(self.dkim, Unset):
            dkim = UNSET
        elif isinstance(self.dkim, list):
            dkim = []
            for dkim_type_0_item_data in self.dkim:
                dkim_type_0_item = dkim_type_0_item_data.to_dict()
                dkim.append(dkim_type_0_item)

        else:
            dkim = self.dkim

        virus: None | str | Unset
        if isinstance(self.virus, Unset):
            virus = UNSET
        elif isinstance(self.virus, str):
            virus = self.virus
        else:
            virus = self.virus

        spam: dict[str, Any] | None | Unset
        if isinstance(self.spam, Unset):
            spam = UNSET
        elif isinstance(self.spam, SpamFacts):
            spam = self.spam.to_dict()
        else:
            spam = self.spam

        field_dict: dict[str, Any] = {}

        field_dict.update({})
        if size is not UNSET:
            field_dict["size"] = size
        if hops is not UNSET:
            field_dict["hops"] = hops
        if from_addresses is not UNSET:
            field_dict["from_addresses"] = from_addresses
        if dkim is not UNSET:
            field_dict["dkim"] = dkim
        if virus is not UNSET:
            field_dict["virus"] = virus
        if spam is not UNSET:
            field_dict["spam"] = spam

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        from ..models.dkim_facts import DkimFacts  # noqa: PLC0415
        from ..models.spam_facts import SpamFacts  # noqa: PLC0415

        d = dict(src_dict)
        size = d.pop("size", UNSET)

        hops = d.pop("hops", UNSET)

        from_addresses = cast(list[str], d.pop("from_addresses", UNSET))

        def _parse_dkim(data: object) -> list[DkimFacts] | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            try:
                if not isinstance(data, list):
                    raise TypeError()
                dkim_type_0 = []
                _dkim_type_0 = data
                for dkim_type_0_item_data in _dkim_type_0:
                    dkim_type_0_item = DkimFacts.from_dict(dkim_type_0_item_data)

                    dkim_type_0.append(dkim_type_0_item)

                return dkim_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(list[DkimFacts] | None | Unset, data)

        dkim = _parse_dkim(d.pop("dkim", UNSET))

        def _parse_virus(data: object) -> ContentFactsVirus | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            try:
                if not isinstance(data, str):
                    raise TypeError()
                virus_type_0 = check_content_facts_virus(data)

                return virus_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(ContentFactsVirus | None | Unset, data)

        virus = _parse_virus(d.pop("virus", UNSET))

        def _parse_spam(data: object) -> None | SpamFacts | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            try:
                if not isinstance(data, dict):
                    raise TypeError()
                spam_type_0 = SpamFacts.from_dict(data)

                return spam_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(None | SpamFacts | Unset, data)

        spam = _parse_spam(d.pop("spam", UNSET))

        content_facts = cls(
            size=size,
            hops=hops,
            from_addresses=from_addresses,
            dkim=dkim,
            virus=virus,
            spam=spam,
        )

        return content_facts
