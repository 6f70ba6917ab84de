from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..models.content_checks_settings_quarantine import (
    ContentChecksSettingsQuarantine,
    check_content_checks_settings_quarantine,
)
from ..types import UNSET, Unset

if TYPE_CHECKING:
    from ..models.antivirus import Antivirus
    from ..models.arc import Arc
    from ..models.configuration_warning import ConfigurationWarning
    from ..models.dkim import Dkim
    from ..models.dmarc import Dmarc
    from ..models.dnsbl import Dnsbl
    from ..models.spam import Spam
    from ..models.spf import Spf


T = TypeVar("T", bound="ContentChecksSettings")


@_attrs_define
class ContentChecksSettings:
    """DNS block lists, SPF, DKIM, DMARC, ARC, antivirus and spam, and what happens to quarantined mail.

    Attributes:
        dnsbl (Dnsbl | Unset): DNS block lists of clients (RFC 5782).
        spf (Spf | Unset): RFC 7208.
        dkim (Dkim | Unset): RFC 6376: a message is refused when all its signatures fail. A message without signatures
            is not refused.
        dmarc (Dmarc | Unset): The published policy of the domain in the From field.
        antivirus (Antivirus | Unset): Scanning of whole messages by clamd.
        arc (Arc | Unset): RFC 8617: the chain is verified and reported in Authentication-Results, but never trusted.
        spam (Spam | Unset): The spam check of rspamd.
        quarantine (ContentChecksSettingsQuarantine | Unset): A value of quarantine of ContentChecksSettingsPatch.
        warnings (list[ConfigurationWarning] | Unset): Warnings about the values that were just written. They are not
            stored, and GET does not show them.
    """

    dnsbl: Dnsbl | Unset = UNSET
    spf: Spf | Unset = UNSET
    dkim: Dkim | Unset = UNSET
    dmarc: Dmarc | Unset = UNSET
    antivirus: Antivirus | Unset = UNSET
    arc: Arc | Unset = UNSET
    spam: Spam | Unset = UNSET
    quarantine: ContentChecksSettingsQuarantine | Unset = UNSET
    warnings: list[ConfigurationWarning] | Unset = UNSET
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        dnsbl: dict[str, Any] | Unset = UNSET
        if not isinstance(self.dnsbl, Unset):
            dnsbl = self.dnsbl.to_dict()

        spf: dict[str, Any] | Unset = UNSET
        if not isinstance(self.spf, Unset):
            spf = self.spf.to_dict()

        dkim: dict[str, Any] | Unset = UNSET
        if not isinstance(self.dkim, Unset):
            dkim = self.dkim.to_dict()

        dmarc: dict[str, Any] | Unset = UNSET
        if not isinstance(self.dmarc, Unset):
            dmarc = self.dmarc.to_dict()

        antivirus: dict[str, Any] | Unset = UNSET
        if not isinstance(self.antivirus, Unset):
            antivirus = self.antivirus.to_dict()

        arc: dict[str, Any] | Unset = UNSET
        if not isinstance(self.arc, Unset):
            arc = self.arc.to_dict()

        spam: dict[str, Any] | Unset = UNSET
        if not isinstance(self.spam, Unset):
            spam = self.spam.to_dict()

        quarantine: str | Unset = UNSET
        if not isinstance(self.quarantine, Unset):
            quarantine = self.quarantine

        warnings: list[dict[str, Any]] | Unset = UNSET
        if not isinstance(self.warnings, Unset):
            warnings = []
            for warnings_item_data in self.warnings:
                warnings_item = warnings_item_data.to_dict()
                warnings.append(warnings_item)

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update({})
        if dnsbl is not UNSET:
            field_dict["dnsbl"] = dnsbl
        if spf is not UNSET:
            field_dict["spf"] = spf
        if dkim is not UNSET:
            field_dict["dkim"] = dkim
        if dmarc is not UNSET:
            field_dict["dmarc"] = dmarc
        if antivirus is not UNSET:
            field_dict["antivirus"] = antivirus
        if arc is not UNSET:
            field_dict["arc"] = arc
        if spam is not UNSET:
            field_dict["spam"] = spam
        if quarantine is not UNSET:
            field_dict["quarantine"] = quarantine
        if warnings is not UNSET:
            field_dict["warnings"] = warnings

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        from ..models.antivirus import Antivirus  # noqa: PLC0415
        from ..models.arc import Arc  # noqa: PLC0415
        from ..models.configuration_warning import ConfigurationWarning  # noqa: PLC0415
        from ..models.dkim import Dkim  # noqa: PLC0415
        from ..models.dmarc import Dmarc  # noqa: PLC0415
        from ..models.dnsbl import Dnsbl  # noqa: PLC0415
        from ..models.spam import Spam  # noqa: PLC0415
        from ..models.spf import Spf  # noqa: PLC0415

        d = dict(src_dict)
        _dnsbl = d.pop("dnsbl", UNSET)
        dnsbl: Dnsbl | Unset
        if isinstance(_dnsbl, Unset):
            dnsbl = UNSET
        else:
            dnsbl = Dnsbl.from_dict(_dnsbl)

        _spf = d.pop("spf", UNSET)
        spf: Spf | Unset
        if isinstance(_spf, Unset):
            spf = UNSET
        else:
            spf = Spf.from_dict(_spf)

        _dkim = d.pop("dkim", UNSET)
        dkim: Dkim | Unset
        if isinstance(_dkim, Unset):
            dkim = UNSET
        else:
            dkim = Dkim.from_dict(_dkim)

        _dmarc = d.pop("dmarc", UNSET)
        dmarc: Dmarc | Unset
        if isinstance(_dmarc, Unset):
            dmarc = UNSET
        else:
            dmarc = Dmarc.from_dict(_dmarc)

        _antivirus = d.pop("antivirus", UNSET)
        antivirus: Antivirus | Unset
        if isinstance(_antivirus, Unset):
            antivirus = UNSET
        else:
            antivirus = Antivirus.from_dict(_antivirus)

        _arc = d.pop("arc", UNSET)
        arc: Arc | Unset
        if isinstance(_arc, Unset):
            arc = UNSET
        else:
            arc = Arc.from_dict(_arc)

        _spam = d.pop("spam", UNSET)
        spam: Spam | Unset
        if isinstance(_spam, Unset):
            spam = UNSET
        else:
            spam = Spam.from_dict(_spam)

        _quarantine = d.pop("quarantine", UNSET)
        quarantine: ContentChecksSettingsQuarantine | Unset
        if isinstance(_quarantine, Unset):
            quarantine = UNSET
        else:
            quarantine = check_content_checks_settings_quarantine(_quarantine)

        _warnings = d.pop("warnings", UNSET)
        warnings: list[ConfigurationWarning] | Unset = UNSET
        if _warnings is not UNSET:
            warnings = []
            for warnings_item_data in _warnings:
                warnings_item = ConfigurationWarning.from_dict(warnings_item_data)

                warnings.append(warnings_item)

        content_checks_settings = cls(
            dnsbl=dnsbl,
            spf=spf,
            dkim=dkim,
            dmarc=dmarc,
            antivirus=antivirus,
            arc=arc,
            spam=spam,
            quarantine=quarantine,
            warnings=warnings,
        )

        content_checks_settings.additional_properties = d
        return content_checks_settings

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
