from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar, cast

from attrs import define as _attrs_define

from ..models.content_checks_settings_quarantine import (
    ContentChecksSettingsQuarantine,
    check_content_checks_settings_quarantine,
)
from ..types import UNSET, Unset

if TYPE_CHECKING:
    from ..models.antivirus_patch import AntivirusPatch
    from ..models.arc_patch import ArcPatch
    from ..models.dkim_patch import DkimPatch
    from ..models.dmarc_patch import DmarcPatch
    from ..models.dnsbl_patch import DnsblPatch
    from ..models.spam_patch import SpamPatch
    from ..models.spf_patch import SpfPatch


T = TypeVar("T", bound="ContentChecksSettingsPatch")


@_attrs_define
class ContentChecksSettingsPatch:
    """A merge patch (RFC 7396) of ContentChecksSettings: absent members do not change, and null sets the default.

    Attributes:
        dnsbl (DnsblPatch | None | Unset): DNS block lists of clients. A listed client gets 554 5.7.1.
        spf (None | SpfPatch | Unset): RFC 7208: 550 5.7.23.
        dkim (DkimPatch | None | Unset): RFC 6376: 550 5.7.20.
        dmarc (DmarcPatch | None | Unset): The policy of the From domain: 550 5.7.1, or quarantine.
        antivirus (AntivirusPatch | None | Unset): clamd. An infected message gets 554 5.7.1.
        arc (ArcPatch | None | Unset): RFC 8617. The result is only reported.
        spam (None | SpamPatch | Unset): rspamd. Its action reject gives 554 5.7.1. soft reject and greylist give 451
            4.7.1. add header and rewrite subject add X-Spam and X-Spam-Score, and mark the mail for quarantine.
        quarantine (ContentChecksSettingsQuarantine | None | Unset): Mail that DMARC quarantines, or to which rspamd
            adds a header, gets X-Posthouse-Quarantine. mark: it is delivered as usual. mailbox: it goes to the
            quarantine_mailbox of its local domain, if there is one. hold: it waits until an operator releases it, and
            expires without a report.
    """

    dnsbl: DnsblPatch | None | Unset = UNSET
    spf: None | SpfPatch | Unset = UNSET
    dkim: DkimPatch | None | Unset = UNSET
    dmarc: DmarcPatch | None | Unset = UNSET
    antivirus: AntivirusPatch | None | Unset = UNSET
    arc: ArcPatch | None | Unset = UNSET
    spam: None | SpamPatch | Unset = UNSET
    quarantine: ContentChecksSettingsQuarantine | None | Unset = UNSET

    def to_dict(self) -> dict[str, Any]:
        from ..models.antivirus_patch import AntivirusPatch  # noqa: PLC0415
        from ..models.arc_patch import ArcPatch  # noqa: PLC0415
        from ..models.dkim_patch import DkimPatch  # noqa: PLC0415
        from ..models.dmarc_patch import DmarcPatch  # noqa: PLC0415
        from ..models.dnsbl_patch import DnsblPatch  # noqa: PLC0415
        from ..models.spam_patch import SpamPatch  # noqa: PLC0415
        from ..models.spf_patch import SpfPatch  # noqa: PLC0415

        dnsbl: dict[str, Any] | None | Unset
        if isinstance(self.dnsbl, Unset):
            dnsbl = UNSET
        elif isinstance(self.dnsbl, DnsblPatch):
            dnsbl = self.dnsbl.to_dict()
        else:
            dnsbl = self.dnsbl

        spf: dict[str, Any] | None | Unset
        if isinstance(self.spf, Unset):
            spf = UNSET
        elif isinstance(self.spf, SpfPatch):
            spf = self.spf.to_dict()
        else:
            spf = self.spf

        dkim: dict[str, Any] | None | Unset
        if isinstance(self.dkim, Unset):
            dkim = UNSET
        elif isinstance(self.dkim, DkimPatch):
            dkim = self.dkim.to_dict()
        else:
            dkim = self.dkim

        dmarc: dict[str, Any] | None | Unset
        if isinstance(self.dmarc, Unset):
            dmarc = UNSET
        elif isinstance(self.dmarc, DmarcPatch):
            dmarc = self.dmarc.to_dict()
        else:
            dmarc = self.dmarc

        antivirus: dict[str, Any] | None | Unset
        if isinstance(self.antivirus, Unset):
            antivirus = UNSET
        elif isinstance(self.antivirus, AntivirusPatch):
            antivirus = self.antivirus.to_dict()
        else:
            antivirus = self.antivirus

        arc: dict[str, Any] | None | Unset
        if isinstance(self.arc, Unset):
            arc = UNSET
        elif isinstance(self.arc, ArcPatch):
            arc = self.arc.to_dict()
        else:
            arc = self.arc

        spam: dict[str, Any] | None | Unset
        if isinstance(self.spam, Unset):
            spam = UNSET
        elif isinstance(self.spam, SpamPatch):
            spam = self.spam.to_dict()
        else:
            spam = self.spam

        quarantine: None | str | Unset
        if isinstance(self.quarantine, Unset):
            quarantine = UNSET
        elif isinstance(self.quarantine, str):
            quarantine = self.quarantine
        else:
            quarantine = self.quarantine

        field_dict: dict[str, Any] = {}

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

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        from ..models.antivirus_patch import AntivirusPatch  # noqa: PLC0415
        from ..models.arc_patch import ArcPatch  # noqa: PLC0415
        from ..models.dkim_patch import DkimPatch  # noqa: PLC0415
        from ..models.dmarc_patch import DmarcPatch  # noqa: PLC0415
        from ..models.dnsbl_patch import DnsblPatch  # noqa: PLC0415
        from ..models.spam_patch import SpamPatch  # noqa: PLC0415
        from ..models.spf_patch import SpfPatch  # noqa: PLC0415

        d = dict(src_dict)

        def _parse_dnsbl(data: object) -> DnsblPatch | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            try:
                if not isinstance(data, dict):
                    raise TypeError()
                dnsbl_type_0 = DnsblPatch.from_dict(data)

                return dnsbl_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(DnsblPatch | None | Unset, data)

        dnsbl = _parse_dnsbl(d.pop("dnsbl", UNSET))

        def _parse_spf(data: object) -> None | SpfPatch | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            try:
                if not isinstance(data, dict):
                    raise TypeError()
                spf_type_0 = SpfPatch.from_dict(data)

                return spf_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(None | SpfPatch | Unset, data)

        spf = _parse_spf(d.pop("spf", UNSET))

        def _parse_dkim(data: object) -> DkimPatch | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            try:
                if not isinstance(data, dict):
                    raise TypeError()
                dkim_type_0 = DkimPatch.from_dict(data)

                return dkim_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(DkimPatch | None | Unset, data)

        dkim = _parse_dkim(d.pop("dkim", UNSET))

        def _parse_dmarc(data: object) -> DmarcPatch | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            try:
                if not isinstance(data, dict):
                    raise TypeError()
                dmarc_type_0 = DmarcPatch.from_dict(data)

                return dmarc_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(DmarcPatch | None | Unset, data)

        dmarc = _parse_dmarc(d.pop("dmarc", UNSET))

        def _parse_antivirus(data: object) -> AntivirusPatch | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            try:
                if not isinstance(data, dict):
                    raise TypeError()
                antivirus_type_0 = AntivirusPatch.from_dict(data)

                return antivirus_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(AntivirusPatch | None | Unset, data)

        antivirus = _parse_antivirus(d.pop("antivirus", UNSET))

        def _parse_arc(data: object) -> ArcPatch | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            try:
                if not isinstance(data, dict):
                    raise TypeError()
                arc_type_0 = ArcPatch.from_dict(data)

                return arc_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(ArcPatch | None | Unset, data)

        arc = _parse_arc(d.pop("arc", UNSET))

        def _parse_spam(data: object) -> None | SpamPatch | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            try:
                if not isinstance(data, dict):
                    raise TypeError()
                spam_type_0 = SpamPatch.from_dict(data)

                return spam_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(None | SpamPatch | Unset, data)

        spam = _parse_spam(d.pop("spam", UNSET))

        def _parse_quarantine(data: object) -> ContentChecksSettingsQuarantine | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            try:
                if not isinstance(data, str):
                    raise TypeError()
                quarantine_type_0 = check_content_checks_settings_quarantine(data)

                return quarantine_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(ContentChecksSettingsQuarantine | None | Unset, data)

        quarantine = _parse_quarantine(d.pop("quarantine", UNSET))

        content_checks_settings_patch = cls(
            dnsbl=dnsbl,
            spf=spf,
            dkim=dkim,
            dmarc=dmarc,
            antivirus=antivirus,
            arc=arc,
            spam=spam,
            quarantine=quarantine,
        )

        return content_checks_settings_patch
