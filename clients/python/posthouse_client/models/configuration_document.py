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
from attrs import field as _attrs_field

from ..types import UNSET, Unset

if TYPE_CHECKING:
    from ..models.access_rule import AccessRule
    from ..models.account import Account
    from ..models.alias import Alias
    from ..models.all_settings import AllSettings
    from ..models.dkim_key import DkimKey
    from ..models.domain_tls_policy import DomainTlsPolicy
    from ..models.local_domain import LocalDomain
    from ..models.relay_domain import RelayDomain
    from ..models.relay_rule import RelayRule
    from ..models.trusted_network import TrustedNetwork


T = TypeVar("T", bound="ConfigurationDocument")


@_attrs_define
class ConfigurationDocument:
    """The whole configuration, without API keys, secrets and listed recipients. An import removes objects that the
    document does not contain.

        Attributes:
            format_ (Literal['posthouse/2']): The format of the document. An import also accepts posthouse/1, which was used
                before the first release.
            settings (AllSettings): Every singleton.
            relay_rules (list[RelayRule]): Every relay rule. An id that is given is kept.
            trusted_networks (list[TrustedNetwork]): Every trusted network. An id that is given is kept.
            relay_domains (list[RelayDomain]): Every relay domain. An id that is given is kept.
            local_domains (list[LocalDomain]): Every local domain. An id that is given is kept.
            accounts (list[Account]): Every account. An id that is given is kept.
            aliases (list[Alias]): Every alias. An id that is given is kept.
            access_rules (list[AccessRule]): Every access rule. An id that is given is kept.
            dkim_keys (list[DkimKey]): Every DKIM key. An id that is given is kept.
            tls_policies (list[DomainTlsPolicy] | Unset): Every TLS policy. An id that is given is kept. A document without
                this member has none.
    """

    format_: Literal["posthouse/2"]
    settings: AllSettings
    relay_rules: list[RelayRule]
    trusted_networks: list[TrustedNetwork]
    relay_domains: list[RelayDomain]
    local_domains: list[LocalDomain]
    accounts: list[Account]
    aliases: list[Alias]
    access_rules: list[AccessRule]
    dkim_keys: list[DkimKey]
    tls_policies: list[DomainTlsPolicy] | Unset = UNSET
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        format_ = self.format_

        settings = self.settings.to_dict()

        relay_rules = []
        for relay_rules_item_data in self.relay_rules:
            relay_rules_item = relay_rules_item_data.to_dict()
            relay_rules.append(relay_rules_item)

        trusted_networks = []
        for trusted_networks_item_data in self.trusted_networks:
            trusted_networks_item = trusted_networks_item_data.to_dict()
            trusted_networks.append(trusted_networks_item)

        relay_domains = []
        for relay_domains_item_data in self.relay_domains:
            relay_domains_item = relay_domains_item_data.to_dict()
            relay_domains.append(relay_domains_item)

        local_domains = []
        for local_domains_item_data in self.local_domains:
            local_domains_item = local_domains_item_data.to_dict()
            local_domains.append(local_domains_item)

        accounts = []
        for accounts_item_data in self.accounts:
            accounts_item = accounts_item_data.to_dict()
            accounts.append(accounts_item)

        aliases = []
        for aliases_item_data in self.aliases:
            aliases_item = aliases_item_data.to_dict()
            aliases.append(aliases_item)

        access_rules = []
        for access_rules_item_data in self.access_rules:
            access_rules_item = access_rules_item_data.to_dict()
            access_rules.append(access_rules_item)

        dkim_keys = []
        for dkim_keys_item_data in self.dkim_keys:
            dkim_keys_item = dkim_keys_item_data.to_dict()
            dkim_keys.append(dkim_keys_item)

        tls_policies: list[dict[str, Any]] | Unset = UNSET
        if not isinstance(self.tls_policies, Unset):
            tls_policies = []
            for tls_policies_item_data in self.tls_policies:
                tls_policies_item = tls_policies_item_data.to_dict()
                tls_policies.append(tls_policies_item)

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "format": format_,
                "settings": settings,
                "relay_rules": relay_rules,
                "trusted_networks": trusted_networks,
                "relay_domains": relay_domains,
                "local_domains": local_domains,
                "accounts": accounts,
                "aliases": aliases,
                "access_rules": access_rules,
                "dkim_keys": dkim_keys,
            }
        )
        if tls_policies is not UNSET:
            field_dict["tls_policies"] = tls_policies

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        from ..models.access_rule import AccessRule  # noqa: PLC0415
        from ..models.account import Account  # noqa: PLC0415
        from ..models.alias import Alias  # noqa: PLC0415
        from ..models.all_settings import AllSettings  # noqa: PLC0415
        from ..models.dkim_key import DkimKey  # noqa: PLC0415
        from ..models.domain_tls_policy import DomainTlsPolicy  # noqa: PLC0415
        from ..models.local_domain import LocalDomain  # noqa: PLC0415
        from ..models.relay_domain import RelayDomain  # noqa: PLC0415
        from ..models.relay_rule import RelayRule  # noqa: PLC0415
        from ..models.trusted_network import TrustedNetwork  # noqa: PLC0415

        d = dict(src_dict)
        format_ = cast(Literal["posthouse/2"], d.pop("format"))
        if format_ != "posthouse/2":
            raise ValueError(f"format must match const 'posthouse/2', got '{format_}'")

        settings = AllSettings.from_dict(d.pop("settings"))

        relay_rules = []
        _relay_rules = d.pop("relay_rules")
        for relay_rules_item_data in _relay_rules:
            relay_rules_item = RelayRule.from_dict(relay_rules_item_data)

            relay_rules.append(relay_rules_item)

        trusted_networks = []
        _trusted_networks = d.pop("trusted_networks")
        for trusted_networks_item_data in _trusted_networks:
            trusted_networks_item = TrustedNetwork.from_dict(trusted_networks_item_data)

            trusted_networks.append(trusted_networks_item)

        relay_domains = []
        _relay_domains = d.pop("relay_domains")
        for relay_domains_item_data in _relay_domains:
            relay_domains_item = RelayDomain.from_dict(relay_domains_item_data)

            relay_domains.append(relay_domains_item)

        local_domains = []
        _local_domains = d.pop("local_domains")
        for local_domains_item_data in _local_domains:
            local_domains_item = LocalDomain.from_dict(local_domains_item_data)

            local_domains.append(local_domains_item)

        accounts = []
        _accounts = d.pop("accounts")
        for accounts_item_data in _accounts:
            accounts_item = Account.from_dict(accounts_item_data)

            accounts.append(accounts_item)

        aliases = []
        _aliases = d.pop("aliases")
        for aliases_item_data in _aliases:
            aliases_item = Alias.from_dict(aliases_item_data)

            aliases.append(aliases_item)

        access_rules = []
        _access_rules = d.pop("access_rules")
        for access_rules_item_data in _access_rules:
            access_rules_item = AccessRule.from_dict(access_rules_item_data)

            access_rules.append(access_rules_item)

        dkim_keys = []
        _dkim_keys = d.pop("dkim_keys")
        for dkim_keys_item_data in _dkim_keys:
            dkim_keys_item = DkimKey.from_dict(dkim_keys_item_data)

            dkim_keys.append(dkim_keys_item)

        _tls_policies = d.pop("tls_policies", UNSET)
        tls_policies: list[DomainTlsPolicy] | Unset = UNSET
        if _tls_policies is not UNSET:
            tls_policies = []
            for tls_policies_item_data in _tls_policies:
                tls_policies_item = DomainTlsPolicy.from_dict(tls_policies_item_data)

                tls_policies.append(tls_policies_item)

        configuration_document = cls(
            format_=format_,
            settings=settings,
            relay_rules=relay_rules,
            trusted_networks=trusted_networks,
            relay_domains=relay_domains,
            local_domains=local_domains,
            accounts=accounts,
            aliases=aliases,
            access_rules=access_rules,
            dkim_keys=dkim_keys,
            tls_policies=tls_policies,
        )

        configuration_document.additional_properties = d
        return configuration_document

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
